"""What an answer is called with: each kind of argument is drawn anew for every call, of N examples and C classes or channels."""

from collections.abc import Callable

import torch
from torch import Generator, Tensor


def _normal(*shape: int | str) -> Callable[..., Tensor]:
    """Numbers around zero; "N" and "C" in the shape stand for the case's own."""

    def draw(generator: Generator, count: int, classes: int, spread: float) -> Tensor:
        known = {"N": count, "C": classes}
        return spread * torch.randn([known.get(size, size) for size in shape], generator=generator)

    return draw


def _labels(generator: Generator, count: int, classes: int, spread: float) -> Tensor:
    return torch.randint(classes, (count,), generator=generator)


def _all_labels(generator: Generator, count: int, classes: int, spread: float) -> Tensor:
    """Every class at least twice, and none as often as all others: what divides by these numbers meets no zero."""
    return (torch.randperm(3 * classes, generator=generator) % (classes + 1)).clamp(max=classes - 1)


def _distributions(generator: Generator, count: int, classes: int, spread: float) -> Tensor:
    found = torch.randn(count, classes, generator=generator).softmax(dim=1)
    found[0] = torch.eye(classes)[1]  # a sure row: its zeros have no logarithm
    return found


def _sizes(generator: Generator, count: int, classes: int, spread: float) -> Tensor:
    return 1 + 99 * torch.rand(classes, generator=generator)


def _masks(generator: Generator, count: int, classes: int, spread: float) -> Tensor:
    return torch.rand(count, 3, generator=generator) < torch.tensor([2.0, 0.7, 0.3])


def _pixels(generator: Generator, count: int, classes: int, spread: float) -> Tensor:
    return torch.randint(256, (count, 4, 5, 3), generator=generator)


def _channels(generator: Generator, count: int, classes: int, spread: float) -> Tensor:
    return 0.2 + torch.rand(3, generator=generator)


# Kind -> (its shape in words, a function of a generator, N, C and the standard deviation of logits).
KINDS = {
    "logits": ("(N, C)", _normal("N", "C")),
    "labels": ("classes, (N,)", _labels),
    "labels of all classes": ("classes, (N,), each of them at least once", _all_labels),
    "distributions": ("(N, C), each row sums to 1", _distributions),
    "maps": ("(N, C, H, W)", _normal("N", "C", 4, 3)),
    "points": ("(N, D)", _normal("N", "C")),
    "ensembles": ("(teachers, N, C)", _normal(3, "N", "C")),
    "states": ("(N, L, C)", _normal("N", 3, "C")),
    "masks": ("True where a token counts, (N, L)", _masks),
    "sizes": ("(S,)", _sizes),
    "scores": ("(runs, S, settings)", _normal("N", "C", 3)),
    "weights": ("(units, inputs), both multiples of 4", _normal(8, 12)),
    "pixels": ("whole numbers 0 to 255, (N, H, W, 3)", _pixels),
    "channels": ("(3,)", _channels),
}
