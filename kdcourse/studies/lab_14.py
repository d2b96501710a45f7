"""The studies of lab 14, Distil a real classifier: augmented pictures, and what the teacher is asked about them.

Learning rate and number of steps were chosen on validation splits with seeds 100 to 102, which no study uses. A third of the
steps is too few: windows are harder than whole pictures, and a student of them needs patience. Seeds vary first weights and the
order of batches; pictures, views and teacher stay, as for who has one folder.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache, partial

from torch import Tensor, nn

from kdcourse import zoo
from kdcourse.data.augment import augmented, random_crop
from kdcourse.data.splits import ImageData, Split
from kdcourse.experiments.experiment import Recipe
from kdcourse.methods import Distillation, SoftTarget
from kdcourse.models import separable
from kdcourse.models.tapping import LOGITS
from kdcourse.studies.engine import define
from kdcourse.training.cache import TeacherCache
from kdcourse.training.loop import train

LABELLED = 500  # pictures whose label somebody has given
VIEWS = 8  # of each of them
STUDENT = (16, 32, 64, 64)
TEMPERATURE, ALPHA = 2, 0.9
UPRIGHT = ("glyph-pictures",)  # folders whose pictures mean something else in a mirror


def augmentation(data: ImageData):
    """Called as augment(images, generator=...): crops, and mirrors where a mirror changes no meaning."""
    return partial(random_crop, flip=data.name not in UPRIGHT)


@lru_cache(maxsize=2)
def labelled(data: ImageData) -> Split:
    """The few pictures with labels."""
    return data.train.sample(min(LABELLED, len(data.train)))


@lru_cache(maxsize=2)
def views(data: ImageData) -> Split:
    """Fixed views of the pictures with labels."""
    return augmented(labelled(data), VIEWS, augment=augmentation(data))


@lru_cache(maxsize=2)
def teacher(data: ImageData) -> nn.Module:
    """A network that has learnt elsewhere, trained on with the few labels of this folder; frozen."""
    model = zoo.pretrained(data)
    train(model, views(data), steps=150, batch_size=32, learning_rate=1e-3, progress=False)
    return model.eval().requires_grad_(False)


@lru_cache(maxsize=2)
def asked(data: ImageData) -> TeacherCache:
    return TeacherCache(teacher(data))


class WholeImageAnswers(TeacherCache):
    """The mistake: a view is given the answer to the whole picture that it was cut from."""

    def __init__(self, cache: TeacherCache, whole: Split):
        super().__init__(cache.teacher)
        self.cache, self.whole = cache, whole

    def outputs(self, split: Split, names: Iterable[str] = (LOGITS,)) -> dict[str, Tensor]:
        """As `TeacherCache.outputs`, for a split of fixed views of the whole pictures."""
        answers = self.cache.outputs(self.whole, names)
        views = len(split) // len(self.whole)
        return {name: answer.repeat(views, *[1] * (answer.ndim - 1)) for name, answer in answers.items()}


def alone(data: ImageData) -> Recipe:
    """What the arms share: a student that learns from views of the few labelled pictures."""
    student = partial(separable, STUDENT, classes=len(data.classes), channels=data.train.images.shape[1])
    return Recipe(student, views(data), steps=900, batch_size=32, learning_rate=2e-2)


@define("14-views", family="folders")
def same_views(data: ImageData) -> dict[str, Recipe]:
    """Labels only and KD, with augmentation and without; the teacher asked about the view or about the whole picture."""
    base, few, cache = alone(data), labelled(data), asked(data)
    taught = replace(base, method=Distillation(temperature=TEMPERATURE, alpha=ALPHA), teacher=cache)
    rounds = max(1, VIEWS * len(few) // len(data.train))  # as many views in all
    every = augmented(data.train.unlabelled(), rounds, augment=augmentation(data))
    return {
        "labels only": base,
        "KD, no views": replace(taught, train=few),
        "KD, whole picture": replace(taught, teacher=WholeImageAnswers(cache, few)),
        "KD, same view": taught,
        "KD, all pictures": replace(taught, train=every, method=SoftTarget(TEMPERATURE)),
    }
