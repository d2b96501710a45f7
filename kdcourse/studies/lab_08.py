"""The studies of lab 08, Distil progressively: teachers of growing size, and bridges across the gap to a tiny student."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

from torch import nn

from kdcourse import zoo
from kdcourse.data.splits import ImageData
from kdcourse.experiments.experiment import Arm, Recipe
from kdcourse.experiments.schemes import Chain
from kdcourse.methods import HardTarget, SoftTarget
from kdcourse.models import perceptron
from kdcourse.studies.engine import define
from kdcourse.studies.lab_04 import PICTURES
from kdcourse.training.cache import TeacherCache

STUDENT = 8  # hidden units
SIZES = (16, 64, 256, 1024)  # hidden units of the teachers
LARGEST = SIZES[-1]
TEMPERATURE = 4  # of the bridges, and of the gap as it was first measured
TEMPERATURES = (1, 2, 4, 8)


def setting(hidden: int, temperature: float) -> str:
    """The arm of a student under the teacher of so many hidden units."""
    return f"{hidden} units, T = {temperature:g}"


def of_size(data: ImageData, hidden: int) -> Callable[..., nn.Module]:
    return partial(perceptron, (hidden,), **data.sizes)


def teacher_recipe(data: ImageData, hidden: int, steps: int = 1500) -> Recipe:
    """A teacher learns from all labelled pictures."""
    return Recipe(of_size(data, hidden), data.train, HardTarget(), steps=steps)


@lru_cache(maxsize=64)
def taught_by(data: ImageData, hidden: int, seed: int, steps: int = 1500) -> TeacherCache:
    """One teacher for each seed, trained once and used by every arm."""
    return TeacherCache(teacher_recipe(data, hidden, steps).run(seed).eval().requires_grad_(False))


def asked(data: ImageData, hidden: int, **settings: int) -> Callable[[int], TeacherCache]:
    """`taught_by` as a function of the seed; for a recipe's facts a network of that size will do, untrained."""
    teacher = partial(taught_by, data, hidden, **settings)
    teacher.untrained = lambda seed: TeacherCache(of_size(data, hidden)(seed=seed))
    return teacher


def student_recipe(data: ImageData) -> Recipe:
    """The student has 1,000 pictures, and the same budget under every teacher."""
    return Recipe(of_size(data, STUDENT), lambda seed: data.train.sample(PICTURES, seed), steps=600, learning_rate=1e-2)


@define("08-teachers")
def teachers(data: ImageData) -> dict[str, Arm]:
    """How good the teachers are."""
    return {f"{hidden} units": _Trained(data, hidden) for hidden in SIZES}


@define("08-capacity-gap")
def capacity_gap(data: ImageData) -> dict[str, Arm]:
    """The same tiny student under each of them, at each temperature; and under the two shipped teachers."""
    alone = student_recipe(data)
    by_size = {
        setting(hidden, t): replace(alone, method=SoftTarget(t), teacher=asked(data, hidden))
        for hidden in SIZES
        for t in TEMPERATURES
    }
    listening = replace(alone, method=SoftTarget(TEMPERATURE))
    shipped = {
        f"shipped {name}": replace(listening, teacher=partial(_shipped, data, name))
        for name in ("perceptron", "convnet")
    }
    return {"labels only": alone, **by_size, **shipped}


@define("08-assistants", equal_budgets=False)
def assistants(data: ImageData) -> dict[str, Arm]:
    """From the largest teacher, directly and through assistants that it taught on all pictures, without labels.

    The cheapest rivals of an assistant: another temperature, and more steps of the student's own.
    """
    alone = student_recipe(data)
    listening = replace(alone, method=SoftTarget(TEMPERATURE))
    direct = replace(listening, teacher=asked(data, LARGEST))

    def through(*sizes: int) -> Chain:
        bridges = [
            replace(direct, student=of_size(data, hidden), train=data.train.unlabelled(), learning_rate=3e-3)
            for hidden in sizes
        ]
        return Chain([*bridges, listening])

    return {
        "direct": direct,
        "labels only": alone,
        "through 256": through(256),
        "through 64": through(64),
        "through 16": through(16),
        "through 256, 64, 16": through(256, 64, 16),
        "stopped early": replace(listening, teacher=asked(data, LARGEST, steps=100)),
        **{f"direct, T = {t}": replace(direct, method=SoftTarget(t)) for t in TEMPERATURES if t != TEMPERATURE},
        "direct, twice the steps": replace(direct, steps=2 * direct.steps),
    }


class _Trained:
    """An arm whose students are the cached teachers themselves."""

    def __init__(self, data: ImageData, hidden: int):
        self.data, self.hidden = data, hidden
        self.recipe = teacher_recipe(data, hidden)
        self.budget, self.describe, self.facts = self.recipe.budget, self.recipe.describe, self.recipe.facts

    def run(self, seed: int = 0, *, progress: bool = False) -> nn.Module:
        return taught_by(self.data, self.hidden, seed).teacher


def _shipped(data: ImageData, name: str, seed: int) -> TeacherCache:
    """The same for every seed."""
    return _cached(data, name)


@lru_cache(maxsize=4)
def _cached(data: ImageData, name: str) -> TeacherCache:
    return TeacherCache(zoo.teacher(name, data, announce=False))
