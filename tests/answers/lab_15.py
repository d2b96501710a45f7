"""Answers to lab 15's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import math

import numpy as np
import torch
from torch.nn import functional as F


def kl(z, t):
    """Row by row, the batch's mean."""
    p, q = t.softmax(1), z.softmax(1)
    return (p * (p.log() - q.log())).sum(1).mean()


def cut(z, c):
    return z[:, c:]


def turn(a, b, angle):
    return math.cos(angle) * a + math.sin(angle) * b


RIGHT = {
    "15.auxiliary_loss": [
        lambda z, t, c: kl(cut(z, c), cut(t, c).detach()),
        lambda z, t, c: F.cross_entropy(z[:, c:], t[:, c:].detach().softmax(1)) - F.cross_entropy(t[:, c:].detach(), t[:, c:].detach().softmax(1)),
    ],
    "15.between_weights": [
        lambda a, b, s: turn(a, b, math.radians(90 * s)),
        lambda a, b, s: np.cos(s * np.pi / 2) * a.numpy() + np.sin(s * np.pi / 2) * b.numpy(),
    ],
    "15.crossed_share": [
        lambda s, c, t: (s - c) * 100 / (t - c),
        lambda s, c, t: 100 - 100 * (t - s) / (t - c),
    ],
}  # fmt: skip
WRONG = {
    "15.auxiliary_loss": {
        "the class logits are compared": lambda z, t, c: kl(z[:, :c], t[:, :c].detach()),
        "all logits are compared": lambda z, t, c: kl(z, t.detach()),
        "the softmax runs over all logits": lambda z, t, c: (t.detach().softmax(1) * (t.detach().log_softmax(1) - z.log_softmax(1)))[:, c:].sum(1).mean(),
        "KL the other way round": lambda z, t, c: kl(cut(t, c).detach(), cut(z, c)),
        "the teacher gets a gradient": lambda z, t, c: kl(cut(z, c), cut(t, c)),
        "the default reduction": lambda z, t, c: F.kl_div(cut(z, c).log_softmax(1), cut(t, c).detach().softmax(1)),
    },
    "15.between_weights": {
        "a straight line": torch.lerp,
        "the way back": lambda a, b, s: turn(b, a, math.radians(90 * s)),
        "the share as the angle": lambda a, b, s: turn(a, b, s),
        "squares as weights": lambda a, b, s: torch.lerp(a, b, math.sin(math.pi / 2 * s) ** 2),
    },
    "15.crossed_share": {
        "without the control": lambda s, c, t: s / t * 100,
        "the control taken from the student alone": lambda s, c, t: 100 * s / t - 100 * c / t,
        "a difference, not a share": lambda s, c, t: s - c,
        "a fraction, not percent": lambda s, c, t: (s - c) / (t - c),
    },
}  # fmt: skip
UNKNOWN = {
    "15.auxiliary_loss": [
        lambda z, t, c: (cut(z, c) - cut(t, c).detach()).square().mean(),
        lambda z, t, c: kl(cut(z, c) / 2, cut(t, c).detach() / 2),
    ],
    "15.between_weights": [lambda a, b, s: a + s * b, lambda a, b, s: s**0.5 * b + (1 - s**2) ** 0.5 * a],
    "15.crossed_share": [lambda s, c, t: 100 * (t - s) / (t - c), lambda s, c, t: 100 * (s - c) / (t + c)],
}  # fmt: skip
