"""The layer matcher: how alike each two layers of student and teacher are, and what any two of them make of a picture."""

from collections.abc import Mapping, Sequence

import ipywidgets
import matplotlib
import numpy as np

from kdcourse.plots.inside import layers_compared
from kdcourse.plots.palette import PAPER, Figure, array, check_pictures, check_table, data_uri, plural, show_picture
from kdcourse.widgets.linked import WIDE, LinkedView, linked
from kdcourse.widgets.live import LiveFigure
from kdcourse.widgets.wording import fixed

CHANNELS = 6  # the strongest of a layer, beside its attention


def tiles(maps) -> tuple[np.ndarray, list[int]]:
    """One layer's maps of a picture for people: (C, h, w) -> (1 + K, h, w) within [0, 1], and the numbers of K channels.

    First the attention, the mean of all channels squared, then the size of the strongest channels; each over its own maximum.
    """
    squared = array(maps).astype(float) ** 2
    strongest = squared.mean(axis=(1, 2)).argsort(kind="stable")[::-1][:CHANNELS]
    shown = np.concatenate([squared.mean(axis=0)[None], np.sqrt(squared[strongest])])
    most = shown.max(axis=(1, 2), keepdims=True)
    return shown / np.where(most > 0, most, 1), strongest.tolist()


def activity(maps) -> str:
    """What a layer, (C, h, w), does with a picture, in words."""
    maps = array(maps).astype(float)
    attention = (maps**2).mean(axis=0)
    y, x = np.unravel_index(attention.argmax(), attention.shape)
    where = f"most active at row {y + 1}, column {x + 1}"
    size = f"{plural(len(maps), 'channel')} of {maps.shape[1]} × {maps.shape[2]}"
    return f"{size}, {where}, {(np.abs(maps) > 1e-6).mean():.0%} of values not zero"


def describe(alike: Sequence[Sequence[float]], students: Sequence[str], teachers: Sequence[str], pair: tuple) -> str:
    """Two sentences on a pair of layers, (student's, teacher's) by number: how alike, and which of the teacher's is closest.

    alike: CKA for each of the student's layers and each of the teacher's.
    """
    student, teacher = pair
    row, ours = alike[student], students[student]
    best = int(np.argmax(row))
    said = f"The student's {ours} and the teacher's {teachers[teacher]}: CKA {fixed(row[teacher], 2)}."
    if best == teacher:
        return f"{said} No layer of the teacher is closer to {ours}."
    return f"{said} Closest to {ours} is the teacher's {teachers[best]} with {fixed(row[best], 2)}."


def layer_matcher(
    pictures, student: Mapping[str, np.ndarray], teacher: Mapping[str, np.ndarray], alike
) -> LinkedView | LiveFigure:
    """A live heat map of how alike two networks' layers are, and beside it the maps of the chosen pair of layers for one picture.

    pictures: (N, H, W) or (N, H, W, 3) within [0, 1]. student, teacher: layer -> maps (N, C, h, w) of these pictures.
    alike: (student's layers, teacher's layers) within [0, 1], as of `measure.centered_kernel_alignment`.
    Controls: student, teacher (layers by name; a click on a cell sets both), picture (its number, from 0). Raises
    `ValueError` for shapes that do not fit together.
    """
    pictures = check_pictures(pictures)
    sides = {
        name: {layer: _checked(name, layer, maps, len(pictures)) for layer, maps in layers.items()}
        for name, layers in (("student", student), ("teacher", teacher))
    }
    students, teachers = list(student), list(teacher)
    alike = check_table("alike", alike, len(teachers), len(students))
    if not -1e-6 <= alike.min() <= alike.max() <= 1 + 1e-6:
        raise ValueError(f"alike must lie within [0, 1], got {alike.min():g} to {alike.max():g}")

    def draw(student: str, teacher: str, picture: int) -> Figure:
        pair = students.index(student), teachers.index(teacher)
        chosen = {"student": student, "teacher": teacher}
        rows = {f"{name}'s {layer}": sides[name][layer][picture] for name, layer in chosen.items()}
        return _static_figure(pictures[picture], rows, alike, students, teachers, pair)

    content = {
        "pictures": [data_uri(picture) for picture in pictures],
        "students": [_sprite_sheet(layer, maps) for layer, maps in sides["student"].items()],
        "teachers": [_sprite_sheet(layer, maps) for layer, maps in sides["teacher"].items()],
        "alike": alike.tolist(),
        "fills": [
            [matplotlib.colors.to_hex(colour) for colour in row] for row in matplotlib.colormaps["cividis"](alike)
        ],
    }
    return linked("matcher", content, draw, **_controls(students, teachers, len(pictures)))


def _checked(name: str, layer: str, maps, pictures: int) -> np.ndarray:
    maps = array(maps).astype(float)
    if maps.ndim != 4 or len(maps) != pictures or not np.isfinite(maps).all():
        raise ValueError(f"{name} must hold finite maps ({pictures}, C, h, w), got shape {maps.shape} for {layer}")
    return maps


def _sprite_sheet(layer: str, maps: np.ndarray) -> dict:
    """All maps of a layer in one picture: a row for each picture, a column for each tile; and what is said of them."""
    each = [tiles(one) for one in maps]
    sheet = np.concatenate([np.concatenate(list(shown), axis=1) for shown, _ in each])
    return {
        "layer": layer,
        "size": [maps.shape[3], maps.shape[2]],  # width, height
        "sheet": data_uri(matplotlib.colormaps["cividis"](sheet)[..., :3]),
        "channels": [strongest for _, strongest in each],
        "notes": [activity(one) for one in maps],
    }


def _static_figure(picture, rows: Mapping[str, np.ndarray], alike, students, teachers, pair) -> Figure:
    figure = Figure(11.0, 3.4)
    left, right = figure.subfigures(1, 2, width_ratios=(1.2, 2))
    layers_compared(left.subplots(), alike, students, teachers, [pair])
    for part, (name, maps) in zip(right.subfigures(2, 1), rows.items(), strict=True):
        part.suptitle(f"{name}: {activity(maps)}", fontsize=9)
        first, strip = part.subplots(1, 2, width_ratios=(1, 1 + CHANNELS))
        show_picture(first, picture, "picture")
        _draw_tiles(strip, *tiles(maps))
    figure.description = describe(alike, students, teachers, pair)
    return figure


def _draw_tiles(axes, shown: np.ndarray, strongest: Sequence[int]) -> None:
    """All tiles in one row, with white between them."""
    width = shown.shape[2]
    axes.imshow(np.concatenate(list(shown), axis=1), cmap="cividis", vmin=0, vmax=1)
    for edge in range(1, len(shown)):
        axes.axvline(edge * width - 0.5, color=PAPER, linewidth=4)
    names = ["attention", *(f"ch. {channel}" for channel in strongest)]
    axes.xaxis.tick_top()
    axes.set_xticks(width * (np.arange(len(shown)) + 0.5) - 0.5, names, fontsize=8)
    axes.tick_params(length=0)
    axes.set(yticks=[], frame_on=False)


def _controls(students: Sequence[str], teachers: Sequence[str], pictures: int) -> dict[str, ipywidgets.Widget]:
    return {
        "student": ipywidgets.SelectionSlider(
            options=students, value=students[0], description="student's layer", **WIDE
        ),
        "teacher": ipywidgets.SelectionSlider(
            options=teachers, value=teachers[0], description="teacher's layer", **WIDE
        ),
        "picture": ipywidgets.IntSlider(0, min=0, max=pictures - 1, description="picture", **WIDE),
    }
