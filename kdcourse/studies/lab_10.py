"""The studies of lab 10, Tune temperature and alpha: a grid for two sizes of student, and patience on fixed and fresh views.

Of patience: each seed has its own pictures and its own views of them. How much of a picture a view shows was chosen with seed
100: large enough that the teacher, which has learnt from whole pictures, still recognises most views of validation pictures.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from itertools import pairwise
from math import ceil

from kdcourse import zoo
from kdcourse.data.augment import augmented, random_crop
from kdcourse.data.splits import ImageData, Split
from kdcourse.experiments.experiment import Recipe
from kdcourse.methods import Distillation, HardTarget, SoftTarget
from kdcourse.models import perceptron
from kdcourse.studies.engine import define
from kdcourse.studies.lab_04 import PICTURES
from kdcourse.training.cache import TeacherCache
from kdcourse.zoo.images import MIRRORED

HIDDEN = (16, 128)
TEMPERATURES = (1, 2, 4, 8, 16)
ALPHAS = (0.25, 0.5, 0.75, 1.0)
BUDGETS = (125, 500, 2000)  # steps of impatient students and of patient ones, where patience is measured
BATCH, SHOWN = 32, 500  # pictures in each step, and pictures that there are, there
FIXED = 4  # views of each picture, drawn once


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


def budget(way: str, steps: int) -> str:
    """The arm of a student that learns in this way for so many steps."""
    return f"{way}, {steps} steps"


@lru_cache(maxsize=2)
def views(data: ImageData, seed: int, count: int) -> Split:
    """So many views of each of a seed's pictures: windows of most of it, mirrored too where a mirror changes no meaning."""
    window = partial(random_crop, smallest=0.75, flip=data.name in MIRRORED)
    return augmented(data.train.sample(SHOWN, seed), count, augment=window, seed=seed)


@define("10-patience", equal_budgets=False)
def patience(data: ImageData) -> dict[str, Recipe]:
    """Answers to whole pictures, to a few fixed views and to views of which none comes twice; and labels with such views.

    Views that are never repeated are drawn beforehand, as many as the steps need, so each of them is asked about once.
    """
    cache = TeacherCache(zoo.teacher("perceptron", data, announce=False))
    student = partial(perceptron, (HIDDEN[-1],), **data.sizes)
    arms = {}
    for steps in BUDGETS:
        fresh = partial(views, data, count=ceil(steps * BATCH / SHOWN))
        labels = Recipe(student, lambda seed, fresh=fresh: fresh(seed=seed), steps=steps, batch_size=BATCH)
        taught = replace(labels, method=SoftTarget(temperature=4), teacher=cache)
        arms |= {
            budget("whole pictures", steps): replace(taught, train=lambda seed: data.train.sample(SHOWN, seed)),
            budget(f"{FIXED} fixed views", steps): replace(taught, train=lambda seed: views(data, seed, FIXED)),
            budget("fresh views", steps): taught,
            budget("labels, fresh views", steps): labels,
        }
    return arms


def crossing(budgets: Sequence[int], gains: Sequence[float]) -> float | None:
    """The budget at which a gain turns from a loss, below 0, into one above it; None where it does not.

    gains: (K,), one for each of the growing budgets. Between two of them a straight line is drawn over the budget's logarithm.
    """
    for (less, before), (more, after) in pairwise(zip(budgets, gains, strict=True)):
        if before < 0 <= after:
            return less * (more / less) ** (before / (before - after))
    return None
