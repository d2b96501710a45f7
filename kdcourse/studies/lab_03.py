"""The study of lab 03, Distil responses: students of three sizes, few pictures or all, labels or the teacher."""

from dataclasses import replace
from functools import partial

from kdcourse import zoo
from kdcourse.data.splits import ImageData
from kdcourse.experiments.experiment import Recipe
from kdcourse.methods import SoftTarget
from kdcourse.models import perceptron
from kdcourse.studies.engine import define
from kdcourse.studies.lab_04 import PICTURES
from kdcourse.training.cache import TeacherCache

SIZES = (16, 64, 256)  # hidden units of the students
TEMPERATURE = 2
STEPS = 1000


@define("03-size-and-data")
def size_and_data(data: ImageData) -> dict[str, Recipe]:
    """Every student with the same budget, from labels alone and from the shipped perceptron's answers alone."""
    teacher = TeacherCache(zoo.teacher("perceptron", data, announce=False))
    arms = {}
    for pictures in ("few", "all"):
        for hidden in SIZES:
            labels = Recipe(
                partial(perceptron, (hidden,), **data.sizes),
                partial(data.train.sample, PICTURES) if pictures == "few" else data.train,
                steps=STEPS,
            )
            arms[f"{hidden} units, {pictures}, labels"] = labels
            arms[f"{hidden} units, {pictures}, teacher"] = replace(
                labels, method=SoftTarget(TEMPERATURE), teacher=teacher
            )
    return arms
