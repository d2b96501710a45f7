"""What a study is, and where it is found by its name.

A lab shows what is stored and runs some arms again:

    methods = kd.study("04-methods", data)
    methods.stored().table()
    methods.run("labels only", "attention transfer", seeds=2)
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from importlib import import_module
from pathlib import Path

from torch import nn

from kdcourse.data.splits import ImageData, Split
from kdcourse.evaluation import measure
from kdcourse.experiments import ledger
from kdcourse.experiments.experiment import Arm, compare
from kdcourse.experiments.ledger import Comparison

SEEDS = 5
Metric = Callable[[nn.Module, Split], float]
Build = Callable[[ImageData], Mapping[str, Arm]]

ACCURACY: dict[str, Metric] = {"": measure.accuracy}
_DEFINITIONS: dict[str, "Definition"] = {}


@dataclass(frozen=True)
class Family:
    """Data of one kind: what loads them by name, the variable that names the default, and the sets that results are kept for."""

    loader: str
    variable: str
    sets: tuple[str, ...]


FAMILIES = {
    "images": Family("load_images", "KDCOURSE_DATASET", ("fashion-mnist", "glyphs")),
    "texts": Family("load_texts", "KDCOURSE_TEXTS", ("sst2", "reviews")),
    "folders": Family("load_pictures", "KDCOURSE_PICTURES", ("cifar10-pictures", "glyph-pictures")),
    "characters": Family("load_characters", "KDCOURSE_CHARACTERS", ("tinyshakespeare", "plays")),
    "sums": Family("load_sums", "", ("sums",)),
}


@dataclass(frozen=True)
class Definition:
    """What `define` registers: a study that still lacks its data."""

    build: Build
    metrics: Mapping[str, Metric]
    equal_budgets: bool
    seeds: tuple[int, ...]
    family: Family


@dataclass(frozen=True)
class Study:
    """Recipes that are compared on one data set, the first being the baseline.

    name: the lab's number and a word, the ledger's file name. metrics: suffix of the name -> metric(student, split); the
    plain name has the suffix "". seeds: those that its ledger holds.
    """

    name: str
    data: ImageData = field(repr=False)
    recipes: Mapping[str, Arm]
    metrics: Mapping[str, Metric] = field(default_factory=lambda: ACCURACY)
    equal_budgets: bool = True
    seeds: tuple[int, ...] = tuple(range(SEEDS))

    def run(self, *arms: str, seeds: int | Iterable[int] | None = None, progress: bool = True) -> Comparison:
        """Train again: these arms (default all), with the study's first so many seeds, or these; judged by the first metric."""
        for arm in arms:
            if arm not in self.recipes:
                raise ValueError(f"arms must be among {', '.join(self.recipes)}, got {arm!r}")
        if seeds is None or isinstance(seeds, int):
            seeds = self.seeds[:seeds]
        chosen = {arm: self.recipes[arm] for arm in arms or self.recipes}
        return compare(
            chosen,
            self.data,
            seeds=seeds,
            metric=next(iter(self.metrics.values())),
            equal_budgets=self.equal_budgets,
            progress=progress,
        )

    def store(self, *, folder: Path | None = None, progress: bool = True) -> list[Path]:
        """Run everything and write the ledger: what `kdcourse results` does. folder: as in `ledger.keep`."""
        outcome = self.run(progress=progress)
        descriptions = {arm: recipe.describe(outcome.students[arm][0]) for arm, recipe in self.recipes.items()}
        return [
            ledger.keep(
                self.name + suffix, outcome.evaluated_by(metric, self.data), descriptions, self.data, folder=folder
            )
            for suffix, metric in self.metrics.items()
        ]

    @property
    def kept(self) -> bool:
        """Whether results are kept for these data, so that what is run again can be held against `stored`."""
        return self.data.name in _definition(self.name).family.sets

    def stored(self, suffix: str = "") -> Comparison:
        """What the course ships of it, by the metric of this suffix."""
        if suffix not in self.metrics:
            raise ValueError(f"suffix must be one of {', '.join(map(repr, self.metrics))}, got {suffix!r}")
        return ledger.stored(self.name + suffix, self.data)


def define(
    name: str,
    metrics: Mapping[str, Metric] = ACCURACY,
    *,
    equal_budgets: bool = True,
    seeds: Iterable[int] = range(SEEDS),
    family: str = "images",
    sets: tuple[str, ...] | None = None,
) -> Callable[[Build], Build]:
    """Register a function of the data that gives the arms of the study of this name.

    family: one of `FAMILIES`. sets: the data sets that results are kept for; default the family's.
    """
    kind = FAMILIES[family] if sets is None else replace(FAMILIES[family], sets=sets)

    def register(build: Build) -> Build:
        _DEFINITIONS[name] = Definition(build, metrics, equal_budgets, tuple(seeds), kind)
        return build

    return register


def study(name: str, data: ImageData) -> Study:
    """The study of this name on these data. Raises `ValueError` with the known names for another."""
    found = _definition(name)
    return Study(name, data, found.build(data), found.metrics, found.equal_budgets, found.seeds)


def of_lab(number: str) -> list[str]:
    """The names of one lab's studies."""
    return [name for name in all_studies() if name.startswith(f"{number}-")]


def family_of(name: str) -> Family:
    """The kind of data that a study is run on; `images` for what is no study."""
    return _definition(name).family if name in all_studies() else FAMILIES["images"]


def seeds_of(name: str) -> tuple[int, ...]:
    """The seeds that a study's ledger holds."""
    return _definition(name).seeds


def metrics_of(name: str) -> list[str]:
    """The suffixes under which a study's measures are stored."""
    return list(_definition(name).metrics)


def all_studies() -> list[str]:
    """The names of every lab's studies."""
    for path in sorted(Path(__file__).parent.glob("lab_*.py")):
        import_module(f"kdcourse.studies.{path.stem}")
    return sorted(_DEFINITIONS)


def _definition(name: str) -> Definition:
    if name not in all_studies():
        raise ValueError(f"name must be one of {', '.join(all_studies())}, got {name!r}")
    return _DEFINITIONS[name]
