"""Long tails have the counts they say, noise changes the share it says, balanced batches are balanced."""

import pytest
import torch

from kdcourse.data import long_tail, noisy_labels, tail_counts
from kdcourse.data.splits import Split
from kdcourse.training import loop as training

SPLIT = Split(torch.arange(1000.0).view(1000, 1, 1, 1), torch.arange(1000) % 5)


def test_counts_fall_in_equal_ratios():
    assert tail_counts(3, 100, 100) == [100, 10, 1]
    assert tail_counts(4, 50, 1) == [50] * 4
    assert min(tail_counts(10, 5, 1000)) == 1


def test_a_long_tail_has_its_counts_and_other_pictures_for_another_seed():
    one, other = long_tail(SPLIT, 100, 20, seed=0), long_tail(SPLIT, 100, 20, seed=1)
    assert one.labels.bincount().tolist() == [100, 47, 22, 11, 5]  # each count divided by the fourth root of 20
    assert (one.images.flatten().long() % 5 == one.labels).all(), "pictures keep their labels"
    assert len(one.images.unique()) == len(one)
    assert set(one.images.flatten().tolist()) != set(other.images.flatten().tolist())


def test_a_tail_falls_in_the_order_that_is_given():
    turned = long_tail(SPLIT, 100, 20, order=[3, 4, 0, 1, 2])
    assert turned.labels.bincount().tolist() == [22, 11, 5, 100, 47]
    assert (turned.images.flatten().long() % 5 == turned.labels).all()
    plain, named = long_tail(SPLIT, 100, 20, seed=2), long_tail(SPLIT, 100, 20, seed=2, order=range(5))
    assert torch.equal(plain.images, named.images)


def test_noise_changes_exactly_its_share_and_never_to_the_same_class():
    noisy = noisy_labels(SPLIT, 0.4, seed=3)
    changed = noisy.labels != SPLIT.labels
    assert changed.sum() == 400 and (noisy.labels < 5).all() and (noisy.labels >= 0).all()
    assert torch.equal(noisy.images, SPLIT.images) and (SPLIT.labels == torch.arange(1000) % 5).all()
    assert torch.equal(noisy_labels(SPLIT, 0.0).labels, SPLIT.labels)


def test_balanced_batches_show_each_class_equally_often():
    tail = long_tail(SPLIT, 200, 50)
    plain, balanced = (training.batches(tail, 200, 100, seed=0, balanced=wanted).flatten() for wanted in (False, True))
    shares = tail.labels[balanced].bincount() / len(balanced)
    torch.testing.assert_close(shares, torch.full((5,), 0.2), atol=0.02, rtol=0)
    assert tail.labels[plain].bincount()[0] > 10 * tail.labels[plain].bincount()[4]
    again = training.batches(tail, 200, 100, seed=0, balanced=True).flatten()
    assert torch.equal(balanced, again)


@pytest.mark.parametrize(
    ("attempt", "message"),
    [
        (lambda: tail_counts(1, 10, 10), "classes must be at least 2"),
        (lambda: tail_counts(3, 10, 0.5), "imbalance at least 1"),
        (lambda: long_tail(SPLIT, 500, 10), "class 0 has 200, not 500"),
        (lambda: long_tail(SPLIT.unlabelled(), 10, 10), "no labels, so long_tail"),
        (lambda: long_tail(SPLIT, 10, 10, order=[0, 1, 1, 2, 3]), "each class from 0 to 4 once"),
        (lambda: noisy_labels(SPLIT, 1.5), r"share must be within \[0, 1\], got 1.5"),
        (lambda: training.batches(SPLIT.unlabelled(), 1, 2, 0, balanced=True), "no labels, so a balanced draw"),
    ],
)
def test_what_cannot_be_done_is_named(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()
