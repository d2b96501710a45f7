"""Answers to lab 16's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import numpy as np
import torch
from torch.nn import functional as F


def shown(p, k):
    return p * (p >= p.sort(dim=1, descending=True).values[:, k - 1 : k])


def rest(p, k, classes):
    return torch.where(shown(p, k) > 0, p, (1 - shown(p, k).sum(1, keepdim=True)) / classes)


def far(a, b, T):
    p = (b / T).softmax(1)
    return T * T * (p * ((b / T).log_softmax(1) - (a / T).log_softmax(1))).sum(1).mean()


def counted(v, n):
    return torch.stack([(v == c).sum(0) for c in range(n.shape[1])], dim=1)


RIGHT = {
    "16.top_answers": [
        lambda p, k: rest(p, k, p.shape[1] - k),
        lambda p, k: np.array(
            [[x if x in sorted(r)[-k:] else (1 - sum(sorted(r)[-k:])) / (len(r) - k) for x in r] for r in p.tolist()]
        ),
    ],
    "16.nasty_loss": [
        lambda a, b, y, w, T: -a.log_softmax(1)[torch.arange(len(y)), y].mean() - w * far(a, b, T),
        lambda a, b, y, w, T: (
            F.cross_entropy(a, y)
            + w * T**2 * ((b / T).softmax(1) * ((a / T).softmax(1).log() - (b / T).softmax(1).log())).sum() / len(a)
        ),
    ],
    "16.noisy_winner": [
        lambda v, n: (counted(v, n) + n).argmax(1),
        lambda v, n: [
            int(np.argmax(np.bincount(v[:, i].numpy(), minlength=n.shape[1]) + n[i].numpy())) for i in range(v.shape[1])
        ],
    ],
}
WRONG = {
    "16.top_answers": {
        "the others are 0": shown,
        "divided by their sum": lambda p, k: shown(p, k) / shown(p, k).sum(1, keepdim=True),
        "each other class has all of the rest": lambda p, k: rest(p, k, 1),
        "shared by all classes": lambda p, k: rest(p, k, p.shape[1]),
        "the smallest k": lambda p, k: torch.stack([torch.where(r <= r.sort().values[k - 1], r, (1 - r.sort().values[:k].sum()) / (len(r) - k)) for r in p]),
    },
    "16.nasty_loss": {
        "it imitates": lambda a, b, y, w, T: F.cross_entropy(a, y) + w * far(a, b, T),
        "no factor T²": lambda a, b, y, w, T: F.cross_entropy(a, y) - w * far(a, b, T) / T**2,
        "the divergence the other way round": lambda a, b, y, w, T: F.cross_entropy(a, y) - w * far(b, a, T),
        "the labels are unlearnt too": lambda a, b, y, w, T: -F.cross_entropy(a, y) - w * far(a, b, T),
        "the labels are softened": lambda a, b, y, w, T: F.cross_entropy(a / T, y) - w * far(a, b, T),
    },
    "16.noisy_winner": {
        "no noise": lambda v, n: counted(v, n).argmax(1),
        "shares of votes, not votes": lambda v, n: (counted(v, n) / len(v) + n).argmax(1),
        "the fewest votes": lambda v, n: (counted(v, n) + n).argmin(1),
    },
}  # fmt: skip
UNKNOWN = {
    "16.top_answers": [lambda p, k: p, lambda p, k: p.topk(k, dim=1).values],
    "16.nasty_loss": [lambda a, b, y, w, T: F.cross_entropy(a, y), lambda a, b, y, w, T: -far(a, b, T)],
    "16.noisy_winner": [lambda v, n: n.argmax(1), lambda v, n: counted(v, n) + n],
}
