"""The estimation plot: every seed's scores, and beside them what each method brings, with its interval.

Two means with two intervals invite a wrong reading: whether they overlap says nothing about a paired difference. Here the
difference itself is drawn, and zero is a line. Sources: Gardner, Altman (1986), *Confidence intervals rather than P values*;
Cumming (2012), *Understanding The New Statistics*.
"""

from collections.abc import Sequence

import numpy as np

from kdcourse.evaluation.intervals import CONSTANT, Difference, difference
from kdcourse.plots.basic import said_of
from kdcourse.plots.palette import COLOURS, FAINT, INK, MEAN, Figure, legend_of_marks, plain, style, wrapped

WIDTH, HEADING, ROW = 9.0, 1.2, 0.36  # inches: of the figure, of all but its rows, of a row
# A verdict's colour and, for those who do not see it, its marker; its word stands beside it too.
LOOKS = {
    "helps": {"color": COLOURS[0], "marker": "^"},
    "hurts": {"color": COLOURS[1], "marker": "v"},
    "no clear difference": {"color": INK, "marker": "o"},
    CONSTANT: {"color": INK, "marker": "D"},
}
MARKS = {
    "one seed's scores": {"color": FAINT, "marker": "."},
    "one seed's difference": {
        "color": INK,
        "marker": "o",
        "markerfacecolor": "none",
        "linestyle": "none",
        "markersize": 4,
    },
    "mean difference and its 95 % interval": MEAN,
}


def estimation(scores, *, baseline: str, ylabel: str = "test accuracy, %") -> Figure:
    """Each seed's scores, one seed's joined by a line, and on the right each arm's paired difference from the baseline.

    A difference has a dot for each seed, its mean, its 95 % interval and its verdict in a word; a line marks zero. With one
    rival both sides have one scale, and zero lies at the baseline's mean. Several rivals are rows, the baseline the first.

    scores: a DataFrame with a row for each seed and a column for each arm, as `ledger.Comparison.scores`, in percent or points.
    baseline: the arm that others are compared with. ylabel: what a score is.
    Raises `ValueError` for a baseline that is no arm, without a rival, for a single seed and for NaN or infinity.
    """
    if baseline not in scores:
        raise ValueError(f"baseline must be one of {', '.join(scores)}, got {baseline!r}")
    rivals = [arm for arm in scores if arm != baseline]
    if not rivals:
        raise ValueError(f"scores must hold the baseline and at least one other arm, got {', '.join(scores)}")
    gaps = {arm: (scores[arm] - scores[baseline]).to_numpy(dtype=float) for arm in rivals}
    found = {arm: difference(values) for arm, values in gaps.items()}
    ordered = scores[[baseline, *rivals]]
    figure = _pair(ordered, gaps, found, ylabel) if len(rivals) == 1 else _rows(ordered, gaps, found, ylabel)
    figure.description = said_of(ordered, baseline, ylabel)
    return figure


def _pair(scores, gaps: dict[str, np.ndarray], found: dict[str, Difference], ylabel: str) -> Figure:
    """Gardner and Altman's: scores on the left, the difference on the right, both on one scale."""
    (baseline, rival), (values,), (paired,) = scores, gaps.values(), found.values()
    figure = Figure(6.4, 4.0)
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    for _, row in scores.iterrows():
        left.plot((0, 1), row.to_numpy(), color=FAINT, linewidth=0.8, zorder=1)
    for place, arm in enumerate(scores):
        left.scatter([place] * len(scores), scores[arm], s=30, zorder=2, **style(place))
    left.set(xticks=(0, 1), xlim=(-0.4, 1.4), xlabel="arm", ylabel=ylabel)
    left.set_xticklabels([wrapped(arm) for arm in scores])
    middle = float(scores[baseline].mean())
    left.axhline(middle, color=INK, linewidth=0.8, linestyle=":", zorder=0)
    right.axhline(0, color=INK, linewidth=0.8)
    right.scatter(_spread(len(values)) - 0.35, values, s=16, facecolors="none", edgecolors=INK, linewidth=0.8)
    _mean_and_interval(right, 0.2, paired, along="y")
    right.set(xticks=[0], xlim=(-0.7, 0.7), xlabel="paired difference", ylabel="difference, points")
    right.set_xticklabels([wrapped(f"{rival} − {baseline}", 24)])
    right.set_title(f"{paired.mean:+.1f}, {paired.verdict}", fontsize=9)
    shown = [*(scores.to_numpy(dtype=float).ravel() - middle), *values, paired.low, paired.high, 0]
    edge = 0.06 * (max(shown) - min(shown) or 1)
    right.set_ylim(min(shown) - edge, max(shown) + edge)
    left.set_ylim(min(shown) - edge + middle, max(shown) + edge + middle)
    right.yaxis.tick_right()
    right.yaxis.set_label_position("right")
    for axes in (left, right):
        plain(axes)
    right.spines[["left", "right"]].set_visible([False, True])
    level = {"baseline's mean": {"color": INK, "linestyle": ":"}}
    legend_of_marks(figure, {**MARKS, **level}, columns=2)
    return figure


def _rows(scores, gaps: dict[str, np.ndarray], found: dict[str, Difference], ylabel: str) -> Figure:
    """Cumming's, turned on its side so that any number of names can be read: a row for each arm."""
    count = len(scores.columns)
    figure = Figure(WIDTH, HEADING + ROW * count)
    left, right = figure.subplots(1, 2, sharey=True, width_ratios=(1, 1))
    places = np.arange(count)
    for _, row in scores.iterrows():
        left.plot(row.to_numpy(), places, color=FAINT, linewidth=0.6, zorder=1)
    for place, arm in enumerate(scores):
        look = LOOKS[found[arm].verdict] if arm in found else {"color": INK, "marker": "s"}
        left.scatter(scores[arm], [place] * len(scores), s=14, zorder=2, **look)
    right.axvline(0, color=INK, linewidth=0.8)
    for place, (arm, values) in enumerate(gaps.items(), start=1):
        right.scatter(
            values, place - 0.22 + 0.4 * _spread(len(values)), s=9, facecolors="none", edgecolors=INK, linewidth=0.6
        )
        _mean_and_interval(right, place + 0.16, found[arm], along="x")
    left.set(xlabel=ylabel, ylabel="arm", ylim=(count - 0.5, -0.5))
    left.set_yticks(places, [wrapped(arm, 30) for arm in scores])
    right.set_xlabel(wrapped(f"difference from {scores.columns[0]}, points", 40))
    right.margins(x=0.08)
    words = ["the baseline", *(f"{one.mean:+.1f}, {one.verdict}" for one in found.values())]
    beside = right.secondary_yaxis("right")  # names on the left, words on the right, and no text over the data
    beside.set_yticks(places, words, fontsize=8.5)
    beside.spines["right"].set_visible(False)
    beside.tick_params(length=0)
    for axes in (left, right):
        plain(axes)
        axes.tick_params(axis="y", labelsize=8.5)
    right.tick_params(axis="y", left=False, labelleft=False)
    right.spines["left"].set_visible(False)
    legend_of_marks(figure, MARKS)
    return figure


def _mean_and_interval(axes, place: float, paired: Difference, *, along: str) -> None:
    """A verdict's marker at the mean, and a bar from end to end of the interval, along "x" or "y"."""
    point = (paired.mean, place) if along == "x" else (place, paired.mean)
    reach = [[paired.mean - paired.low], [paired.high - paired.mean]]
    look = {"capsize": 3, "markersize": 6, "linewidth": 2, "zorder": 3, **LOOKS[paired.verdict]}
    axes.errorbar(*point, **{f"{along}err": reach}, **look)


def _spread(count: int) -> Sequence[float]:
    """Places from −0.2 to 0.2 for so many dots, so that equal ones lie side by side."""
    return np.linspace(-0.2, 0.2, count)
