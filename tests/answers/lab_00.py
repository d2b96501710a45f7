"""Answers to lab 00's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import numpy as np
import torch
from scipy import stats


def by_hand(a, b, *, level=0.975, spare=1):
    """With lists and loops."""
    gaps = [float(x) - float(y) for x, y in zip(a, b, strict=True)]
    mean = sum(gaps) / len(gaps)
    variance = sum((gap - mean) ** 2 for gap in gaps) / (len(gaps) - 1)
    return mean, stats.t.ppf(level, df=len(gaps) - spare) * (variance / len(gaps)) ** 0.5


RIGHT = {
    "00.accuracy": [
        lambda z, y: np.mean(np.argmax(z.numpy(), axis=1) == y.numpy()) * 100,
        lambda z, y: (
            100 * torch.stack([(row.argmax() == label).float() for row, label in zip(z, y, strict=True)]).mean().item()
        ),
        lambda z, y: 100.0 * sum(a == b for a, b in zip(z.max(1).indices.tolist(), y.tolist(), strict=True)) / len(y),
    ],
    "00.paired_difference": [
        by_hand,
        lambda a, b: (np.mean(a - b), (lambda i: (i.high - i.low) / 2)(stats.ttest_rel(a, b).confidence_interval())),
    ],
}
WRONG = {
    "00.accuracy": {
        "a share, not percent": lambda z, y: torch.mean((torch.argmax(z, 1) == y).double()),
        "argmax over the batch": lambda z, y: 100 * (z.argmax(0)[: len(y)] == y[: z.shape[1]]).double().mean(),
        "a count, not percent": lambda z, y: sum(z.argmax(1) == y),
        "the error rate": lambda z, y: 100 - 100 * (z.argmax(1) == y).double().mean(),
    },
    "00.paired_difference": {
        "theirs minus ours": lambda a, b: by_hand(b, a),
        "the whole width": lambda a, b: ((a - b).mean(), np.ptp(stats.ttest_rel(a, b).confidence_interval())),
        "5 % on one side": lambda a, b: by_hand(a, b, level=0.95),
        "n degrees of freedom": lambda a, b: by_hand(a, b, spare=0),

        "the pairing is lost": lambda a, b: (
            a.mean() - b.mean(),
            stats.t.ppf(0.975, len(a) - 1) * np.hypot(stats.sem(a), stats.sem(b)),
        ),
        "1.96 in place of Student's t": lambda a, b: ((a - b).mean(), 1.96 * stats.sem(a - b)),
        "the standard deviation, not the standard error": lambda a, b: (
            (a - b).mean(),
            np.std(a - b, ddof=1) * stats.t.isf(0.025, len(a) - 1),
        ),
        "the biased standard deviation": lambda a, b: (
            (a - b).mean(),
            stats.sem(a - b, ddof=0) * stats.t.isf(0.025, len(a) - 1),
        ),
    },
}  # fmt: skip
UNKNOWN = {
    "00.accuracy": [lambda z, y: 100 * (z.argmax(1) == y).sum(), lambda z, y: 100 * (z.argmin(1) == y).float().mean()],
    "00.paired_difference": [lambda a, b: (a - b).mean(), lambda a, b: (np.median(a - b), by_hand(a, b)[1])],
}  # fmt: skip
