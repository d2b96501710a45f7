"""Is the method worth it? Paired comparisons over several seeds.

Two arms of a comparison share first weights, batches and budget, seed by seed; only what is compared differs. So the
difference is taken within each seed, where the luck of the seed cancels.
"""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import FunctionType
from typing import Protocol

from torch import nn

from kdcourse import batched, measure
from kdcourse.cache import TeacherCache
from kdcourse.data.splits import ImageData, Split
from kdcourse.ledger import Comparison, keep
from kdcourse.methods import HardTarget, Method
from kdcourse.training import History, train

Parts = tuple[nn.Module, Split, nn.Module | TeacherCache | None]  # a run's student, examples and teacher


@dataclass(frozen=True)
class Recipe:
    """One arm of a comparison; `dataclasses.replace` makes the next.

    student: called as student(seed=...), gives a model with fresh weights.
    train: the split to learn from, or a function of the seed that gives it (each seed may draw its own examples).
    teacher: as in `training.train`, or a function of the seed that gives it (each seed may have its own teacher).
    method, steps, batch_size, learning_rate, weight_decay, balanced: as in `training.train`.
    networks: how many learn at once, where the student is several `schemes.Peers`.
    """

    student: Callable[..., nn.Module]
    train: Split | Callable[[int], Split]
    method: Method = field(default_factory=HardTarget)
    teacher: nn.Module | TeacherCache | Callable[[int], nn.Module | TeacherCache] | None = None
    steps: int = 800
    batch_size: int = 128
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    balanced: bool = False
    networks: int = 1

    @property
    def budget(self) -> int:
        """Pictures that gradient steps see, counted once for each network that learns from them."""
        return self.steps * self.batch_size * self.networks

    def describe(self, student: nn.Module) -> dict:
        """What the ledger says of this arm besides its scores."""
        return {
            "student": getattr(student, "label", type(student).__name__),
            "method": repr(self.method),
            "steps": self.steps,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
        }

    def run(self, seed: int = 0, *, progress: bool = False) -> nn.Module:
        """Train a fresh student; `seed` fixes its first weights, its examples and the order of its batches."""
        student, training = self.begin(seed)
        training(progress=progress)
        return student

    def begin(self, seed: int = 0) -> tuple[nn.Module, Callable[..., History]]:
        """A fresh student and the call of `training.train` that trains it: only how it is watched is left to say."""
        parts = self._parts(seed)
        return parts[0], self._training(seed, parts)

    def run_stacked(self, seeds: Sequence[int]) -> list[nn.Module]:
        """A student for each seed, trained as one batched model: those of `run` to rounding.

        Raises `ValueError` where `batched.why_not` has a reason.
        """
        every = [self._parts(seed) for seed in seeds]
        self._stacked(seeds, every)()
        return [student for student, _, _ in every]

    def run_all(self, seeds: Sequence[int]) -> list[nn.Module]:
        """A student for each seed: stacked where that can be done and a few steps of it measure faster, else one by one.

        They are those of `run` to rounding and no more, since another time the other way may be faster.
        """
        every = [self._parts(seed) for seed in seeds]
        if self._stacking_pays(seeds, every):
            self._stacked(seeds, every)()
        else:
            for seed, parts in zip(seeds, every, strict=True):
                self._training(seed, parts)(progress=False)
        return [student for student, _, _ in every]

    def _stacking_pays(self, seeds: Sequence[int], every: Sequence[Parts]) -> bool:
        students, _, teachers = zip(*every, strict=True)
        if self.steps < batched.WORTH_TRYING or batched.why_not(students, self.method, teachers):
            return False
        tried = [(copy.deepcopy(student), split, teacher) for student, split, teacher in every]
        stacked = batched.seconds_of_a_step(self._stacked(seeds, tried))
        return stacked < len(seeds) * batched.seconds_of_a_step(
            partial(self._training(seeds[0], tried[0]), progress=False)
        )

    def _parts(self, seed: int) -> Parts:
        split = self.train(seed) if callable(self.train) else self.train
        teacher = self.teacher(seed) if isinstance(self.teacher, FunctionType | partial) else self.teacher
        return self.student(seed=seed), split, teacher

    def _training(self, seed: int, parts: Parts) -> Callable[..., History]:
        student, split, teacher = parts
        method = copy.deepcopy(self.method)  # a method's own parameters start anew in each run
        return partial(train, student, split, method, teacher=teacher, order_seed=seed, **self._settings)

    def _stacked(self, seeds: Sequence[int], every: Sequence[Parts]) -> Callable[..., History]:
        students, splits, teachers = zip(*every, strict=True)
        given = {"teachers": teachers, "order_seeds": seeds, **self._settings}
        return partial(batched.train_together, students, splits, self.method, **given)

    @property
    def _settings(self) -> dict:
        names = ("steps", "batch_size", "learning_rate", "weight_decay", "balanced")
        return {name: getattr(self, name) for name in names}


class Arm(Protocol):
    """What `compare` can run: a `Recipe`, or a scheme such as `schemes.Chain`."""

    @property
    def budget(self) -> int: ...

    def run(self, seed: int = 0, *, progress: bool = False) -> nn.Module: ...

    def describe(self, student: nn.Module) -> dict: ...


def compare(
    recipes: Mapping[str, Arm],
    data: ImageData,
    *,
    seeds: int | Iterable[int] = 5,
    baseline: str | None = None,
    equal_budgets: bool = True,
    batch_seeds: bool = False,
    metric: Callable[[nn.Module, Split], float] = measure.accuracy,
    ledger: str | None = None,
    progress: bool = True,
) -> Comparison:
    """Run every recipe with every seed and judge the last step's students on validation and test data.

    recipes: arm -> `Recipe` or another `Arm`; all with the same budget, or the comparison would not be fair.
    seeds: how many, or which. baseline: the arm that others are compared with, default the first.
    equal_budgets: False where budgets are what is compared; the table then shows them.
    batch_seeds: True trains an arm's seeds by `Recipe.run_all`, which is faster for small students and the same to rounding.
    metric: called as metric(student, split). ledger: a name; the outcome is then written to `<ledger>-<data>.json`.
    Raises `ValueError` for unequal budgets, fewer than two seeds or a baseline that is no arm.
    """
    from tqdm.auto import tqdm

    seeds = list(range(seeds)) if isinstance(seeds, int) else list(seeds)
    baseline = baseline or next(iter(recipes))
    _check(recipes, seeds, baseline, equal_budgets)

    bar = partial(tqdm, desc="comparing", unit="run", leave=False, disable=None if progress else True)
    if batch_seeds:
        students = {arm: _run_all(recipes[arm], seeds) for arm in bar(recipes)}
    else:
        students = {arm: [] for arm in recipes}
        for seed, arm in bar([(seed, arm) for seed in seeds for arm in recipes]):
            students[arm].append(recipes[arm].run(seed))

    budgets = None if equal_budgets else {arm: recipe.budget for arm, recipe in recipes.items()}
    comparison = Comparison.judge(students, data, metric, seeds, baseline, budgets)
    if ledger:
        keep(ledger, comparison, {arm: recipe.describe(students[arm][0]) for arm, recipe in recipes.items()}, data)
    return comparison


def _run_all(arm: Arm, seeds: Sequence[int]) -> list[nn.Module]:
    return arm.run_all(seeds) if isinstance(arm, Recipe) else [arm.run(seed) for seed in seeds]


def _check(recipes: Mapping[str, Arm], seeds: list[int], baseline: str, equal_budgets: bool) -> None:
    if baseline not in recipes:
        raise ValueError(f"baseline must be one of {', '.join(recipes)}, got {baseline!r}")
    if len(seeds) < 2:
        raise ValueError(f"seeds must be at least two, or no interval can be given, got {seeds}")
    budgets = {arm: recipe.budget for arm, recipe in recipes.items()}
    if equal_budgets and len(set(budgets.values())) > 1:
        raise ValueError(f"recipes must share one budget (steps × batch_size × networks), got {budgets}")
