"""A recipe: which data, how long, and the runs of one published comparison."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from kdcourse.data.texts import TITLES
from kdcourse.scale.keys import RecipeError, calls, choice, number, numbers, switch, text, whole

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
    """

    name: str | None = text(None, "the name of a data set, or the path of a folder of pictures held in memory")
    folder: str | None = text(None, "the path of a folder with train/<class>/ and val/<class>/")
    size: int = whole(224, 8)
    tokenizer: str | None = text(None, "the name of a model on the Hugging Face hub, or the path of a folder")
    hold_out: bool = switch(True)
    only: tuple[int, ...] = numbers("a list of class numbers", int)
    without: tuple[int, ...] = numbers("a list of class numbers", int)
    shift: int = whole(0, 0)
    mirror: bool = switch(False)
    crop: bool = switch(False)
    views: int = whole(0, 0)
    pictures: int = whole(0, 0)
    workers: int = whole(8, 0)

    @property
    def augmented(self) -> bool:
        return bool(self.shift or self.mirror or self.crop)


@dataclass(frozen=True)
class Training:
    """How long and how: epochs, or steps where given; batch_size is that of all processes together.

    milestones: epochs after which the learning rate is multiplied by `decay`; cosine: it falls to 0 along a cosine instead.
    checkpoint_minutes: between two checkpoints. precision: bf16 computes the models' layers in half the bits, losses never.
    """

    epochs: int = whole(1, 1)
    steps: int = whole(0, 0)
    batch_size: int = whole(64, 1)
    optimizer: str = choice("sgd", "sgd", "adamw")
    learning_rate: float = number(0.05, above=True)
    momentum: float = number(0.9)
    nesterov: bool = switch(False)
    weight_decay: float = number(0.0)
    milestones: tuple[int, ...] = numbers("a list of epochs", int)
    decay: float = number(0.1, above=True)
    cosine: bool = switch(False)
    precision: str = choice("fp32", "fp32", "bf16")
    checkpoint_minutes: float = number(10.0, above=True)


@dataclass(frozen=True)
class Run:
    """One student. student, method: names, or {name: {argument: value}}; a list of students are peers that learn at once, a list
    of methods is their sum, each `times` its weight.

    teacher: another run of this recipe, a list of them (an ensemble), or a model as `student`.
    cached: the teacher answers once for each picture, each process for its own part. sharded: its weights are spread over the
    processes. published: the figure to compare with, in percent, and one for each peer.
    """

    student: Any = calls(None, "a model's name, {name: {argument: value}}, or a list of these")  # noqa: RUF009 - a field
    method: Any = calls("HardTarget", "a method's name, {name: {argument: value}}, or a list of these")  # noqa: RUF009 - a field
    teacher: Any = calls(None, "the name of a run, a list of them, or a model")  # noqa: RUF009 - a field
    cached: bool = switch(False)
    sharded: bool = switch(False)
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

    def taught_by(self, name: str) -> list[str]:
        """The runs that must have been made before this one."""
        teacher = self.runs[name].teacher
        wanted = teacher if isinstance(teacher, list) else [teacher]
        return [one for one in wanted if isinstance(one, str) and one in self.runs]

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
            for other in self.taught_by(name):
                visit(other, (*waiting, name))
            found[name] = None

        for name in wanted:
            visit(name, ())
        return list(found)

    def small(self, folder: Path) -> "Recipe":
        """The same runs for two steps on a few built-in pictures, in memory or in `folder`: does every part fit together?"""
        return replace(self, runs={name: _small(run, folder) for name, run in self.runs.items()})


def settings_of(run: Run, seed: int, **prints: str) -> str:
    """What a run's outcome depends on, as JSON: the key of its checkpoints. prints: fingerprints of what no recipe can name."""
    known = {**asdict(run), "seed": seed, **prints}
    known.pop("published")
    for name in ("workers", "folder"):
        known["data"].pop(name)
    known["training"].pop("checkpoint_minutes")
    return json.dumps(known, sort_keys=True)


def _small(run: Run, folder: Path) -> Run:
    if run.data.name:
        built_in = {"plays": PLAYS, "reviews": SENTENCES}
        name = next((name for name, others in built_in.items() if run.data.name in others), "glyphs")
        examples = {"name": name, "folder": None, "tokenizer": None}
    else:
        examples = {"folder": str(folder), "size": 32, "workers": 0}
    data = replace(run.data, **examples, pictures=24, hold_out=True, views=min(run.data.views, 2))
    training = replace(run.training, steps=2, batch_size=4, precision="fp32")
    return replace(run, data=data, training=training, student=_fresh(run.student), teacher=_fresh(run.teacher))


def _fresh(given: Any) -> Any:
    """A model without the weights that would have to be downloaded."""
    if isinstance(given, dict) and "pretrained" in given:
        return "bert"
    if isinstance(given, dict):
        return {
            name: {key: value for key, value in (more or {}).items() if key != "weights"}
            for name, more in given.items()
        }
    return given
