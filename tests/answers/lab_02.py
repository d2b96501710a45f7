"""Answers to lab 02's exercises as students write them: right ones, and wrong ones by the name that the check must give."""

import math

import torch
from scipy import special
from torch import nn
from torch.nn import functional as F

kl = nn.KLDivLoss(reduction="batchmean")


def picture_by_picture(s, t, T):
    rows = []
    for one, other in zip(s, t, strict=True):
        rows.append(T * (F.softmax(one / T, 0) - F.softmax(other / T, 0)) / len(s))
    return torch.stack(rows)


def upset(z, t):
    result = F.softmax(z / t, 1).clone()
    result[0, 1] += 0.1
    return result


RIGHT = {
    "02.softmax_with_temperature": [
        lambda z, t: 1 / torch.exp((z[:, None] - z[:, :, None]) / t).sum(2),
        lambda z, t: special.softmax(z.numpy() / t, axis=1),
        lambda z, t: [F.softmax(row / t, 0) for row in z],
        lambda z, t: F.softmax(z / t, dim=-1),
        lambda z, t: torch.exp(z / t - torch.logsumexp(z / t, 1, keepdim=True)),
    ],
    "02.entropy": [
        lambda p: torch.special.entr(p).sum(1),
        lambda p: [-sum(x * math.log(x) for x in row if x > 0) for row in p.tolist()],
        lambda p: torch.nan_to_num(-(p * p.log())).sum(1),
        lambda p: -(p * p.clamp(min=1e-30).log()).sum(-1),
        lambda p: torch.distributions.Categorical(probs=p).entropy(),
    ],
    "02.soft_gradient": [
        lambda s, t, T: torch.autograd.grad(
            T * T * kl(F.log_softmax((x := s.requires_grad_()) / T, 1), F.softmax(t / T, 1)), x
        )[0],
        picture_by_picture,
        lambda s, t, T: (
            (T / len(s)) * (special.softmax(s.numpy() / T, axis=1) - special.softmax(t.numpy() / T, axis=1))
        ),
    ],
}
WRONG = {
    "02.softmax_with_temperature": {
        "multiplied by T": lambda z, t: F.softmax(t * z, 1),
        "temperature after the softmax": lambda z, t: F.softmax(z, 1) / t,
        "the temperature is ignored": lambda z, t: F.softmax(z, -1),
        "softmax over the batch": lambda z, t: F.softmax(z / t, 0),
        "one maximum for the whole batch": lambda z, t: (x := torch.exp((z - z.amax()) / t)) / x.sum(1, True),
        "exp overflows": lambda z, t: torch.exp(z / t) / torch.exp(z / t).sum(1, keepdim=True),
    },
    "02.entropy": {
        "zero times minus infinity": lambda p: (-p * torch.log(p)).sum(-1),
        "bits, not nats": lambda p: -(p * p.clamp(min=1e-30).log2()).sum(1),
        "the mean over classes": lambda p: torch.special.entr(p).mean(1),
        "the mean over the batch": lambda p: torch.special.entr(p).sum(1).mean(),
        "the minus sign is missing": lambda p: -torch.special.entr(p).sum(1),
    },
    "02.soft_gradient": {
        "the mean over classes too": lambda s, t, T: T * ((s / T).softmax(1) - (t / T).softmax(1)) / s.numel(),
        "probabilities at T = 1": lambda s, t, T: T * (s.softmax(1) - t.softmax(1)) / len(s),

        "the sign": lambda s, t, T: T * ((t / T).softmax(1) - (s / T).softmax(1)) / s.shape[0],
        "the factor T is missing": lambda s, t, T: ((s / T).softmax(1) - (t / T).softmax(1)) / s.shape[0],
        "T² in place of T": lambda s, t, T: T**2 * ((s / T).softmax(1) - (t / T).softmax(1)) / s.shape[0],
        "T² left out of the loss": lambda s, t, T: ((s / T).softmax(1) - (t / T).softmax(1)) / s.shape[0] / T,
        "the mean over the batch is missing": lambda s, t, T: T * ((s / T).softmax(1) - (t / T).softmax(1)),
    },
}  # fmt: skip
UNKNOWN = {
    "02.softmax_with_temperature": [upset, lambda z, t: F.softmax(z / t, 1) * 0.7],
    "02.entropy": [lambda p: torch.special.entr(p).sum(1) + 7, lambda p: torch.special.entr(p).sum(1) * 0.3],
    "02.soft_gradient": [lambda s, t, T: 0.3 * picture_by_picture(s, t, T), lambda s, t, T: T * ((s / T).softmax(1) - t.softmax(1)) / len(s)],
}  # fmt: skip
