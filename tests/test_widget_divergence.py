"""The divergence playground: the course's own divergence, the best bump for each beta, and one sentence in two languages."""

import sys

import ipywidgets
import numpy as np
import pytest
import torch
from scipy import stats

from kdcourse import losses, plots, widgets
from kdcourse.widgets import divergence as playgrounds
from kdcourse.widgets.divergence import (
    BETAS,
    CENTERS,
    SUPPORT,
    WIDTHS,
    TwoPeaks,
    describe,
    divergence_playground,
    log_gaussian,
)
from tests import in_browser

PEAKS = TwoPeaks()
OTHERS = TwoPeaks(centers=(-3.0, 0.5), widths=(0.3, 1.2), shares=(0.25, 0.75))
STUDENTS = [(-4.0, 0.4), (-2.0, 0.5), (0.0, 2.2), (1.7, 0.4), (4.0, 4.0)]


@pytest.fixture
def playground():
    return divergence_playground(PEAKS)


def ours(log_student, log_teacher, beta) -> float:
    student, teacher = (torch.tensor(log).view(1, 1, -1) for log in (log_student, log_teacher))
    return losses.generalized_jsd(student, teacher, beta=beta).item()


@pytest.mark.parametrize("beta", [0.0, 0.05, 0.5, 0.9, 1.0])
def test_the_divergence_is_the_courses_own(beta):
    bumps = np.stack([log_gaussian(*student) for student in STUDENTS])
    expected = [ours(one, PEAKS.log_teacher, beta) for one in bumps]
    np.testing.assert_allclose(playgrounds.generalized_jsd(bumps, PEAKS.log_teacher, beta), expected, rtol=1e-9)


def test_distributions_are_distributions():
    for log in (PEAKS.log_teacher, OTHERS.log_teacher, *(log_gaussian(*student) for student in STUDENTS)):
        assert np.isclose(np.exp(log).sum(), 1) and np.isfinite(log).all()


def test_what_lies_between_the_peaks_is_the_normal_distributions_share():
    # The points from -0.95 to 0.95 lie between the peaks; each stands for 0.05 of the line.
    expected = stats.norm.cdf(0.975) - stats.norm.cdf(-0.975)
    assert PEAKS.gap == (-1, 1) and PEAKS.between(0.0, 1.0) == pytest.approx(expected, abs=1e-3)


def test_the_teacher_has_its_peaks_and_shares():
    p = np.exp(OTHERS.log_teacher)
    assert SUPPORT[p[SUPPORT < -2].argmax()] == -3.0
    assert np.isclose(p[SUPPORT < -2].sum(), 0.25, atol=0.02)
    assert OTHERS.gap == (-2.125, -0.375)


@pytest.mark.parametrize("peaks", [PEAKS, OTHERS])
@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_no_bump_beats_the_best(peaks, beta):
    least = ours(log_gaussian(*peaks.best(beta)), peaks.log_teacher, beta)
    for center in CENTERS[::8]:
        for width in WIDTHS[::6]:
            assert ours(log_gaussian(center, width), peaks.log_teacher, beta) >= least - 1e-12


def test_forward_covers_and_reverse_seeks():
    p = np.exp(PEAKS.log_teacher)
    mean = (p * SUPPORT).sum()
    spread = np.sqrt((p * (SUPPORT - mean) ** 2).sum())
    center, width = PEAKS.best(0.0)
    # The forward KL of a Gaussian is least where its mean and spread are the teacher's; the line's ends cut off a little.
    assert abs(center - mean) < 0.2 and abs(width - spread) < 0.2
    assert PEAKS.best(1.0) == (-2.0, 0.5)
    assert PEAKS.between(*PEAKS.best(0.0)) > 10 * PEAKS.between(*PEAKS.best(1.0))


def test_playground_follows_its_controls(playground):
    # Found by trying every student of the grid with scipy's relative entropies of scipy's normal densities.
    assert playground.description == (
        "The best student at beta = 0.5: center -0.3, width 2.2, 0.161 nats from the teacher. "
        "It puts 34.8 % of its probability between the peaks, the teacher 4.1 %."
    )
    playground.move(beta=1.0)
    assert playground.description == (
        "The best student at beta = 1: center -2, width 0.5, 0.510 nats from the teacher. "
        "It puts 2.0 % of its probability between the peaks, the teacher 4.1 %."
    )
    assert (playground.view.beta, playground.view.best) == (20, True)
    playground.move(best=False, center=2.0, width=0.7)
    assert playground.description == (
        "A student at beta = 1: center 2, width 0.7, 0.915 nats from the teacher (best 0.510). "
        "It puts 7.2 % of its probability between the peaks, the teacher 4.1 %."
    )
    playground.move(beta=0.25)  # halfway mixtures alone would not tell which side beta weighs
    assert "center 2, width 0.7, 0.254 nats from the teacher (best 0.113)" in playground.description
    playground.controls["center"].value = -1.0  # as a hand does
    assert "center -1," in playground.description


@pytest.mark.parametrize("values", [{"beta": 0.0}, {"beta": 1.0}, {"center": -4.0}, {"center": 4.0}, {"width": 0.4},
                                    {"width": 4.0}])  # fmt: skip
def test_playground_reaches_both_ends(playground, values):
    playground.move(best=False, **values)
    ((name, value),) = values.items()
    assert f"{name}{' =' if name == 'beta' else ''} {value:g}" in playground.description


def test_descriptions_are_short():
    assert max(len(describe(PEAKS, beta, False, -3.7, 2.1)) for beta in BETAS) <= 200


def test_the_still_figure_holds_teacher_and_student(playground):
    playground.move(best=False, center=1.0, width=0.5)
    teacher, student = playground.figure.axes[0].get_lines()
    peaks = 0.6 * stats.norm.pdf(SUPPORT, -2.0, 0.5) + 0.4 * stats.norm.pdf(SUPPORT, 2.0, 0.7)
    np.testing.assert_allclose(teacher.get_ydata(), peaks, atol=1e-4)
    np.testing.assert_allclose(student.get_ydata(), stats.norm.pdf(SUPPORT, 1.0, 0.5), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("centers", lambda: TwoPeaks(centers=(2.0, -2.0))),
        ("centers", lambda: TwoPeaks(centers=(-2.0, 5.0))),
        ("centers", lambda: TwoPeaks(centers=(-2.0, 0.0, 2.0))),
        ("widths", lambda: TwoPeaks(widths=(0.0, 1.0))),
        ("widths", lambda: TwoPeaks(widths=(1.0,))),
        ("shares", lambda: TwoPeaks(shares=(0.5, 0.6))),
        ("shares", lambda: TwoPeaks(shares=(1.5, -0.5))),
        ("beta", lambda: divergence_playground().move(beta=0.52)),
        ("center", lambda: divergence_playground().move(center=5.0)),
        ("height", lambda: divergence_playground().move(height=1.0)),
    ],
)
def test_errors_name_the_argument(name, call):
    with pytest.raises(ValueError, match=name):
        call()


def test_without_anywidget_python_draws(monkeypatch):
    monkeypatch.setitem(sys.modules, "kdcourse.widgets.views", None)
    playground = divergence_playground(OTHERS)
    assert isinstance(playground, widgets.LiveFigure)
    playground.move(beta=0.0, best=False, center=1.0, width=1.5)
    assert playground.description == (
        "A student at beta = 0: center 1, width 1.5, 0.712 nats from the teacher (best 0.238). "
        "It puts 16.2 % of its probability between the peaks, the teacher 16.4 %."
    )


def test_the_hands_sliders_rest_while_best_is_on(monkeypatch):
    ends, original = [], ipywidgets.jsdlink
    monkeypatch.setattr(ipywidgets, "jsdlink", lambda *both: ends.append(both) or original(*both))
    controls = divergence_playground().controls
    assert ends == [((controls["best"], "value"), (controls[name], "disabled")) for name in ("center", "width")]
    assert controls["center"].disabled and controls["width"].disabled


def cases() -> list:
    return [[place, best, *student] for place in (0, 1, 10, 11, 20) for best in (True, False) for student in STUDENTS]


@in_browser.needed
@pytest.mark.parametrize("peaks", [PEAKS, OTHERS])
def test_browser_and_python_agree(peaks):
    content = divergence_playground(peaks).view.content
    theirs = in_browser.call(
        "divergence",
        "([content, ...values]) => { const now = kd.student(content, ...values); "
        "return [now.nats, now.least, kd.probabilityBetween(content, now.log), kd.describe(content, now)]; }",
        [[content, *case] for case in cases()],
    )
    for (place, best, center, width), (nats, least, held, sentence) in zip(cases(), theirs, strict=True):
        beta = BETAS[place]
        student = peaks.best(beta) if best else (center, width)
        assert np.isclose(nats, ours(log_gaussian(*student), peaks.log_teacher, beta), rtol=1e-6)
        assert np.isclose(least, ours(log_gaussian(*peaks.best(beta)), peaks.log_teacher, beta), rtol=1e-6)
        assert np.isclose(held, peaks.between(*student))
        assert sentence == describe(peaks, beta, best, center, width)


def test_profiles_stand_on_plain_axes():
    figure = plots.profiles([-1, 0, 1], {"up": [0, 1, 2], "down": torch.tensor([3.0, 2.0, 1.5])}, xlabel="x", ylabel="y",
                            band=(-0.5, 0.5, "middle"))  # fmt: skip
    axes = figure.axes[0]
    assert axes.get_xscale() == axes.get_yscale() == "linear"
    assert figure.description == (
        "y against x from -1 to 1: up is highest at 1 with 2, lowest at -1; down is highest at -1 with 3, lowest at 1."
    )
    assert len({line.get_linestyle() for line in axes.get_lines()}) == 2
    with pytest.raises(ValueError, match="short"):
        plots.profiles([0, 1], {"short": [1]}, xlabel="x", ylabel="y")


def test_the_jump_from_covering_to_seeking_is_where_the_best_student_leaves_the_middle():
    covering, seeking = PEAKS.jump(within=1e-2)
    assert 0 < seeking - covering <= 1e-2
    (before, _), (after, _) = PEAKS.best(covering), PEAKS.best(seeking)
    assert PEAKS.gap[0] < before < PEAKS.gap[1] and abs(before - after) > 0.5
    assert all(PEAKS.covers(beta) == (beta <= covering) for beta in (0.0, 0.25, 0.5, 0.75, 1.0))
    with pytest.raises(ValueError, match="must cover at beta = 0 and seek at beta = 1"):
        playgrounds.TwoPeaks(centers=(-0.2, 0.2), widths=(1.0, 1.0)).jump()
