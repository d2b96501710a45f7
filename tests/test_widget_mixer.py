"""The ensemble mixer: the same mixture as `schemes.Ensemble`, in Python and in the browser, and words for it."""

import itertools
import sys

import numpy as np
import pytest
import torch
from torch import nn

from kdcourse import widgets
from kdcourse.bench import browser
from kdcourse.experiments.schemes import Ensemble
from kdcourse.losses import ensemble_target
from kdcourse.widgets.mixer import MAX_WEIGHT, MEANS, describe, disagreement, ensemble_mixer, mixture
from tests import in_browser

CLASSES = ["T-shirt", "trouser", "bag"]
NAMES = ["picture", "64 units", "mean"]  # names that a trait of the view could not have
LABELS = [0, 1, 2, 2]
PICTURES = np.random.default_rng(0).random((2, 8, 8))
LOGITS = np.array(
    [
        [[4.0, 1.0, -2.0], [0.0, 2.0, 0.0], [0.0, 0.0, 3.0], [0.0, 0.0, 1.5]],  # right on all four
        [[3.0, 1.0, -2.0], [0.0, 1.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 1.0]],  # wrong on the third
        [[0.0, 9.0, 0.0], [0.0, 0.0, 9.0], [9.0, 0.0, 0.0], [9.0, 0.0, 0.0]],  # always wrong, and sure
    ]
)
WEIGHTS = [(1, 1, 1), (0, 2.5, 0), (4, 0, 0.1), (1, 1, 4), (0.3, 0.1, 0.2)]


def mixer(**changed):
    settings = {"logits": LOGITS, "labels": LABELS, "classes": CLASSES, "pictures": PICTURES, "names": NAMES}
    return ensemble_mixer(**{**settings, "temperature": 2.0, **changed})


@pytest.fixture
def view():
    return mixer()


def weigh(view, *weights) -> None:
    view.move(**{f"weight_{number}": weight for number, weight in enumerate(weights, start=1)})


@pytest.mark.parametrize(("mean", "weights", "temperature"), list(itertools.product(MEANS, WEIGHTS, (0.5, 2.0, 20.0))))
def test_the_mixture_is_the_ensembles(mean, weights, temperature):
    ensemble = Ensemble([nn.Identity()] * 3, temperature=temperature, mean=mean, weights=weights)
    theirs = (ensemble.combine(torch.tensor(LOGITS).float()) / temperature).softmax(dim=1)
    ours = mixture(LOGITS, weights, temperature=temperature, mean=mean)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    np.testing.assert_allclose(ours.sum(axis=1), 1)


@pytest.mark.parametrize("mean", MEANS)
def test_equal_weights_give_the_target_that_lab_06_teaches(mean):
    logits = torch.tensor(LOGITS)
    theirs = ensemble_target(list(logits), temperature=3.0, mean=mean)
    np.testing.assert_allclose(mixture(logits, [2, 2, 2], temperature=3.0, mean=mean), theirs)


def test_only_those_who_are_asked_can_differ():
    assert disagreement(LOGITS, [1, 1, 1]) == 100
    assert disagreement(LOGITS, [1, 0.1, 0]) == 25
    assert disagreement(LOGITS, [0, 0, 3]) == 0


def test_it_says_what_the_mixture_is_worth(view):
    assert view.description == (
        "Mean of probabilities, picture 33 %, 64 units 33 %, mean 33 %: 25.0 % right, the best alone, picture, 100.0 %; "
        "opinions differ on 100.0 %. Picture 1, T-shirt: T-shirt 49.5 %."
    )
    weigh(view, 1, 3, 0)
    view.move(
        picture=1, mean="logits"
    )  # the mean of (0, 2, 0) and three times (0, 1, 0) is (0, 1.25, 0): e^0.625 of it + 2
    assert view.description == (
        "Mean of logits, picture 25 %, 64 units 75 %: 75.0 % right, the best alone, picture, 100.0 %; "
        "opinions differ on 25.0 %. Picture 2, trouser: trouser 48.3 %."
    )
    assert [bar.get_height() for bar in view.figure.axes[1].patches] == [100, 75, 0, 75]


def test_nobody_asked_is_said_and_drawn(view):
    weigh(view, 0, 0, 0)
    assert view.description == (
        "Every weight is 0, so there is no mixture. Of 4 pictures the best alone, picture, 100.0 %."
    )
    assert len(view.figure.png()) > 2000 and len(view.figure.axes[1].patches) == 3
    weigh(view, 0, 0, MAX_WEIGHT)
    assert "mean 100 %: 0.0 % right" in view.description and len(view.figure.axes[1].patches) == 4


def test_a_slider_for_each_teacher_whatever_their_number():
    for teachers in (1, 2, 7):
        view = mixer(logits=np.repeat(LOGITS[:1], teachers, axis=0), names=[f"no. {n}" for n in range(teachers)])
        sliders = [name for name in view.controls if name.startswith("weight_")]
        assert len(sliders) == teachers and {*sliders} <= {*view.view.keys}
        assert len(view.figure.description) > 50


def test_it_follows_its_controls(view):
    shares = {
        0.0: "picture 50 %, mean 50 %",
        2.0: "picture 25 %, 64 units 50 %, mean 25 %",
        4.0: "picture 17 %, 64 units 67 %, mean 17 %",
    }
    for (value, share), mean, picture in itertools.product(shares.items(), MEANS, (0, 1)):
        view.move(weight_2=value, mean=mean, picture=picture)
        now = view.view
        assert (now.weight_1, now.weight_2, now.mean, now.picture) == (1.0, value, MEANS.index(mean), picture)
        assert view.description.startswith(f"Mean of {mean}, {share}: ")
        assert f"Picture {picture + 1}, {CLASSES[picture]}: " in view.description
    traits = {name: "index" if name in ("mean", "picture") else "value" for name in view.controls}
    ends = {(link.source[0].model_id, link.source[1], link.target[1]) for link in view.links}
    assert ends == {(view.controls[name].model_id, trait, name) for name, trait in traits.items()}


def test_logits_are_sent_with_two_decimals_and_the_words_are_about_those():
    logits = torch.tensor(LOGITS).float() + 0.001234
    view = mixer(logits=logits, labels=torch.tensor(LABELS))
    assert view.view.content["logits"] == LOGITS.tolist() and view.description == mixer().description


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("logits", {"logits": LOGITS[0]}),
        ("logits", {"logits": LOGITS * np.nan}),
        ("names", {"names": NAMES[:2]}),
        ("labels", {"labels": LABELS[:3]}),
        ("labels", {"labels": [0, 1, 2, 3]}),
        ("classes", {"classes": CLASSES[:2]}),
        ("pictures", {"pictures": np.zeros((5, 2, 2))}),
        ("images", {"pictures": np.full((2, 2, 2), 9.0)}),
        ("temperature", {"temperature": 0}),
    ],
)
def test_errors_name_the_argument(name, changed):
    with pytest.raises(ValueError, match=name):
        mixer(**changed)


@pytest.mark.parametrize("weights", [[0, 0, 0], [1, -1, 1], [1, 1]])
def test_weights_that_mix_nothing_are_refused(weights):
    with pytest.raises(ValueError, match="weights must be 3 numbers of 0 or more, not all 0"):
        mixture(LOGITS, weights, temperature=1)
    with pytest.raises(ValueError, match="mean must be one of probabilities, logits, got 'median'"):
        mixture(LOGITS, [1, 1, 1], temperature=1, mean="median")


@pytest.mark.parametrize(("name", "value"), [("weight_4", 1), ("weight_1", 4.5), ("picture", 2), ("mean", "median")])
def test_move_refuses_what_no_hand_could_do(view, name, value):
    with pytest.raises(ValueError, match=name):
        view.move(**{name: value})


def test_without_anywidget_python_draws(view, monkeypatch):
    monkeypatch.setitem(sys.modules, "kdcourse.widgets.views", None)
    still = mixer()
    assert isinstance(still, widgets.LiveFigure)
    for either in (still, view):
        either.move(weight_3=0, mean="logits", picture=1)
    assert still.description == view.description


def random_mixtures() -> list:
    """Fifty pictures and four teachers, with two decimals as they are sent."""
    random = np.random.default_rng(3)
    logits = random.normal(0, 4, (4, 50, 10)).round(2).tolist()
    return [[logits, weights, t, mean] for weights in ([1, 1, 1, 1], [0, 0, 4, 0.1], [3.3, 0, 1, 2])
            for t in (0.1, 2, 50) for mean in MEANS]  # fmt: skip


@in_browser.needed
def test_browser_and_python_mix_alike():
    theirs = in_browser.call("mixer", "all => [kd.mixture(...all), kd.disagreement(all[0], all[1])]", random_mixtures())
    for (logits, weights, temperature, mean), (p, differ) in zip(random_mixtures(), theirs, strict=True):
        np.testing.assert_allclose(p, mixture(logits, weights, temperature=temperature, mean=mean), atol=1e-9)
        assert differ == pytest.approx(disagreement(logits, weights))


@in_browser.needed
def test_browser_and_python_say_the_same_sentence(view):
    content = view.view.content
    cases = [[content, list(w), mean, picture] for w in (*WEIGHTS, (0, 0, 0)) for mean in (0, 1) for picture in (0, 1)]
    theirs = in_browser.call("mixer", "all => kd.describe(...all)", cases)
    assert theirs == [describe(*case) for case in cases]


@pytest.mark.browser
@pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here: the drawing is not looked at")
def test_the_drawing_follows_weights_and_picture(view):
    with browser.page() as tab:
        in_browser.mount(tab, "mixer", view.view)
        for changed in ({"weight_3": 0}, {"mean": 1}, {"picture": 1}, {"weight_1": 0, "weight_2": 0}, {"weight_2": 4}):
            tab.evaluate("all => Object.entries(all).forEach(([name, value]) => model.set(name, value))", changed)
            view.move(**{name: MEANS[value] if name == "mean" else value for name, value in changed.items()})
            assert tab.locator("p").inner_text() == view.description
            right = "none" if "no mixture" in view.description else view.description.split(": ")[1].split(" ")[0]
            assert tab.locator("svg text.kd-heading", has_text=right).count() >= 1
        tab.evaluate("end()")
        assert tab.evaluate("listeners()") == 0 and browser.problems(tab) == []
