"""Is the method worth it? Paired comparisons over several seeds, with intervals and a ledger.

Two arms of a comparison share first weights, batches and budget, seed by seed; only what is compared differs. So the
difference is taken within each seed, where the luck of the seed cancels.
"""

import copy
import json
import os
import platform
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from torch import nn

from kdcourse import measure
from kdcourse.data.splits import ImageData, Split
from kdcourse.intervals import Difference, difference
from kdcourse.methods import HardTarget, Method
from kdcourse.storage import cache_folder, write_safely
from kdcourse.training import TeacherCache, train

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Recipe:
    """One arm of a comparison; `dataclasses.replace` makes the next.

    student: called as student(seed=...), gives a model with fresh weights.
    train: the split to learn from, or a function of the seed that gives it (each seed may draw its own examples).
    method, teacher, steps, batch_size, learning_rate, weight_decay: as in `training.train`.
    """

    student: Callable[..., nn.Module]
    train: Split | Callable[[int], Split]
    method: Method = field(default_factory=HardTarget)
    teacher: nn.Module | TeacherCache | None = None
    steps: int = 800
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2

    def run(self, seed: int = 0, *, progress: bool = False) -> nn.Module:
        """Train a fresh student; `seed` fixes its first weights, its examples and the order of its batches."""
        student = self.student(seed=seed)
        train(
            student,
            self.train(seed) if callable(self.train) else self.train,
            copy.deepcopy(self.method),  # a method's own parameters start anew in each run
            teacher=self.teacher,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            order_seed=seed,
            progress=progress,
        )
        return student


@dataclass(frozen=True)
class Comparison:
    """The outcome of `compare`.

    scores, validation: one row a seed, one column an arm; what the metric gave on the test and validation splits.
    students: the trained models of each arm, in the order of the seeds.
    """

    scores: "pd.DataFrame"
    validation: "pd.DataFrame"
    baseline: str
    students: dict[str, list[nn.Module]] = field(repr=False)

    def difference(self, arm: str, baseline: str | None = None) -> Difference:
        """By how much `arm` differs from `baseline` (default: the comparison's own), paired seed by seed."""
        baseline = baseline or self.baseline
        for name in (arm, baseline):
            if name not in self.scores:
                raise ValueError(f"arm must be one of {', '.join(self.scores)}, got {name!r}")
        return difference(self.scores[arm] - self.scores[baseline])

    def table(self) -> "pd.DataFrame":
        """A row for each arm: mean, half width of its 95 % interval, the paired difference and what it says."""
        import pandas as pd

        rows = {}
        for arm in self.scores:
            own, paired = difference(self.scores[arm]), self.difference(arm)
            against = {"difference": "", "verdict": "the baseline"}
            if arm != self.baseline:
                against = {"difference": str(paired), "verdict": paired.verdict}
            rows[arm] = {"mean": round(own.mean, 2), "±": round(own.high - own.mean, 2), **against}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis(f"{len(self.scores)} seeds")

    def figure(self, **settings):
        """Every seed as a dot, each arm's mean with its interval: `plots.comparison`."""
        from kdcourse import plots

        return plots.comparison(self.scores, baseline=self.baseline, **settings)


def compare(
    recipes: Mapping[str, Recipe],
    data: ImageData,
    *,
    seeds: int | Iterable[int] = 5,
    baseline: str | None = None,
    metric: Callable[[nn.Module, Split], float] = measure.accuracy,
    ledger: str | None = None,
    progress: bool = True,
) -> Comparison:
    """Run every recipe with every seed and judge the last step's students on validation and test data.

    recipes: arm -> `Recipe`; all with the same budget (steps × batch_size), or the comparison would not be fair.
    seeds: how many, or which. baseline: the arm that others are compared with, default the first.
    metric: called as metric(student, split). ledger: a name; the outcome is then written to `<ledger>-<data>.json`.
    Raises `ValueError` for unequal budgets, fewer than two seeds or a baseline that is no arm.
    """
    import pandas as pd
    from tqdm.auto import tqdm

    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    baseline = baseline or next(iter(recipes))
    _check(recipes, seeds, baseline)

    students: dict[str, list[nn.Module]] = {arm: [] for arm in recipes}
    runs = [(seed, arm) for seed in seeds for arm in recipes]
    for seed, arm in tqdm(runs, desc="comparing", unit="run", leave=False, disable=None if progress else True):
        students[arm].append(recipes[arm].run(seed))

    index = pd.Index(seeds, name="seed")
    validation, scores = (
        pd.DataFrame({arm: [metric(one, split) for one in trained] for arm, trained in students.items()}, index)
        for split in (data.validation, data.test)
    )
    comparison = Comparison(scores, validation, baseline, students)
    if ledger:
        write_ledger(ledger, comparison, recipes, data)
    return comparison


def write_ledger(name: str, comparison: Comparison, recipes: Mapping[str, Recipe], data: ImageData) -> Path:
    """Keep a comparison as `<name>-<data>.json` in `KDCOURSE_RESULTS`, else in the cache folder's `results`."""
    folder = Path(os.environ.get("KDCOURSE_RESULTS") or cache_folder() / "results")
    entry = {
        "experiment": name,
        "data": {"name": data.name, "fingerprint": data.train.fingerprint},
        "seeds": [int(seed) for seed in comparison.scores.index],
        "baseline": comparison.baseline,
        "arms": {
            arm: {
                "student": getattr(comparison.students[arm][0], "label", type(comparison.students[arm][0]).__name__),
                "method": repr(recipe.method),
                "steps": recipe.steps,
                "batch_size": recipe.batch_size,
                "learning_rate": recipe.learning_rate,
                "test": comparison.scores[arm].tolist(),
                "validation": comparison.validation[arm].tolist(),
            }
            for arm, recipe in recipes.items()
        },
        "device": str(data.train.device),
        "machine": platform.machine(),
        "commit": _commit(),
        "versions": {package: version(package) for package in ("kdcourse", "torch", "torchvision", "numpy")},
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    text = json.dumps(entry, indent=1, ensure_ascii=False) + "\n"
    return write_safely(folder / f"{name}-{data.name}.json", lambda path: path.write_text(text, encoding="utf-8"))


def _commit() -> str | None:
    """The commit of the checkout that this package lies in; None where there is none."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None


def _check(recipes: Mapping[str, Recipe], seeds: list[int], baseline: str) -> None:
    if baseline not in recipes:
        raise ValueError(f"baseline must be one of {', '.join(recipes)}, got {baseline!r}")
    if len(seeds) < 2:
        raise ValueError(f"seeds must be at least two, or no interval can be given, got {seeds}")
    budgets = {arm: recipe.steps * recipe.batch_size for arm, recipe in recipes.items()}
    if len(set(budgets.values())) > 1:
        raise ValueError(f"recipes must share one budget (steps × batch_size), got {budgets}")
