"""Answer, or ask a person: how right the answers are at each coverage, and what each threshold costs."""

from collections.abc import Mapping

import numpy as np

from kdcourse.evaluation.deciding import Answers
from kdcourse.plots.palette import COLOURS, INK, Figure, array, plain, style

GRID = np.linspace(0, 1, 101)  # thresholds
FEWEST = 2  # percent answered: the share of right ones among fewer answers is luck


def coverage(
    models: Mapping[str, Answers], thresholds: Mapping[str, float], *, error: float, asking: float = 1.0
) -> Figure:
    """Left: right answers against the share that is answered, a line for each model. Right: the last model's cost.

    models: name -> its answers to the same examples. thresholds: name -> one that the last model may use, each a dashed line;
    above 1 the model never answers. error, asking: as in `Answers.costs`; the cost is the mean over the examples.
    Raises `ValueError` where no model is given.
    """
    if not models:
        raise ValueError("models must hold at least one, name -> answers, got none")
    figure = Figure(8.6, 3.2)
    left, right = figure.subplots(1, 2)
    parts = []
    for number, (name, given) in enumerate(models.items()):
        share, accurate = _surest_first(given)
        shown = share >= FEWEST
        left.plot(share[shown], accurate[shown], label=name, markevery=(0.1, 0.2), **style(number))
        half = len(share) // 2
        parts.append(f"{name}: {accurate[-1]:.1f} % right of all, {accurate[half]:.1f} % of the surer half")
    left.set(xlabel="answered, %, the surest first", ylabel="right among the answers, %", xlim=(0, 102))
    left.legend(loc="lower left", frameon=False, fontsize=9)
    name, given = list(models.items())[-1]
    costs = [given.costs(threshold, error=error, asking=asking).mean().item() for threshold in GRID]
    right.plot(GRID, costs, color=INK)
    for number, (which, threshold) in enumerate(thresholds.items()):
        cost = given.costs(threshold, error=error, asking=asking).mean().item()
        look = {"color": COLOURS[2 + number], "linestyle": ("--", ":")[number % 2], "linewidth": 2}
        right.axvline(min(threshold, 1.0), label=which, **look)
        at = f"at {threshold:.2f}" if threshold <= 1 else "never to answer"
        parts.append(f"{which}: {at}, {given.coverage(threshold):.0f} % answered, cost {cost:.2f} a picture")
    right.set(xlabel=f"threshold of {name}", ylabel="cost of a picture", xlim=(-0.02, 1.02), ylim=(0, None))
    right.legend(loc="best", frameon=False, fontsize=9)
    for axes in (left, right):
        plain(axes)
    figure.description = f"A wrong answer costs {error:g}, a question {asking:g}. " + "; ".join(parts) + "."
    return figure


def _surest_first(given: Answers) -> tuple[np.ndarray, np.ndarray]:
    """The share that is answered, and that of right answers among them, both in percent, (N,)."""
    order = given.confidence.argsort(descending=True, stable=True)
    count = np.arange(1, len(order) + 1)
    return 100 * count / len(order), 100 * array(given.right[order].float()).cumsum() / count
