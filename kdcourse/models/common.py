"""What all families of models share: first weights by seed, and a look at a model without changing it."""

import copy
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import chain

import torch
from torch import nn

from kdcourse.losses.checks import check_share
from kdcourse.system.generators import seeded_rng


def seeded(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Give a model builder a keyword `seed` that fixes the first weights and leaves the global generator alone."""

    @wraps(build)
    def with_seed(*args, seed: int = 0, **kwargs) -> nn.Module:
        with seeded_rng(seed):
            return build(*args, **kwargs)

    return with_seed


def between(first: nn.Module, second: nn.Module, share: float) -> nn.Module:
    """A model of the same shape whose weights lie between those of two: cos(a) · first + sin(a) · second, a = share · π / 2.

    share: from 0, which gives the first model's weights, to 1, the second's. For independent random weights of one spread this
    path keeps the spread, which a straight line would shrink by 1/√2 half way. Buffers are the first model's.
    Raises `ValueError` for a share outside [0, 1] and for models of different shapes.
    """
    check_share("share", share)
    shapes = [[tuple(one.shape) for one in model.parameters()] for model in (first, second)]
    if shapes[0] != shapes[1]:
        raise ValueError(f"first and second must have parameters of the same shapes, got {shapes[0]} and {shapes[1]}")
    mixed, angle = copy.deepcopy(first), share * math.pi / 2
    near, far = (1.0, 0.0) if share == 0 else (0.0, 1.0) if share == 1 else (math.cos(angle), math.sin(angle))
    with torch.no_grad():
        for own, other in zip(mixed.parameters(), second.parameters(), strict=True):
            own.mul_(near).add_(other, alpha=far)
    return mixed


@contextmanager
def evaluating(model: nn.Module, device: torch.device | None = None) -> Iterator[None]:
    """Evaluation mode within the block; the training flag is restored afterwards.

    device: where the model is asked to work, and stays; by default it is left where it is.
    """
    if device is not None and any(one.device != device for one in chain(model.parameters(), model.buffers())):
        with torch.inference_mode(False):  # what is moved within it would never learn again
            model.to(device)
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
