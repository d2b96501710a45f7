"""What all families of models share: first weights by seed, and a look at a model without changing it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from itertools import chain

import torch
from torch import nn

from kdcourse.system.generators import seeded_rng


def seeded(build: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    """Give a model builder a keyword `seed` that fixes the first weights and leaves the global generator alone."""

    @wraps(build)
    def with_seed(*args, seed: int = 0, **kwargs) -> nn.Module:
        with seeded_rng(seed):
            return build(*args, **kwargs)

    return with_seed


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
