"""Figures of what happens inside networks: layers compared, relations within a batch, nearest neighbours."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import Normalize

from kdcourse.plots.palette import (
    Figure,
    array,
    check_pictures,
    check_table,
    frame_cell,
    heatmap,
    plural,
    show_picture,
    wrapped,
)


def alignment(matrix, students: Sequence[str], teachers: Sequence[str], *, chosen: int | None = None) -> Figure:
    """How alike layers are: one column for each of the teacher's layers, one row for each of the student's.

    matrix: (students, teachers) within [0, 1], as of centred kernel alignment. chosen: a row to mark with its best match.
    """
    matrix = check_table("matrix", matrix, len(teachers), len(students))
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
    heatmap(axes, matrix, lambda row, column: f"{matrix[row, column]:.2f}", fontsize=9, vmin=0, vmax=1)
    axes.set_xticks(range(len(teachers)), teachers, fontsize=9)
    axes.set_yticks(range(len(students)), students, fontsize=9)
    axes.set(xlabel="teacher's layer", ylabel="student's layer")
    for row, column in framed:
        frame_cell(axes, row, column)


def relations(tables: Mapping[str, np.ndarray], labels, classes: Sequence[str], *, what: str = "distance") -> Figure:
    """N×N tables over one batch side by side, pictures sorted by class, classes divided by lines.

    tables: name -> (N, N). labels: (N,) class numbers. what: what the tables hold. One scale of colours serves all tables.
    """
    labels = array(labels)
    tables = {name: check_table(name, values, len(labels), len(labels)) for name, values in tables.items()}
    scale = Normalize(min(map(np.min, tables.values())), max(map(np.max, tables.values())))
    order = labels.argsort(kind="stable")
    ordered = labels[order]
    figure = Figure(2.5 * len(tables) + 1.2, 3.0)
    apart = ordered[:, None] != ordered[None, :]
    same = ~apart & ~np.eye(len(labels), dtype=bool)
    borders = np.flatnonzero(np.diff(ordered)) + 0.5
    middles = [np.flatnonzero(ordered == label).mean() for label in np.unique(ordered)]
    parts, panels = [], figure.subplots(1, len(tables), squeeze=False, sharey=True)[0]
    for axes, (name, values) in zip(panels, tables.items(), strict=True):
        values = values[np.ix_(order, order)]
        image = axes.imshow(values, cmap="cividis", norm=scale)
        for border in borders:
            axes.axhline(border, color="white", linewidth=0.6)
            axes.axvline(border, color="white", linewidth=0.6)
        axes.set_title(wrapped(name, 24), fontsize=9)
        axes.set(xticks=[], xlabel="picture")
        parts.append(
            f"{name}: mean {what} {values[same].mean():.2f} within a class, {values[apart].mean():.2f} between"
        )
    panels[0].set_yticks(middles, [classes[label] for label in np.unique(ordered)], fontsize=8)
    panels[0].set_ylabel("picture")
    figure.colorbar(image, ax=panels, label=what, shrink=0.8)
    figure.description = f"{what.capitalize()}s of {plural(len(labels), 'picture')}. " + "; ".join(parts) + "."
    return figure


def pixel_maps(pictures, maps: Mapping[str, np.ndarray], titles: Sequence[str], *, what: str) -> Figure:
    """Pictures, and below each a map over its pixels for every network, such as a gradient or attention.

    pictures: (N, H, W) or (N, H, W, 3) within [0, 1]. maps: network -> (N, h, w) of 0 or more, each shown over its own largest
    value. titles: N names of the pictures. what: what the maps hold, for the colour bar.
    Raises `ValueError` for no maps, maps of another number, below 0 or not finite, and for other numbers of titles.
    """
    pictures, maps = check_pictures(pictures), {name: array(each) for name, each in maps.items()}
    if len(titles) != len(pictures):
        raise ValueError(f"titles must be {len(pictures)}, one for each picture, got {len(titles)}")
    if not maps:
        raise ValueError("maps must hold those of at least one network, got none")
    for name, each in maps.items():
        if each.ndim != 3 or len(each) != len(pictures) or not np.isfinite(each).all() or each.min() < 0:
            raise ValueError(f"{name} must be finite maps ({len(pictures)}, h, w) of 0 or more, got shape {each.shape}")
    figure = Figure(1.35 * len(pictures) + 1.6, 1.45 * (1 + len(maps)))
    grid = figure.subplots(1 + len(maps), len(pictures), squeeze=False)
    first, *rows = grid
    for axes, picture, title in zip(first, pictures, titles, strict=True):
        show_picture(axes, picture, wrapped(title, 14))
    for row, (name, each) in zip(rows, maps.items(), strict=True):
        for axes, one in zip(row, each, strict=True):
            shown = axes.imshow(one / (one.max() or 1), cmap="cividis", vmin=0, vmax=1)
            axes.set(gid="picture", xticks=[], yticks=[])
        row[0].set_ylabel(wrapped(name), fontsize=9)
    figure.colorbar(shown, ax=grid, label=f"{what}, over the largest of each map", ticks=(0, 1))
    figure.description = f"{plural(len(pictures), 'picture')}, and for {' and '.join(maps)} the {what} of each pixel."
    return figure


def neighbours(pictures, found: Mapping[str, np.ndarray], query_names: Sequence[str], names: Mapping) -> Figure:
    """Query pictures and, for each network, the nearest neighbour that it finds; right ones are marked in words.

    pictures: (Q, H, W) or (Q, H, W, 3). found: network -> pictures of its neighbours, (Q, H, W). query_names: Q class names.
    names: network -> Q class names of the neighbours.
    """
    pictures = check_pictures(pictures)
    figure = Figure(1.05 * len(pictures) + 1.0, 1.35 * (1 + len(found)))
    grid = figure.subplots(1 + len(found), len(pictures), squeeze=False)
    for axes, picture, name in zip(grid[0], pictures, query_names, strict=True):
        show_picture(axes, picture, wrapped(name, 12))
    grid[0, 0].set_ylabel("query", fontsize=9)
    parts = []
    for row, (network, others) in zip(grid[1:], found.items(), strict=True):
        right = [name == wanted for name, wanted in zip(names[network], query_names, strict=True)]
        for axes, picture, name, hit in zip(row, check_pictures(others), names[network], right, strict=True):
            show_picture(axes, picture, f"{'✓' if hit else '✗'} {wrapped(name, 12)}")
        row[0].set_ylabel(wrapped(network), fontsize=9)
        parts.append(f"{network} finds the right class for {sum(right)} of {len(right)}")
    figure.description = f"Nearest neighbours of {plural(len(pictures), 'picture')}: " + "; ".join(parts) + "."
    return figure
