"""Where a training run's random numbers come from: the generators that everybody shares, or some of its own.

torch's global generators belong to all threads. A run in the foreground seeds them and puts them back; a run in the
background must leave them alone, or it would change the numbers of the page's next cell, and the cell those of the run.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from kdcourse.system.generators import seeded_rng

SAMPLERS = {
    *("bernoulli", "bernoulli_", "exponential_", "multinomial", "normal", "normal_", "poisson", "rand", "randint"),
    *("randn", "random_", "randperm", "uniform_"),
}


@contextmanager
def shared(seed: int, student: nn.Module) -> Iterator[AbstractContextManager]:
    """Seed torch's global generators for a block and put them back after it. For one run at a time.

    seed: a whole number. student: the model whose device's generator is seeded too.
    """
    with seeded_rng(seed, next((parameter.device for parameter in student.parameters()), torch.device("cpu"))):
        yield nullcontext()


@contextmanager
def own(seed: int, student: nn.Module) -> Iterator[AbstractContextManager]:
    """Give a run generators of its own, within a block; on a CPU they give the same numbers as `shared`.

    The student's dropout draws from them throughout the block. Whatever else is to draw from them must run within the context
    that the block is given, on this thread only: to follow every call of torch would cost a small student a third of its speed.
    Raises `ValueError` for a student whose layers draw in another way, as `nn.Dropout2d` does.
    """
    draws = _OwnDraws(seed)
    layers = [layer for layer in student.modules() if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0]
    for layer in layers:
        if type(layer) is not nn.Dropout:
            raise ValueError(f"student must draw with nn.Dropout alone to train beside other work, got {layer!r}")
        layer.forward = partial(_dropout, layer, draws)
    try:
        yield draws
    finally:
        for layer in layers:
            del layer.forward


class _OwnDraws(TorchFunctionMode):
    """Within it torch's samplers, and the initialisations of `torch.nn`, draw from its generators."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed, self._generators = seed, {}

    def on(self, device: torch.device) -> torch.Generator:
        if device not in self._generators:
            self._generators[device] = torch.Generator(device).manual_seed(self.seed)
        return self._generators[device]

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        # An initialisation says that it takes a generator; a sampler need not.
        if kwargs.get("generator") is None and ("generator" in kwargs or function.__name__ in SAMPLERS):
            filled = next((given for given in args if isinstance(given, Tensor)), None)
            device = torch.device(kwargs.get("device") or "cpu") if filled is None else filled.device
            kwargs["generator"] = self.on(device)
        return function(*args, **kwargs)


def _dropout(layer: nn.Dropout, draws: _OwnDraws, given: Tensor) -> Tensor:
    """What `nn.functional.dropout` computes on a CPU, number by number."""
    if not layer.training:
        return given
    kept = torch.empty_like(given).bernoulli_(1 - layer.p, generator=draws.on(given.device))
    return given * kept.div_(1 - layer.p)
