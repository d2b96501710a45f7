"""The experiment of an assignment: a student with few labels, with a teacher and without; seconds on any processor."""

from dataclasses import dataclass
from functools import lru_cache, partial

from torch.distributions import Categorical

from kdcourse import models, zoo
from kdcourse.data.glyphs import CHARACTERS, glyphs
from kdcourse.data.images import ImageData
from kdcourse.data.splits import standardised
from kdcourse.evaluation import measure
from kdcourse.experiments.experiment import Recipe, compare
from kdcourse.methods import SoftTarget
from kdcourse.system.arguments import whole_number
from kdcourse.training.loop import TeacherCache

DRAWN = {"train": 4000, "validation": 2000, "test": 2000}  # pictures, before the other classes are left out
STEPS, SEEDS, HIDDEN = 300, 3, 64


@dataclass(frozen=True)
class Setting:
    """What a variant chooses: the pictures and their classes, how many of them have labels, the temperature."""

    data_seed: int
    classes: str
    labelled: int
    temperature: float


def pictures(seed: int, classes: str = CHARACTERS) -> ImageData:
    """Glyphs of some classes, on the CPU, so that every machine finds the same; labels stay 0 to 9.

    seed: at least 0, fixes all three splits. classes: at least two different characters of OQCGDB83S5.
    Raises `ValueError` for other arguments.
    """
    seed = whole_number("seed", seed, least=0)
    if len(set(classes)) < 2 or len(set(classes)) < len(classes) or not set(classes) <= set(CHARACTERS):
        raise ValueError(f"classes must be at least two different characters of {CHARACTERS}, got {classes!r}")
    raw = {part: glyphs(count, 3 * seed + place) for place, (part, count) in enumerate(DRAWN.items())}
    shares = raw["train"][0].double() / 255
    mean, std = (shares.mean().item(),), (shares.std().item(),)
    labels = [CHARACTERS.index(letter) for letter in classes]
    parts = {part: standardised(*drawn, mean, std, "cpu").only(*labels) for part, drawn in raw.items()}
    return ImageData(name="glyphs", classes=tuple(CHARACTERS), mean=mean, std=std, origin="built in", **parts)


@lru_cache
def outcome(setting: Setting) -> dict[str, float]:
    """What the variant's numbers are on this machine.

    `labels_accuracy`: mean test accuracy in percent of the students taught by labels. `gain`: by how many percentage points
    the distilled ones are above, mean over the seeds. `mean_entropy`: of the teacher's softened answers to the test pictures,
    in nats. `hardest_picture`: the place, from 0, of the test picture with the largest of these entropies.
    """
    data = pictures(setting.data_seed, setting.classes)
    teacher = TeacherCache(zoo.teacher("convnet", data, announce=False))
    student = partial(models.perceptron, (HIDDEN,))
    soft = SoftTarget(setting.temperature)
    arms = {
        "labels": Recipe(student, data.train.sample(setting.labelled), steps=STEPS),
        "distilled": Recipe(student, data.train.unlabelled(), soft, teacher, steps=STEPS),
    }
    scores = compare(arms, data, seeds=SEEDS, progress=False).scores.mean()
    answers = measure.predict(teacher.teacher, data.test).double() / setting.temperature
    entropies = Categorical(logits=answers).entropy()
    return {
        "labels_accuracy": float(scores["labels"]),
        "gain": float(scores["distilled"] - scores["labels"]),
        "mean_entropy": entropies.mean().item(),
        "hardest_picture": float(entropies.argmax()),
    }
