"""Figures on plain axes, and in the triangle of all distributions over three classes."""

from collections.abc import Mapping, Sequence

import numpy as np

from kdcourse.plots.palette import COLOURS, FAINT, INK, MARKERS, Figure, array, plain, table

DASHES = ("-", "--", ":", "-.")


def profiles(
    x: Sequence[float],
    series: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    ylabel: str,
    band: tuple[float, float, str] | None = None,
) -> Figure:
    """Lines on plain axes, told apart by colour and dashes. x: (K,). series: name -> (K,). band: from, to and its name."""
    figure = Figure(7.0, 3.0)
    axes = figure.subplots()
    parts = []
    for number, (name, values) in enumerate(series.items()):
        values = table(name, np.atleast_2d(array(values)), len(x), 1)[0]
        look = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % len(DASHES)]}
        axes.plot(x, values, label=name, linewidth=2, **look)
        least, most = values.argmin(), values.argmax()
        parts.append(f"{name} is highest at {x[most]:.3g} with {values[most]:.3g}, lowest at {x[least]:.3g}")
    if band is not None:
        low, high, name = band
        axes.axvspan(low, high, color=FAINT, alpha=0.3, linewidth=0, label=name)
    axes.set(xlabel=xlabel, ylabel=ylabel)
    plain(axes)
    figure.legend(loc="outside upper center", ncols=4, frameon=False)
    figure.description = f"{ylabel} against {xlabel} from {x[0]:g} to {x[-1]:g}: " + "; ".join(parts) + "."
    return figure


def landscape(
    points,
    values: Sequence[float],
    classes: Sequence[str],
    *,
    marks: Mapping[str, Sequence],
    arrows: Mapping[str, Sequence[float]],
    path,
) -> Figure:
    """A loss over the triangle of all distributions over three classes, and what pulls on the first of the marks.

    points: (K, 3) distributions. values: (K,) the loss at each. classes: three names. marks: name -> one distribution, or
    two, the second hollow: (1 or 2, 3). arrows: three, name -> (3,), how far from the first mark. path: (S, 3), a way down.
    """
    points, values = table("points", points, 3), table("values", np.atleast_2d(array(values)), len(points), 1)[0]
    figure = Figure(6.6, 4.0)
    axes = figure.subplots()
    least = values.min()
    # Each contour is twice as far above the lowest loss as the one inside it.
    levels = [least, *(least + 0.05 * 2.0 ** np.arange(7)), max(values.max(), least + 10)]
    shades = [(0, 0.45, 0.7, 0.07 * band) for band in range(8)]  # the palette's blue, ever denser
    axes.tricontourf(*_flat(points).T, values, levels=levels, colors=shades)
    axes.plot(*_flat(np.eye(3)[[0, 1, 2, 0]]).T, color=INK, linewidth=1)
    for (x, y), name, side, up in zip(_flat(np.eye(3)), classes, ("left", "right", "center"), (-9, -9, 5), strict=True):
        axes.text(x, y + up / 100, name, ha=side, fontsize=9)
    axes.plot(*_flat(table("path", path, 3)).T, color=INK, linestyle=":", label="gradient descent")
    for (name, spots), marker in zip(marks.items(), MARKERS, strict=False):
        for spot, look in zip(spots, ({"label": name}, {"fillstyle": "none"}), strict=False):
            axes.plot(*_flat(spot), color=INK, linestyle="none", marker=marker, markersize=8, **look)
    start = _flat(next(iter(marks.values()))[0])
    for (name, arrow), color, dash, width in zip(arrows.items(), (*COLOURS[1:3], INK), "-:-", (2, 2, 3), strict=True):
        look = {"color": color, "linestyle": dash, "linewidth": width}
        axes.annotate(
            "", start + _flat(arrow), start, arrowprops={"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0, **look}
        )
        axes.plot([], [], label=name, **look)
    axes.set(aspect="equal", xlim=(-0.05, 1.05), ylim=(-0.12, 0.96))
    axes.set_axis_off()
    figure.legend(loc="outside right center", frameon=False)
    lowest = ", ".join(f"{name} {p:.0%}" for name, p in zip(classes, points[values.argmin()], strict=True))
    figure.description = (
        f"A loss over all answers of three classes: from {least:.2f} at {lowest} to {values.max():.2f}."
    )
    return figure


def _flat(distributions) -> np.ndarray:
    """Distributions over three classes, (..., 3), as points of a triangle with sides of 1, (..., 2)."""
    return array(distributions) @ np.array([(0, 0), (1, 0), (0.5, np.sqrt(3) / 2)])
