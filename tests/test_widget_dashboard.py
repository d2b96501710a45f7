"""The training dashboard: an untouched run is `Recipe.run`, a hand is obeyed and recorded, nothing hangs or fails unheard."""

import json
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import kdcourse as kd
from kdcourse import widgets
from kdcourse.bench.dashboard import measure_cost, small
from kdcourse.data.splits import Split
from kdcourse.experiments import background
from kdcourse.experiments.background import Background
from kdcourse.experiments.experiment import Recipe
from kdcourse.methods import AttentionTransfer, VariationalInformation
from kdcourse.system.storage import load_tensors
from kdcourse.training import randomness
from kdcourse.widgets.dashboard import Dashboard, dashboard, describe, draw, logarithmic, smoothed
from tests import in_browser

LONG = 40_000  # steps that only a hand can end


def toy() -> Split:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (200,), generator=generator)
    return Split(torch.randn(200, 1, 4, 4, generator=generator) + labels.view(-1, 1, 1, 1), labels)


def student(seed: int, dropout: float = 0.3) -> nn.Module:
    return kd.models.perceptron((8,), classes=3, inputs=16, dropout=dropout, seed=seed)


SPLIT = toy()
RECIPE = Recipe(
    student,
    SPLIT,
    kd.Distillation(temperature=4, alpha=0.5),
    teacher=kd.TeacherCache(student(9)),
    steps=30,
    batch_size=16,
)


@pytest.fixture
def train(tmp_path):
    """Start a dashboard; whatever happens to the test, its runs end with it."""
    started = []

    def start(recipes=None, **settings) -> Dashboard:
        recipes = {"one": replace(RECIPE, steps=LONG), "two": RECIPE} if recipes is None else recipes
        started.append(dashboard(recipes, folder=tmp_path, **settings))
        return started[-1]

    yield start
    for watch in started:
        watch.background.control.stop(everything=True)
        watch.background._over.wait(10)


def until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen within 60 s"
        time.sleep(0.005)


def same(one: nn.Module, two: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), two.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


# Determinism


def test_an_untouched_run_is_the_recipes_own_whatever_the_page_draws(train):
    recipes = {"plain": replace(RECIPE, student=lambda seed: student(seed, 0.0)), "dropout": replace(RECIPE, steps=200)}
    expected = {name: recipe.run(3) for name, recipe in recipes.items()}
    torch.manual_seed(5)
    watch, drawn = train(recipes, seed=3), []
    while watch.running:
        drawn.append(torch.randn(4))
        time.sleep(0.001)  # or the two threads would fight over the interpreter
    students = watch.wait()
    torch.manual_seed(5)
    assert len(drawn) > 10 and all(torch.equal(numbers, torch.randn(4)) for numbers in drawn)
    assert all(same(students[name], expected[name]) for name in recipes)
    assert not same(students["dropout"], recipes["dropout"].run(4))
    assert not any(run.touched for run in watch.runs.values())


@pytest.mark.parametrize("method", [AttentionTransfer, VariationalInformation])
def test_what_a_method_learns_begins_alike_in_the_background(train, method):
    def small(seed):
        return kd.models.convnet((2, 3), classes=3, seed=seed)

    layers = method({"stage2": "stage2"}) + kd.Distillation()
    recipe = replace(RECIPE, student=small, teacher=kd.models.convnet((3, 5), classes=3), method=layers, steps=5)
    torch.manual_seed(8)
    before = torch.random.get_rng_state()
    found = train({"one": recipe}).wait()["one"]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert same(found, recipe.run(0))


@pytest.mark.parametrize(
    "draw", [lambda: nn.Linear(3, 2).weight, lambda: torch.randn(5), lambda: nn.init.normal_(torch.empty(7))]
)
def test_own_draws_are_those_of_the_shared_generators(draw):
    model = nn.Identity()
    with randomness.shared(7, model) as drawing, drawing:
        shared = draw()
    before = torch.random.get_rng_state()
    with randomness.own(7, model) as drawing, drawing:
        assert torch.equal(draw(), shared)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_other_dropout_is_refused_and_the_layers_are_as_they_were():
    with pytest.raises(ValueError, match="Dropout2d"), randomness.own(0, nn.Sequential(nn.Dropout(), nn.Dropout2d())):
        pass
    layer = nn.Dropout()
    with randomness.own(0, layer):
        assert "forward" in vars(layer)
    assert "forward" not in vars(layer)


# The hand


def test_a_hand_pauses_turns_and_stops_and_the_record_says_so(train):
    watch = train()
    one = watch.runs["one"]
    watch.press("pause")
    until(lambda: one.state == "paused")
    held = len(one.losses)
    assert watch.controls["pause"].description == "go on" and watch.progress[0]["step"] == held
    time.sleep(0.05)
    assert len(one.losses) == held, "a paused run does not train"
    watch.move(temperature=100, alpha=1.0)
    watch.press("go on")
    until(lambda: one.changes)
    assert one.changes == [(held, {"temperature": 100, "alpha": 1.0})]
    assert one.method.settings == {"temperature": 100, "alpha": 1.0}
    assert RECIPE.method.settings == {"temperature": 4, "alpha": 0.5}, "the recipe is left as it was"
    watch.move(alpha=0.0)
    until(lambda: len(one.changes) == 2)
    watch.press("stop")
    students = watch.wait()
    assert one.state == "stopped" and one.touched and len(one.losses) < LONG
    assert watch.runs["two"].state == "done" and not watch.runs["two"].touched, "the stop was one's alone"
    assert same(students["two"], RECIPE.run(0))
    assert watch.description.endswith("Changed or stopped by hand, so no measurement: one.")
    assert watch.controls["pause"].disabled and watch.controls["alpha"].disabled


def test_numbers_turned_after_the_first_step_train_another_student(tmp_path):
    recipe = replace(RECIPE, steps=40)
    watch = Dashboard(Background({"one": recipe}, folder=tmp_path))
    watch.move(temperature=1.0, alpha=1.0)
    watch.start()
    found = watch.wait()["one"]
    assert watch.runs["one"].changes == [(1, {"temperature": 1.0, "alpha": 1.0})]
    assert not same(found, recipe.run(0))


def test_a_stop_leaves_a_checkpoint_that_answers_alike(train, tmp_path, capsys):
    watch = train()
    with pytest.raises(FileNotFoundError, match="one has no checkpoint yet"):
        watch.runs["one"].load()
    until(lambda: watch.runs["one"].losses)
    watch.press("stop")
    trained = watch.wait()["one"]
    run = watch.runs["one"]
    watch.wait()
    assert run.checkpoint == tmp_path / "1-one.safetensors"
    assert capsys.readouterr().out.count(str(run.checkpoint)) == 1, "said once, however often a cell waits"
    with torch.no_grad():
        torch.testing.assert_close(run.load()(SPLIT.images), trained(SPLIT.images), rtol=0, atol=0)
    record = json.loads(load_tensors(run.checkpoint)[1]["record"])
    assert record["state"] == "stopped" and record["steps"] == len(run.losses)


def test_sliders_show_the_run_at_work_and_grey_out_what_it_has_not(train):
    watch = train({"labels": replace(RECIPE, method=kd.HardTarget(), steps=LONG), "soft": RECIPE})
    assert watch.controls["temperature"].disabled and not watch.controls["stop"].disabled
    with pytest.raises(ValueError, match="temperature cannot be moved"):
        watch.move(temperature=2)
    watch.press("stop")
    watch.wait()
    assert watch.controls["temperature"].value == 4.0 and watch.controls["alpha"].value == 0.5
    assert not watch.runs["soft"].changes, "showing a run's numbers is no change of them"


@pytest.mark.parametrize("temperature", [0.1, 3.0, 100])
def test_the_slider_reaches_both_ends(train, temperature):
    watch = train()
    watch.move(temperature=temperature)
    until(lambda: watch.runs["one"].method.settings["temperature"] == temperature)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("alpha", lambda watch: watch.move(alpha=1.5)),
        ("beta", lambda watch: watch.move(beta=1)),
        ("name", lambda watch: watch.press("start")),
    ],
)
def test_what_no_hand_could_do_is_refused(train, name, call):
    with pytest.raises(ValueError, match=name):
        call(train())


def test_methods_are_tuned_term_by_term():
    both = kd.SoftTarget(temperature=4) * 0.5 + kd.HardTarget()
    assert both.hyperparameters == {"temperature": 4}
    assert repr(both.with_hyperparameters(temperature=2)) == "SoftTarget(temperature=2) * 0.5 + HardTarget()"
    with pytest.raises(ValueError, match=r"alpha is no number of SoftTarget.*; it has temperature"):
        both.with_hyperparameters(alpha=0.5)
    learning = VariationalInformation({"pool": "pool"})
    learning.adapters.append(nn.Linear(2, 2))
    assert (learning + kd.Distillation()).with_hyperparameters(alpha=0.1).methods[0].adapters[0] is learning.adapters[0]


# Threads


def test_the_kernel_is_free_and_two_at_once_are_refused(train):
    watch = train()
    assert watch.running and threading.current_thread() is threading.main_thread()
    with pytest.raises(RuntimeError, match="started already"):
        watch.start()
    with pytest.raises(RuntimeError, match="another dashboard is training"):
        train({"other": RECIPE})
    watch.press("stop")
    watch.wait()
    assert train({"other": RECIPE}).wait().keys() == {"other"}


def test_wait_raises_what_the_thread_raised(train):
    class Broken(nn.Linear):
        def forward(self, images):
            raise ArithmeticError("a broken student")

    def broken(seed):
        return Broken(2, 2)

    watch = train({"broken": replace(RECIPE, student=broken), "next": RECIPE})
    with pytest.raises(ArithmeticError, match="a broken student"):
        watch.wait()
    assert watch.description == "broken: failed 0 %; next: skipped 0 %."
    assert train({"after": RECIPE}).wait(), "the next dashboard is free to start"


def test_a_builder_that_fails_blocks_nobody(train):
    def build(seed):
        raise ArithmeticError("no student")

    with pytest.raises(ArithmeticError, match="no student"):
        train({"one": replace(RECIPE, student=build)})
    assert train({"two": RECIPE}).wait()


def test_a_paused_run_goes_on_when_a_cell_waits(train, capsys):
    watch = train({"one": replace(RECIPE, steps=300)})
    watch.press("pause")
    until(lambda: watch.runs["one"].state in ("paused", "done"))
    watch.wait()
    assert watch.runs["one"].state == "done"
    assert "one was paused; it goes on, because a cell waits for it." in capsys.readouterr().out


def test_a_pause_while_a_cell_waits_has_a_limit(train, capsys):
    watch = train({"one": replace(RECIPE, steps=LONG)})

    def hand():
        until(lambda: watch.runs["one"].losses)
        watch.background.control.pause()
        until(lambda: watch.runs["one"].state == "paused")
        until(lambda: watch.runs["one"].state == "training")
        watch.background.control.stop()

    threading.Thread(target=hand, daemon=True).start()
    watch.wait(patience=0.1)
    assert watch.runs["one"].state == "stopped" and "one was paused; it goes on" in capsys.readouterr().out


def test_an_interrupt_stops_all_in_good_order(train, capsys, interruptible):
    watch = train()
    until(lambda: watch.runs["one"].losses)
    threading.Timer(0.2, signal.raise_signal, [signal.SIGINT]).start()
    students = watch.wait()
    assert students.keys() == {"one"} and watch.runs["two"].state == "skipped"
    assert same(watch.runs["one"].load(), students["one"])
    assert "Interrupted: the runs were stopped" in capsys.readouterr().out
    assert not students["one"].training


@pytest.mark.parametrize("paused", [False, True])
def test_python_ends_while_a_run_is_at_work(tmp_path, paused):
    script = f"""
import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})
from dataclasses import replace
from tests.test_widget_dashboard import RECIPE, LONG, dashboard, until
watch = dashboard({{"one": replace(RECIPE, steps=LONG)}}, folder={str(tmp_path)!r})
until(lambda: watch.runs["one"].losses)
{"watch.press('pause'); until(lambda: watch.runs['one'].state == 'paused')" if paused else ""}
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and done.stderr == ""
    assert (tmp_path / "1-one.safetensors").exists()


# What is shown


def test_points_are_means_of_whole_blocks():
    assert smoothed([1.0, 3.0, 5.0, 7.0, 100.0], 2) == [[2, 2.0], [4, 6.0]]
    assert smoothed([1.0], 2) == [] and smoothed([4.0], 1) == [[1, 4.0]]
    assert smoothed([1.0, float("nan"), 2.0, 4.0], 2) == [[4, 3.0]], "JSON knows no NaN"


def test_the_page_gets_curves_changes_and_a_sentence(train):
    watch = train({"one": replace(RECIPE, steps=100)})
    watch.wait()
    (shown,) = watch.view.runs
    assert shown == watch.progress[0] and shown["step"] == 100 and len(shown["points"]) == 50
    means = np.reshape(watch.runs["one"].losses, (-1, 2)).mean(axis=1)
    np.testing.assert_allclose([loss for _, loss in shown["points"]], means)
    assert watch.figure.description == watch.description == f"one: done, loss {means[-1]:.3f}."


@pytest.mark.parametrize(("interval", "took", "least"), [(0.1, 0.0, 0.1), (0.0, 0.004, 0.2)])
def test_reports_are_few_and_fewer_where_they_take_long(tmp_path, monkeypatch, interval, took, least):
    monkeypatch.setattr(background, "INTERVAL", interval)
    runs, told = Background({"one": replace(RECIPE, steps=LONG)}, folder=tmp_path), []

    def report():
        told.append(time.monotonic())
        time.sleep(took)

    runs.report = report
    runs.start()
    until(lambda: len(told) >= 4)
    runs.control.stop()
    runs.wait()
    assert np.diff(told[1:-1]).min() >= 0.99 * least, "4 ms are 2 % of 200 ms"


def test_without_anywidget_python_draws(train, monkeypatch):
    monkeypatch.setitem(sys.modules, "kdcourse.widgets.views", None)
    watch = train({"one": RECIPE})
    watch.wait()
    assert watch.view is None and watch.description in watch._picture.value and "<img" in watch._picture.value


def test_a_page_without_widgets_keeps_the_last_state(tmp_path, monkeypatch):
    sent = []

    class Handle:
        def update(self, bundle, raw):
            sent.append(bundle["text/plain"])

    monkeypatch.setattr("IPython.display.display", lambda bundle, raw, display_id=None: Handle())
    watch = Dashboard(Background({"one": RECIPE}, folder=tmp_path))
    watch._ipython_display_()
    assert "waiting" in watch.description
    watch.start()
    watch.wait()
    assert sent[-1] == watch.description and "done" in watch.description


@pytest.mark.parametrize(("recipes", "name"), [({}, "recipes"), ({"one": kd.HardTarget()}, "'one' is a HardTarget")])
def test_bad_recipes_are_named(recipes, name):
    with pytest.raises(ValueError, match=name):
        widgets.dashboard(recipes)


def test_the_cost_is_measured_in_pairs():
    cost = measure_cost(small(steps=4), pairs=2)
    assert cost.pairs == 2 and cost.ratio > 0 and min(cost.alone, cost.watched) > 0
    with pytest.raises(ValueError, match="pairs must be at least 1, got 0"):
        measure_cost(pairs=0)


def test_wait_before_start_is_an_error():
    with pytest.raises(RuntimeError, match="start"):
        Dashboard(Background({"one": RECIPE})).wait()


def cases() -> list:
    def run(name, state, step, losses, touched=False):
        points = [[place, loss] for place, loss in enumerate(losses, start=1)]
        return {"name": name, "state": state, "step": step, "steps": 70, "points": points, "touched": touched}

    return [
        [run("T = 1", "waiting", 0, [])],
        [run("T = 1", "training", 41, [2.0, 0.0625]), run("T = 8", "waiting", 0, [])],
        [
            run("a", "stopped", 69, [1.0005, 12.3455], True),
            run("b", "done", 70, [3.0]),
            run("c", "paused", 7, [], True),
        ],
    ]


@in_browser.needed
def test_browser_and_python_say_the_same_sentence():
    assert in_browser.call("dashboard", "runs => kd.describe(runs)", cases()) == [describe(runs) for runs in cases()]


# A jump at T = 100, losses of a single size, next to nothing and rounding below it, nothing, and truly below zero.
LOSSES = [[0.3, 0.5, 80.0], [1.0], [3e-9, 2.0], [-1e-9, 0.02], [0.0], [-0.5, 2.0], [-3.0, -1.0]]


def test_a_jump_leaves_the_other_curves_readable():
    assert [logarithmic(losses) for losses in LOSSES] == [True, True, True, True, False, False, False]
    assert not logarithmic([])
    steady = {
        "name": "T = 1",
        "state": "done",
        "step": 70,
        "steps": 70,
        "points": [[35, 1.0], [70, 0.5]],
        "changes": [],
    }
    jumping = steady | {"name": "yours", "points": [[35, 80.0], [70, 0.7]]}
    (axes,) = draw([run | {"touched": False} for run in (steady, jumping)]).axes
    low, high = axes.get_ylim()
    assert axes.get_yscale() == "log" and np.log(2) / np.log(high / low) > 0.1, (
        "a halved loss is seen beside a jump to 80"
    )
    assert axes.get_ylabel() == "training loss, log scale"


@in_browser.needed
def test_the_browser_chooses_the_same_scale_and_its_marks_hold_the_losses():
    assert in_browser.call("dashboard", "kd.logarithmic", LOSSES) == [logarithmic(losses) for losses in LOSSES]
    ranges = [[0.3, 80], [1, 1], [0.5, 0.7], [2e-4, 2], [99, 101], [1000, 1e7]]
    found = in_browser.call("dashboard", "([low, high]) => kd.logTicks(low, high)", ranges)
    for (low, high), marks in zip(ranges, found, strict=True):
        assert marks[0] <= low and marks[-1] >= high and 2 <= len(marks) <= 8
        assert marks == sorted(marks) and marks[0] < marks[-1]


@in_browser.needed
def test_the_browsers_scale_holds_the_losses_and_its_labels_do_not_touch():
    for low, high in ((0, 3.2), (-1.5, 0.2), (0, 1e-6), (0, 1234)):
        (marks,) = in_browser.call("dashboard", "([low, high]) => kd.ticks(low, high)", [[low, high]])
        assert marks[0] <= low and marks[-1] >= high and 3 <= len(marks) <= 8
        assert np.ptp(np.diff(marks)) < 1e-9
    (heights,) = in_browser.call("dashboard", "heights => kd.apart(heights)", [[100, 98, 270, 269, 30]])
    assert np.diff(sorted(heights)).min() >= 17 and max(heights) <= 270
    assert np.argsort(heights).tolist() == [4, 1, 0, 3, 2]
