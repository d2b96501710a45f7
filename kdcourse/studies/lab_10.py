"""The study of lab 10, Tune temperature and alpha: one grid, for two sizes of student, on validation and on test."""

from dataclasses import replace
from functools import partial

from kdcourse import zoo
from kdcourse.data.splits import ImageData
from kdcourse.experiments.experiment import Recipe
from kdcourse.methods import Distillation, HardTarget
from kdcourse.models import perceptron
from kdcourse.studies.engine import define
from kdcourse.studies.lab_04 import PICTURES
from kdcourse.training.cache import TeacherCache

HIDDEN = (16, 128)
TEMPERATURES = (1, 2, 4, 8, 16)
ALPHAS = (0.25, 0.5, 0.75, 1.0)


def labels_only(hidden: int) -> str:
    return f"{hidden} units, labels only"


def setting(hidden: int, temperature: float, alpha: float) -> str:
    return f"{hidden} units, T = {temperature:g}, alpha = {alpha:g}"


def base(data: ImageData, hidden: int) -> Recipe:
    student = partial(perceptron, (hidden,), **data.sizes)
    return Recipe(student, lambda seed: data.train.sample(PICTURES, seed), HardTarget(), steps=400)


@define("10-grid")
def grid(data: ImageData) -> dict[str, Recipe]:
    """Every temperature with every alpha."""
    cache = TeacherCache(zoo.teacher("perceptron", data, announce=False))
    arms = {}
    for hidden in HIDDEN:
        alone = base(data, hidden)
        arms[labels_only(hidden)] = alone
        for temperature in TEMPERATURES:
            for alpha in ALPHAS:
                method = Distillation(temperature=temperature, alpha=alpha)
                arms[setting(hidden, temperature, alpha)] = replace(alone, method=method, teacher=cache)
    return arms
