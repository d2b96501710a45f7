"""Is the method worth it? Paired comparisons over several seeds.

Two arms of a comparison share first weights, batches and budget, seed by seed; only what is compared differs. So the
difference is taken within each seed, where the luck of the seed cancels.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from numbers import Integral
from pathlib import Path
from types import FunctionType
from typing import Protocol

from torch import nn

from kdcourse.data.splits import ImageData, Split
from kdcourse.data.texts import Sentences
from kdcourse.evaluation import measure
from kdcourse.experiments.facts import Facts, Work, multiply_adds, of_run, temperature_of, untrained
from kdcourse.experiments.ledger import Comparison, keep
from kdcourse.losses.checks import check_share
from kdcourse.methods import HardTarget, Method
from kdcourse.models.sentiment import SentimentClassifier
from kdcourse.system.generators import fork_rng
from kdcourse.training.cache import TeacherCache
from kdcourse.training.finetuning import finetune
from kdcourse.training.gate import check_examples
from kdcourse.training.loop import History, dry_run, train, whole_runs


@dataclass(frozen=True)
class Recipe:
    """All that is needed to train one student: one arm of a comparison. `dataclasses.replace` makes the next from it.

    student: called as student(seed=...), gives a model with fresh weights.
    train: the split to learn from, or a function of the seed that gives it (each seed may draw its own examples).
    method: the loss, default `HardTarget()`, which learns from labels alone.
    teacher: as in `training.train`, or a function of the seed that gives it (each seed may have its own teacher); default None.
    steps: of gradient descent, default 800. batch_size: examples a step, default 128. learning_rate: default 0.003.
    weight_decay: default 0.01. balanced: whether batches hold all classes equally often, default False. All as in
    `training.train`. networks: how many learn at once, where the student is several `schemes.Peers`; default 1.
    A function of the seed is called twice more, by `check` and by `facts`, so it should keep what it trains.
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
        """What the ledger keeps of this arm besides its scores. student: a trained one, whose label is kept."""
        return {
            "student": getattr(student, "label", type(student).__name__),
            "method": repr(self.method),
            "steps": self.steps,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
        }

    def facts(self, seed: int = 0) -> Facts:
        """What this arm looks at, computes and begins with, known without training it."""
        pretrained = getattr(self.student, "pretrained", False)
        return self.work(seed).facts(temperature_of(self.method), pretrained)

    def work(self, seed: int = 0) -> Work:
        """What training looks at and computes, a warm start and the making of the examples included."""
        teacher = self._teacher(seed, untrained=True) if self.method.needs_teacher else None
        names = ("steps", "batch_size", "balanced")
        settings = {name: getattr(self, name) for name in names}
        student = untrained(self.student, seed)
        own = of_run(student, self._split(seed), self.method, teacher, seed=seed, **settings)
        return sum((one.work(seed) for one in (self.train, self.student) if hasattr(one, "work")), own)

    def _split(self, seed: int) -> Split:
        return self.train(seed) if callable(self.train) else self.train

    def check(self, seed: int = 0) -> None:
        """Try this arm on a few examples before it trains. Raises `ValueError` for anything that would stop it later."""
        if isinstance(self.student, nn.Module):
            raise ValueError(f"student must be called as student(seed=...), got {type(self.student).__name__}, a model")
        student, split, teacher = untrained(self.student, seed), self._split(seed), self._teacher(seed, untrained=True)
        if untrained(self.student, seed) is student:
            raise ValueError(
                "student must build a new model at each call, or a seed would go on with the last one's weights"
            )
        names = ("steps", "batch_size", "learning_rate", "weight_decay")
        dry_run(student, split, self.method, teacher, **{name: getattr(self, name) for name in names})

    def _teacher(self, seed: int, *, untrained: bool = False):
        """The teacher itself where a function of the seed gives it; untrained: by its `untrained`, where only shapes count."""
        if not isinstance(self.teacher, FunctionType | partial):
            return self.teacher
        return (getattr(self.teacher, "untrained", self.teacher) if untrained else self.teacher)(seed)

    @whole_runs()
    def run(self, seed: int = 0, *, progress: bool = False) -> nn.Module:
        """Train a fresh student and return it.

        seed: fixes its first weights, its examples and the order of its batches, default 0. progress: whether a
        progress bar is shown, default False. Raises `ValueError` as `training.train` does. Raises `KeyboardInterrupt`
        where the keyboard stops it: the student of fewer steps is not the recipe's.
        """
        student, training = self.begin(seed)
        training(progress=progress)
        return student

    def begin(self, seed: int = 0) -> tuple[nn.Module, Callable[..., History]]:
        """A fresh student, and a function that trains it, which takes what `training.train` takes for watching a run."""
        split = self._split(seed)
        teacher, student = self._teacher(seed), self.student(seed=seed)
        method = copy.deepcopy(self.method)  # a method's own parameters start anew in each run
        names = ("steps", "batch_size", "learning_rate", "weight_decay", "balanced")
        settings = {name: getattr(self, name) for name in names}
        return student, partial(train, student, split, method, teacher=teacher, order_seed=seed, **settings)


@dataclass(frozen=True)
class TextRecipe:
    """The recipe of one classifier of sentences: one arm that `compare` can run.

    student: called as student(seed=...), gives a classifier with fresh weights. train: the split to learn from, or a function
    of the seed that gives it. teacher: default None, which means labels alone. alpha: the teacher's share of the loss, default
    0.9. temperature: default 4. hidden, attention: weights of the losses on hidden states and on attention, default 0. steps:
    default 800. batch_size: sentences a step, default 32. learning_rate: default 0.001. All as in `finetune`. warmup: the share
    of the steps in which the rate rises, before it falls to 0; default 0.1.
    """

    student: Callable[..., SentimentClassifier]
    train: Sentences | Callable[[int], Sentences]
    teacher: SentimentClassifier | None = None
    alpha: float = 0.9
    temperature: float = 4.0
    hidden: float = 0.0
    attention: float = 0.0
    steps: int = 800
    batch_size: int = 32
    learning_rate: float = 1e-3
    warmup: float = 0.1

    def __post_init__(self):
        check_share("warmup", self.warmup)

    @property
    def budget(self) -> int:
        """Sentences that gradient steps see."""
        return self.steps * self.batch_size

    def run(self, seed: int = 0, *, progress: bool = False) -> SentimentClassifier:
        """Train a fresh student. seed: fixes its first weights, its examples, the order of batches and dropout; default 0."""
        student = self.student(seed=seed)
        split = self.train(seed) if callable(self.train) else self.train
        names = ("teacher", "steps", "batch_size", "learning_rate", "alpha", "temperature", "hidden", "attention")
        settings = {name: getattr(self, name) for name in names} | {"warmup_steps": round(self.warmup * self.steps)}
        finetune(student, split, seed=seed, progress=progress, **settings)
        return student

    def facts(self, seed: int = 0) -> Facts:
        """What this arm looks at, computes and begins with, known without training it."""
        pretrained = getattr(self.student, "pretrained", False)
        return self.work(seed).facts(self.temperature if self.teacher else None, pretrained)

    def work(self, seed: int = 0) -> Work:
        """What training looks at and computes. The teacher's logits are asked for once, its layers at every step.

        Where the steps are too few for all sentences, as many different ones as steps × batch_size count.
        """
        split = self.train(seed) if callable(self.train) else self.train
        examples = self.steps * self.batch_size
        inputs = frozenset(list(dict.fromkeys(split.texts))[:examples])
        arithmetic = 3 * examples * multiply_adds(untrained(self.student, seed), split)
        if self.teacher:
            passes = len(inputs) + (examples if self.hidden or self.attention else 0)
            arithmetic += passes * multiply_adds(self.teacher, split)
        looked_at = split.labels is not None and not (self.teacher and self.alpha == 1)
        return Work(inputs, inputs if looked_at else frozenset(), self.steps, arithmetic)

    def describe(self, student: SentimentClassifier) -> dict:
        """What the ledger keeps of this arm besides its scores. student: a trained one, whose label is kept."""
        names = ("alpha", "temperature", "hidden", "attention")
        taught = {name: getattr(self, name) for name in names if getattr(self, name)} if self.teacher else {}
        return {
            "student": student.label,
            "method": f"distillation {taught}" if taught else "labels only",
            "steps": self.steps,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "warmup": self.warmup,
        }


@dataclass(frozen=True)
class NoTraining:
    """An arm that trains nothing: what a student knows when it begins. student: called as student(seed=...), as a recipe's."""

    student: Callable[..., nn.Module]
    budget: int = field(default=0, init=False)

    def run(self, seed: int = 0, *, progress: bool = False) -> nn.Module:
        return self.student(seed=seed).eval()

    def describe(self, student: nn.Module) -> dict:
        return {"student": student.label, "method": "nothing is trained", "steps": 0}

    def facts(self, seed: int = 0) -> Facts:
        return Facts(
            inputs=0, labels=0, steps=0, multiply_adds=0, pretrained=getattr(self.student, "pretrained", False)
        )


@dataclass(frozen=True)
class Equipped:
    """An arm whose students carry what its metrics need to know of them, such as the examples that they have learnt from.

    arm: trains them. equip: called as equip(student, seed) after the training; what it sets on the student, metrics can read.
    """

    arm: "Arm"
    equip: Callable[[nn.Module, int], None]

    @property
    def budget(self) -> int:
        return self.arm.budget

    def run(self, seed: int = 0, *, progress: bool = False) -> nn.Module:
        student = self.arm.run(seed, progress=progress)
        self.equip(student, seed)
        return student

    def describe(self, student: nn.Module) -> dict:
        return self.arm.describe(student)

    def facts(self, seed: int = 0) -> Facts:
        return self.arm.facts(seed)


class Arm(Protocol):
    """What `compare` can run: a `Recipe`, or a scheme such as `schemes.Chain`."""

    @property
    def budget(self) -> int: ...

    def run(self, seed: int = 0, *, progress: bool = False) -> nn.Module: ...

    def describe(self, student: nn.Module) -> dict: ...

    def facts(self, seed: int = 0) -> Facts: ...


class Interrupted(KeyboardInterrupt):
    """The keyboard stopped a comparison. finished: the `Comparison` of the seeds that all arms had run with, if at least two."""

    def __init__(self, arm: str, seed: int, whole: list[int], finished: Comparison | None):
        kept = f"seeds {', '.join(map(str, whole))} are whole" if whole else "no seed is whole"
        where = "; sys.last_value.finished compares them" if finished is not None else ""
        super().__init__(f"stopped in arm {arm!r}, seed {seed}, which is not measured; {kept}{where}")
        self.finished = finished


def compare(
    recipes: Mapping[str, Arm],
    data: ImageData,
    *,
    seeds: int | Iterable[int] = 5,
    baseline: str | None = None,
    equal_budgets: bool = True,
    metric: Callable[[nn.Module, Split], float] = measure.accuracy,
    ledger: str | None = None,
    progress: bool = True,
) -> Comparison:
    """Train every recipe with every seed, and score the students after their last step on validation and test data.

    recipes: arm -> `Recipe` or another `Arm`; all with the same budget, or the comparison would not be fair.
    seeds: how many (default 5, which are 0 to 4), or which. baseline: the arm that the others are compared with, default the
    first. equal_budgets: default True; False where the budgets are what is compared, and the table then shows them.
    metric: called as metric(student, split), gives a number; default `measure.accuracy`, in percent.
    ledger: a name; the outcome is then written to `<ledger>-<data>.json`, see `keep`. Default: it is not written.
    progress: whether a progress bar is shown, default True.
    Raises `ValueError` before anything trains for no arm, unequal budgets, fewer than two seeds, a seed that stands there
    twice or is no whole number, and a baseline that is no arm; afterwards for a score that is NaN or infinite. Raises
    `Interrupted` where the keyboard stops it; nothing is written then.
    """
    from tqdm.auto import tqdm

    seeds, baseline = settled(recipes, seeds, baseline, equal_budgets)

    _check_data(data, labelled=metric is measure.accuracy)
    if not callable(metric):
        raise ValueError(f"metric must be called as metric(student, split), such as measure.accuracy, got {metric!r}")
    if ledger is not None and Path(str(ledger)).name != ledger:
        raise ValueError(f"ledger must be a name, not a path, got {ledger!r}")
    known = _looked_at(recipes, seeds[0])
    bar = partial(tqdm, desc="comparing", unit="run", leave=False, disable=None if progress else True)
    students = {arm: [] for arm in recipes}
    budgets = None if equal_budgets else {arm: recipe.budget for arm, recipe in recipes.items()}
    judge = partial(Comparison.evaluate, data=data, metric=metric, baseline=baseline, budgets=budgets, facts=known)
    for seed, arm in bar([(seed, arm) for seed in seeds for arm in recipes]):
        try:
            students[arm].append(recipes[arm].run(seed))
        except KeyboardInterrupt as stop:
            whole = seeds[: seeds.index(seed)]
            finished = {name: trained[: len(whole)] for name, trained in students.items()}
            raise Interrupted(arm, seed, whole, judge(finished, seeds=whole) if len(whole) > 1 else None) from stop
    comparison = judge(students, seeds=seeds)
    if ledger:
        keep(ledger, comparison, {arm: recipe.describe(students[arm][0]) for arm, recipe in recipes.items()}, data)
    return comparison


def _looked_at(recipes: Mapping[str, Arm], seed: int) -> dict[str, Facts] | None:
    """Each arm looked over before the first trains, and what each knows of itself; None where one of them has no `facts`."""
    with fork_rng():  # students that are built for this alone draw nothing from the runs' luck
        for arm, recipe in recipes.items():
            try:
                getattr(recipe, "check", lambda seed: None)(seed)
            except ValueError as error:
                raise ValueError(f"arm {arm!r}: {error}") from error
        if not all(hasattr(recipe, "facts") for recipe in recipes.values()):
            return None
        return {arm: recipe.facts(seed) for arm, recipe in recipes.items()}


def _check_data(data: ImageData, *, labelled: bool) -> None:
    for part in ("validation", "test"):
        if not hasattr(data, part):
            raise ValueError(
                f"data must be a data set with its splits, as load_images gives, got {type(data).__name__}"
            )
        if labelled and getattr(data, part).labels is None:
            raise ValueError(f"data.{part} has no labels, so there is nothing to compare answers with")
        classes = len(data.classes) if hasattr(data, "classes") else None  # characters have none
        check_examples(f"data.{part}", getattr(data, part), classes)


def _whole(seeds: int | Iterable[int]) -> list[int]:
    """So many seeds, or these, as a list of different whole numbers."""
    if isinstance(seeds, Integral) and not isinstance(seeds, bool):
        return list(range(seeds))
    given = list(seeds) if isinstance(seeds, Iterable) else [seeds]
    odd = [seed for seed in given if not isinstance(seed, Integral) or isinstance(seed, bool)]
    if odd or not isinstance(seeds, Iterable):
        raise ValueError(f"seeds must be whole numbers, or how many there are to be, got {odd or seeds}")
    twice = sorted(seed for seed, times in Counter(given).items() if times > 1)
    if twice:
        raise ValueError(f"seeds must differ: a run that is counted twice narrows the interval; twice or more: {twice}")
    return [int(seed) for seed in given]


def settled(
    recipes: Mapping[str, Arm], seeds: int | Iterable[int], baseline: str | None, equal_budgets: bool
) -> tuple[list[int], str]:
    """The seeds and the baseline of a comparison that can be run. Raises as `compare` does."""
    if not isinstance(recipes, Mapping):
        raise ValueError(f"recipes must be a dict, arm -> recipe, got {type(recipes).__name__}")
    if not recipes:
        raise ValueError("recipes must hold at least one arm, got none")
    for arm, recipe in recipes.items():
        if isinstance(recipe, type) or not hasattr(recipe, "run") or not isinstance(arm, str):
            kind = f"the class {recipe.__name__}" if isinstance(recipe, type) else type(recipe).__name__
            raise ValueError(f"recipes must be a dict, name -> Recipe, got {arm!r} -> {kind}")
    seeds, baseline = _whole(seeds), baseline or next(iter(recipes))
    if baseline not in recipes:
        raise ValueError(f"baseline must be one of {', '.join(recipes)}, got {baseline!r}")
    if len(seeds) < 2:
        raise ValueError(f"seeds must be at least two, or no interval can be given, got {seeds}")
    budgets = {arm: recipe.budget for arm, recipe in recipes.items()}
    if equal_budgets and len(set(budgets.values())) > 1:
        raise ValueError(f"recipes must share one budget (steps × batch_size × networks), got {budgets}")
    return seeds, baseline
