"""The geometry of a batch: where teacher and student put its pictures, and what RKD's losses make of one triplet.

The planes show where a picture lies, roughly; every length, angle and loss is one of the full space.
"""

from collections.abc import Mapping, Sequence

import ipywidgets
import numpy as np
import torch

from kdcourse.losses import distances
from kdcourse.plots.palette import (
    INK,
    PAPER,
    Figure,
    array,
    check_pictures,
    check_table,
    data_uri,
    show_picture,
    style,
    wrapped,
)
from kdcourse.plots.plane import NO_LENGTH, cosines, draw_triangle, triangle_corners
from kdcourse.widgets.linked import WIDE, LinkedView, linked, numbered
from kdcourse.widgets.live import LiveFigure
from kdcourse.widgets.wording import fixed

MAX_CLASSES = 6  # classes that shape and colour tell apart, in the browser too


def principal_plane(embeddings) -> tuple[np.ndarray, float]:
    """The first two principal components, over the mean distance: (N, D) -> (N, 2), and the share of variance they hold."""
    points = array(embeddings).astype(float)
    points = points - points.mean(axis=0)
    left, spread, _ = np.linalg.svd(points, full_matrices=False)
    share = (spread[:2] ** 2).sum() / max((spread**2).sum(), np.finfo(float).tiny)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    mean = apart[apart > 0].mean() if apart.any() else 1.0
    return left[:, :2] * spread[:2] / mean, float(share)


def procrustes(points: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(N, 2), turned and mirrored as a whole to lie as close to `reference` (N, 2) as it can: a plane has no up of its own."""
    left, _, right = np.linalg.svd(points.T @ reference)
    return points @ left @ right


def sides_and_cosines(apart: np.ndarray, corners: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Sides AB, AC, BC, (3,), and the cosines of the angles at A, B, C, (3,), from distances (N, N) and three pictures."""
    a, b, c = corners
    sides = np.array([apart[a][b], apart[a][c], apart[b][c]])
    return sides, cosines(sides)


def smooth_l1(one: np.ndarray, other: np.ndarray) -> float:
    """RKD's mean of gaps, squares when small: Park et al. (2019), eq. 4."""
    gap = np.abs(one - other)
    return float(np.where(gap < 1, gap**2 / 2, gap - 0.5).mean())


def describe(pair: Sequence[Mapping], names: Sequence[str], corners: Sequence[int]) -> str:
    """Two sentences on one triplet: its sides and its angle at A in two networks, and how far RKD finds them apart.

    pair: teacher, then student, each with "name" and "apart", the distances (N, N) over their mean. names: the class of each
    of N pictures.
    """
    both = [sides_and_cosines(one["apart"], corners) for one in pair]
    said = "; ".join(
        f"{one['name']}: {_lengths(sides)}, {_angle(sides, cosines)}"
        for one, (sides, cosines) in zip(pair, both, strict=True)
    )
    three = ", ".join(names[corner] for corner in corners)
    return f"Triplet {three}; {said}. RKD's losses of it: {_losses(*both)}."


def batch_geometry(
    pictures, embeddings: Mapping[str, np.ndarray], labels, classes: Sequence[str]
) -> LinkedView | LiveFigure:
    """Show where teacher and student put the pictures of a batch, and the triangle that three of them span in each network.

    pictures: (N, H, W) or (N, H, W, 3) within [0, 1], N ≥ 3. embeddings: name -> (N, D), D ≥ 2, the teacher first, then the
    students. labels: class numbers (N,), of six classes at most. classes: the name of every class. Controls: a, b, c (the
    three pictures, by number) and student (by number, from 0).
    Raises `ValueError` for shapes that do not fit together.
    """
    pictures, labels = check_pictures(pictures), array(labels)
    kinds, marks = _class_numbers(labels, len(pictures))
    names, kinds = [classes[label] for label in labels], [classes[kind] for kind in kinds]
    networks = _networks(embeddings, len(pictures))

    def draw(a: int, b: int, c: int, student: int) -> Figure:
        corners, pair = [a, b, c], (networks[0], networks[1 + student])
        figure = Figure(8.6, 6.0)
        upper, lower = figure.subfigures(2, 1, height_ratios=(3, 2))
        _draw_pictures_and_planes(upper, pictures, pair, names, marks, kinds, corners)
        _draw_triangles(lower, {one["name"]: sides_and_cosines(one["apart"], corners) for one in networks})
        figure.description = describe(pair, names, corners)
        return figure

    content = {
        "pictures": [data_uri(picture) for picture in pictures],
        "names": names,
        "marks": marks.tolist(),
        "kinds": kinds,
        "networks": [{**one, "plane": one["plane"].tolist(), "apart": one["apart"].tolist()} for one in networks],
    }
    return linked("geometry", content, draw, **_controls(names, marks, list(embeddings)[1:]))


def _lengths(sides: np.ndarray) -> str:
    return ", ".join(f"{name} {fixed(length, 2)}" for name, length in zip(("AB", "AC", "BC"), sides, strict=True))


def _angle(sides: np.ndarray, cosines: np.ndarray) -> str:
    if min(sides[0], sides[1]) < NO_LENGTH:
        return "no angle at A"
    return f"{fixed(np.degrees(np.arccos(cosines[0])), 0)}° at A"


def _losses(teacher: tuple, student: tuple) -> str:
    distance, angle = (fixed(smooth_l1(one, other), 4) for one, other in zip(teacher, student, strict=True))
    return f"distance {distance}, angle {angle}"


def _class_numbers(labels: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The classes there are, and the place of each picture's class among them."""
    if labels.shape != (count,) or count < 3:
        raise ValueError(f"labels must be one for each of at least 3 pictures, got {labels.shape} for {count}")
    kinds, marks = np.unique(labels, return_inverse=True)
    if len(kinds) > MAX_CLASSES:
        told = "told apart by shape and colour"
        raise ValueError(f"labels must be of {MAX_CLASSES} classes at most, {told}, got {len(kinds)}")
    return kinds, marks


def _networks(embeddings: Mapping[str, np.ndarray], count: int) -> list[dict]:
    """For each network its name, plane (N, 2), the share of variance in it, and distances (N, N) over their mean."""
    if len(embeddings) < 2:
        raise ValueError(f"embeddings must be the teacher's and at least one student's, got {len(embeddings)}")
    networks = []
    for name, values in embeddings.items():
        width = array(values).shape[-1]
        if width < 2:
            raise ValueError(f"embeddings must have at least 2 dimensions, got {width} for {name}")
        points = torch.as_tensor(check_table(name, values, width, count)).double()
        at, share = principal_plane(points)
        if networks:
            at = procrustes(at, networks[0]["plane"])
        # Five digits are what the browser gets, so Python reckons with them too.
        networks.append(
            {"name": name, "plane": at.round(4), "share": share, "apart": array(distances(points)).round(5)}
        )
    return networks


def _draw_pictures_and_planes(figure, pictures, pair, names, marks, kinds, corners) -> None:
    strip, *panels = figure.subplots(1, 3, width_ratios=(0.5, 1, 1))
    titles = [f"{letter}: {names[corner]}" for letter, corner in zip("ABC", corners, strict=True)]
    show_picture(strip, np.concatenate(list(pictures[corners])), "\n".join(titles))
    reach = 1.15 * max(np.abs(one["plane"]).max() for one in pair)
    for axes, one in zip(panels, pair, strict=True):
        points = one["plane"]
        for number, kind in enumerate(kinds):
            axes.plot(*points[marks == number].T, **style(number), linestyle="none", markersize=5, label=kind)
        axes.plot(*points[[*corners, corners[0]]].T, color=INK, linewidth=1)
        for letter, corner in zip("ABC", corners, strict=True):
            paper = {"boxstyle": "circle,pad=0.15", "facecolor": PAPER, "edgecolor": INK}
            axes.annotate(letter, points[corner], ha="center", va="center", fontsize=9, bbox=paper)
        axes.set(aspect="equal", xlim=(-reach, reach), ylim=(-reach, reach), xticks=[], yticks=[])
        axes.set(xlabel="first component", ylabel="second component")
        axes.set_title(f"{one['name']}\na plane with {one['share']:.0%} of the variance", fontsize=9)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=len(kinds), frameon=False)


def _draw_triangles(figure, triangles: Mapping[str, tuple]) -> None:
    """Each network's triangle in its true shape, longest side 1: a triangle is flat in any space."""
    teacher = next(iter(triangles.values()))
    for axes, (name, one) in zip(figure.subplots(1, len(triangles)), triangles.items(), strict=True):
        draw_triangle(axes, triangle_corners(*one))
        title = f"{wrapped(name, 30)}\n{_lengths(one[0])}\n{_angle(*one)}"
        if one is not teacher:
            title += f"\nRKD: {_losses(teacher, one)}"
        axes.set_title(title, fontsize=8)


def _controls(names: Sequence[str], marks: np.ndarray, students: Sequence[str]) -> dict[str, ipywidgets.Widget]:
    # A first triplet worth a look: two pictures of one class, the third of another.
    alike, others = np.flatnonzero(marks == marks[0]), np.flatnonzero(marks != marks[0])
    second = int(alike[1]) if len(alike) > 1 else 1
    third = int(others[-1]) if len(others) > 0 else 2
    corners = {
        letter: ipywidgets.SelectionSlider(
            options=numbered(names), value=corner, description=f"picture {letter.upper()}", **WIDE
        )
        for letter, corner in zip("abc", (0, second, third), strict=True)
    }
    named = [(name, number) for number, name in enumerate(students)]
    return {**corners, "student": ipywidgets.Dropdown(options=named, value=0, description="student", **WIDE)}
