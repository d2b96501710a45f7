"""Answers to lab 10's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import numpy as np
import torch


def beaten(c, s, i, strict=True):
    return any(c[j] <= c[i] and s[j] >= s[i] and (not strict or c[j] < c[i] or s[j] > s[i]) for j in range(len(c)))


def mask(c, s, **how):
    return torch.tensor([not beaten(c, s, i, **how) for i in range(len(c))])


RIGHT = {
    "10.choose_setting": [
        lambda v, t: np.array([np.argmax(v.numpy().mean(0)), t.numpy().mean(0)[np.argmax(v.numpy().mean(0))]]),
        lambda v, t: (int(v.sum(0).argmax()), float(t.mean(0)[v.sum(0).argmax()])),
    ],
    "10.worth_their_cost": [
        lambda c, s: [not beaten(c.tolist(), s.tolist(), i) for i in range(len(c))],
        lambda c, s: (
            (s[None] < s[:, None]) | (c[None] > c[:, None]) | ((s[None] == s[:, None]) & (c[None] == c[:, None]))
        ).all(1),
        mask,
    ],
}
WRONG = {
    "10.choose_setting": {
        "chosen on the test data": lambda v, t: (t.sum(0).argmax(), t.mean(0).max()),
        "chosen by the best single seed": lambda v, t: (v.amax(0).argmax(), t.mean(0)[v.amax(0).argmax()]),
        "the validation score is reported": lambda v, t: (v.mean(0).argmax(), v.mean(0).max()),
        "the best test seed is reported": lambda v, t: (v.mean(0).argmax(), t[:, v.mean(0).argmax()].amax()),
    },
    "10.worth_their_cost": {
        "the best score only": lambda c, s: s >= s.amax(),
        "the beaten ones": lambda c, s: ~mask(c, s),
        "every candidate beats itself": lambda c, s: mask(c, s, strict=False),
        "the dearer ones are kept": lambda c, s: mask(-c, s),
    },
}  # fmt: skip
UNKNOWN = {
    "10.choose_setting": [lambda v, t: t[:, v.mean(0).argmax()].mean(), lambda v, t: (v.mean(1).argmax(), t.mean())],
    "10.worth_their_cost": [lambda c, s: [i for i in range(len(c)) if not beaten(c, s, i)], lambda c, s: c < c.mean()],
}  # fmt: skip
