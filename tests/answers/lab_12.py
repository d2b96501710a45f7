"""Answers to lab 12's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import statistics

import numpy as np
import torch


def clocked(run, clock, repeats, *, warm_up=5, skipped=5, summary=statistics.median, unit=1000):
    marks = [clock()]
    for _ in range(warm_up + repeats):
        run()
        marks.append(clock())
    return unit * summary(np.diff(marks)[skipped:].tolist())


def threshold(w, share):
    return w.abs() > np.quantile(w.abs().numpy(), share, method="inverted_cdf")


def lengthwise(w, s):
    return torch.stack([row.abs() >= row.abs().sort().values[round(s * len(row))] for row in w])


def sliced(w, b, n, k):
    return w.index_select(0, k), b.index_select(0, k), n.index_select(1, k)


def codes(w, top=127, *, whole=False, rounding=torch.round, kind=torch.int8):
    m = w.abs().max().repeat(len(w))[:, None] if whole else w.abs().max(1).values[:, None]
    return rounding(w / (m / top)).to(torch.int32).to(kind), m / top


def by_hand(run, clock, repeats):
    for _ in range(5):
        run()
    taken = []
    while len(taken) < repeats:
        start = clock()
        run()
        taken.append((clock() - start) * 1000)
    taken.sort()
    return taken[(repeats - 1) // 2]


def affine(x, low=None, high=None, *, steps=255, bounds=(0, 255), zero=lambda z: z.round()):
    low = x.min(1, keepdim=True).values.clamp(max=0) if low is None else low
    high = x.max(1, keepdim=True).values.clamp(min=0) if high is None else high
    s = (high - low) / steps
    z = zero(low.neg() / s)
    return torch.round(x / s + z).clamp(*bounds).int().to(torch.uint8), s, z


def by_torch(x):
    _, s, z = affine(x)
    back = torch.fake_quantize_per_channel_affine(x, s[:, 0], z[:, 0].int(), 0, 0, 255)
    return (back / s + z).round().to(torch.uint8), s, z


def grouped(w, keep=2):
    order = w.abs().reshape(len(w), -1, 4).argsort(2).argsort(2)
    return (order >= 4 - keep).reshape(w.shape)


RIGHT = {
    "12.milliseconds": [by_hand, clocked],
    "12.magnitude_mask": [
        lambda w, share: w.flatten().abs().argsort().argsort().ge(round(share * w.numel())).view(w.shape),
        threshold,
    ],
    "12.remove_units": [sliced, lambda w, b, n, k: [w[k, :], b[k], n.T[k].T]],
    "12.to_int8": [
        lambda w: (
            np.rint(w.numpy() / np.abs(w.numpy()).max(1, keepdims=True) * 127).astype(np.int8),
            np.abs(w.numpy()).max(1, keepdims=True) / 127,
        ),
        lambda w: (
            lambda rows: (
                torch.stack([r.div(r.abs().max() / 127).round().char() for r in rows]),
                torch.stack([r.abs().max() / 127 for r in rows])[:, None],
            )
        )(list(w)),
        codes,
    ],
    "12.to_uint8": [affine, by_torch],
    "12.two_of_four": [
        grouped,
        lambda w: torch.stack([g.abs() >= g.abs().sort().values[2] for g in w.reshape(-1, 4)]).view_as(w),
    ],
}
WRONG = {
    "12.milliseconds": {
        "no warm-up": lambda r, c, n: clocked(r, c, n, warm_up=0, skipped=0),
        "the warm-up is counted": lambda r, c, n: clocked(r, c, n, skipped=0),
        "the mean": lambda r, c, n: clocked(r, c, n, summary=statistics.mean),
        "the fastest call": lambda r, c, n: clocked(r, c, n, summary=min),
        "seconds": lambda r, c, n: clocked(r, c, n, unit=1),
    },
    "12.magnitude_mask": {
        "the largest go": lambda w, s: ~threshold(w, 1 - s),
        "the sign is not dropped": lambda w, s: w > np.quantile(w.numpy(), s, method="inverted_cdf"),
        "row by row": lengthwise,
        "the share stays": lambda w, s: threshold(w, 1 - s),
        "the mask the other way round": lambda w, s: ~threshold(w, s),
    },
    "12.remove_units": {
        "rows of the next layer": lambda w, b, n, k: (w[k], b[k], n.index_select(0, k)),
        "columns of the first layer": lambda w, b, n, k: (w.index_select(1, k), b[k], n[:, k]),
        "the bias stays whole": lambda w, b, n, k: (w[k], b.clone(), n[:, k]),
        "zeros, not less": lambda w, b, n, k: (lambda m: (m[:, None] * w, m * b, m * n))(torch.isin(torch.arange(len(b)), k).float()),
        "the units that stay are taken out": lambda w, b, n, k: sliced(w, b, n, torch.nonzero(~torch.isin(torch.arange(len(b)), k))[:, 0]),
    },
    "12.to_int8": {
        "one scale for the whole matrix": lambda w: codes(w, whole=True),
        "cut off, not rounded": lambda w: codes(w, rounding=torch.trunc),
        "255 steps on one side": lambda w: codes(w, top=255),
        "the scale upside down": lambda w: (codes(w)[0], 127 / w.abs().max(1, keepdim=True).values),
        "still floats": lambda w: codes(w, kind=torch.float32),
    },
    "12.to_uint8": {
        "the zero point is not rounded": lambda x: affine(x, zero=lambda z: z),
        "clamped to the signed range": lambda x: affine(x, bounds=(-128, 127)),
        "one scale for all rows": lambda x: affine(x, x.min().clamp(max=0).repeat(4, 1), x.max().clamp(min=0).repeat(4, 1)),
        "a range without zero": lambda x: affine(x, x.min(1, keepdim=True).values, x.max(1, keepdim=True).values),
        "no zero point": lambda x: affine(x, torch.zeros(len(x), 1), x.max(1, keepdim=True).values.clamp(min=1e-12)),
        "256 steps": lambda x: affine(x, steps=256),
        "the sign of the zero point": lambda x: affine(x, zero=lambda z: -z.round()),
    },
    "12.two_of_four": {
        "groups along the outputs": lambda w: grouped(w.T.contiguous()).T,
        "half of the whole matrix": lambda w: threshold(w, 0.5),
        "half of each row": lambda w: lengthwise(w, 0.5),
        "the two smallest stay": lambda w: ~grouped(w),
        "the sign is not dropped": lambda w: grouped(w - w.min() + 1),
        "every fourth weight together": lambda w: grouped(w.view(len(w), 4, -1).transpose(1, 2).reshape(w.shape)).view(len(w), -1, 4).transpose(1, 2).reshape(w.shape),
    },
}  # fmt: skip
UNKNOWN = {
    "12.milliseconds": [lambda r, c, n: clocked(r, c, n, unit=37), lambda r, c, n: clocked(r, c, n, summary=list)],
    "12.magnitude_mask": [lambda w, s: w * threshold(w, s), lambda w, s: w.abs() > s],
    "12.remove_units": [lambda w, b, n, k: (w[k], b[k]), lambda w, b, n, k: (n[:, k], b[k], w[k])],
    "12.to_int8": [lambda w: (codes(w)[0].tolist(), codes(w)[1]), lambda w: (codes(w)[0], codes(w)[1][:, 0])],
    "12.to_uint8": [lambda x: affine(x, steps=100), lambda x: affine(x)[:2]],
    "12.two_of_four": [lambda w: w * grouped(w), lambda w: grouped(w, keep=1)],
}  # fmt: skip
