"""The studies of lab 03, Distil responses.

In `03-size-and-data` students of three sizes learn from few pictures or all, from labels or from the teacher. In
`03-label-worth` the pictures are 10 of each class: drawn, chosen, averaged or learnt, with labels or with teachers' answers.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial

from torch import nn

from kdcourse import zoo
from kdcourse.data.splits import ImageData, Split
from kdcourse.experiments import condensation
from kdcourse.experiments.experiment import Recipe
from kdcourse.methods import LabelSmoothing, SoftTarget
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


FEW = 10  # pictures of each class
MORE = (2, 5, 10)  # times as many random pictures, with hard labels
WORTH_STEPS = 400
SMOOTHING = 0.1
# The best by validation accuracy on Fashion-MNIST with seeds 100 to 102; glyphs get the same. What was tried stands behind.
EARLY_STEPS = 200  # of the teacher that is stopped early, in place of 5,000: 30, 60, 100, 200, 400, on random pictures
TEMPERATURES = {"soft": 1, "early": 4}  # 1, 2, 4; by the mean over the four kinds of pictures
FEATURES, MATCHING_RATE = 1024, 5.0  # 256 with 3 and 5, 1024 with 5; 256 with 3 and three times the steps
MATCHING = {"steps": 500, "batch_size": 64}


def random_features(data: ImageData, *, seed: int) -> nn.Module:
    """What learnt pictures are matched by: the hidden units of a perceptron with random weights, (N, …) -> (N, FEATURES)."""
    return nn.Sequential(nn.Flatten(), perceptron((FEATURES,), **data.sizes, seed=seed).hidden)


def condensed(data: ImageData) -> dict[str, Callable[[int], Split]]:
    """Ways to 10 pictures of each class, by seed: each keeps what it made, and says by `work(seed)` what that took."""
    train, features = data.train, partial(random_features, data)
    ways = {
        "random": lambda seed: train.sample(FEW * len(data.classes), seed),
        "chosen": lambda seed: condensation.nearest(train, ways["averages"](seed)),
        "averages": lambda seed: condensation.centres(train, FEW, seed),
        "learnt": lambda seed: condensation.matched(
            train, FEW, features, learning_rate=MATCHING_RATE, seed=seed, **MATCHING
        ),
    }
    ways = {name: lru_cache(way) for name, way in ways.items()}
    for name in ("chosen", "averages"):
        ways[name].work = lambda seed: condensation.work_of_centres(train, FEW)
    ways["learnt"].work = lru_cache(
        lambda seed: condensation.work_of_matching(train, FEW, features, seed=seed, **MATCHING)
    )
    return ways


def early_teacher(data: ImageData, *, seed: int = 0) -> nn.Module:
    """A teacher of the shipped perceptron's shape that was stopped early: a few steps, on all training pictures."""
    build = partial(perceptron, (1200, 1200), **data.sizes, dropout=0.5)
    recipe = Recipe(build, data.train, steps=EARLY_STEPS, learning_rate=1e-3, weight_decay=0.05)
    return recipe.run(seed).requires_grad_(False)


@define("03-label-worth")
def label_worth(data: ImageData) -> dict[str, Recipe]:
    """Which pictures, and which labels: `hard`, a finished teacher's (`soft`), or those of one that was stopped `early`."""
    ways = condensed(data)
    hard = Recipe(partial(perceptron, (64,), **data.sizes), ways["random"], steps=WORTH_STEPS)
    finished = TeacherCache(zoo.teacher("perceptron", data, announce=False))
    early = lru_cache(lambda seed: TeacherCache(early_teacher(data, seed=seed)))
    teachers = {"soft": finished, "early": lambda seed: early(seed)}
    arms = {}
    for pictures, way in ways.items():
        arms[f"{pictures}, hard"] = replace(hard, train=way)
        for labels, teacher in teachers.items():
            method = SoftTarget(TEMPERATURES[labels])
            arms[f"{pictures}, {labels}"] = replace(hard, train=way, method=method, teacher=teacher)
    arms["random, smoothed"] = replace(hard, method=LabelSmoothing(SMOOTHING))
    for times in MORE:
        count = times * FEW * len(data.classes)
        arms[f"{times} × random, hard"] = replace(hard, train=partial(data.train.sample, count))
    return arms
