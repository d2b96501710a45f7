"""The sweep browser: every temperature with every alpha, for each size of student, as a stored comparison measured them.

Nothing is trained here. Means and intervals are taken once in Python; the view (`sweep.js`) only chooses among them.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import product

import ipywidgets
import numpy as np

from kdcourse import plots
from kdcourse.evaluation.intervals import Difference, difference
from kdcourse.experiments.ledger import Comparison
from kdcourse.widgets.linked import WIDE, LinkedView, linked
from kdcourse.widgets.live import LiveFigure
from kdcourse.widgets.wording import fixed, short, signed

SPLITS = ("validation", "test")


def sweep_intervals(
    outcome: Comparison,
    axes: Mapping[str, Sequence[float]],
    setting: Callable[[int, float, float], str],
    labels_only: Callable[[int], str],
) -> dict[str, np.ndarray]:
    """Intervals of S sizes, T temperatures and A alphas, the axes, on both of `SPLITS`; the last axis is mean, low, high.

    score: (2, S, T, A, 3) in percent. gain: the same in points over labels only, paired by seed. alone: (2, S, 3), labels
    only. best: (S, 2), the places of the temperature and the alpha with the highest validation mean.
    Raises `ValueError` where an arm is not in the comparison.
    """
    arms = [setting(*point) for point in product(*axes.values())]
    levels = [labels_only(size) for size in axes["sizes"]]
    for arm in (*arms, *levels):
        outcome.difference(arm)  # an unknown arm is refused with the names of those that there are
    tables = (outcome.validation, outcome.scores)
    shape = (-1, *map(len, axes.values()))
    scores = np.stack([table[arms].to_numpy().reshape(shape) for table in tables], axis=1)  # (seeds, 2, S, T, A)
    alone = np.stack([table[levels].to_numpy() for table in tables], axis=1)  # (seeds, 2, S)
    score = _intervals(scores)
    best = np.array([np.unravel_index(grid.argmax(), grid.shape) for grid in score[0, ..., 0]])
    return {
        "score": score,
        "gain": _intervals(scores - alone[..., None, None]),
        "alone": _intervals(alone),
        "best": best,
    }


def describe(content: Mapping, size: int, split: int, temperature: int, alpha: int) -> str:
    """Two sentences on one point, given by four places in `content` (what `sweep_intervals` gives, and its axes)."""
    mean, _, high = content["score"][split][size][temperature][alpha]
    gain = Difference(*content["gain"][split][size][temperature][alpha])
    points, low, top = (signed(value, 1) for value in (gain.mean, gain.low, gain.high))
    here, best = _point(content, temperature, alpha), _point(content, *content["best"][size])
    where = "is this point" if here == best else f"lies at {best}"
    return (
        f"{content['sizes'][size]} units, {here}: {fixed(mean, 1)} % ± {fixed(high - mean, 1)} on {SPLITS[split]}, "
        f"{points} points [{low}, {top}] over labels only: {gain.verdict}. The best on validation {where}."
    )


def sweep_browser(
    outcome: Comparison,
    *,
    sizes: Sequence[int],
    temperatures: Sequence[float],
    alphas: Sequence[float],
    setting: Callable[[int, float, float], str],
    labels_only: Callable[[int], str],
) -> LinkedView | LiveFigure:
    """A live heat map of accuracy over temperature and alpha for one size of student, with the lines along its row and column.

    outcome: a comparison that has every arm setting(size, temperature, alpha) and labels_only(size), by these names. sizes:
    hidden units. temperatures, alphas: the values on the two axes. setting, labels_only: functions that give an arm's name.
    Controls: size, split ("validation" or "test"), temperature, alpha; a click on a cell sets the last two.
    Raises `ValueError` where an arm is not in the comparison.
    """
    axes = {"sizes": list(sizes), "temperatures": list(temperatures), "alphas": list(alphas)}
    found = sweep_intervals(outcome, axes, setting, labels_only)
    content = {**axes, "splits": list(SPLITS), "seeds": len(outcome.scores)}
    content |= {name: values.tolist() for name, values in found.items()}

    def draw(size: int, split: str, temperature: float, alpha: float) -> plots.Figure:
        student, part = axes["sizes"].index(size), SPLITS.index(split)
        point = axes["temperatures"].index(temperature), axes["alphas"].index(alpha)
        figure = plots.sweep(
            {f"{units} units": values for units, values in zip(sizes, found["score"][part], strict=True)},
            found["gain"][part, student, ..., 0],
            dict(zip((f"{units} units" for units in sizes), found["alone"][part, :, 0], strict=True)),
            temperatures,
            alphas,
            names=("temperature", "alpha"),
            shown=f"{size} units",
            chosen=point,
            best=tuple(found["best"][student]),
            ylabel=f"{split} accuracy, %",
        )
        figure.description = describe(content, student, part, *point)
        return figure

    return linked("sweep", content, draw, **_controls(axes))


def _intervals(values: np.ndarray) -> np.ndarray:
    """Values (seeds, …) -> mean and bounds of each (…, 3)."""

    def interval(column: np.ndarray) -> list[float]:
        found = difference(column)
        return [found.mean, found.low, found.high]

    return np.moveaxis(np.apply_along_axis(interval, 0, values), 0, -1)


def _point(content: Mapping, temperature: int, alpha: int) -> str:
    return f"T = {short(content['temperatures'][temperature])}, alpha = {short(content['alphas'][alpha])}"


def _controls(axes: Mapping[str, list]) -> dict[str, ipywidgets.Widget]:
    units = [(f"{size} units", size) for size in axes["sizes"]]
    temperatures = [(short(value), value) for value in axes["temperatures"]]
    alphas = [(short(value), value) for value in axes["alphas"]]
    return {
        "size": ipywidgets.SelectionSlider(options=units, description="student", **WIDE),
        "split": ipywidgets.ToggleButtons(options=SPLITS, description="judged on", style=WIDE["style"]),
        "temperature": ipywidgets.SelectionSlider(options=temperatures, description="temperature", **WIDE),
        "alpha": ipywidgets.SelectionSlider(options=alphas, description="alpha", **WIDE),
    }
