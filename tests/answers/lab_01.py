"""Answers to lab 01's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import numpy as np
import torch
from torch.nn import functional as F


def in_lists(y, c):
    rows = []
    for label in y:
        row = [0.0] * c
        row[label] = 1.0
        rows.append(row)
    return rows


def one_by_one(z, p):
    total = 0
    for logits, target in zip(z, p, strict=True):
        total -= (target * F.log_softmax(logits, 0)).sum()
    return total / len(z)


RIGHT = {
    "01.one_hot": [
        lambda y, c: np.eye(c)[y.numpy()],
        in_lists,
        lambda y, c: torch.eye(c)[y],
        lambda y, c: torch.zeros(len(y), c).scatter(1, y[:, None], 1.0),
        lambda y, c: (y[:, None] == torch.arange(c)).double(),
    ],
    "01.soft_cross_entropy": [
        one_by_one,
        lambda z, p: -torch.einsum("nc,nc->n", p, z - z.logsumexp(1, keepdim=True)).mean(),
        lambda z, p: F.cross_entropy(z, p),
        lambda z, p: ((torch.logsumexp(z, 1, keepdim=True) - z) * p).sum() / len(z),
    ],
}
WRONG = {
    "01.one_hot": {
        "whole numbers": lambda y, c: (y[:, None] == torch.arange(c)).long(),
        "columns for rows": lambda y, c: F.one_hot(y, c).float().t(),
    },
    "01.soft_cross_entropy": {
        "the hard labels": lambda z, p: F.nll_loss(F.log_softmax(z, 1), p.max(1).indices),
        "KL in place of cross-entropy": lambda z, p: (torch.xlogy(p, p) - p * F.log_softmax(z, 1)).sum(1).mean(),
        "softmax twice": lambda z, p: -(p * F.log_softmax(F.softmax(z, 1), 1)).sum() / len(z),
        "raw logits": lambda z, p: -torch.einsum("nc,nc->", p, z) / len(z),
        "not averaged": lambda z, p: F.cross_entropy(z, p, reduction="none"),

        "the mean over classes too": lambda z, p: torch.mean(-p * F.log_softmax(z, -1)),
        "the sum over the batch": lambda z, p: F.cross_entropy(z, p, reduction="sum"),
        "softmax where log_softmax belongs": lambda z, p: -(p * F.softmax(z, -1)).sum() / len(z),
        "log after softmax": lambda z, p: -(p * torch.log(F.softmax(z, 1))).sum(-1).mean(),
        "the minus sign is missing": lambda z, p: -F.cross_entropy(z, p),
        "softmax over the batch": lambda z, p: -(p * F.log_softmax(z, 0)).sum() / len(z),
    },
}  # fmt: skip
UNKNOWN = {
    "01.one_hot": [lambda y, c: F.one_hot((y + 1) % c, c).float(), lambda y, c: F.one_hot(y, c)[:, :2].float()],
    "01.soft_cross_entropy": [lambda z, p: one_by_one(z, p) + 1, lambda z, p: one_by_one(z / 2, p)],
}  # fmt: skip
