"""The built-in table: drawn by seed, balanced, its splits apart, and worth learning from."""

import pytest
import torch

import kdcourse as kd
from kdcourse.data import table


def test_it_is_drawn_by_seed_and_balanced():
    data = table(rows=120, seed=1)
    assert [len(split) for split in (data.train, data.validation, data.test)] == [120, 30, 30]
    assert data.train.images.shape == (120, 20, 1, 1) and len(data.classes) == 3
    labels = torch.cat([split.labels for split in (data.train, data.validation, data.test)])
    assert labels.bincount().tolist() == [60, 60, 60]
    assert torch.equal(table(rows=120, seed=1).test.images, data.test.images)
    assert not torch.equal(table(rows=120, seed=2).test.images, data.test.images)
    rows = torch.cat([split.images.flatten(1) for split in (data.train, data.validation, data.test)])
    assert len(rows.unique(dim=0)) == 180


def test_no_single_column_tells_the_class_and_all_together_do():
    data = table(rows=4000)
    columns, apart = data.train.images.flatten(1), data.test.images.flatten(1)
    means = torch.stack([columns[data.train.labels == label].mean(dim=0) for label in range(3)])  # (3, 20)
    nearest = (apart[:, None] - means).abs().argmin(dim=1)  # (N, 20): the class that each column alone would guess
    alone = 100 * (nearest == data.test.labels[:, None]).double().mean(dim=0)
    model = kd.models.perceptron((32,), inputs=20, classes=3)
    kd.train(model, data.train, steps=150, learning_rate=1e-2, progress=False)
    assert kd.measure.accuracy(model, data.test) > alone.max() + 10


@pytest.mark.parametrize("rows", [11, 3.0])
def test_too_few_rows_are_refused(rows):
    with pytest.raises(ValueError, match="rows must be a whole number of at least 12, got"):
        table(rows=rows)
