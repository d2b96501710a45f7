"""What all families of models share: first weights by seed, and a look at a model without changing it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps

import torch
from torch import nn


def seeded(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Give a model builder a keyword `seed` that fixes the first weights and leaves the global generator alone."""

    @wraps(build)
    def with_seed(*args, seed: int = 0, **kwargs) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return build(*args, **kwargs)

    return with_seed


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode within the block; the training flag is restored afterwards."""
    training = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(training)
