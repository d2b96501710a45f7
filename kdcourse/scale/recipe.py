"""A recipe: which data, how long, and the runs of one published comparison, read from YAML and checked key by key."""

import difflib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

from kdcourse.scale.keys import RecipeError, calls, choice, number, numbers, switch, text, whole

SHIPPED = Path(__file__).parent.parent / "recipes"


@dataclass(frozen=True)
class Data:
    """What is learnt from. name: as `load_images` or `load_characters` takes it, held in memory; or folder: an ImageFolder with
    `train/` and `val/`, read as it goes. size: pixels a side of a folder's pictures.

    hold_out: keep the validation pictures apart; false learns from them too, as the published figures do.
    only, without: classes, by number. shift: pixels up to which a picture is moved at random. mirror: every other one mirrored.
    crop: a random part of a folder's picture. views: how many fixed ones of these there are of each picture, 0 for endless.
    pictures: learn from so many of them, 0 for all. workers: processes of each process that decode a folder's pictures.
    """

    name: str | None = text(None, "the name of a data set, or the path of a folder of pictures held in memory")
    folder: str | None = text(None, "the path of a folder with train/<class>/ and val/<class>/")
    size: int = whole(224, 8)
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


def shipped() -> list[str]:
    """The names of the recipes that come with the course."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read_recipe(where: str | Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A shipped recipe by name, or one from a file. changes: "data.folder" -> value, put into every run.

    Raises `RecipeError` for what is no recipe, naming the key.
    """
    import yaml

    path = Path(where) if str(where).endswith((".yaml", ".yml")) else SHIPPED / f"{where}.yaml"
    if not path.is_file():
        raise RecipeError(f"recipe must be a YAML file or one of {', '.join(shipped())}, got {str(where)!r}")
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path.name} is no YAML: {' '.join(str(error).split())}") from error
    return _recipe(path.stem, found, changes or {})


def settings_of(run: Run, seed: int) -> str:
    """What a run's outcome depends on, as JSON: the key of its checkpoints."""
    known = {**asdict(run), "seed": seed}
    known.pop("published")
    for name in ("workers", "folder"):
        known["data"].pop(name)
    known["training"].pop("checkpoint_minutes")
    return json.dumps(known, sort_keys=True)


def _recipe(name: str, found: Any, changes: Mapping[str, Any]) -> Recipe:
    keys = ("title", "source", "note", "data", "training", "runs")
    _known_keys(name, "", found, keys)
    if not isinstance(found.get("runs"), dict) or not found["runs"]:
        raise RecipeError(f"{name}: runs must name at least one run, got {found.get('runs')!r}")
    runs = {}
    for label, given in found["runs"].items():
        _known_keys(name, f"runs.{label}", given, [one.name for one in fields(Run)])
        parts = {}
        for part, kind in (("data", Data), ("training", Training)):
            own = given.get(part) or {}
            changed = {key.split(".", 1)[1]: value for key, value in changes.items() if key.startswith(f"{part}.")}
            _known_keys(name, f"runs.{label}.{part}", own, [one.name for one in fields(kind)])
            common = found.get(part) or {}
            _known_keys(name, part, common, [one.name for one in fields(kind)])
            parts[part] = _build(kind, {**common, **own, **changed}, name, part if not own else f"runs.{label}.{part}")
        rest = {key: value for key, value in given.items() if key not in parts}
        runs[str(label)] = replace(_build(Run, rest, name, f"runs.{label}"), **parts)
    _check_changes(name, changes)
    recipe = Recipe(name, *(str(found.get(key, "")).strip() for key in ("title", "source", "note")), runs)
    recipe.order(list(runs))
    for label, run in runs.items():
        _check_run(f"{name}: runs.{label}", run)
    if len({run.training.precision for run in runs.values()}) > 1:
        raise RecipeError(f"{name}: training.precision must be the same in all runs")
    return recipe


def _build(kind: type, given: Mapping[str, Any], name: str, where: str) -> Any:
    values = {}
    for one in fields(kind):
        if one.name in given and "read" in one.metadata:
            value = given[one.name]
            try:
                values[one.name] = None if value is None and one.default is None else one.metadata["read"](value)
            except (TypeError, ValueError) as error:
                raise RecipeError(
                    f"{name}: {where}.{one.name} must be {one.metadata['accepted']}, got {value!r}"
                ) from error
    return kind(**values)


def _check_run(where: str, run: Run) -> None:
    data = run.data
    if run.student is None:
        raise RecipeError(f"{where}.student must be a model's name, got nothing")
    if (data.name is None) == (data.folder is None):
        raise RecipeError(f"{where}.data must have either name or folder, got {data.name!r} and {data.folder!r}")
    if data.crop and data.folder is None:
        raise RecipeError(f"{where}.data.crop must be false for data in memory, got true; shift moves those")
    if run.cached and data.augmented and not data.views:
        raise RecipeError(
            f"{where}.cached must be false where pictures are augmented without end, got true; fix their number by data.views"
        )
    if run.cached and run.sharded:
        raise RecipeError(
            f"{where}.cached must be false where the teacher is sharded and answers on all processes at once"
        )
    if run.cached and run.teacher is None:
        raise RecipeError(f"{where}.cached must be false without a teacher, got true")


def _check_changes(name: str, changes: Mapping[str, Any]) -> None:
    known = [f"{part}.{one.name}" for part, kind in (("data", Data), ("training", Training)) for one in fields(kind)]
    for key in changes:
        if key not in known:
            raise RecipeError(f"{name}: {_unknown(key, known)}")


def _known_keys(name: str, where: str, given: Any, known: list[str] | tuple[str, ...]) -> None:
    if not isinstance(given, dict):
        raise RecipeError(f"{name}: {where or 'a recipe'} must be a mapping of {', '.join(known)}, got {given!r}")
    for key in given:
        if key not in known:
            raise RecipeError(f"{name}: {_unknown(f'{where}.{key}' if where else str(key), known)}")


def _unknown(key: str, known: list[str] | tuple[str, ...]) -> str:
    near = difflib.get_close_matches(key, known, 1) or difflib.get_close_matches(key.split(".")[-1], known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{key} is no key of a recipe{hint} (accepted: {', '.join(known)})"


def _small(run: Run, folder: Path) -> Run:
    pictures = (
        {"name": "glyphs", "folder": None} if run.data.name else {"folder": str(folder), "size": 32, "workers": 0}
    )
    data = replace(run.data, **pictures, pictures=24, hold_out=True, views=min(run.data.views, 2))
    if run.data.name in ("tinyshakespeare", "plays"):
        data = replace(data, name="plays")
    training = replace(run.training, steps=2, batch_size=4, precision="fp32")
    return replace(run, data=data, training=training, student=_fresh(run.student), teacher=_fresh(run.teacher))


def _fresh(given: Any) -> Any:
    """A model without the weights that would have to be downloaded."""
    if isinstance(given, dict):
        return {
            name: {key: value for key, value in (more or {}).items() if key != "weights"}
            for name, more in given.items()
        }
    return given
