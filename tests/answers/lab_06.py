"""Answers to lab 06's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import numpy as np
import torch
from scipy import special
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


def in_numpy(z, y, count=10):
    z = special.softmax(z.numpy(), axis=1)
    confidence, right = z.max(1), z.argmax(1) == y.numpy()
    bins = np.digitize(confidence, np.linspace(0, 1, count + 1), right=True)
    return sum(abs(right[bins == k].sum() - confidence[bins == k].sum()) for k in range(count + 2)) / len(y)


def equal_mass(z, y):
    order = z.softmax(1).amax(1).argsort()
    return sum(ece(z[part], y[part], size=1) * len(part) / len(y) for part in order.split(len(y) // 10))


def gaps(z, y):
    bins = (z.softmax(1).amax(1) * 10).ceil()
    return [ece(z[bins == k], y[bins == k], size=1) for k in range(1, 11) if (bins == k).any()]


RIGHT = {
    "06.ensemble_target": [
        lambda z, t: special.softmax(z.numpy() / t, axis=2).mean(axis=0),
        lambda z, t: sum(F.softmax(one / t, 1) for one in z) / len(z),
        lambda z, t: torch.softmax(z / t, -1).sum(0) / z.shape[0],
    ],
    "06.calibration_error": [in_numpy, ece],
    "06.disagreement": [
        lambda z: [[np.mean(a.argmax(1) != b.argmax(1)) for b in z.numpy()] for a in z.numpy()],
        lambda z: 1 - torch.einsum("inc,jnc->ij", *[F.one_hot(z.argmax(2), z.shape[2]).float()] * 2) / z.shape[1],
        d,
    ],
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
        "bins with equally many pictures": equal_mass,
        "fifteen bins": lambda z, y: in_numpy(z, y, 15),
        "percent, not a share": lambda z, y: 100 * ece(z, y),
        "the largest gap": lambda z, y: max(gaps(z, y)),

        "bins are not weighted": lambda z, y: ece(z, y, weigh=False),
        "gaps cancel": lambda z, y: ece(z, y, absolute=False),
        "the label's probability": lambda z, y: ece(z, y, of_label=True),
        "one bin": lambda z, y: ece(z, y, size=1),
    },
    "06.disagreement": {
        "percent, not a share": lambda z: 100 * d(z),

        "agreement": lambda z: 1 - d(z),
        "distances of probabilities": lambda z: torch.cdist(*[z.softmax(2).transpose(0, 1)] * 2, p=1).mean(0) / 2,
        "a number of pictures, not a share": lambda z: d(z) * z.shape[1],
    },
}  # fmt: skip
UNKNOWN = {
    "06.ensemble_target": [lambda z, t: F.softmax(z / t, 2)[0], lambda z, t: 0.4 * F.softmax(z / t, 2).mean(0)],
    "06.calibration_error": [lambda z, y: ece(z, y, size=7), lambda z, y: 0.4 * ece(z, y)],
    "06.disagreement": [lambda z: d(z).triu(), lambda z: 0.4 * d(z)],
}  # fmt: skip
