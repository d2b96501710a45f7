"""Figures on plain axes, in the triangle of all distributions over three classes, and of triangles between three examples."""

from collections.abc import Mapping, Sequence

import numpy as np

from kdcourse.plots.palette import (
    COLOURS,
    FAINT,
    INK,
    MARKERS,
    ON_PAPER,
    Figure,
    array,
    check_table,
    check_vector,
    colour_bar,
    plain,
    wrapped,
)

DASHES = ("-", "--", ":", "-.")
NO_LENGTH = 1e-4  # of the mean distance: shorter than this, a side has no direction


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
        values = check_vector(name, values, len(x))
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
    points, values = check_table("points", points, 3), check_vector("values", values, len(points))
    figure = Figure(7.4, 4.0)
    axes = figure.subplots()
    colour_bar(axes, _shade(axes, points, values), "loss")
    _triangle(axes, classes)
    axes.plot(*_cartesian(check_table("path", path, 3)).T, color=INK, linestyle=":", label="gradient descent")
    _marks(axes, marks)
    first_mark = next(iter(marks.values()))[0]
    _arrows(axes, _cartesian(first_mark), arrows)
    axes.set(aspect="equal", xlim=(-0.05, 1.05), ylim=(-0.12, 0.96))
    axes.set_axis_off()
    figure.legend(loc="outside right center", frameon=False)
    lowest = ", ".join(f"{name} {p:.0%}" for name, p in zip(classes, points[values.argmin()], strict=True))
    span = f"from {values.min():.2f} at {lowest} to {values.max():.2f}"
    figure.description = f"A loss over all answers of three classes: {span}."
    return figure


def _shade(axes, points: np.ndarray, values: np.ndarray):
    """Bands of a loss: each contour is twice as far above the lowest loss as the one inside it."""
    least = values.min()
    levels = [least, *(least + 0.05 * 2.0 ** np.arange(7)), max(values.max(), least + 10)]
    shades = [(0, 0.45, 0.7, 0.07 * band) for band in range(8)]  # the palette's blue, ever denser
    return axes.tricontourf(*_cartesian(points).T, values, levels=levels, colors=shades)


def _triangle(axes, classes: Sequence[str]) -> None:
    """The edges, and at each corner the class that has it all: left below, right below, above."""
    corners = _cartesian(np.eye(3))
    axes.plot(*np.vstack([corners, corners[:1]]).T, color=INK, linewidth=1)
    for (x, y), name, side, up in zip(corners, classes, ("left", "right", "center"), (-0.09, -0.09, 0.05), strict=True):
        axes.text(x, y + up, name, ha=side, fontsize=9)


def _marks(axes, marks: Mapping[str, Sequence]) -> None:
    """One marker for each name; its second distribution, if there is one, is hollow and has no line in the legend."""
    for (name, (filled, *hollow)), marker in zip(marks.items(), MARKERS, strict=False):
        look = {"color": INK, "linestyle": "none", "marker": marker, "markersize": 8}
        axes.plot(*_cartesian(filled), label=name, **look)
        for one in hollow:
            axes.plot(*_cartesian(one), fillstyle="none", **look)


def _arrows(axes, start: np.ndarray, arrows: Mapping[str, Sequence[float]]) -> None:
    """Three arrows from one point; annotations have no line in the legend, so each gets an empty plot beside it."""
    looks = ((COLOURS[1], "-", 2), (COLOURS[2], ":", 2), (INK, "-", 3))
    for (name, arrow), (color, dash, width) in zip(arrows.items(), looks, strict=True):
        look = {"color": color, "linestyle": dash, "linewidth": width}
        ends = {"arrowstyle": "->", "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", start + _cartesian(arrow), start, arrowprops={**ends, **look})
        axes.plot([], [], label=name, **look)


def cosines(sides: Sequence[float]) -> np.ndarray:
    """Of a triangle's angles at A, B and C, (3,), from the lengths of its sides AB, AC and BC, (3,).

    A side without length has no direction: the cosines at both of its ends are 0, as in `losses.angles`.
    """
    ab, ac, bc = sides
    return np.array([_cosine(ab, ac, bc), _cosine(ab, bc, ac), _cosine(ac, bc, ab)])


def _cosine(one: float, other: float, opposite: float) -> float:
    if min(one, other) < NO_LENGTH:
        return 0.0
    return float(np.clip((one**2 + other**2 - opposite**2) / (2 * one * other), -1, 1))


def triangle_corners(sides: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    """The triangle in its true shape, (3, 2): A at the origin, B to its right, longest side 1."""
    height = np.sqrt(1 - cosines[0] ** 2)
    corners = np.array([(0, 0), (sides[0], 0), (sides[1] * cosines[0], sides[1] * height)])
    return corners / max(sides.max(), NO_LENGTH)


def draw_triangle(axes, corners: np.ndarray) -> None:
    """A triangle with its letters. corners: A, B, C, (3, 2), as of `triangle_corners`."""
    axes.plot(*np.vstack([corners, corners[:1]]).T, color=INK, linewidth=1)
    for letter, corner in zip("ABC", corners, strict=True):
        axes.annotate(letter, corner, ha="center", va="center", bbox=ON_PAPER)
    axes.set(aspect="equal", xlim=(-0.75, 1.25), ylim=(-0.25, 1.25))
    axes.set_axis_off()


def triangles(sides: Mapping[str, Sequence[float]]) -> Figure:
    """The same three examples in several networks, each a triangle in its true shape, with its sides and angles as numbers.

    sides: network -> the distances AB, AC and BC, (3,), in any unit, such as the batch's mean distance. A triangle is flat in a
    space of any dimension, so nothing is lost on paper.
    """
    figure = Figure(3.6 * len(sides), 2.9)
    parts = []
    for axes, (name, lengths) in zip(figure.subplots(1, len(sides), squeeze=False)[0], sides.items(), strict=True):
        lengths = check_vector(name, lengths, 3)
        angles = np.degrees(np.arccos(cosines(lengths)))
        corners = triangle_corners(lengths, cosines(lengths))
        draw_triangle(axes, corners)
        look = {"ha": "center", "va": "center", "fontsize": 9}
        middles = corners[[[0, 1], [0, 2], [1, 2]]].mean(axis=1)
        for place, length in zip(_outwards(middles, corners, 0.16), lengths, strict=True):
            axes.annotate(f"{length:.2f}", place, **look)
        for place, angle in zip(_outwards(corners, corners, 0.2), angles, strict=True):
            axes.annotate(f"{angle:.0f}°", place, color=COLOURS[0], **look)
        axes.set_title(wrapped(name, 30), fontsize=9)
        said = ", ".join(f"{side} {length:.2f}" for side, length in zip(("AB", "AC", "BC"), lengths, strict=True))
        parts.append(f"{name}: {said}, angles {', '.join(f'{angle:.0f}°' for angle in angles)}")
    figure.description = "Sides and angles, at A, B and C, of one triangle. " + "; ".join(parts) + "."
    return figure


def _outwards(points: np.ndarray, corners: np.ndarray, by: float) -> np.ndarray:
    """Points (3, 2) of a triangle's edge, so far away from its middle."""
    away = points - corners.mean(axis=0)
    return points + by * away / np.linalg.norm(away, axis=1, keepdims=True).clip(NO_LENGTH)


def _cartesian(distributions) -> np.ndarray:
    """Distributions over three classes, (..., 3), as points of a triangle with sides of 1, (..., 2)."""
    return array(distributions) @ np.array([(0, 0), (1, 0), (0.5, np.sqrt(3) / 2)])
