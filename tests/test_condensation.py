"""Few pictures that stand for many: each kind against what it is said to be."""

import pytest
import torch
from torch import nn

from kdcourse.data.splits import Split
from kdcourse.experiments import condensation
from kdcourse.studies import lab_03
from kdcourse.studies.engine import study
from tests.test_experiment import data, toy  # noqa: F401  the toy data are a fixture


def linear(seed: int) -> nn.Module:
    """Features that are the pixels themselves, whatever the seed: what is matched is then the mean picture."""
    return nn.Flatten()


def means(split: Split) -> torch.Tensor:
    return torch.stack([split.only(label).images.mean(dim=0) for label in range(3)])


def test_centres_are_averages_of_the_pictures_that_are_nearest_to_them():
    far = torch.tensor([0.0, 1.0, 10.0, 11.0, 12.0]).repeat(2)
    images = (far + torch.arange(2).repeat_interleave(5) * 100).view(-1, 1, 1, 1)
    split = Split(images, torch.arange(2).repeat_interleave(5))
    for seed in range(5):
        found = condensation.centres(split, 2, seed)
        assert found.labels.tolist() == [0, 0, 1, 1]
        assert found.images.flatten().view(2, 2).sort(dim=1).values.tolist() == [[0.5, 11], [100.5, 111]]
    one = condensation.centres(split, 1)
    torch.testing.assert_close(one.images.flatten(), torch.tensor([6.8, 106.8]))


def test_the_nearest_pictures_are_real_ones_of_the_centres_class():
    split = toy(200, 0)
    middles = condensation.centres(split, 4)
    chosen = condensation.nearest(split, middles)
    assert set(chosen.rows.tolist()) <= set(split.rows.tolist())
    for one, middle, label in zip(chosen.images, middles.images, chosen.labels, strict=True):
        apart = (split.only(int(label)).images - middle).flatten(1).norm(dim=1)
        assert (one - middle).norm() == pytest.approx(apart.min().item())


def test_learnt_pictures_have_the_mean_features_of_the_real_ones():
    split = toy(300, 0)
    begun, ended = (
        condensation.matched(split, 4, linear, steps=steps, batch_size=60, learning_rate=0.3, seed=2)
        for steps in (1, 200)
    )
    assert ended.images.shape == (12, 1, 4, 4) and ended.labels.tolist() == sorted(4 * [0, 1, 2])
    apart = [(means(found) - means(split)).norm().item() for found in (begun, ended)]
    assert apart[1] < apart[0] / 3
    again = condensation.matched(split, 4, linear, steps=1, batch_size=60, learning_rate=0.3, seed=2)
    assert torch.equal(begun.images, again.images) and not ended.images.requires_grad


def test_the_step_is_that_of_the_formula():
    split = Split(torch.tensor([1.0, 1.0, 4.0, 6.0]).view(4, 1, 1, 1), torch.tensor([0, 0, 1, 1]))
    found = condensation.matched(split, 1, linear, steps=1, batch_size=2, learning_rate=0.25)
    # s − 0.25 · 2 (s − mean x): half of the way from the picture with which it began to the mean.
    assert found.images[0].item() == 1 and found.images[1].item() in (4.5, 5.5)


def test_pictures_that_run_away_are_refused():
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        condensation.matched(toy(60, 0), 1, linear, steps=300, batch_size=4, learning_rate=50)


@pytest.mark.parametrize("count", [0, 500, 1.5])
def test_a_class_must_hold_as_many_pictures(count):
    for make in (condensation.centres, lambda split, count: condensation.matched(split, count, linear)):
        with pytest.raises(ValueError, match="count must be a whole number"):
            make(toy(200, 0), count)


def test_pictures_without_labels_have_no_classes():
    with pytest.raises(ValueError, match=r"no labels, so condensation\(\)"):
        condensation.centres(toy(20, 0).unlabelled(), 1)


def test_what_made_the_pictures_counts_as_looked_at_and_computed(data, monkeypatch):  # noqa: F811
    monkeypatch.setattr(lab_03, "FEW", 5)
    monkeypatch.setattr(lab_03, "MATCHING", {"steps": 20, "batch_size": 8})
    monkeypatch.setattr(lab_03, "MATCHING_RATE", 0.05)
    monkeypatch.setattr(lab_03.zoo, "teacher", lambda name, data, announce: lab_03.perceptron((8,), **data.sizes))
    arms = study("03-label-worth", data).recipes
    drawn, chosen, averages, learnt = (
        arms[f"{pictures}, hard"].facts(1) for pictures in ("random", "chosen", "averages", "learnt")
    )
    assert (drawn.inputs, chosen.inputs, learnt.inputs) == (15, 200, 215) and 200 < averages.inputs <= 215
    assert (drawn.steps, chosen.steps, learnt.steps) == (400, 400, 420)
    # 20 steps of 3 classes, 8 pictures forwards and 5 forwards and back, through 16 × 1024 weights.
    assert learnt.multiply_adds - drawn.multiply_adds == 20 * 3 * (8 + 2 * 5) * 16 * 1024
    assert chosen.multiply_adds - drawn.multiply_adds == 2 * 10 * 200 * 5 * 16
    soft = arms["learnt, early"]
    assert torch.equal(soft.train(1).images, arms["learnt, hard"].train(1).images)
    assert soft.facts(1).labels == 200 and arms["random, soft"].facts(1).labels == 0
    assert len(arms["5 × random, hard"].train(1)) == 75
