"""What models decide in the plane, point by point, and how two arms of students came there."""

from collections.abc import Callable, Sequence

import numpy as np

from kdcourse.evaluation.intervals import difference
from kdcourse.plots.paired import LOOKS
from kdcourse.plots.palette import BAND, COLOURS, FAINT, INK, MARKERS, Figure, array, plain

REACH, CELLS = 3.0, 56  # of a map: from −3 to 3 both ways, in 56 × 56 cells


def regions(
    models: Sequence[Callable[[np.ndarray], np.ndarray]],
    points: np.ndarray,
    labels: Sequence[int],
    *,
    names: Sequence[str],
    steps: Sequence[int],
    scores: np.ndarray,
    level: float,
) -> Figure:
    """Three maps of decisions, and below them two arms' accuracies on their way and the paired difference at the end.

    models: the teacher and a student of each arm, functions of points (N, 2) that give probabilities (N, C), C at most 3.
    points: (N, 2), the first of them with labels; the others are drawn for the last model alone. names: of the models.
    steps: (K,). scores: percent (K, 2, S). level: the teacher's. Raises `ValueError` for other numbers of models and scores.
    """
    points, labels, scores = array(points), array(labels), array(scores)
    if not len(models) == len(names) == 3:
        raise ValueError(f"models and names must be three, got {len(models)} and {len(names)}")
    if scores.ndim != 3 or scores.shape[:2] != (len(steps), 2):
        raise ValueError(f"scores must be of shape ({len(steps)}, 2, seeds), got {scores.shape}")
    figure = Figure(8.4, 5.2)
    axes = figure.subplot_mosaic([[0, 1, 2], ["way", "way", "gap"]], height_ratios=(4, 3))
    for place, (name, model) in enumerate(zip(names, models, strict=True)):
        axes[place].imshow(decisions(model), extent=(-REACH, REACH) * 2, interpolation="nearest")
        axes[place].set_title(name, fontsize=9)
        axes[place].set(xticks=(-REACH, 0, REACH), yticks=(-REACH, 0, REACH), xlabel="first number of a point")
        axes[place].tick_params(labelsize=8)
        axes[place].set_ylabel("second number")
        _points(axes[place], points[: len(labels)] if place < 2 else points, labels)
    _way(axes["way"], steps, scores, names, level)
    _gap(axes["gap"], scores[-1, 1] - scores[-1, 0])
    gained = difference(scores[-1, 1] - scores[-1, 0])
    figure.description = f"Decisions of {', '.join(names)}. In the end the last has {gained} against the one before."
    return figure


def decisions(model: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A map's cells as colours and opacities, (56, 56, 4): the class's colour, denser where the model is surer of it.

    Classes have patterns too: the first is plain, the second striped, the third dotted.
    """
    middles = REACH * ((2 * np.arange(CELLS) + 1) / CELLS - 1)
    column, row = np.meshgrid(np.arange(CELLS), np.arange(CELLS))
    p = model(np.stack([middles[column], -middles[row]], axis=-1).reshape(-1, 2)).reshape(CELLS, CELLS, -1)
    chosen, even = p.argmax(axis=-1), 1 / p.shape[-1]
    marked = np.stack([np.zeros_like(row), (column + row) % 6 == 0, (column % 4 == 0) & (row % 4 == 0)]) > 0
    opacity = 0.08 + 0.42 * (p.max(axis=-1) - even) / (1 - even) + 0.25 * np.take_along_axis(marked, chosen[None], 0)[0]
    colours = np.array([[int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)] for colour in COLOURS[: p.shape[-1]]])
    return np.dstack([colours[chosen], opacity])


def _points(axes, points: np.ndarray, labels: np.ndarray) -> None:
    axes.plot(*points[len(labels) :].T, linestyle="none", marker=".", markersize=3, color=INK, alpha=0.5)
    for k in np.unique(labels):
        look = {"marker": MARKERS[k], "color": COLOURS[k], "markeredgecolor": INK, "markeredgewidth": 0.7}
        axes.plot(*points[: len(labels)][labels == k].T, linestyle="none", markersize=5.5, **look)


def _way(axes, steps: Sequence[int], scores: np.ndarray, names: Sequence[str], level: float) -> None:
    looks = ((COLOURS[1], "--"), (COLOURS[0], "-"))
    for arm, (colour, dash) in enumerate(looks):
        values = scores[:, arm]
        spread = [difference(seeds) for seeds in values]
        axes.plot(steps, values.mean(axis=1), color=colour, linestyle=dash, label=names[arm + 1])
        bounds = [one.low for one in spread], [one.high for one in spread]
        axes.fill_between(steps, *bounds, color=colour, alpha=0.15, linewidth=0)
    axes.axhline(level, color=INK, linestyle=":", linewidth=1, label=names[0])
    axes.set(xlabel="step", ylabel="test accuracy, %", ylim=(20, 102))
    axes.legend(loc="lower right", frameon=False, fontsize=8)
    axes.set_title(BAND, fontsize=9)
    plain(axes)


def _gap(axes, gaps: np.ndarray) -> None:
    found = difference(gaps)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.scatter(np.linspace(-0.3, -0.1, len(gaps)), gaps, s=16, facecolors="none", edgecolors=INK, linewidth=0.8)
    axes.errorbar(
        0.2, found.mean, found.high - found.mean, capsize=4, markersize=7, linewidth=2, **LOOKS[found.verdict]
    )
    axes.set(xticks=[-0.2, 0.2], xticklabels=["each seed", "mean"], xlim=(-0.6, 0.6))
    axes.set(xlabel="bar: 95 % interval", ylabel="difference, points")
    axes.set_title(f"{found.mean:+.1f}, {found.verdict}", fontsize=9)
    plain(axes)
    axes.grid(axis="y", color=FAINT, linewidth=0.3)
