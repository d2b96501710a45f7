"""Answers to lab 09's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import math

import torch
from torch.nn import functional as F


def soft(s, t, T):
    p, q = torch.softmax(t / T, 1), torch.softmax(s / T, 1)
    return (p * (p.log() - q.log())).sum(1).mean() * T * T


def hard(s, y):
    return -torch.log_softmax(s, 1).gather(1, y[:, None]).mean()


def by_loop(s, t, m):
    total, count = 0.0, 0
    for n in range(s.shape[0]):
        for position in range(s.shape[1]):
            if m[n, position]:
                a, b = s[n, position], t[n, position].detach()
                total = total + 1 - a @ b / (a.norm() * b.norm())
                count += 1
    return total / count


RIGHT = {
    "09.compute_loss": [lambda s, t, y, T, a: a * soft(s, t.detach(), T) + (1 - a) * hard(s, y)],
    "09.hidden_cosine": [by_loop, lambda s, t, m: (1 - F.cosine_similarity(s, t.detach(), dim=-1))[m.bool()].mean()],
    "09.layer_map": [
        lambda ours, theirs: [math.floor((n + 1) * theirs / ours) - 1 for n in range(ours)],
        lambda ours, theirs: list(range(theirs // ours - 1, theirs, theirs // ours)),
    ],
}
WRONG = {
    "09.compute_loss": {
        "alpha on the labels": lambda s, t, y, T, a: (1 - a) * soft(s, t.detach(), T) + a * hard(s, y),
        "T² left out": lambda s, t, y, T, a: a * soft(s, t.detach(), T) / T**2 + (1 - a) * hard(s, y),
        "the default reduction": lambda s, t, y, T, a: a * soft(s, t.detach(), T) / 2 + (1 - a) * hard(s, y),
        "the teacher's graph kept": lambda s, t, y, T, a: a * soft(s, t, T) + (1 - a) * hard(s, y),
    },
    "09.hidden_cosine": {
        "padding counts as text": lambda s, t, m: 1 - F.cosine_similarity(s, t.detach(), dim=-1).mean(),
        "divided by every position": lambda s, t, m: ((1 - F.cosine_similarity(s, t.detach(), dim=-1)) * m).mean(),
        "the cosine itself": lambda s, t, m: F.cosine_similarity(s, t.detach(), dim=-1)[m.bool()].mean(),
        "the teacher's graph kept": lambda s, t, m: (1 - F.cosine_similarity(s, t, dim=-1))[m.bool()].mean(),
    },
    "09.layer_map": {
        "the last layer is left out": lambda ours, theirs: list(range(0, theirs, theirs // ours)),
        "counted from 1": lambda ours, theirs: [(n + 1) * theirs // ours for n in range(ours)],
        "layer by layer from the bottom": lambda ours, theirs: [*range(ours)],
    },
}
