"""Answers to lab 11's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

from collections import Counter

import numpy as np
import torch


def count(y):
    known = Counter(y.tolist())
    return torch.tensor([float(known[one]) for one in y.tolist()], dtype=torch.float64)


def recall(z, y, c):
    return sum(int(a == c) for a in z[y == c].argmax(1).tolist()) / int((y == c).sum())


def precision(z, y, c):
    called = z.argmax(1) == c
    return (called & (y == c)).sum() / called.sum()


RIGHT = {
    "11.sampling_chances": [
        lambda y: [1 / y.tolist().count(one) / len(set(y.tolist())) for one in y.tolist()],
        lambda y: torch.softmax(-torch.bincount(y).double().log()[y], 0),
        lambda y: 1 / count(y) / len(set(y.tolist())),
    ],
    "11.rare_accuracy": [
        lambda z, y, r: 100 * np.mean([np.mean(z.numpy()[y == c].argmax(1) == c) for c in r]),
        lambda z, y, r: 100 * sum(recall(z, y, c) for c in r) / len(r),
    ],
}
WRONG = {
    "11.sampling_chances": {
        "frequent classes more often": lambda y: count(y) / count(y).sum(),
        "every picture alike": lambda y: torch.ones(len(y)) / len(y),
        "one chance for each class": lambda y: torch.nn.functional.normalize(1 / torch.bincount(y).double(), p=1, dim=0),
        "weights that do not add to 1": lambda y: count(y).reciprocal(),
        "the root of the count": lambda y: count(y).rsqrt() / count(y).rsqrt().sum(),
    },
    "11.rare_accuracy": {
        "the mean over all classes": lambda z, y, r: 100 * sum(recall(z, y, c) for c in range(4)) / 4,
        "the sum over classes": lambda z, y, r: 100 * sum(recall(z, y, c) for c in r),

        "all classes": lambda z, y, r: 100 * (z.argmax(1) == y).float().mean(),
        "pictures, not classes, have equal weight": lambda z, y, r: 100 * (z.argmax(1) == y)[(y == r[0]) | (y == r[1])].float().mean(),
        "precision, not accuracy": lambda z, y, r: 100 * sum(precision(z, y, c) for c in r) / len(r),
        "a share, not percent": lambda z, y, r: sum(recall(z, y, c) for c in r) / len(r),
    },
}  # fmt: skip
UNKNOWN = {
    "11.sampling_chances": [lambda y: 1 - torch.bincount(y)[y] / len(y), lambda y: 0.4 / count(y) / len(set(y.tolist()))],
    "11.rare_accuracy": [lambda z, y, r: [100 * recall(z, y, c) for c in r], lambda z, y, r: 100 * min(recall(z, y, c) for c in r)],
}  # fmt: skip
