"""A recipe: which data, how long, and the runs of one published comparison."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kdcourse.data.texts import TITLES
from kdcourse.scale.keys import RecipeError, boolean, choice, component, integer, number, numbers, positive, text
from kdcourse.system.download import sha256

PLAYS = ("tinyshakespeare", "plays")  # data sets of text, read character by character
SENTENCES = tuple(TITLES)  # data sets of sentences, read token by token


@dataclass(frozen=True)
class Data:
    """What is learnt from. name: as `load_images`, `load_characters` or `load_texts` takes it, held in memory; or folder: an
    ImageFolder with `train/` and `val/`, read as it goes. size: pixels a side of a folder's pictures. tokenizer: what cuts
    sentences, that of a model on the Hugging Face hub or in a folder; default the course's own.

    hold_out: keep the validation pictures apart; false learns from them too, as the published figures do.
    only, without: classes, by number. shift: pixels up to which a picture is moved at random. mirror: every other one mirrored.
    crop: a random part of a folder's picture. views: how many fixed ones of these there are of each picture, 0 for endless.
    pictures: learn from so many of them, or sentences, 0 for all. workers: processes of each that decode a folder's pictures.
    test: keep a folder's test pictures apart, that no run sees: those of test/, else of val/, else a fifth; and split off a tenth
    of the training pictures to judge on where there is nothing else.
    """

    name: str | None = text("the name of a data set, or the path of a folder of pictures held in memory")
    folder: str | None = text("the path of a folder with train/<class>/ and val/<class>/")
    size: int = integer(224, least=8)
    tokenizer: str | None = text("the name of a model on the Hugging Face hub, or the path of a folder")
    hold_out: bool = boolean(True)
    only: tuple[int, ...] = numbers("a list of class numbers", int)
    without: tuple[int, ...] = numbers("a list of class numbers", int)
    shift: int = integer(0, least=0)
    mirror: bool = boolean(False)
    crop: bool = boolean(False)
    views: int = integer(0, least=0)
    pictures: int = integer(0, least=0)
    workers: int = integer(8, least=0)
    test: bool = boolean(False)

    @property
    def augmented(self) -> bool:
        return bool(self.shift or self.mirror or self.crop)


@dataclass(frozen=True)
class Training:
    """How long and how: epochs, or steps where given; batch_size is that of all processes together.

    milestones: epochs after which the learning rate is multiplied by `decay`; cosine: it falls to 0 along a cosine instead.
    checkpoint_minutes: between two checkpoints. precision: bf16 and fp16 compute the models' layers in half the bits,
    losses never; fp16, for GPUs such as a T4 that have no bf16, scales gradients and skips a step where they overflow.
    """

    epochs: int = integer(1, least=1)
    steps: int = integer(0, least=0)
    batch_size: int = integer(64, least=1)
    optimizer: str = choice("sgd", "sgd", "adamw")
    learning_rate: float = positive(0.05)
    momentum: float = number(0.9)
    nesterov: bool = boolean(False)
    weight_decay: float = number(0.0)
    milestones: tuple[int, ...] = numbers("a list of epochs", int)
    decay: float = positive(0.1)
    cosine: bool = boolean(False)
    precision: str = choice("fp32", "fp32", "bf16", "fp16")
    checkpoint_minutes: float = positive(10.0)


@dataclass(frozen=True)
class Run:
    """One student. student, method: names, or {name: {argument: value}}; a list of students are peers that learn at once, a list
    of methods is their sum, each `times` its weight.

    teacher: another run of this recipe, a list of them (an ensemble), or a model as `student`.
    A model may also be {file: weights of one's own, model: what they belong to}, as `models.load` takes them; or a network that
    others have trained, {new_head: {body: as `zoo.trained_body` takes it, with its arguments}}, or the same as a `probe`.
    cached: the teacher answers once for each picture, each process for its own part; of a probe without a teacher, its body.
    sharded: its weights are spread over the processes. published: the figure to compare with, in percent, and one for each peer.
    """

    student: Any = component(None, "a model's name, {name: {argument: value}}, or a list of these")  # noqa: RUF009 - a field
    method: Any = component("HardTarget", "a method's name, {name: {argument: value}}, or a list of these")  # noqa: RUF009 - a field
    teacher: Any = component(None, "the name of a run, a list of them, or a model")  # noqa: RUF009 - a field
    cached: bool = boolean(False)
    sharded: bool = boolean(False)
    published: tuple[float, ...] = numbers("a number in percent, or one for each peer", float)
    data: Data = Data()
    training: Training = Training()


@dataclass(frozen=True)
class Recipe:
    """A comparison: title, source and note in words, and its runs by name, teachers before those they teach."""

    name: str
    title: str
    source: str
    note: str
    runs: dict[str, Run]

    def teachers_of(self, name: str) -> list[str]:
        """Those runs of the recipe that teach this one, and so come before it."""
        teacher = self.runs[name].teacher
        teachers = teacher if isinstance(teacher, list) else [teacher]
        return [one for one in teachers if isinstance(one, str) and one in self.runs]

    def order(self, wanted: list[str]) -> list[str]:
        """These runs and those they need, each after its teachers."""
        found: dict[str, None] = {}

        def visit(name: str, waiting: tuple[str, ...]) -> None:
            if name not in self.runs:
                raise RecipeError(f"{self.name}: run must be one of {', '.join(self.runs)}, got {name!r}")
            if name in waiting:
                raise RecipeError(
                    f"{self.name}: runs.{name}.teacher goes round in a circle: {' → '.join((*waiting, name))}"
                )
            for other in self.teachers_of(name):
                visit(other, (*waiting, name))
            found[name] = None

        for name in wanted:
            visit(name, ())
        return list(found)

    def small(self, folder: Path) -> "Recipe":
        """The same runs for two steps on a few built-in pictures, in memory or in `folder`: does every part fit together?"""
        return replace(self, runs={name: _small(run, folder) for name, run in self.runs.items()})


def is_probe(student: Any) -> bool:
    """Whether only a head learns, on a body that is asked once for each picture where the run is cached."""
    return isinstance(student, dict) and "probe" in student


def settings_of(run: Run, seed: int, fingerprints: dict[str, str]) -> str:
    """What a run's outcome depends on, as JSON: the key of its checkpoints. fingerprints: of what no recipe can name."""
    settings = {**_by_content(asdict(run)), "seed": seed, **fingerprints}
    settings.pop("published")
    for name in ("workers", "folder"):
        settings["data"].pop(name)
    settings["training"].pop("checkpoint_minutes")
    return json.dumps(settings, sort_keys=True)


def _by_content(settings: Any) -> Any:
    """The same settings, in which what a file of weights holds stands for where it lies."""
    if isinstance(settings, list | tuple):
        return [_by_content(one) for one in settings]
    if not isinstance(settings, dict):
        return settings
    found = {key: _by_content(value) for key, value in settings.items()}
    if isinstance(found.get("file"), str):
        found["file"] = sha256(Path(found["file"]))
    return found


def _small(run: Run, folder: Path) -> Run:
    if run.data.name:
        examples = {"name": _built_in(run.data.name), "folder": None, "tokenizer": None}
    else:
        examples = {"folder": str(folder), "size": 32, "workers": 0}
    data = replace(run.data, **examples, pictures=24, hold_out=True, views=min(run.data.views, 2))
    training = replace(run.training, steps=2, batch_size=4, precision="fp32")
    student, teacher = _without_weights(run.student), _without_weights(run.teacher)
    return replace(run, data=data, training=training, student=student, teacher=teacher)


def _built_in(name: str) -> str:
    """The data set of the same kind that needs no download."""
    if name in PLAYS:
        return "plays"
    return "reviews" if name in SENTENCES else "glyphs"


def _without_weights(given: Any) -> Any:
    """A model without the weights that would have to be downloaded, or lie in a file for other data."""
    if isinstance(given, list):
        return [_without_weights(one) for one in given]
    if any(str(name).startswith("hub:") for name in (given if isinstance(given, dict) else [given])):
        return "resnet8"
    if not isinstance(given, dict):
        return given
    if given.keys() & {"probe", "new_head"}:
        return {name: {"body": "resnet18", "weights": None} for name in given}
    if "file" in given:
        return _without_weights(given.get("model"))
    if "pretrained" in given:
        return "bert"
    return {
        name: {key: value for key, value in (arguments or {}).items() if key not in ("weights", "pretrained")}
        for name, arguments in given.items()
    }
