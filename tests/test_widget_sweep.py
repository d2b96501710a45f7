"""The sweep browser: it shows what a stored comparison holds, point by point, and says it."""

import sys
from itertools import product

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from kdcourse import studies, widgets
from kdcourse.bench import browser
from kdcourse.experiments import ledger
from kdcourse.experiments.ledger import Comparison
from kdcourse.widgets.sweep import SPLITS, describe, sweep_browser, sweep_intervals
from tests import in_browser

SIZES, TEMPERATURES, ALPHAS = (4, 16), (1, 2.5, 20), (0.25, 1)
AXES = {"sizes": SIZES, "temperatures": TEMPERATURES, "alphas": ALPHAS}


def setting(size, temperature, alpha):
    return f"{size} at {temperature}, {alpha}"


def labels_only(size):
    return f"{size} alone"


NAMES = {"setting": setting, "labels_only": labels_only}


@pytest.fixture
def outcome():
    """Four seeds; at 4 units the last cell is best on validation and the first on test, at 16 units all cells are alike."""
    random = np.random.default_rng(0)
    arms = [setting(*point) for point in product(SIZES, TEMPERATURES, ALPHAS)] + [labels_only(size) for size in SIZES]
    scores, validation = (pd.DataFrame(80 + random.normal(0, 0.3, (4, len(arms))), columns=arms) for _ in range(2))
    scores[setting(4, 1, 0.25)] += 5
    validation[setting(4, 20, 1)] += 5
    for cell in product(TEMPERATURES, ALPHAS):
        validation[setting(16, *cell)] = [70.0, 70.5, 71.0, 70.25]
    return Comparison(scores, validation, labels_only(4))


@pytest.fixture
def view(outcome):
    return sweep_browser(outcome, **AXES, **NAMES)


def interval(values) -> list[float]:
    """Mean and bounds of Student's 95 % interval, by scipy."""
    bounds = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    return [np.mean(values), bounds.low, bounds.high]


def test_what_is_measured_are_students_intervals(outcome):
    found = sweep_intervals(outcome, AXES, **NAMES)
    assert found["score"].shape == found["gain"].shape == (2, 2, 3, 2, 3) and found["alone"].shape == (2, 2, 3)
    arm, alone = outcome.scores[setting(16, 2.5, 1)], outcome.scores[labels_only(16)]
    np.testing.assert_allclose(found["score"][1, 1, 1, 1], interval(arm))
    np.testing.assert_allclose(found["gain"][1, 1, 1, 1], interval(arm - alone))
    np.testing.assert_allclose(found["alone"][0, 0], interval(outcome.validation[labels_only(4)]))


def test_the_best_is_chosen_on_validation_and_the_first_of_equals(outcome):
    assert sweep_intervals(outcome, AXES, **NAMES)["best"].tolist() == [[2, 1], [0, 0]]


def test_it_says_what_stands_at_the_point(view, outcome):
    view.move(split="test")
    arm = outcome.scores[setting(4, 1, 0.25)]
    mean, _, high = interval(arm)
    gain = interval(arm - outcome.scores[labels_only(4)])
    assert view.description == (
        f"4 units, T = 1, alpha = 0.25: {mean:.1f} % ± {high - mean:.1f} on test, +{gain[0]:.1f} points "
        f"[+{gain[1]:.1f}, +{gain[2]:.1f}] over labels only: helps. The best on validation lies at T = 20, alpha = 1."
    )
    view.move(split="validation", size=16)
    assert view.description.startswith("16 units, T = 1, alpha = 0.25: 70.4 % ± 0.7 on validation, −")
    assert "over labels only: hurts. The best on validation is this point." in view.description


def test_it_follows_its_controls(view, outcome):
    tables = {"validation": outcome.validation, "test": outcome.scores}
    for size, split, temperature, alpha in product(SIZES, SPLITS, TEMPERATURES, ALPHAS):
        view.move(size=size, split=split, temperature=temperature, alpha=alpha)
        places = (SIZES.index(size), SPLITS.index(split), TEMPERATURES.index(temperature), ALPHAS.index(alpha))
        assert (view.view.size, view.view.split, view.view.temperature, view.view.alpha) == places
        mean = tables[split][setting(size, temperature, alpha)].mean()
        assert view.description.startswith(f"{size} units, T = {temperature}, alpha = {alpha}: {mean:.1f} % ±")
        assert f" on {split}, " in view.description
        assert len(view.description) <= 200
    ends = {(link.source[0].model_id, link.source[1], link.target[1]) for link in view.links}
    assert ends == {(control.model_id, "index", name) for name, control in view.controls.items()}


@pytest.mark.parametrize("data", ["fashion-mnist", "glyphs"])
def test_lab_10s_sweep_is_all_there(data):
    lab = studies.lab_10
    axes = {"sizes": lab.HIDDEN, "temperatures": lab.TEMPERATURES, "alphas": lab.ALPHAS}
    stored = ledger.stored("10-grid", data)
    view = sweep_browser(stored, **axes, setting=lab.setting, labels_only=lab.labels_only)
    view.move(size=128, split="test", temperature=16, alpha=1.0)
    mean = stored.scores[lab.setting(128, 16, 1.0)].mean()
    assert view.description.startswith(f"128 units, T = 16, alpha = 1: {mean:.1f} % ±")
    assert len(view.figure.png()) > 10_000


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("'8 at 1, 0.25'", {"sizes": (4, 8)}),
        ("'4 at 3, 0.25'", {"temperatures": (1, 3)}),
        ("'none'", {"labels_only": lambda size: "none"}),
    ],
)
def test_an_arm_that_is_not_there_is_named(outcome, name, change):
    with pytest.raises(ValueError, match=f"arm must be one of .*{name}"):
        sweep_browser(outcome, **{**AXES, **NAMES, **change})


@pytest.mark.parametrize(("name", "value"), [("temperature", 3), ("alpha", 2.0), ("size", 5), ("split", "train")])
def test_move_refuses_what_was_not_measured(view, name, value):
    with pytest.raises(ValueError, match=name):
        view.move(**{name: value})


def test_without_anywidget_python_draws(outcome, view, monkeypatch):
    monkeypatch.setitem(sys.modules, "kdcourse.widgets.views", None)
    still = sweep_browser(outcome, **AXES, **NAMES)
    assert isinstance(still, widgets.LiveFigure)
    for either in (still, view):
        either.move(size=16, alpha=1, temperature=20, split="test")
    assert still.description == view.description


@in_browser.needed
def test_browser_and_python_say_the_same_sentence(view):
    places = list(product(range(2), range(2), range(3), range(2)))
    content = view.view.content
    theirs = in_browser.call("sweep", "all => kd.describe(...all)", [[content, *place] for place in places])
    assert theirs == [describe(content, *place) for place in places]
    assert (
        len({verdict for sentence in theirs for verdict in ("helps", "hurts", "no clear") if verdict in sentence}) == 3
    )


@pytest.mark.browser
@pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here: the drawing is not looked at")
def test_the_drawing_moves_and_a_click_on_a_cell_chooses_it(view):
    with browser.page() as tab:
        in_browser.mount(tab, "sweep", view.view)
        assert tab.locator("p").inner_text() == view.description
        assert tab.locator("svg g").count() == 6 and tab.locator("svg polyline").count() == 8
        tab.locator("svg g", has_text="★").click()
        assert tab.evaluate("[model.get('temperature'), model.get('alpha'), saved]") == [2, 1, 1]
        view.move(temperature=20, alpha=1)
        assert tab.locator("p").inner_text() == view.description
        tab.evaluate("end()")
        assert tab.evaluate("listeners()") == 0 and browser.problems(tab) == []
