"""The batch geometry: its lengths, angles and losses are RKD's own, its plane is PCA's, and both halves say the same."""

import sys

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from scipy.spatial import distance
from torch.nn import functional as F

from kdcourse import losses, widgets
from kdcourse.widgets.geometry import (
    batch_geometry,
    describe,
    principal_plane,
    procrustes,
    sides_and_cosines,
    smooth_l1,
    triangle_corners,
)
from tests import in_browser

CLASSES = ["T-shirt", "trouser", "bag", "boot"]
LABELS = np.repeat([0, 1, 3], 4)
random = np.random.default_rng(0)
PICTURES = random.random((12, 8, 8))
EMBEDDINGS = {"teacher": random.normal(size=(12, 6)), "wide": random.normal(size=(12, 9)), "dead": np.ones((12, 3))}


@pytest.fixture
def view():
    return batch_geometry(PICTURES, EMBEDDINGS, LABELS, CLASSES)


def apart(points) -> np.ndarray:
    """Distances over their mean, by scipy."""
    pairs = distance.pdist(points)
    return distance.squareform(pairs / pairs.mean())


def test_the_plane_is_that_of_principal_components():
    points = random.normal(size=(20, 5)) * [5, 3, 1, 1, 1]
    variances, directions = np.linalg.eigh(np.cov(points.T))
    theirs = (points - points.mean(axis=0)) @ directions[:, [-1, -2]]
    scale = apart(points)[0, 1] / np.linalg.norm(points[0] - points[1])  # one over the mean distance
    ours, share = principal_plane(points)
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs) * scale, atol=1e-9)
    assert share == pytest.approx(variances[-2:].sum() / variances.sum())


def test_a_plane_that_was_turned_and_mirrored_is_turned_back():
    points = random.normal(size=(9, 2))
    spin = np.array([[0.6, 0.8], [0.8, -0.6]])
    np.testing.assert_allclose(procrustes(points @ spin, points), points, atol=1e-12)
    lengths = np.linalg.norm(procrustes(points, random.normal(size=(9, 2))), axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(points, axis=1))


@pytest.mark.parametrize("corners", [(0, 1, 2), (7, 3, 11), (4, 9, 0)])
def test_angles_are_those_of_the_loss(corners):
    points = torch.tensor(EMBEDDINGS["teacher"])
    _, cosines = sides_and_cosines(apart(points), corners)
    theirs = losses.angles(points[list(corners)])
    np.testing.assert_allclose(cosines, [theirs[0, 1, 2], theirs[1, 0, 2], theirs[2, 0, 1]], atol=1e-9)


def test_a_right_angle_and_its_true_shape():
    points = np.array([[1.0, 1, 1], [1, 4, 1], [1, 1, 5], [9, 9, 9]])
    sides, cosines = sides_and_cosines(apart(points), (0, 1, 2))
    assert cosines == pytest.approx([0, 0.6, 0.8])
    np.testing.assert_allclose(sides / sides[0], [1, 4 / 3, 5 / 3])
    np.testing.assert_allclose(triangle_corners(sides, cosines), [[0, 0], [0.6, 0], [0, 0.8]], atol=1e-9)


def test_losses_of_a_whole_batch_add_up_to_those_of_its_triplets():
    """Every ordered triplet once: RKD's mean counts pairs and corners of one picture with itself too, which add nothing."""
    student, teacher = torch.tensor(EMBEDDINGS["wide"]), torch.tensor(EMBEDDINGS["teacher"])
    count, tables = len(student), (apart(student), apart(teacher))
    triplets = [(a, b, c) for a in range(count) for b in range(a) for c in range(b)]
    pairs = [[sides_and_cosines(table, one) for table in tables] for one in triplets]
    lengths, angles = (np.mean([smooth_l1(one[part], other[part]) for one, other in pairs]) for part in (0, 1))
    assert losses.rkd_distance(student, teacher).item() == pytest.approx(lengths * (count - 1) / count)
    share = (count - 1) * (count - 2) / count**2
    # Corners whose two sides lead to one picture have a cosine of 1 in both networks.
    assert losses.rkd_angle(student, teacher).item() == pytest.approx(angles * share)


def test_gaps_above_one_count_linearly():
    one, other = np.array([0.0, 2, 0.5]), np.array([3.0, 2, 1])
    assert smooth_l1(one, other) == pytest.approx(F.smooth_l1_loss(torch.tensor(one), torch.tensor(other)).item())


def test_a_triplet_worked_out_by_hand():
    """Sides 3, 4, 5, whose mean is 4, beside a triangle of equal sides: gaps 1/4, 0, 1/4 in length, 1/2, 1/10, 3/10 in cosine."""
    networks = {"teacher": [[0, 0], [3, 0], [0, 4]], "student": [[0, 0], [2, 0], [1, np.sqrt(3)]]}
    view = batch_geometry(
        PICTURES[:3], {name: np.array(at, float) for name, at in networks.items()}, [0, 1, 2], CLASSES
    )
    assert view.description == (
        "Triplet T-shirt, trouser, bag; teacher: AB 0.75, AC 1.00, BC 1.25, 90° at A; "
        "student: AB 1.00, AC 1.00, BC 1.00, 60° at A. RKD's losses of it: distance 0.0208, angle 0.0583."
    )


def test_view_follows_its_controls(view):
    assert (view.view.a, view.view.b, view.view.c) == (0, 1, 11)
    assert view.description.startswith("Triplet T-shirt, T-shirt, boot; teacher: AB ")
    before = view.description
    view.move(c=5)
    assert view.description.startswith("Triplet T-shirt, T-shirt, trouser;") and view.description != before
    view.move(a=11, b=10, c=0, student=1)
    assert "; dead: AB 0.00, AC 0.00, BC 0.00, no angle at A." in view.description
    assert (view.view.a, view.view.b, view.view.c, view.view.student) == (11, 10, 0, 1)
    strip, teacher, student, *_ = (axes.get_title() for axes in view.figure.findobj(Axes))
    assert strip == "A: boot\nB: boot\nC: T-shirt" and teacher.startswith("teacher\n") and student.startswith("dead\n")


def test_lengths_and_angle_in_the_sentence_are_those_of_the_full_space(view):
    for name, points in list(EMBEDDINGS.items())[:2]:
        to_b, to_c = points[1] - points[0], points[11] - points[0]
        degrees = np.degrees(np.arccos(to_b @ to_c / np.linalg.norm(to_b) / np.linalg.norm(to_c)))
        table = apart(points)
        said = f"{name}: AB {table[0, 1]:.2f}, AC {table[0, 11]:.2f}, BC {table[1, 11]:.2f}, {degrees:.0f}° at A"
        assert said in view.description


@pytest.mark.parametrize("number", [0, 5, 11])
def test_one_picture_three_times_spans_nothing(view, number):
    view.move(a=number, b=number, c=number)
    assert view.description.count("no angle at A") == 2
    assert view.description.endswith("RKD's losses of it: distance 0.0000, angle 0.0000.")
    assert len(view.figure.png()) > 5000


def test_a_student_like_its_teacher_loses_nothing():
    same = {"teacher": EMBEDDINGS["teacher"], "scaled": 7 * EMBEDDINGS["teacher"][:, ::-1] + 2}
    view = batch_geometry(PICTURES, same, LABELS, CLASSES)
    assert "distance 0.0000, angle 0.0000" in view.description
    teacher, student = view.view.content["networks"]
    np.testing.assert_allclose(teacher["plane"], student["plane"], atol=2e-4)


def test_takes_tensors_and_colour():
    tensors = {name: torch.tensor(points, dtype=torch.float32) for name, points in EMBEDDINGS.items()}
    view = batch_geometry(np.zeros((12, 8, 8, 3)), tensors, torch.tensor(LABELS), CLASSES)
    assert view.description == batch_geometry(PICTURES, EMBEDDINGS, LABELS, CLASSES).description
    assert view.view.content["kinds"] == ["T-shirt", "trouser", "boot"]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("labels", lambda: batch_geometry(PICTURES, EMBEDDINGS, LABELS[:4], CLASSES)),
        ("labels", lambda: batch_geometry(PICTURES[:2], EMBEDDINGS, LABELS[:2], CLASSES)),
        ("labels", lambda: batch_geometry(PICTURES, EMBEDDINGS, np.arange(12), [*"abcdefghijkl"])),
        ("images", lambda: batch_geometry(3 * PICTURES, EMBEDDINGS, LABELS, CLASSES)),
        ("embeddings", lambda: batch_geometry(PICTURES, {"teacher": EMBEDDINGS["teacher"]}, LABELS, CLASSES)),
        ("embeddings", lambda: batch_geometry(PICTURES, {**EMBEDDINGS, "thin": np.ones((12, 1))}, LABELS, CLASSES)),
        ("short", lambda: batch_geometry(PICTURES, {**EMBEDDINGS, "short": np.ones((9, 4))}, LABELS, CLASSES)),
        (
            "broken",
            lambda: batch_geometry(PICTURES, {**EMBEDDINGS, "broken": np.full((12, 4), np.nan)}, LABELS, CLASSES),
        ),
        ("a must", lambda: batch_geometry(PICTURES, EMBEDDINGS, LABELS, CLASSES).move(a=12)),
        ("corner", lambda: batch_geometry(PICTURES, EMBEDDINGS, LABELS, CLASSES).move(corner=1)),
    ],
)
def test_errors_name_the_argument(name, call):
    with pytest.raises(ValueError, match=name):
        call()


def test_without_anywidget_python_draws(view, monkeypatch):
    monkeypatch.setitem(sys.modules, "kdcourse.widgets.views", None)
    drawn = batch_geometry(PICTURES, EMBEDDINGS, LABELS, CLASSES)
    assert isinstance(drawn, widgets.LiveFigure)
    for one in (view, drawn):
        one.move(b=7, student=1)
    assert drawn.description == view.description


@in_browser.needed
def test_browser_and_python_agree(view):
    networks = view.view.content["networks"]
    cases = [[net["apart"], corners.tolist()] for net in networks for corners in random.integers(0, 12, (20, 3))]
    theirs = in_browser.call("geometry", "([apart, corners]) => kd.sidesAndCosines(apart, corners)", cases)
    for case, spanned in zip(cases, theirs, strict=True):
        sides, cosines = sides_and_cosines(*case)
        np.testing.assert_allclose(spanned["sides"], sides)
        np.testing.assert_allclose(spanned["cosines"], cosines, atol=1e-12)
    gaps = random.normal(0, 2, (10, 2, 3))
    theirs = in_browser.call("geometry", "pair => kd.smoothL1(...pair)", gaps.tolist())
    np.testing.assert_allclose(theirs, [smooth_l1(*pair) for pair in gaps])


@in_browser.needed
def test_browser_and_python_say_the_same_sentence(view):
    teacher, *students = view.view.content["networks"]
    names = view.view.content["names"]
    cases = [
        [[teacher, student], names, corners.tolist()]
        for student in students
        for corners in random.integers(0, 12, (20, 3))
    ]
    cases.append([[teacher, students[0]], names, [3, 3, 3]])
    assert in_browser.call("geometry", "all => kd.describe(...all)", cases) == [describe(*one) for one in cases]
