"""What watching costs: the same run with the training dashboard and without it, in turns.

The two differ in the thread that trains, and PyTorch's threads belong to the one that calls it: what
`runtime.release_cores` does is part of what is measured here.
"""

import statistics
import tempfile
from dataclasses import dataclass
from functools import partial

import torch

from kdcourse.bench.training import by_turns, ratio
from kdcourse.data.splits import Split
from kdcourse.experiments.experiment import Recipe
from kdcourse.methods import Distillation
from kdcourse.models import perceptron
from kdcourse.training.cache import TeacherCache
from kdcourse.widgets import dashboard


@dataclass(frozen=True)
class Cost:
    """alone, watched: median seconds of a run. ratio: the median over pairs of neighbours of watched / alone."""

    alone: float
    watched: float
    ratio: float
    pairs: int


def measure_cost(recipe: Recipe | None = None, pairs: int = 9) -> Cost:
    """Train `recipe` (default `small()`) alone and under the dashboard by turns, after one run of each to warm up.

    Neighbours are compared, and who goes first changes from pair to pair, so that what else the machine does falls on both.
    Raises `ValueError` for fewer than one pair.
    """
    if pairs < 1:
        raise ValueError(f"pairs must be at least 1, got {pairs}")
    recipe = small() if recipe is None else recipe
    runs = {"alone": partial(recipe.run, 0), "watched": partial(_watched, recipe)}
    by_turns(runs, 1)
    taken = by_turns(runs, pairs)
    alone, watched = map(statistics.median, taken.values())
    return Cost(alone, watched, ratio(taken["watched"], taken["alone"]), pairs)


def small(steps: int = 400) -> Recipe:
    """A student of lab 10's size on random pictures: the cheaper a step, the more watching it weighs."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.randn(1000, 1, 28, 28, generator=generator)
    split = Split(pictures, torch.randint(10, (1000,), generator=generator))
    return Recipe(partial(perceptron, (64,)), split, Distillation(), TeacherCache(perceptron((64,))), steps)


def _watched(recipe: Recipe) -> None:
    with tempfile.TemporaryDirectory() as folder:
        dashboard({"watched": recipe}, folder=folder).wait()
