"""Figures of what happens inside networks: feature maps, layers compared, the geometry of a batch."""

from collections.abc import Mapping, Sequence

import numpy as np

from kdcourse.palette import COLOURS, INK, MARKERS, Figure, array, count, photographs, rectangle, show, table, wrapped


def feature_maps(picture, networks: Mapping[str, np.ndarray], *, layer: str, most: int = 6) -> Figure:
    """A picture and, for each network, its attention map and its strongest channels in one layer.

    picture: (H, W) or (H, W, 3) within [0, 1]. networks: name -> (C, h, w). most: channels shown of each.
    """
    picture = photographs(array(picture)[None])[0]
    figure = Figure(1.0 * (most + 2) + 0.6, 1.25 * len(networks) + 0.2)
    rows = figure.subplots(len(networks), most + 2, squeeze=False)
    parts = []
    for row, (name, maps) in zip(rows, networks.items(), strict=True):
        maps = array(maps).astype(float)
        if maps.ndim != 3 or not np.isfinite(maps).all():
            raise ValueError(f"networks must hold finite maps (C, h, w), got shape {maps.shape} for {name}")
        attention = (maps**2).mean(axis=0)
        strongest = (maps**2).mean(axis=(1, 2)).argsort()[::-1][:most]
        show(row[0], picture, wrapped(name))
        shown = [("attention", attention), *((f"channel {channel}", np.abs(maps[channel])) for channel in strongest)]
        for axes, (title, values) in zip(row[1:], shown, strict=False):
            axes.imshow(values, cmap="cividis", vmin=0, vmax=values.max() or 1)
            axes.set_title(title, fontsize=8)
        for axes in row:
            axes.set(xticks=[], yticks=[])
        for axes in row[1 + len(shown) :]:
            axes.set_axis_off()
        y, x = np.unravel_index(attention.argmax(), attention.shape)
        where = f"most active at row {y + 1}, column {x + 1}"
        parts.append(
            f"{name}: {count(len(maps), 'channel')} of {maps.shape[1]} × {maps.shape[2]}, {where}, "
            f"{(np.abs(maps) > 1e-6).mean():.0%} of values not zero"
        )
    figure.description = f"Layer {layer}. " + "; ".join(parts) + "."
    return figure


def alignment(matrix, students: Sequence[str], teachers: Sequence[str], *, chosen: int | None = None) -> Figure:
    """How alike layers are: one column for each of the teacher's layers, one row for each of the student's.

    matrix: (students, teachers) within [0, 1], as of centred kernel alignment. chosen: a row to mark with its best match.
    """
    matrix = table("matrix", matrix, len(teachers), len(students))
    figure = Figure(1.6 + 0.75 * len(teachers), 1.3 + 0.55 * len(students))
    best = matrix.argmax(axis=1)
    rows = range(len(students)) if chosen is None else [chosen]
    layers_compared(figure.subplots(), matrix, students, teachers, [(row, best[row]) for row in rows])
    said = "; ".join(
        f"{students[row]} is most like {teachers[best[row]]} ({matrix[row, best[row]]:.2f})" for row in rows
    )
    figure.description = f"Similarity of layers, from 0 to 1, best match framed: {said}."
    return figure


def layers_compared(axes, matrix, students: Sequence[str], teachers: Sequence[str], framed: Sequence[tuple]) -> None:
    """The heat map of `alignment` with its numbers; framed: cells, (row, column)."""
    axes.imshow(matrix, cmap="cividis", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(matrix):
        ink = "black" if value > 0.5 else "white"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=9)
    axes.set_xticks(range(len(teachers)), teachers, fontsize=9)
    axes.set_yticks(range(len(students)), students, fontsize=9)
    axes.set(xlabel="teacher's layer", ylabel="student's layer")
    for row, column in framed:
        axes.add_patch(rectangle(column, row))


def relations(tables: Mapping[str, np.ndarray], labels, classes: Sequence[str], *, what: str = "distance") -> Figure:
    """N×N tables over one batch side by side, pictures sorted by class, classes divided by lines.

    tables: name -> (N, N). labels: (N,) class numbers. what: what the tables hold.
    """
    labels = array(labels)
    order = labels.argsort(kind="stable")
    ordered = labels[order]
    figure = Figure(2.5 * len(tables) + 0.6, 2.9)
    apart = ordered[:, None] != ordered[None, :]
    same = ~apart & ~np.eye(len(labels), dtype=bool)
    borders = np.flatnonzero(np.diff(ordered)) + 0.5
    middles = [np.flatnonzero(ordered == label).mean() for label in np.unique(ordered)]
    parts, panels = [], figure.subplots(1, len(tables), squeeze=False)[0]
    for axes, (name, values) in zip(panels, tables.items(), strict=True):
        values = table(name, values, len(labels), len(labels))[np.ix_(order, order)]
        axes.imshow(values, cmap="cividis")
        for border in borders:
            axes.axhline(border, color="white", linewidth=0.6)
            axes.axvline(border, color="white", linewidth=0.6)
        axes.set_title(wrapped(name, 24), fontsize=9)
        axes.set_xticks([])
        axes.set_yticks([])
        parts.append(
            f"{name}: mean {what} {values[same].mean():.2f} within a class, {values[apart].mean():.2f} between"
        )
    panels[0].set_yticks(middles, [classes[label] for label in np.unique(ordered)], fontsize=8)
    figure.description = f"{what.capitalize()}s of {count(len(labels), 'picture')}. " + "; ".join(parts) + "."
    return figure


def triangles(pictures, embeddings: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """Three pictures and the triangle that they span in each embedding, its angle at the first picture in degrees.

    pictures: (3, H, W) or (3, H, W, 3) within [0, 1], the first at the angle. embeddings: name -> (3, D). names: three.
    A triangle is flat in any space, so it is drawn as it is; only its size is scaled away.
    """
    pictures = photographs(pictures)
    if len(pictures) != 3 or len(names) != 3:
        raise ValueError(f"pictures and names must be three each, got {len(pictures)} and {len(names)}")
    figure = Figure(2.2 * len(embeddings) + 1.6, 2.6)
    sides, *panels = figure.subplots(1, len(embeddings) + 1, width_ratios=(0.6, *[1] * len(embeddings)))
    strip = np.concatenate(list(pictures), axis=0)
    show(sides, strip, "\n".join(f"{marker}: {name}" for marker, name in zip("ABC", names, strict=True)))
    parts = []
    for axes, (name, points) in zip(panels, embeddings.items(), strict=True):
        points = table(name, points, array(points).shape[-1], 3).astype(float)
        corners, degrees = _flat(points)
        axes.plot(*np.vstack([corners, corners[:1]]).T, color=COLOURS[0], linewidth=1.5)
        for number, (corner, letter) in enumerate(zip(corners, "ABC", strict=True)):
            axes.plot(*corner, color=COLOURS[number], marker=MARKERS[number], markersize=9)
            axes.annotate(letter, corner, (6, 6), textcoords="offset points", color=INK)
        axes.set(aspect="equal", xlim=(-0.75, 1.25), ylim=(-0.25, 1.25))
        axes.set_axis_off()
        axes.set_title(f"{wrapped(name, 22)}\nangle at A: {degrees:.0f}°", fontsize=9)
        parts.append(f"{name} {degrees:.0f}°")
    figure.description = f"The angle at {names[0]} between {names[1]} and {names[2]}: " + ", ".join(parts) + "."
    return figure


def neighbours(pictures, found: Mapping[str, np.ndarray], query_names: Sequence[str], names: Mapping) -> Figure:
    """Query pictures and, for each network, the nearest neighbour that it finds; right ones are marked in words.

    pictures: (Q, H, W) or (Q, H, W, 3). found: network -> pictures of its neighbours, (Q, H, W). query_names: Q class names.
    names: network -> Q class names of the neighbours.
    """
    pictures = photographs(pictures)
    figure = Figure(1.05 * len(pictures) + 1.0, 1.35 * (1 + len(found)))
    grid = figure.subplots(1 + len(found), len(pictures), squeeze=False)
    for axes, picture, name in zip(grid[0], pictures, query_names, strict=True):
        show(axes, picture, wrapped(name, 12))
    grid[0, 0].set_ylabel("query", fontsize=9)
    parts = []
    for row, (network, others) in zip(grid[1:], found.items(), strict=True):
        right = [name == wanted for name, wanted in zip(names[network], query_names, strict=True)]
        for axes, picture, name, hit in zip(row, photographs(others), names[network], right, strict=True):
            show(axes, picture, f"{'✓' if hit else '✗'} {wrapped(name, 12)}")
        row[0].set_ylabel(wrapped(network), fontsize=9)
        parts.append(f"{network} finds the right class for {sum(right)} of {len(right)}")
    figure.description = f"Nearest neighbours of {count(len(pictures), 'picture')}: " + "; ".join(parts) + "."
    return figure


def _flat(points: np.ndarray) -> tuple[np.ndarray, float]:
    """Three points of any space in the plane, first at the origin, longest side 1; and the angle at the first, in degrees."""
    first, second = points[1] - points[0], points[2] - points[0]
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    scale = max(*lengths, np.linalg.norm(points[1] - points[2])) or 1.0
    cosine = first @ second / (lengths[0] * lengths[1]) if min(lengths) > 0 else 1.0
    angle = np.arccos(np.clip(cosine, -1, 1))
    corners = [(0, 0), (lengths[0], 0), (lengths[1] * np.cos(angle), lengths[1] * np.sin(angle))]
    return np.array(corners) / scale, float(np.degrees(angle))
