"""The layer matcher: what it shows of two layers is theirs, it follows its controls, and both halves say the same."""

import base64
import io
import sys

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image

from kdcourse import widgets
from kdcourse.evaluation import measure
from kdcourse.widgets.matcher import CHANNELS, activity, describe, layer_matcher, tiles
from tests import in_browser

random = np.random.default_rng(1)
PICTURES = random.random((5, 8, 8))
STUDENT = {"s1": random.normal(size=(5, 4, 6, 4)), "s2": random.normal(size=(5, 9, 2, 3))}
TEACHER = {
    "t1": random.normal(size=(5, 8, 6, 4)),
    "t2": random.normal(size=(5, 16, 3, 3)),
    "t3": np.zeros((5, 2, 1, 1)),
}
ALIKE = np.array([[0.9, 0.4, 0.1], [0.3, 0.2, 0.315]])


@pytest.fixture
def view():
    return layer_matcher(PICTURES, STUDENT, TEACHER, ALIKE)


def test_attention_comes_first_then_the_strongest_channels():
    maps = np.zeros((8, 2, 3))
    maps[5, 0, 1], maps[2, 1, 2], maps[7] = -4, 2, 1
    shown, strongest = tiles(maps)
    assert shown.shape == (1 + CHANNELS, 2, 3) and strongest[:2] == [5, 7] and strongest[2] == 2
    np.testing.assert_allclose(shown[0], [[1 / 17, 1, 1 / 17], [1 / 17, 1 / 17, 5 / 17]])
    np.testing.assert_array_equal(shown[1], [[0, 1, 0], [0, 0, 0]])
    assert not shown[4:].any()


def test_a_narrow_layer_shows_all_it_has_and_a_dead_one_nothing():
    assert tiles(np.ones((2, 3, 3)))[0].shape == (3, 3, 3)
    assert not tiles(np.zeros((2, 3, 3)))[0].any()


def test_activity_in_words():
    maps = np.zeros((3, 2, 2))
    maps[0, 1, 0] = 2
    assert activity(maps) == "3 channels of 2 × 2, most active at row 2, column 1, 8% of values not zero"
    assert activity(torch.ones(1, 4, 6)).startswith("1 channel of 4 × 6, most active at row 1, column 1, 100%")


def test_view_follows_its_controls(view):
    assert (
        view.description == "The student's s1 and the teacher's t1: CKA 0.90. No layer of the teacher is closer to s1."
    )
    view.move(student="s2", teacher="t2", picture=3)
    assert view.description == (
        "The student's s2 and the teacher's t2: CKA 0.20. Closest to s2 is the teacher's t3 with 0.32."
    )
    assert (view.view.student, view.view.teacher, view.view.picture) == (1, 1, 3)


@pytest.mark.parametrize(("student", "teacher", "picture"), [("s1", "t1", 0), ("s1", "t2", 2), ("s2", "t3", 4)])
def test_every_state_can_be_drawn(view, student, teacher, picture):
    view.move(student=student, teacher=teacher, picture=picture)
    assert f"student's {student} and the teacher's {teacher}" in view.description
    assert len(view.figure.png()) > 10_000


def test_still_figure_tells_what_both_layers_do(view):
    view.move(student="s2", teacher="t2", picture=4)
    words = " ".join(text.get_text() for text in view.figure.findobj(lambda one: hasattr(one, "get_text")))
    for who, size, maps in (
        ("student's s2", "9 channels of 2 × 3", STUDENT["s2"][4]),
        ("teacher's t2", "16 channels of 3 × 3", TEACHER["t2"][4]),
    ):
        row, column = divmod(torch.tensor(maps).norm(dim=0).argmax().item(), 3)
        assert f"{who}: {size}, most active at row {row + 1}, column {column + 1}, 100% of values not zero" in words
    assert "0.32" in words


def test_a_sheet_holds_every_map_of_every_picture(view):
    for layers, maps in ((view.view.content["students"], STUDENT), (view.view.content["teachers"], TEACHER)):
        for sheet, (layer, expected) in zip(layers, maps.items(), strict=True):
            width, height = sheet["size"]
            assert sheet["layer"] == layer and expected.shape[2:] == (height, width)
            whole = np.asarray(Image.open(io.BytesIO(base64.b64decode(sheet["sheet"].split(",")[1]))))
            maps_of_3 = torch.tensor(expected[3])
            strongest = maps_of_3.norm(dim=(1, 2)).argsort(descending=True, stable=True)[:CHANNELS].tolist()
            attention = maps_of_3.norm(dim=0) ** 2
            shown = [attention, *maps_of_3[strongest].abs()]
            assert whole.shape == (5 * height, len(shown) * width, 3)
            assert layer == "t3" or sheet["channels"][3] == strongest, "in a dead layer none is the strongest"
            row = whole[3 * height : 4 * height]
            for column, values in enumerate(shown):
                cell = row[:, column * width : (column + 1) * width]
                shares = (values / values.max().clamp(min=1e-9)).numpy()
                np.testing.assert_allclose(cell / 255, colormaps["cividis"](shares)[..., :3], atol=0.003)


def test_takes_tensors_and_what_the_labs_measure():
    maps = {name: torch.tensor(values) for name, values in STUDENT.items()}
    alike = [[measure.centered_kernel_alignment(one, other) for other in maps.values()] for one in maps.values()]
    view = layer_matcher(torch.zeros(5, 8, 8, 3), maps, maps, alike)
    assert view.description.startswith("The student's s1 and the teacher's s1: CKA 1.00. No layer")


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("student", lambda: layer_matcher(PICTURES, {"flat": np.zeros((5, 8))}, TEACHER, ALIKE[:1])),
        ("teacher", lambda: layer_matcher(PICTURES[:4], {"s": STUDENT["s1"][:4]}, TEACHER, ALIKE[:1])),
        ("student", lambda: layer_matcher(PICTURES, {"s": np.full((5, 1, 2, 2), np.nan)}, TEACHER, ALIKE[:1])),
        ("alike", lambda: layer_matcher(PICTURES, STUDENT, TEACHER, ALIKE.T)),
        ("alike", lambda: layer_matcher(PICTURES, STUDENT, TEACHER, 2 * ALIKE)),
        ("images", lambda: layer_matcher(PICTURES - 1, STUDENT, TEACHER, ALIKE)),
        ("student", lambda: layer_matcher(PICTURES, STUDENT, TEACHER, ALIKE).move(student="t1")),
        ("picture", lambda: layer_matcher(PICTURES, STUDENT, TEACHER, ALIKE).move(picture=5)),
        ("layer", lambda: layer_matcher(PICTURES, STUDENT, TEACHER, ALIKE).move(layer="s1")),
    ],
)
def test_errors_name_the_argument(name, call):
    with pytest.raises(ValueError, match=name):
        call()


def test_without_anywidget_python_draws(view, monkeypatch):
    monkeypatch.setitem(sys.modules, "kdcourse.widgets.views", None)
    drawn = layer_matcher(PICTURES, STUDENT, TEACHER, ALIKE)
    assert isinstance(drawn, widgets.LiveFigure)
    for one in (view, drawn):
        one.move(student="s2", teacher="t1")
    assert drawn.description == view.description


@in_browser.needed
def test_browser_and_python_say_the_same_sentence():
    tables = [ALIKE.tolist(), [[0.5, 0.5, 0.5]], [[0.125, 0.375, 1.0], [0.0, 0.005, 0.675]]]
    cases = [
        [alike, ["s1", "s2"][: len(alike)], list(TEACHER), [row, column]]
        for alike in tables
        for row in range(len(alike))
        for column in range(3)
    ]
    assert in_browser.call("matcher", "all => kd.describe(...all)", cases) == [describe(*one) for one in cases]
