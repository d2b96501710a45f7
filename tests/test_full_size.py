"""The experiment that a lab ends with: what it would take, said without a GPU; run where there is one."""

from dataclasses import replace

import pytest
import torch

import kdcourse as kd
from kdcourse.data.splits import ImageData, Split
from kdcourse.data.texts import Sentences, TextData
from kdcourse.experiments import full_size
from kdcourse.experiments.full_size import at_full_size, planned, step_seconds
from kdcourse.models.sentiment import bert
from kdcourse.system import runtime
from tests.second_device import device


def toy(count: int) -> Split:
    generator = torch.Generator().manual_seed(count)
    return Split(torch.randn(count, 1, 4, 4, generator=generator), torch.arange(count) % 3)


@pytest.fixture
def data() -> ImageData:
    return ImageData("toy", ("a", "b", "c"), toy(60), toy(20), toy(30), (0.0,), (1.0,), "built in")


@pytest.fixture
def sentences() -> TextData:
    split = Sentences(("a good film .", "a bad one") * 4, torch.tensor([1, 0] * 4))
    return TextData("toy", split, split, split, "built in")


def net(units: int = 8, seed: int = 0):
    """Two layers with weights, and 2 · (16 · units + units · 3) operations for a picture."""
    return kd.models.perceptron((units,), classes=3, inputs=16, seed=seed)


@pytest.fixture
def hard(data) -> kd.Recipe:
    return kd.Recipe(lambda seed: net(seed=seed), data.train, steps=4, batch_size=10)


@pytest.fixture
def asked(monkeypatch):
    """Full size is asked for."""
    monkeypatch.setenv("KDCOURSE_SIZE", "full")


@pytest.fixture
def nothing_trains(monkeypatch):
    monkeypatch.setattr(full_size, "compare", lambda *args, **settings: pytest.fail("a comparison was run"))


def test_without_being_asked_it_says_what_would_run(data, hard, nothing_trains, capsys):
    arms = {"one": hard, "two": replace(hard, learning_rate=1e-3)}
    assert kd.at_full_size(arms, data, seeds=3, steps=3000) is None
    assert capsys.readouterr().out == (
        "At full size (`kd.setup(full_size=True)`, a GPU): 2 arms × 3 seeds × 3,000 steps, about 30 s on a T4.\n"
    )  # 2 · 3 · 3,000 · (1 + 2 · 0.3) ms are 28.8 s


def test_without_a_gpu_it_says_the_same(data, hard, asked, nothing_trains, capsys, monkeypatch):
    monkeypatch.setenv("KDCOURSE_DEVICE", "cpu")
    longer = {"one": hard, "two": replace(hard, steps=40)}
    assert at_full_size(longer, data, seeds=2, equal_budgets=False) is None
    assert "2 arms × 2 seeds × 4 to 40 steps, about 1 s on a T4." in capsys.readouterr().out


def test_on_a_gpu_it_runs(data, hard, asked, capsys):
    with device.present() as place:
        there = data.to(place)
        taught = replace(hard, method=kd.SoftTarget(), teacher=kd.TeacherCache(net(20)))
        arms = {"hard": replace(hard, train=there.train.sample(12)), "soft": taught}
        found = at_full_size(
            arms, there, seeds=2, train=there.train, steps=2, baseline="soft", metric=lambda _, split: float(len(split))
        )
    assert found.baseline == "soft" and found.scores.to_numpy().tolist() == [[30, 30], [30, 30]]
    trained = found.students["soft"][1]
    assert next(trained.parameters()).device == place
    said = capsys.readouterr().out
    assert said.startswith("At full size: 2 arms × 2 seeds × 2 steps, about 1 s on a T4.\n") and "the baseline" in said


def test_the_changes_are_those_of_every_arm(data, hard, asked, monkeypatch):
    given = []

    def compare(arms, data, *, seeds, **settings):
        given.append((arms, seeds, settings))
        return kd.compare({"one": hard}, data, seeds=2, progress=False)

    monkeypatch.setattr(full_size, "compare", compare)
    monkeypatch.setattr(runtime, "full_size", lambda: True)
    arms = {"one": hard, "two": replace(hard, learning_rate=1e-3)}
    at_full_size(arms, data, seeds=iter([4, 9]), equal_budgets=False, steps=7, student=lambda seed: net(12))
    (larger, seeds, settings) = given[0]
    assert seeds == [4, 9] and settings["equal_budgets"] is False and settings["baseline"] is None
    assert [(arm.steps, arm.learning_rate, arm.batch_size) for arm in larger.values()] == [(7, 3e-3, 10), (7, 1e-3, 10)]
    assert {arm.student(seed=0).label for arm in larger.values()} == {"perceptron 16-12-3"}
    assert hard.steps == 4  # the lab's own arms stay


@pytest.mark.parametrize("on_a_gpu", [False, True])
def test_bad_input_is_refused_before_anything_runs(on_a_gpu, data, hard, nothing_trains, monkeypatch):
    monkeypatch.setattr(runtime, "full_size", lambda: on_a_gpu)
    longer = replace(hard, steps=9)
    for arms, settings, message in (
        ({}, {}, "recipes must hold at least one arm, got none"),
        ({"one": hard}, {"seeds": 1}, "seeds must be at least two"),
        ({"one": hard}, {"epochs": 3}, r"changes must be among student, train, .*, got 'epochs'"),
        ({"one": hard}, {"alpha": 1.0}, "changes must be among"),  # a TextRecipe's
        ({"one": hard}, {"baseline": "two"}, "baseline must be one of one, got 'two'"),
        ({"one": hard, "two": longer}, {}, "recipes must share one budget"),
        ({"chain": kd.schemes.Chain([hard])}, {}, "arms must be Recipes or TextRecipes, got Chain for 'chain'"),
    ):
        with pytest.raises(ValueError, match=message):
            at_full_size(arms, data, **{"seeds": 2, **settings})


# The arithmetic


def test_a_step_takes_as_long_as_its_launch(data, hard):
    assert step_seconds(hard, data) == pytest.approx(0.001 + 2 * 0.0003)


def test_or_as_long_as_what_it_computes(data, hard):
    work = 3 * 2 * (16 * 8 + 8 * 3) * 10**7  # forward, twice that backward; a multiplication and an addition are two
    assert step_seconds(replace(hard, batch_size=10**7), data) == pytest.approx(work / (0.3 * 8.1e12))


def test_a_plan_is_the_sum_of_its_runs(data, hard):
    arms = {"one": replace(hard, steps=100), "two": replace(hard, steps=50)}
    assert planned(arms, data, [0, 1, 2]) == pytest.approx(3 * 150 * 0.0016)


def test_a_teacher_counts_where_it_is_asked_at_each_step(data, hard):
    teacher, several = net(20), 10**7

    def seconds(method, teacher):
        return step_seconds(replace(hard, method=method, teacher=teacher, batch_size=several), data)

    alone, asked = seconds(kd.HardTarget(), teacher), seconds(kd.SoftTarget(), teacher)
    assert asked - alone == pytest.approx(2 * (16 * 20 + 20 * 3) * several / (0.3 * 8.1e12))
    cache = kd.TeacherCache(teacher)
    assert seconds(kd.SoftTarget(), cache) == seconds(kd.SoftTarget(), lambda seed: cache) == alone
    assert seconds(kd.methods.JacobianMatching(), cache) == asked
    small = replace(hard, method=kd.SoftTarget(), teacher=teacher)
    assert step_seconds(small, data) == pytest.approx(0.001 + 4 * 0.0003)


def test_sentences_have_plans_too(sentences):
    alone = kd.TextRecipe(lambda seed: bert(16, 1, heads=2, seed=seed), sentences.train, steps=10)
    # Three embeddings and their norm; query, key, value, three other matrices and two norms; two layers after those.
    assert step_seconds(alone, sentences) == pytest.approx(0.001 + (4 + 8 + 2) * 0.0003)
    taught = replace(alone, teacher=bert(16, 2, heads=2))
    assert step_seconds(taught, sentences) == step_seconds(alone, sentences)
    assert step_seconds(replace(taught, hidden=1.0), sentences) > 2 * step_seconds(alone, sentences)
    assert at_full_size({"alone": alone, "taught": taught}, sentences, seeds=2, alpha=0.5) is None
