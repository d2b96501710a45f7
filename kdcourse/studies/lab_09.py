"""The studies of lab 09, Distil BERT for sentiment: a student short of labels, and sentences without labels in plenty.

Weights and temperature were chosen on validation data with seed 100, which no study uses; steps and learning rate with seeds 100
to 102, after runs at a rate of 2e-3 had stayed where they began, at the more frequent class, with some seeds.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from torch import nn

from kdcourse import zoo
from kdcourse.data.texts import Sentences, TextData
from kdcourse.evaluation import measure
from kdcourse.experiments.experiment import TextRecipe
from kdcourse.experiments.facts import starts_trained
from kdcourse.models.sentiment import SentimentClassifier, bert, every_second_layer
from kdcourse.studies.engine import define

LABELLED = 1000  # sentences
TRANSFER = 20_000  # sentences without their labels, or with all of them
STUDENT = {"width": 64, "depth": 2}
HOME = "films"


def small(data: TextData) -> TextRecipe:
    """What the arms share: a student that is short of labels."""
    labelled = partial(data.train.sample, LABELLED)
    return TextRecipe(partial(bert, **STUDENT), labelled, temperature=2.0, steps=600, learning_rate=5e-4)


@define("09-sentiment", family="texts")
def sentiment(data: TextData) -> dict[str, TextRecipe]:
    """Labels only against the teacher's answers: on the same sentences, on many without labels, with inner losses too."""
    alone, many = small(data), data.train.sample(TRANSFER)
    taught = replace(alone, teacher=zoo.sentiment_teacher(announce=False))
    free = replace(taught, train=many.unlabelled(), alpha=1.0)
    return {
        "labels only": alone,
        "KD": taught,
        "KD, no labels": free,
        "KD + hidden states": replace(free, hidden=1.0),
        "KD + attention": replace(free, attention=10.0),
        "every label": replace(alone, train=many),
        "KD, every label": replace(taught, train=many, alpha=0.5),
    }


@define("09-half-depth", family="texts")
def half_depth(data: TextData) -> dict[str, TextRecipe]:
    """As DistilBERT: the teacher's width and half of its layers, with fresh weights or with every second layer's."""
    teacher = zoo.sentiment_teacher(announce=False)
    many = data.train.sample(TRANSFER).unlabelled()
    free = replace(small(data), train=many, alpha=1.0, teacher=teacher, steps=200, learning_rate=5e-4)
    return {
        "fresh weights": replace(free, student=partial(_half, teacher, False)),
        "every second layer": replace(free, student=starts_trained(partial(_half, teacher, True))),
    }


def _half(teacher: SentimentClassifier, copy: bool, *, seed: int) -> SentimentClassifier:
    return every_second_layer(teacher, copy=copy, seed=seed)


def _about(home: bool) -> Callable[[nn.Module, Sentences], float]:
    def accuracy(model: nn.Module, split: Sentences) -> float:
        others = sorted(set(split.categories) - {HOME})
        return measure.accuracy(model, split.about(*([HOME] if home else others)))

    return accuracy


@define("09-shift", {"": _about(False), "-home": _about(True)}, family="texts", sets=("reviews",))
def shift(data: TextData) -> dict[str, TextRecipe]:
    """Taught on film reviews, judged on all others; and what sentences of those, without labels, are worth."""
    films = data.train.about(HOME)
    alone = replace(small(data), train=partial(films.sample, LABELLED))
    taught = replace(alone, teacher=zoo.sentiment_teacher(announce=False), alpha=1.0)
    return {
        "labels only, films": alone,
        "KD, films": replace(taught, train=films.unlabelled()),
        "KD, all categories": replace(taught, train=data.train.unlabelled()),
    }
