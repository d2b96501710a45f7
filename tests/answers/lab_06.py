"""Answers to lab 06's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import torch
from torch.nn import functional as F


def ece(z, y, *, size=10, weigh=True, absolute=True, of_label=False):
    p = F.softmax(z, -1)
    c = p[range(len(y)), y] if of_label else p.amax(1)
    hit = (z.argmax(1) == y).double()
    total, parts = 0.0, []
    for low in torch.arange(size) / size:
        m = (c > low) & (c <= low + 1 / size)
        if m.sum() == 0:
            continue
        gap = (hit[m] - c[m].double()).mean()
        gap = gap.abs() if absolute else gap
        parts.append(gap)
        total = total + gap * m.sum() / len(y)
    return total if weigh else sum(parts) / len(parts)


def d(z):
    a = z.argmax(-1)
    return torch.stack([torch.stack([(one != other).double().mean() for other in a]) for one in a])


RIGHT = {
    "06.ensemble_target": [
        lambda z, t: sum(F.softmax(one / t, 1) for one in z) / len(z),
        lambda z, t: torch.softmax(z / t, -1).sum(0) / z.shape[0],
    ],
    "06.calibration_error": [ece],
    "06.disagreement": [d],
}
WRONG = {
    "06.ensemble_target": {
        "the logits are averaged": lambda z, t: F.softmax(z.mean(0) / t, -1),
        "the temperature is ignored": lambda z, t: torch.stack([F.softmax(one, 1) for one in z]).mean(0),
        "the sum over teachers": lambda z, t: F.softmax(z / t, -1).sum(0),
        "softmax over teachers": lambda z, t: F.softmax(z / t, 0).mean(0),
        "the mean over pictures": lambda z, t: F.softmax(z / t, -1).mean(1),
    },
    "06.calibration_error": {
        "bins are not weighted": lambda z, y: ece(z, y, weigh=False),
        "gaps cancel": lambda z, y: ece(z, y, absolute=False),
        "the label's probability": lambda z, y: ece(z, y, of_label=True),
        "one bin": lambda z, y: ece(z, y, size=1),
    },
    "06.disagreement": {
        "agreement": lambda z: 1 - d(z),
        "distances of probabilities": lambda z: torch.cdist(*[z.softmax(2).transpose(0, 1)] * 2, p=1).mean(0) / 2,
        "a number of pictures, not a share": lambda z: d(z) * z.shape[1],
    },
}
