"""Runs stacked into one model are the runs that they stand for, to rounding; what cannot be stacked is refused in words."""

from dataclasses import replace
from functools import partial

import pytest
import torch

import kdcourse as kd
from kdcourse import batched
from kdcourse.cache import TeacherCache
from tests.test_training import normed_teacher, student, toy

SEEDS = (0, 1, 2)
CACHE = TeacherCache(normed_teacher().eval())
PLAIN = kd.Recipe(student, toy(), steps=25, batch_size=32)


def pair(recipe: kd.Recipe) -> tuple[list, list]:
    """Students one after another, and the same stacked."""
    return [recipe.run(seed) for seed in SEEDS], recipe.run_stacked(SEEDS)


@pytest.mark.parametrize(
    "method",
    [
        *(kd.HardTarget(), kd.SoftTarget(temperature=2), kd.Distillation(), kd.LogitMSE(), kd.Decoupled()),
        *(kd.StandardizedSoftTarget(), kd.SoftTarget() * 0.3 + kd.HardTarget()),
    ],
    ids=repr,
)
def test_stacked_runs_are_the_runs_one_by_one(method):
    alone, together = pair(replace(PLAIN, method=method, teacher=CACHE))
    for one, other in zip(alone, together, strict=True):
        assert not other.training
        for left, right in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-3, atol=1e-5)
    assert not torch.equal(together[0].classifier.weight, together[1].classifier.weight)


@pytest.mark.parametrize("balanced", [False, True])
def test_each_run_may_have_examples_and_a_teacher_of_its_own(balanced):
    teachers = {seed: TeacherCache(student(10 + seed)) for seed in SEEDS}
    own = replace(PLAIN, method=kd.Distillation(), train=lambda seed: toy(60 + 20 * seed, seed), balanced=balanced)
    alone, together = pair(replace(own, teacher=lambda seed: teachers[seed]))
    for one, other in zip(alone, together, strict=True):
        torch.testing.assert_close(one.classifier.weight, other.classifier.weight, rtol=1e-3, atol=1e-5)


def test_losses_are_the_mean_over_the_runs():
    models = [student(seed) for seed in SEEDS]
    settings = {"steps": 10, "batch_size": 32}
    found = batched.train_together(
        models, [toy()] * 3, PLAIN.method, teachers=[None] * 3, order_seeds=SEEDS, **settings
    )
    each = [kd.train(student(seed), toy(), order_seed=seed, **settings).losses for seed in SEEDS]
    assert found.examples == 3 * 10 * 32 and not found.interrupted
    torch.testing.assert_close(torch.tensor(found.losses), torch.tensor(each).mean(dim=0))


@pytest.mark.parametrize(
    ("models", "method", "teacher", "reason"),
    [
        ([student(), kd.models.perceptron((8,), classes=3, inputs=16)], kd.HardTarget(), None, "one architecture"),
        ([kd.models.perceptron((8,), dropout=0.1)] * 2, kd.HardTarget(), None, "dropout"),
        ([normed_teacher()] * 2, kd.HardTarget(), None, "perceptrons"),
        ([kd.models.convnet((2, 4))] * 2, kd.HardTarget(), None, "perceptrons"),
        ([student()] * 2, kd.Correlation(), CACHE, "mean over examples"),
        ([student()] * 2, kd.SoftTarget() + kd.Correlation(), CACHE, "mean over examples"),
        ([student()] * 2, kd.SoftTarget(), normed_teacher(), "TeacherCaches"),
    ],
)
def test_what_cannot_be_stacked_is_refused(models, method, teacher, reason):
    with pytest.raises(ValueError, match=reason):
        batched.train_together(models, [toy()] * 2, method, teachers=[teacher] * 2, order_seeds=(0, 1), steps=3)


@pytest.mark.parametrize(("times", "stacked"), [((2.9, 1.0), True), ((3.1, 1.0), False)])
def test_a_recipe_stacks_its_seeds_where_that_measured_faster(times, stacked, monkeypatch):
    clock, called = iter(times), []
    monkeypatch.setattr(batched, "seconds_of_a_step", lambda run: next(clock))
    train_together = batched.train_together
    monkeypatch.setattr(batched, "train_together", lambda *args, **kw: called.append(1) or train_together(*args, **kw))
    recipe = replace(PLAIN, steps=batched.WORTH_TRYING)
    for seed, found in zip(SEEDS, recipe.run_all(SEEDS), strict=True):
        torch.testing.assert_close(recipe.run(seed).classifier.weight, found.classifier.weight, rtol=1e-2, atol=1e-4)
    assert bool(called) == stacked


def test_a_step_is_timed_on_a_training_that_ends_early():
    seen = []

    def run(control):
        for step in range(1, 1000):
            seen.append(step)
            if control(step, [], kd.HardTarget()) is None:
                break

    assert batched.seconds_of_a_step(run) > 0 and len(seen) == batched.WARM_UP + batched.TRIED


def test_a_comparison_can_batch_its_seeds(monkeypatch):
    monkeypatch.setattr(batched, "WORTH_TRYING", 20)
    monkeypatch.setattr(batched, "seconds_of_a_step", lambda run: 1.0)
    data = kd.data.ImageData("toy", ("a", "b", "c"), toy(), toy(seed=1), toy(seed=2), (0.0,), (1.0,), "here")
    arms = {"labels": PLAIN, "soft": replace(PLAIN, method=kd.SoftTarget(), teacher=CACHE)}
    arms["chain"] = kd.schemes.Chain([PLAIN])
    found = kd.compare(arms, data, seeds=3, batch_seeds=True, progress=False)
    one_by_one = kd.compare(arms, data, seeds=3, progress=False)
    assert found.scores.shape == (3, 3)
    assert (found.scores - one_by_one.scores).abs().to_numpy().max() < 1.5


def test_divergence_is_an_error_here_too():
    models = [student(seed) for seed in (0, 1)]
    run = partial(batched.train_together, models, [toy()] * 2, kd.HardTarget(), teachers=[None] * 2, order_seeds=(0, 1))
    with pytest.raises(FloatingPointError, match="diverged"):
        run(steps=60, batch_size=32, learning_rate=1e18)
