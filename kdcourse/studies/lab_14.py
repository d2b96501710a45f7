"""The studies of lab 14, Distil a real classifier: augmented pictures, and what the teacher is asked about them.

Learning rate and number of steps were chosen on validation splits with seeds 100 to 102, which no study uses. A third of the
steps is too few: windows are harder than whole pictures, and a student of them needs patience. Seeds vary first weights and the
order of batches; pictures, views and teachers stay, as for who has one folder. Steps and rate of the teachers were chosen on
validation pictures too.

In the study of ways to train a body each seed has its own labelled pictures, and there are half as many steps as for the lab's
teacher. The usual rate is that teacher's; the low one is the better of 3e-4 and 1e-3 by validation accuracy with seed 100, on
which both arms and both data sets agree.

In the study of signs each seed has teachers of its own; folder and views stay. The students' rate is the better of 1e-2 and 2e-2
by mean validation accuracy with seeds 100 to 102 of the labels' student, that of the tuned body the better of 1e-3 and 3e-3 with
seed 100. Temperature and alpha are those of `kdcourse photographs`; that of 0.5 is a control, and nobody has chosen it.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

from torch import Tensor, nn

from kdcourse import zoo
from kdcourse.data.augment import augmented, random_crop
from kdcourse.data.glyphs import CHARACTERS
from kdcourse.data.samples import NAMES, SIGNS
from kdcourse.data.splits import ImageData, Split
from kdcourse.evaluation import deciding, measure
from kdcourse.experiments.experiment import Equipped, Recipe
from kdcourse.experiments.facts import starts_trained
from kdcourse.experiments.schemes import WarmStart
from kdcourse.methods import Distillation, LabelSmoothing, SoftTarget
from kdcourse.models import separable, with_new_head
from kdcourse.models.tapping import LOGITS
from kdcourse.models.transfer import Probe
from kdcourse.studies.engine import define
from kdcourse.training.cache import TeacherCache
from kdcourse.training.loop import train

LABELLED = 500  # pictures whose label somebody has given
VIEWS = 8  # of each of them
STUDENT = (16, 32, 64, 64)
TEMPERATURE, ALPHA = 2, 0.9
ERROR = 5  # questions to a person that a wrong answer costs as much as
BODY_STEPS = 200  # where several ways to train a body are compared
USUAL_RATE, LOW_RATE, HEAD_RATE = 3e-3, 1e-3, 1e-2
SIGN_VIEWS, SIGN_STEPS, SIGN_RATE = 4, 600, 2e-2  # of the built-in photographs, all of which have a label
BATCH, TEACHER_STEPS, PROBE_STEPS, SMOOTHING = 64, 400, 300, 0.1
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


def homes(data: ImageData) -> tuple[str | None, str | None]:
    """What two bodies have learnt on; None stands for the zoo's choice, CIFAR-10 in colour and glyphs in grey.

    The course's own folders hold classes of CIFAR-10 and of glyphs. There the first body comes from Fashion-MNIST, which has
    none of them; the second one, from the very same classes, is the control. With pictures of one's own they change places.
    """
    other = "fashion-mnist"
    return (other, None) if data.name in NAMES else (None, other)


def own_head(data: ImageData) -> float | None:
    """How often the second body is right with the head that it came with; None where that head has not these classes."""
    if data.name not in NAMES:
        return None
    theirs = tuple(CHARACTERS) if data.name == "glyph-pictures" else data.classes  # CIFAR-10's have the same order
    logits = measure.predict(zoo.body(data), data.test)
    return measure.accuracy(logits[:, [theirs.index(name) for name in data.classes]], data.test)


def probe(data: ImageData, home: str | None = None) -> nn.Module:
    """The cheapest teacher: the body stays as it is, and only a new head learns, from the whole pictures with labels."""
    return zoo.probe(zoo.pretrained(data, home), data, labelled(data))


def tuned(data: ImageData, home: str | None = None) -> nn.Module:
    """Body and head trained on with views of the pictures with labels."""
    model = zoo.pretrained(data, home)
    train(model, views(data), steps=400, batch_size=32, learning_rate=USUAL_RATE, progress=False)
    return model.eval().requires_grad_(False)


@lru_cache(maxsize=4)
def candidates(data: ImageData, home: str | None = None) -> dict[str, nn.Module]:
    """Two teachers of one body."""
    return {"new head only": probe(data, home), "body and head": tuned(data, home)}


@lru_cache(maxsize=4)
def asked(data: ImageData, home: str | None = None) -> TeacherCache:
    """The better of the two on validation pictures."""
    return TeacherCache(max(candidates(data, home).values(), key=lambda one: measure.accuracy(one, data.validation)))


def teacher(data: ImageData) -> nn.Module:
    return asked(data, homes(data)[0]).teacher


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


def taught(data: ImageData, home: str | None) -> Recipe:
    """The same student with a teacher of this body, which answers for the views that it sees."""
    method = Distillation(temperature=TEMPERATURE, alpha=ALPHA)
    return replace(alone(data), method=method, teacher=asked(data, home))


@define("14-views", family="folders")
def same_views(data: ImageData) -> dict[str, Recipe]:
    """Labels and KD, each with whole pictures and with views; then other answers, and the same under a second body."""
    base, few = alone(data), labelled(data)

    def taught_by(home: str | None) -> dict[str, Recipe]:
        same = taught(data, home)
        return {
            "KD, no views": replace(same, train=few),
            "KD, same view": same,
            "KD, whole picture": replace(same, teacher=WholeImageAnswers(same.teacher, few)),
        }

    first, second = (taught_by(home) for home in homes(data))
    rounds = max(1, VIEWS * len(few) // len(data.train))  # as many views in all
    every = augmented(data.train.unlabelled(), rounds, augment=augmentation(data))
    return {
        "labels only": base,
        "labels, no views": replace(base, train=few),
        **first,
        "KD, all pictures": replace(first["KD, same view"], train=every, method=SoftTarget(TEMPERATURE)),
        **{f"second body: {arm}": second[arm] for arm in ("KD, same view", "KD, whole picture")},
    }


def saved(student: nn.Module, split: Split, threshold: float | None = None) -> float:
    """Of 100 questions, those that 100 pictures save where the student answers some: 100 less what its answers cost.

    threshold: from which confidence on it answers; default the one that validation pictures chose for it.
    """
    threshold = student.threshold if threshold is None else threshold
    return 100 - 100 * deciding.answers(student, split).costs(threshold, error=ERROR).mean().item()


def covered(student: nn.Module, split: Split) -> float:
    """How much the student answers at its threshold, in percent."""
    return deciding.answers(student, split).coverage(student.threshold)


def wrong_among_answered(student: nn.Module, split: Split) -> float:
    """How many of those answers are wrong, in percent; 0 where it gives none."""
    right = deciding.answers(student, split).accuracy(student.threshold)
    return 0.0 if right is None else 100 - right


def threshold_of(student: nn.Module, split: Split) -> float:
    """The student's threshold. split: not looked at."""
    return student.threshold


DECISIONS = {
    "": saved,
    "-chow": partial(saved, threshold=deciding.chows_threshold(error=ERROR)),
    "-always": partial(saved, threshold=0.0),
    "-covered": covered,
    "-wrong": wrong_among_answered,
    "-threshold": threshold_of,
}


@define("14-decide", DECISIONS, family="folders")
def decide(data: ImageData) -> dict[str, Equipped]:
    """When should students answer? Each has a threshold of its own, the cheapest on validation pictures."""

    def choose(student: nn.Module, seed: int) -> None:
        given = deciding.answers(student, data.validation)
        student.threshold = deciding.cheapest_threshold(given, error=ERROR)

    arms = {"labels only": alone(data), "KD, same view": taught(data, homes(data)[0])}
    return {name: Equipped(arm, choose) for name, arm in arms.items()}


class Thawed(WarmStart):
    """Students that begin as trained probes do, and all of whose layers learn from here on."""

    def __call__(self, *, seed: int = 0) -> nn.Module:
        return _thawed(super().__call__(seed=seed))

    def untrained(self, *, seed: int = 0) -> nn.Module:
        return _thawed(super().untrained(seed=seed))


def _thawed(probe: Probe) -> nn.Module:
    model = nn.Sequential(probe.body, probe.head).requires_grad_(True)
    model.label = "thawed " + probe.label
    return model


@define("14-low-rate", family="folders", equal_budgets=False)
def low_rate(data: ImageData) -> dict[str, Recipe]:
    """The first body under a new head: both at the usual rate and at a low one, the head alone, and the head before both.

    All arms have the same number of steps and of views in each; where the head goes first, half of the steps are its own.
    """
    home, classes = homes(data)[0], len(data.classes)

    def some_views(seed: int) -> Split:
        few = data.train.sample(min(LABELLED, len(data.train)), seed)
        return augmented(few, VIEWS, augment=augmentation(data), seed=seed)

    whole = starts_trained(lambda seed: with_new_head(zoo.body(data, home), classes, seed=seed))
    frozen = starts_trained(lambda seed: Probe(zoo.body(data, home), classes, seed=seed).to(data.train.device))
    usual = Recipe(whole, some_views, steps=BODY_STEPS, batch_size=32, learning_rate=USUAL_RATE)
    probed = replace(usual, student=frozen, learning_rate=HEAD_RATE)
    half = BODY_STEPS // 2
    return {
        "body and head": usual,
        "body and head, low rate": replace(usual, learning_rate=LOW_RATE),
        "head only": probed,
        "head, then both, low rate": replace(
            usual, student=Thawed(replace(probed, steps=half)), steps=half, learning_rate=LOW_RATE
        ),
    }


@dataclass(frozen=True)
class Teaching(Recipe):
    """An arm whose students teach those of other arms: each is trained once. `Recipe.teacher`: this arm's `answers`."""

    trained: dict[int, nn.Module] = field(default_factory=dict, init=False, repr=False, compare=False)

    def run(self, seed: int = 0, *, progress: bool = False) -> nn.Module:
        if seed not in self.trained:
            self.trained[seed] = super().run(seed, progress=progress)
        return self.trained[seed]

    @property
    def answers(self) -> Callable[[int], TeacherCache]:
        return lambda seed: TeacherCache(self.run(seed))


@define("14-signs", family="folders", sets=(SIGNS,), equal_budgets=False)
def signs(data: ImageData) -> dict[str, Recipe]:
    """What `kdcourse photographs` compares, on its own folder: labels, and two teachers of one body, which are arms themselves.

    All arms but the first teacher learn from the same views of all training pictures. That one is a probe, and learns from the
    pictures as they are.
    """
    classes = len(data.classes)
    seen = augmented(data.train, SIGN_VIEWS, augment=augmentation(data))
    student = partial(separable, classes=classes, channels=data.train.images.shape[1])
    labels = Recipe(student, seen, steps=SIGN_STEPS, learning_rate=SIGN_RATE, batch_size=BATCH)
    whole = starts_trained(lambda seed: with_new_head(zoo.body(data), classes, seed=seed))
    frozen = starts_trained(lambda seed: Probe(zoo.body(data), classes, seed=seed).to(data.train.device))
    probed = Teaching(frozen, data.train, steps=PROBE_STEPS, learning_rate=HEAD_RATE, batch_size=BATCH)
    tuned = Teaching(whole, seen, steps=TEACHER_STEPS, learning_rate=USUAL_RATE, batch_size=BATCH)
    method = Distillation(temperature=TEMPERATURE, alpha=ALPHA)
    half = Distillation(temperature=TEMPERATURE, alpha=0.5)
    return {
        "labels only": labels,
        "labels, twice the steps": replace(labels, steps=2 * SIGN_STEPS),
        "label smoothing": replace(labels, method=LabelSmoothing(SMOOTHING)),
        "the probe": probed,
        "KD from the probe": replace(labels, method=method, teacher=probed.answers),
        "KD from the probe, alpha 0.5": replace(labels, method=half, teacher=probed.answers),
        "the tuned body": tuned,
        "KD from the tuned body": replace(labels, method=method, teacher=tuned.answers),
    }
