"""The loss landscape: losses and pulls against autograd, the way down, and one sentence in two languages."""

import sys

import numpy as np
import pytest
import torch
from scipy import special
from torch.nn import functional as F

from kdcourse import losses, plots, widgets
from kdcourse.plots import softened
from kdcourse.widgets import simplex
from kdcourse.widgets.simplex import MAX_LOGIT, NAMES, describe, loss_landscape
from tests import in_browser

CLASSES = ["shirt", "coat", "bag"]
TEACHER = np.array([2.0, 1.2, -0.5])
SETTINGS = [(label, temperature, alpha) for label, temperature, alpha in
            ((0, 1.0, 0.0), (0, 4.0, 0.5), (1, 4.0, 0.9), (2, 20.0, 1.0), (2, 1.5, 0.35))]  # fmt: skip
STUDENTS = [(0.0, 0.0, 0.0), (6.0, 6.0, 0.0), (-6.0, 6.0, 0.0), (-6.0, -6.0, 0.0), (1.35, -0.4, 0.0)]


@pytest.fixture
def landscape():
    return loss_landscape(torch.tensor(TEACHER), CLASSES, 0)


def by_torch(student, label, temperature, alpha) -> list[torch.Tensor]:
    """The hard, the soft and the mixed loss by the course's own functions."""
    logits, teacher, labels = student[None], torch.tensor(TEACHER)[None], torch.tensor([label])
    return [
        F.cross_entropy(logits, labels),
        losses.soft_target(logits, teacher, temperature=temperature),
        losses.distillation(logits, teacher, labels, temperature=temperature, alpha=alpha),
    ]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("student", STUDENTS)
def test_losses_and_gradients_are_the_courses_own(student, setting):
    z = torch.tensor(student, dtype=torch.float64, requires_grad=True)
    values = by_torch(z, *setting)
    slopes = [torch.autograd.grad(value, z)[0].numpy() for value in values]
    expected = [value.item() for value in values]
    np.testing.assert_allclose(simplex.losses(student, TEACHER, *setting), expected, atol=1e-9)
    np.testing.assert_allclose(simplex.gradients(student, TEACHER, *setting), slopes, atol=1e-9)


def test_losses_take_many_students_at_once():
    together = simplex.losses(np.array(STUDENTS), TEACHER, 0, 4.0, 0.5)
    assert together.shape == (len(STUDENTS), 3)
    each = [by_torch(torch.tensor(student, dtype=torch.float64), 0, 4.0, 0.5) for student in STUDENTS]
    np.testing.assert_allclose(together, each)


@pytest.mark.parametrize("student", STUDENTS)
def test_pulls_are_the_first_moves_of_the_probabilities(student):
    slopes = simplex.gradients(student, TEACHER, 1, 4.0, 0.3)
    little = 1e-6
    moved = (softened(np.array(student) - little * slopes, 1) - softened(student, 1)) / little
    pulls = simplex.pulls(student, slopes)
    np.testing.assert_allclose(pulls, moved, atol=1e-5)
    np.testing.assert_allclose(pulls[2], 0.3 * pulls[1] + 0.7 * pulls[0], atol=1e-12)  # the mix of the pulls


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("student", STUDENTS)
def test_arrows_keep_directions_and_stay_in_the_triangle(student, setting):
    slopes = simplex.gradients(student, TEACHER, *setting)
    arrows, pulls = simplex.arrows(student, slopes), simplex.pulls(student, slopes)
    scale = np.abs(arrows).sum() / np.abs(pulls).sum()
    np.testing.assert_allclose(arrows, scale * pulls)
    assert (softened(student, 1) + arrows).min() > -1e-12
    assert np.linalg.norm(arrows, axis=1).max() <= np.sqrt(2) / 4 + 1e-12


@pytest.mark.parametrize("temperature", [1.0, 4.0, 20.0])
def test_the_soft_loss_alone_leads_to_the_teacher_at_any_temperature(temperature):
    end = simplex.gradient_descent((-3.0, 2.0, 0.0), TEACHER, 0, temperature, 1.0)[-1]
    np.testing.assert_allclose(softened(end, 1), softened(TEACHER, 1), atol=1e-3)


def test_the_labels_share_leads_beyond_the_teacher():
    ends = [simplex.gradient_descent((0, 0, 0), TEACHER, 0, 4.0, alpha)[-1] for alpha in (0.9, 0.5, 0.0)]
    certain = [softened(end, 1)[0] for end in ends]
    assert softened(TEACHER, 1)[0] < certain[0] < certain[1] < certain[2] and certain[2] > 0.98


@pytest.mark.parametrize("setting", SETTINGS)
def test_descent_never_climbs(setting):
    path = simplex.gradient_descent((-4.0, 3.0, 0.0), TEACHER, *setting)
    assert path.shape == (simplex.STEPS + 1, 3)
    assert np.diff(simplex.losses(path, TEACHER, *setting)[:, 2]).max() < 1e-12


def test_the_lattice_covers_the_triangle_evenly():
    points = simplex.lattice()
    assert len(points) == simplex.ROWS**2 and points.min() > 0
    np.testing.assert_allclose(points.sum(axis=1), 1)
    np.testing.assert_allclose(points.mean(axis=0), 1 / 3, atol=1e-12)


def test_landscape_follows_its_controls(landscape):
    # Losses by scipy's relative entropies; where descent leads, by autograd.
    assert landscape.description == (
        "The student says shirt 33 %, coat 33 %, bag 33 %. At T = 4, alpha = 0.5 its loss in nats is hard 1.10, soft 0.49, "
        "mix 0.80; descent leads to shirt 81 %, coat 15 %, bag 4 %."
    )
    landscape.move(first=1.0, second=-2.5, temperature=8.0, alpha=0.9)
    assert landscape.description == (
        "The student says shirt 72 %, coat 2 %, bag 26 %. At T = 8, alpha = 0.9 its loss in nats is hard 0.34, soft 1.40, "
        "mix 1.29; descent leads to shirt 69 %, coat 26 %, bag 5 %."
    )
    assert [getattr(landscape.view, name) for name in landscape.controls] == [1.0, -2.5, 8.0, 0.9]
    landscape.controls["alpha"].value = 0.25  # as a hand does
    assert "alpha = 0.25" in landscape.description


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"first": MAX_LOGIT, "second": -MAX_LOGIT}, "says shirt 100 %, coat 0 %"),
        ({"first": -MAX_LOGIT, "second": MAX_LOGIT}, "says shirt 0 %, coat 100 %"),
        ({"temperature": 1.0}, "T = 1,"),
        ({"temperature": 20.0}, "T = 20,"),
        ({"alpha": 0.0}, "hard 1.10, soft 0.49, mix 1.10"),
        ({"alpha": 1.0}, "hard 1.10, soft 0.49, mix 0.49"),
    ],
)
def test_landscape_reaches_both_ends(landscape, values, words):
    landscape.move(**values)
    assert words in landscape.description


def test_the_still_figure_puts_each_answer_at_its_place_in_the_triangle(landscape):
    """Coat pulls to the right by 1, bag by a half and up by the height of a triangle with sides of 1."""
    landscape.move(first=1.0, second=-2.5, temperature=8.0)
    drawn = {line.get_label(): line.get_xydata() for line in landscape.figure.axes[0].lines}
    for name, logits in (("student", [1.0, -2.5, 0.0]), ("teacher", TEACHER)):
        _, coat, bag = special.softmax(logits)
        np.testing.assert_allclose(drawn[name], [[coat + bag / 2, bag * np.sqrt(0.75)]])
    np.testing.assert_allclose(drawn["label"], [[0, 0]])


def test_links_run_in_the_browser_both_ways(landscape):
    ends = {(link.source[0].model_id, link.target[0].model_id, link.target[1]) for link in landscape.links}
    assert ends == {(control.model_id, landscape.view.model_id, name) for name, control in landscape.controls.items()}
    assert {type(link).__name__ for link in landscape.links} == {"Link"}  # a drag in the triangle moves the sliders


def test_descriptions_are_short():
    assert len(describe(STUDENTS[0], TEACHER, ["ankle boot", "sneaker", "T-shirt"], 0, 10.5, 0.45)) <= 200


def test_the_label_is_marked_in_words_too(landscape):
    assert "shirt (label)" in [text.get_text() for text in landscape.figure.axes[0].texts]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("teacher_logits", lambda: loss_landscape([1.0, 2.0], CLASSES, 0)),
        ("teacher_logits", lambda: loss_landscape([1.0, 2.0, np.inf], CLASSES, 0)),
        ("classes", lambda: loss_landscape(TEACHER, CLASSES[:2], 0)),
        ("label", lambda: loss_landscape(TEACHER, CLASSES, 3)),
        ("first", lambda: loss_landscape(TEACHER, CLASSES, 0).move(first=7.0)),
        ("temperature", lambda: loss_landscape(TEACHER, CLASSES, 0).move(temperature=0.5)),
        ("third", lambda: loss_landscape(TEACHER, CLASSES, 0).move(third=0.0)),
    ],
)
def test_errors_name_the_argument(name, call):
    with pytest.raises(ValueError, match=name):
        call()


def test_without_anywidget_python_draws(monkeypatch):
    monkeypatch.setitem(sys.modules, "kdcourse.widgets.views", None)
    landscape = loss_landscape(TEACHER, CLASSES, 2)
    assert isinstance(landscape, widgets.LiveFigure)
    landscape.move(first=2.0, alpha=1.0)
    assert landscape.description == (
        "The student says shirt 79 %, coat 11 %, bag 11 %. At T = 4, alpha = 1 its loss in nats is hard 2.24, soft 0.23, "
        "mix 0.23; descent leads to shirt 65 %, coat 29 %, bag 5 %."
    )


@in_browser.needed
def test_browser_and_python_agree():
    arguments = [[student, TEACHER.tolist(), *setting] for student in STUDENTS for setting in SETTINGS]
    theirs = in_browser.call(
        "simplex",
        "all => { const slopes = kd.gradients(...all); "
        "return [kd.losses(...all), slopes, kd.arrows(all[0], slopes), kd.gradientDescent(...all)]; }",
        arguments,
    )
    for (student, *setting), (values, slopes, arrows, path) in zip(arguments, theirs, strict=True):
        np.testing.assert_allclose(values, simplex.losses(student, *setting), atol=1e-9)
        np.testing.assert_allclose(slopes, simplex.gradients(student, *setting), atol=1e-9)
        np.testing.assert_allclose(arrows, simplex.arrows(student, simplex.gradients(student, *setting)), atol=1e-9)
        np.testing.assert_allclose(path, simplex.gradient_descent(student, *setting), atol=1e-6)


@in_browser.needed
def test_browser_and_python_say_the_same_sentence():
    arguments = [[student, TEACHER.tolist(), CLASSES, *setting] for student in STUDENTS for setting in SETTINGS]
    theirs = in_browser.call("simplex", "all => kd.describe(...all)", arguments)
    assert theirs == [describe(*one) for one in arguments]


@in_browser.needed
def test_a_point_of_the_triangle_gives_back_its_logits():
    inside = [(1.0, -2.0), (0.0, 0.0), (-3.5, 2.25), (MAX_LOGIT, 3.0)]
    back = in_browser.call(
        "simplex", "logits => kd.logitsAt(kd.place(kd.softened([...logits, 0], 1)), 6)", [list(one) for one in inside]
    )
    np.testing.assert_allclose(back, inside, atol=1e-9)
    outside = in_browser.call("simplex", "point => kd.logitsAt(point, 6)", [[-500, 900], [900, 900], [220, -500]])
    assert outside == [[MAX_LOGIT, 0], [0, MAX_LOGIT], [-MAX_LOGIT, -MAX_LOGIT]]


def test_the_still_landscape_holds_what_it_is_given():
    points = np.array([[0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.2, 0.2, 0.6], [0.4, 0.3, 0.3]])
    given = {"marks": {"student": [[1, 1, 1]] / np.float64(3)}, "arrows": {name: [0.1, -0.1, 0.0] for name in NAMES}}
    figure = plots.landscape(points, [2.5, 0.25, 1.0, 3.125], CLASSES, path=points, **given)
    assert figure.description == (
        "A loss over all answers of three classes: from 0.25 at shirt 10%, coat 70%, bag 20% to 3.12."
    )
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["gradient descent", "student", *NAMES]
    with pytest.raises(ValueError, match="values"):
        plots.landscape(points, [1.0], CLASSES, path=points, **given)
