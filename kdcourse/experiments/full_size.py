"""A lab's comparison once more at full size: more pictures and steps than its minute allows, where a GPU is there.

How long that takes is worked out before anything runs, for the GPU that Colab lends, a T4: seeds × steps × what a step computes,
or what it takes to launch it, whichever is longer. It is an estimate. Left out are loading, a cached teacher's one pass, what
a function of the seed trains, text that a method writes at each step, and the measurements at the end.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, replace

from torch import nn

from kdcourse.data.splits import ImageData, Split
from kdcourse.evaluation import measure
from kdcourse.experiments.experiment import Recipe, TextRecipe, compare, settled
from kdcourse.experiments.ledger import Comparison
from kdcourse.system import runtime
from kdcourse.training.cache import TeacherCache

T4 = 8.1e12  # float32 operations a second at most, by NVIDIA's data sheet
REACHED = 0.3  # the share of it that layers of the labs' sizes are taken to reach
# Small layers are computed faster than Python can ask for them. Seconds that a step waits for that: once, and for each layer
# that has weights, forward, backward and in the optimiser.
STEP, LAYER = 1e-3, 3e-4


def at_full_size(
    arms: Mapping[str, Recipe | TextRecipe],
    data: ImageData,
    *,
    seeds: int | Iterable[int],
    baseline: str | None = None,
    equal_budgets: bool = True,
    metric: Callable[[nn.Module, Split], float] = measure.accuracy,
    **changes,
) -> Comparison | None:
    """Compare the arms with more pictures and steps, where `kd.setup(full_size=True)` asked for it and a GPU is there.

    arms: name -> `Recipe` or `TextRecipe`. changes: fields of theirs that are set in each, such as train=, steps= or student=.
    seeds, baseline, equal_budgets, metric: as in `compare`.
    With both, the table is shown and the comparison returned. Otherwise nothing runs: one line says what would run and about how
    many seconds a T4 would take, and None is returned.
    Raises `ValueError` in both cases, before anything runs: for an arm of another kind, a change that is no field, and as
    `compare` does.
    """
    larger = _changed(arms, changes)
    seeds = seeds if isinstance(seeds, int) else list(seeds)
    chosen, _ = settled(larger, seeds, baseline, equal_budgets)
    plan = _described(larger, len(chosen), planned(larger, data, chosen))
    if not runtime.full_size():
        runtime.say(f"At full size (`kd.setup(full_size=True)`, a GPU): {plan}.")
        return None
    from IPython.display import display

    runtime.say(f"At full size: {plan}.")
    settings = {"baseline": baseline, "equal_budgets": equal_budgets, "metric": metric}
    comparison = compare(larger, data, seeds=seeds, **settings)
    display(comparison.table())
    return comparison


def planned(arms: Mapping[str, Recipe | TextRecipe], data: ImageData, seeds: list[int]) -> float:
    """About how many seconds a T4 takes to train all arms with all seeds. data: its test split says what an example is."""
    return sum(len(seeds) * arm.steps * step_seconds(arm, data, seeds[0]) for arm in arms.values())


def step_seconds(arm: Recipe | TextRecipe, data: ImageData, seed: int = 0) -> float:
    """About how many seconds a T4 takes for one step of an arm."""
    student, teacher = arm.student(seed=seed), _asked_at_each_step(arm)
    operations = 3 * measure.flops(student, data.test)  # a backward pass takes two forward passes
    layers = _layers(student)
    if teacher is not None:
        operations += measure.flops(teacher, data.test)
        layers += _layers(teacher)
    return max(STEP + LAYER * layers, arm.batch_size * operations / (REACHED * T4))


def _asked_at_each_step(arm: Recipe | TextRecipe) -> nn.Module | None:
    """The arm's teacher, where no cache answers for it. What a function of the seed gives is taken for a cache."""
    if isinstance(arm, TextRecipe):
        return arm.teacher if arm.hidden or arm.attention else None
    if not arm.method.needs_teacher:
        return None
    if isinstance(arm.teacher, TeacherCache):
        return arm.teacher.teacher if arm.method.needs_gradients else None
    return arm.teacher if isinstance(arm.teacher, nn.Module) else None


def _layers(model: nn.Module) -> int:
    """How many layers have weights of their own."""
    return sum(1 for layer in model.modules() if any(True for _ in layer.parameters(recurse=False)))


def _changed(arms: Mapping[str, Recipe | TextRecipe], changes: Mapping) -> dict[str, Recipe | TextRecipe]:
    for name, arm in arms.items():
        if not isinstance(arm, Recipe | TextRecipe):
            raise ValueError(f"arms must be Recipes or TextRecipes, got {type(arm).__name__} for {name!r}")
        known = [one.name for one in fields(arm)]
        for change in changes:
            if change not in known:
                raise ValueError(f"changes must be among {', '.join(known)}, got {change!r}")
    return {name: replace(arm, **changes) for name, arm in arms.items()}


def _described(arms: Mapping[str, Recipe | TextRecipe], seeds: int, seconds: float) -> str:
    """As in "2 arms × 3 seeds × 3,000 steps, about 30 s on a T4"."""
    fewest, most = (end(arm.steps for arm in arms.values()) for end in (min, max))
    steps = f"{most:,}" if fewest == most else f"{fewest:,} to {most:,}"
    about = max(1, round(seconds, -1 if seconds >= 10 else 0))
    return f"{len(arms)} arms × {seeds} seeds × {steps} steps, about {about:,.0f} s on a T4"
