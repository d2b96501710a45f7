"""The playground: both halves against PyTorch, against each other, the controls, the sentence, and the bound of a frame."""

import json
import sys
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from kdcourse import losses, plots, widgets
from kdcourse.bench import browser
from kdcourse.widgets import playground
from kdcourse.widgets.playground import (
    KINDS,
    POOL,
    TEACHER,
    TEST,
    Setting,
    accuracy,
    descent,
    describe,
    first_weights,
    forward,
    generator,
    gradient,
    lesson_of,
    loss,
    pairs,
    race,
    samples,
    teacher,
    train_teacher,
)
from tests import in_browser

in_chromium = pytest.mark.skipif(browser.chromium() is None, reason="no Chromium here: the drawing is not looked at")
SETTINGS = [
    Setting("hard labels", seed=3),
    Setting("smoothed labels", labels=4, width=5),
    Setting("soft labels", temperature=2.5, alpha=0.35, seed=99),
    Setting("soft labels, unlabelled points too", temperature=10.0, alpha=1.0, labels=2, width=32),
    Setting("soft labels, unlabelled points too", labels=6, width=8, seed=1),
]


@pytest.fixture
def view():
    return playground()


def perceptron(parameters: np.ndarray, sizes: list[int]) -> nn.Sequential:
    """The same network as PyTorch's modules, in double precision."""
    layers = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs, dtype=torch.float64), nn.Tanh()]
    model = nn.Sequential(*layers[:-1])
    nn.utils.vector_to_parameters(torch.tensor(parameters), model.parameters())
    return model


def by_torch(setting: Setting) -> dict[str, np.ndarray]:
    """The first student of the chosen arm: logits, loss and gradient at its first weights, and its weights 50 steps later."""
    orders, weights = pairs(setting)
    labelled = 3 * setting.labels
    places = orders[0][: POOL if "unlabelled" in setting.targets else labelled]
    points, labels = (torch.tensor(values[places]) for values in samples()[1])
    with torch.no_grad():
        answers = perceptron(teacher(), TEACHER)(points)
    model = perceptron(weights[0], [2, setting.width, 3])

    def own_loss(logits):
        hard = F.cross_entropy(logits[:labelled], labels[:labelled])
        if "soft" in setting.targets:
            soft = losses.soft_target(logits, answers, temperature=setting.temperature)
            return setting.alpha * soft + (1 - setting.alpha) * hard
        if setting.targets == "smoothed labels":
            return F.cross_entropy(logits, labels, label_smoothing=0.1)
        return hard

    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for step in range(50):
        optimizer.zero_grad()
        logits = model(points)
        value = own_loss(logits)
        value.backward()
        if step == 0:
            slope = nn.utils.parameters_to_vector([one.grad for one in model.parameters()])
            found = {"logits": logits, "loss": value, "gradient": slope}
        optimizer.step()
    found["weights"] = nn.utils.parameters_to_vector(model.parameters())
    return {name: tensor.detach().numpy().copy() for name, tensor in found.items()}


def in_python(setting: Setting) -> dict[str, np.ndarray]:
    orders, weights = pairs(setting)
    lesson = lesson_of(setting.targets, setting, orders)
    logits = forward(weights, setting.sizes, lesson.points)[-1]
    *_, last = descent(weights, setting.sizes, lesson, 50)
    slope = gradient(weights, setting.sizes, lesson)
    return {"logits": logits[0], "loss": loss(logits, lesson)[0], "gradient": slope[0], "weights": last[0]}


def as_sent(setting: Setting) -> dict:
    """A setting as the browser's half has it: the kind of targets by its place."""
    return {**vars(setting), "targets": KINDS.index(setting.targets)}


IN_JAVASCRIPT = """([content, setting]) => {
    const { net, lesson } = kd.start(content, setting).students[0][1];
    const found = {
        logits: lesson.points.map((point) => [...kd.forward(net, point)]),
        loss: kd.loss(net, lesson),
        gradient: [...kd.gradient(net, lesson)],
    };
    for (let step = 0; step < 50; step += 1) kd.step(net, lesson, content.adam);
    return { ...found, weights: [...net.parameters] };
}"""
TO_THE_END = """([content, setting]) => {
    const race = kd.start(content, setting);
    kd.advance(race, () => 0, 8, Infinity);
    return { sentence: kd.describe(race), way: race.way };
}"""


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.targets)
def test_pythons_half_is_pytorchs(setting):
    ours, theirs = in_python(setting), by_torch(setting)
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5, err_msg=name)


@in_browser.needed
def test_the_browsers_half_is_pytorchs(view):
    found = in_browser.call("playground", IN_JAVASCRIPT, [[view.view.content, as_sent(one)] for one in SETTINGS])
    for setting, ours in zip(SETTINGS, found, strict=True):
        theirs = by_torch(setting)
        assert set(ours) == set(theirs)
        for name in theirs:
            np.testing.assert_allclose(ours[name], theirs[name], atol=1e-5, err_msg=f"{setting}: {name}")


@in_browser.needed
def test_both_halves_come_to_the_same_end_and_say_so(view):
    found = in_browser.call("playground", TO_THE_END, [[view.view.content, as_sent(one)] for one in SETTINGS])
    for setting, theirs in zip(SETTINGS, found, strict=True):
        ours = race(setting)
        np.testing.assert_allclose(theirs["way"], ours.accuracies)
        assert theirs["sentence"] == describe(setting, ours.accuracies[-1])


@in_browser.needed
def test_random_numbers_are_mulberry32s_in_both_halves():
    seeds = [0, 1, 9904, 2**31]
    first = "seed => { const draw = kd.generator(seed); return [draw(), draw(), draw()]; }"
    theirs = in_browser.call("playground", first, seeds)
    ours = [[draw() for _ in range(3)] for draw in map(generator, seeds)]
    assert ours == theirs
    assert ours[0] == [0.26642920868471265, 0.0003297457005828619, 0.2232720274478197]  # of the published function


@in_browser.needed
def test_maps_have_the_same_shades_in_both_halves():
    p = [[0.5, 0.3, 0.2], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6], [0.4, 0.4, 0.2]]
    tinted = in_browser.call("playground", "p => [0, 1, 4, 6].map((row) => kd.tint(p, 4, row))", p)
    for one, theirs in zip(p, tinted, strict=True):
        shades = plots.decisions(lambda points, one=one: np.tile(one, (len(points), 1)))[[0, 1, 4, 6], 4]
        np.testing.assert_allclose(shades[:, 3], [opacity for _, opacity in theirs])
        assert {number for number, _ in theirs} == {int(np.argmax(one))}


@in_browser.needed
@pytest.mark.parametrize(("pace", "steps"), [(0.1, 4), (3, 3), (5, 2), (8, 1), (100, 1)])
def test_a_frames_work_is_bounded_by_its_time_and_its_steps(view, pace, steps):
    """A clock that goes on by `pace` milliseconds whenever it is looked at; a frame has 8."""
    count = "([content, setting, pace]) => { let t = 0; const race = kd.start(content, setting); "
    count += "kd.advance(race, () => (t += pace)); return race.taken; }"
    assert in_browser.call("playground", count, [[view.view.content, as_sent(Setting()), pace]]) == [steps]


def test_the_stored_teacher_is_the_one_that_is_trained():
    points = samples()[2][0]
    trained, stored = (forward(one, TEACHER, points)[-1].argmax(axis=-1) for one in (train_teacher(), teacher()))
    assert (trained == stored).mean() > 0.97  # libraries of linear algebra round differently
    assert accuracy(teacher(), TEACHER) > 90


def test_a_pair_differs_in_its_targets_alone():
    setting = Setting("soft labels", labels=5)
    orders, _ = pairs(setting)
    hard, soft, more = (lesson_of(kind, setting, orders) for kind in (KINDS[0], KINDS[2], KINDS[3]))
    np.testing.assert_array_equal(hard.points, soft.points)
    np.testing.assert_array_equal(more.points[:, :15], soft.points)
    assert hard.points.shape == (5, 15, 2) and more.points.shape == (5, POOL, 2)
    assert (hard.soft, soft.soft, more.soft) == pytest.approx((0, 0.9 / 15, 0.9 / POOL))
    assert hard.hard.sum() == pytest.approx(1) and more.hard.sum() == pytest.approx(0.1) and not more.hard[15:].any()
    for order in orders:
        assert sorted(order) == list(range(POOL))
        assert np.bincount(samples()[1][1][order[:15]]).tolist() == [5, 5, 5]


def test_first_weights_lie_where_pytorchs_do():
    weights = first_weights([2, 400, 3], generator(5))
    assert abs(weights[:1200]).max() == pytest.approx(1 / np.sqrt(2), rel=0.01)
    assert abs(weights[1200:]).max() == pytest.approx(1 / 20, rel=0.01) and abs(weights.mean()) < 0.02


def test_the_sentence_says_what_is_measured(view):
    ends = race(Setting()).accuracies[-1]
    gap = ends[1] - ends[0]
    half = 2.7764451 * gap.std(ddof=1) / np.sqrt(5)
    said = f"{gap.mean():+.1f} points [{gap.mean() - half:+.1f}, {gap.mean() + half:+.1f}]".replace("-", "−")
    assert f"; {said}, " in view.description
    assert f"soft labels (T = 4, alpha = 0.9) {ends[1].mean():.1f} % ±" in view.description
    right = forward(teacher(), TEACHER, samples()[2][0])[-1].argmax(axis=-1) == samples()[2][1]
    assert view.description.endswith(f"Teacher {100 * right.sum() / TEST:.1f} %.")


@pytest.mark.parametrize(
    ("gain", "word"),
    [
        ([4, 5, 6, 5, 5], "+5.0 points [+4.1, +5.9], helps."),
        ([-4, -5, -6, -5, -5], "−5.0 points [−5.9, −4.1], hurts."),
        ([-4, 5, -6, 5, 0], "+0.0 points [−6.3, +6.3], no clear difference."),
        ([0, 0, 0, 0, 0], "+0.0 points [+0.0, +0.0], the same for every seed."),
    ],
)
def test_the_verdict_is_the_measured_one(gain, word):
    hard = np.array([70.0, 72, 74, 71, 73])
    said = describe(Setting("smoothed labels", labels=4), np.stack([hard, hard + gain]))
    assert "12 labels: smoothed labels (0.1)" in said and "hard labels 72.0 % ± 2.0" in said and word in said
    assert len(said) <= 200


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("targets", KINDS[0], KINDS[3]),
        ("temperature", 1.0, 10.0),
        ("alpha", 0.0, 1.0),
        ("labels", 2, 30),
        ("width", 2, 32),
        ("seed", 0, 99),
    ],
)
def test_every_control_moves_the_view_to_both_ends_and_back(view, name, low, high):
    with view.restored():
        view.move(seed=1)
        before, said = view.description, []
        for value in (low, high):
            view.move(**{name: value})
            said.append(view.description)
            index = KINDS.index(value) if name == "targets" else value
            assert getattr(view.view, name) == index and view.controls[name].value == value
        assert said[0] != said[1] and before not in said
    assert view.description == describe(Setting(), race(Setting()).accuracies[-1])


def test_a_pause_leaves_the_still_figure_at_the_end(view):
    before = view.description
    view.move(train=False)
    assert view.description == before and view.view.train is False


def test_no_share_of_the_teacher_is_the_hard_labels_arm(view):
    view.move(alpha=0.0)
    assert "+0.0 points [+0.0, +0.0], the same for every seed." in view.description


def test_the_still_figure_shows_maps_points_and_intervals(view):
    view.move(targets=KINDS[3])
    figure = view.figure
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[:3] == ["teacher", KINDS[0], KINDS[3]] and titles[4].endswith(", helps")
    drawn = [sum(len(line.get_xdata()) for line in axes.lines) for axes in figure.axes[:3]]
    assert drawn == [30, 30, POOL]
    assert {line.get_marker() for line in figure.axes[0].lines if len(line.get_xdata())} == {"o", "s", "^"}
    assert len(figure.png()) > 20_000


@pytest.mark.parametrize(
    ("name", "value"),
    [("targets", "labels"), ("temperature", 0.5), ("alpha", 1.1), ("labels", 1), ("width", 33), ("seed", -1), ("T", 1)],
)
def test_errors_name_the_argument(view, name, value):
    with pytest.raises(ValueError, match=name):
        view.move(**{name: value})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"models": []}, "models and names must be three, got 0"),
        ({"steps": [0, 1]}, r"scores must be of shape \(2, 2,"),
    ],
)
def test_regions_refuses_what_does_not_fit_together(change, words):
    def even(points):
        return np.full((len(points), 3), 1 / 3)

    fitting = {"models": [even] * 3, "names": list("abc"), "steps": [0], "scores": np.zeros((1, 2, 5)), "level": 90.0}
    assert plots.regions(points=np.zeros((3, 2)), labels=[0, 1, 2], **fitting).description.startswith(
        "Decisions of a, b"
    )
    with pytest.raises(ValueError, match=words):
        plots.regions(points=np.zeros((3, 2)), labels=[0, 1, 2], **{**fitting, **change})


def test_without_anywidget_python_draws(view, monkeypatch):
    monkeypatch.setitem(sys.modules, "kdcourse.widgets.views", None)
    drawn = playground()
    assert isinstance(drawn, widgets.LiveFigure)
    for either in (drawn, view):
        either.move(targets="smoothed labels", labels=4, width=6)
    assert drawn.description == view.description


def test_what_is_sent_is_small(view):
    assert len(json.dumps(view.export())) < 30_000


@pytest.mark.browser
@in_chromium
def test_students_train_pause_go_on_and_say_the_end(view):
    with browser.page() as tab:
        in_browser.mount(tab, "playground", view.view)
        said = tab.locator("p[aria-live=polite]")
        assert said.inner_text().startswith("Step 0 of 400")
        assert tab.locator("canvas").count() == 3
        tab.wait_for_function("() => document.body.innerText.includes('Step 400 of 400')")
        assert said.inner_text() == view.description
        tab.evaluate("model.set('targets', 3)")
        started = tab.locator("svg").inner_html()
        tab.wait_for_function("was => document.querySelector('svg').innerHTML !== was", arg=started)
        tab.evaluate("model.set('train', false)")
        stopped = tab.locator(".kd-view").inner_html()
        tab.wait_for_timeout(300)
        assert tab.locator(".kd-view").inner_html() == stopped and "paused at" in stopped
        assert 0 < int(said.inner_text().split()[1]) < 400 and "unlabelled points too" in said.inner_text()
        tab.evaluate("model.set('train', true)")
        view.move(targets=KINDS[3])
        tab.wait_for_function("said => document.querySelector('p').textContent === said", arg=view.description)
        tab.evaluate("end()")
        assert tab.evaluate("listeners()") == 0 and browser.problems(tab) == []


@pytest.mark.browser
@in_chromium
def test_with_less_motion_students_train_on_demand_and_only_the_end_is_drawn(view):
    with browser.page() as tab:
        tab.emulate_media(reduced_motion="reduce")
        in_browser.mount(tab, "playground", view.view)
        assert tab.evaluate("model.get('train')") is False
        tab.wait_for_timeout(300)
        assert tab.locator("p").inner_text().startswith("Step 0 of 400")
        tab.evaluate("""() => {
            window.drawn = [];
            const watch = new MutationObserver(() => drawn.push(document.querySelector("p").textContent));
            watch.observe(document.querySelector("p"), { childList: true });
            model.set("train", true);
        }""")
        tab.wait_for_function("() => drawn.length > 1")
        tab.wait_for_timeout(100)
        begun = describe(Setting(), race(Setting()).accuracies[0], step=0)
        assert tab.evaluate("drawn") == [begun, view.description]
