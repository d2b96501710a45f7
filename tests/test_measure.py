"""Measures against counts by hand."""

import math

import pytest
import torch
from torch import nn

from kdcourse import models
from kdcourse.data.characters import Windows
from kdcourse.data.splits import Split
from kdcourse.data.texts import Sentences
from kdcourse.evaluation import measure

LOGITS = torch.tensor([[9.0, 0, 0], [0, 9, 0], [9, 0, 0], [0, 0, 9]])
SPLIT = Split(torch.zeros(4, 1, 2, 2), torch.tensor([0, 1, 1, 2]))


def test_accuracy_confusion_and_agreement_by_hand():
    assert measure.accuracy(LOGITS, SPLIT) == 75
    assert measure.correct(LOGITS, SPLIT).tolist() == [True, True, False, True]
    with pytest.raises(ValueError, match=r"one decision for each example, got shape \(4, 2, 3\)"):
        measure.correct(nn.Sequential(nn.Flatten(), nn.Linear(4, 6), nn.Unflatten(1, (2, 3))), SPLIT)
    assert measure.per_class_accuracy(LOGITS, SPLIT).tolist() == [100, 50, 100]
    assert measure.confusion(LOGITS, SPLIT).tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    other = LOGITS.clone()
    other[0] = torch.tensor([0.0, 9, 0])
    assert measure.agreement(LOGITS, other, SPLIT) == 75
    missing = Split(SPLIT.images, torch.tensor([0, 0, 0, 0]))
    assert math.isnan(measure.per_class_accuracy(LOGITS, missing)[1])


def test_predict_is_in_evaluation_mode_and_restores_the_flag():
    model = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(4), nn.Dropout(0.9), nn.Linear(4, 3)).train()
    split = Split(torch.randn(7, 1, 2, 2), torch.zeros(7, dtype=torch.int64))
    before = model[1].running_mean.clone()
    logits = measure.predict(model, split, batch_size=3)
    assert model.training and torch.equal(model[1].running_mean, before) and not logits.requires_grad
    torch.testing.assert_close(logits, model.eval()(split.images))
    right = sum(int(row.argmax() == 0) for row in model(split.images))
    assert measure.accuracy(model, split) == pytest.approx(100 * right / 7)


def test_calibration_of_a_model_that_knows_how_sure_it_is():
    """80 % sure and right in 80 of 100 is calibrated; right in 50 of 100 is off by 30 points."""
    sure = torch.tensor([[math.log(4), 0.0]]).repeat(100, 1)
    images = torch.zeros(100, 1, 1, 1)
    right_80 = Split(images, (torch.arange(100) >= 80).long())
    right_50 = Split(images, (torch.arange(100) >= 50).long())
    assert measure.calibration_error(sure, right_80) == pytest.approx(0, abs=1e-4)
    assert measure.calibration_error(sure, right_50) == pytest.approx(30, abs=1e-4)
    diagram = measure.reliability(sure, right_80)
    assert diagram.count.sum() == 100 and diagram.confidence.nan_to_num().max() == pytest.approx(0.8)


def test_operations_are_those_of_one_example_of_any_kind():
    class Reader(nn.Linear):
        def forward(self, examples, truncate=False):
            return super().forward(torch.ones(len(examples), 4))

    texts = Sentences(("a good film .",) * 40)
    windows = Windows(torch.zeros(5, 6, dtype=torch.int64))
    assert measure.flops(Reader(4, 3), texts) == measure.flops(Reader(4, 3), windows) == 2 * 4 * 3
    assert measure.flops(nn.Sequential(nn.Embedding(2, 4), nn.Linear(4, 3)), windows) == 6 * 2 * 4 * 3


def test_likelihood_and_brier_score_by_hand():
    logits = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.1, 0.8], [0.25, 0.5, 0.25], [0.4, 0.4, 0.2]]).log()
    expected = -(math.log(0.7) + math.log(0.1) + math.log(0.5) + math.log(0.2)) / 4
    assert measure.negative_log_likelihood(logits, SPLIT) == pytest.approx(expected)
    # 0.3² + 0.2² + 0.1², 0.1² + 0.9² + 0.8², 2 · 0.25² + 0.5², 2 · 0.4² + 0.8²
    assert measure.brier(logits, SPLIT) == pytest.approx((0.14 + 1.46 + 0.375 + 0.96) / 4)
    assert measure.brier(LOGITS * 100, Split(SPLIT.images, LOGITS.argmax(1))) == 0
    wrong = Split(SPLIT.images, (LOGITS.argmax(1) + 1) % 3)
    assert measure.brier(LOGITS * 100, wrong) == pytest.approx(2)
    assert measure.negative_log_likelihood(-1000 * LOGITS, SPLIT) == pytest.approx(9000 * 3 / 4 + math.log(2))


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_temperature_scaling_finds_the_temperature_that_labels_were_drawn_at(true):
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(20_000, 5, generator=generator)
    labels = torch.multinomial((logits / true).softmax(1), 1, generator=generator)[:, 0]
    split = Split(torch.zeros(20_000, 1, 1, 1), labels)
    found = measure.temperature_scaling(logits, split)
    assert found == pytest.approx(true, rel=0.05)
    assert measure.negative_log_likelihood(logits / found, split) <= measure.negative_log_likelihood(
        logits / true, split
    )
    assert measure.temperature_scaling(10 * logits, split) == pytest.approx(10 * found, rel=1e-3)
    assert measure.accuracy(logits / found, split) == measure.accuracy(logits, split)


def test_temperature_scaling_has_an_end_and_asks_for_labels():
    right = Split(SPLIT.images, LOGITS.argmax(1))
    assert 0.01 <= measure.temperature_scaling(LOGITS / 100, right) < 0.011
    for score in (measure.temperature_scaling, measure.brier, measure.negative_log_likelihood):
        with pytest.raises(ValueError, match="no labels"):
            score(LOGITS, SPLIT.unlabelled())
        with pytest.raises(ValueError, match="for 4 of 4 examples"):
            score(LOGITS * float("nan"), SPLIT)


def test_the_bins_are_of_equal_width_and_an_edge_belongs_to_the_bin_below():
    sure = torch.tensor([[0.8, 0.2], [0.6, 0.4], [0.61, 0.39]]).double().log()
    split = Split(torch.zeros(3, 1, 1, 1), torch.zeros(3).long())
    assert measure.reliability(sure.float(), split, bins=5).count.tolist()[3:] in ([2, 0], [3, 0])
    assert "equal width" in measure.calibration_error.__doc__ and "15" in measure.calibration_error.__doc__


def test_sizes_are_counted():
    model = models.perceptron((7,), inputs=4, classes=3)
    split = Split(torch.zeros(2, 1, 2, 2), torch.zeros(2, dtype=torch.int64))
    assert measure.parameters(model) == 4 * 7 + 7 + 7 * 3 + 3
    assert 4 * 59 < measure.size_in_bytes(model) < 4 * 59 + 5000, "four bytes a number, and the names around them"
    assert measure.flops(model, split) == 2 * (4 * 7 + 7 * 3)
    assert measure.latency(model, split, repeats=3) > 0
    table = measure.summary({"small": model}, split)
    assert table.loc["small", "parameters"] == "59"


def test_missing_labels_and_wrong_shapes_are_named():
    with pytest.raises(ValueError, match="no labels"):
        measure.accuracy(LOGITS, SPLIT.unlabelled())
    with pytest.raises(ValueError, match=r"logits \(4, C\), got shape \(2, 3\)"):
        measure.accuracy(LOGITS[:2], SPLIT)
    with pytest.raises(ValueError, match="bins must be"):
        measure.calibration_error(LOGITS, SPLIT, bins=0)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_answers_that_are_no_numbers_get_no_score(broken):
    logits = LOGITS.clone()
    logits[[1, 3], [0, 2]] = broken
    for score in (measure.accuracy, measure.per_class_accuracy, measure.confusion, measure.calibration_error):
        with pytest.raises(ValueError, match="logits must be finite numbers, got NaN or infinity for 2 of 4 examples"):
            score(logits, SPLIT)
    with pytest.raises(ValueError, match="for 2 of 4"):
        measure.agreement(LOGITS, logits, SPLIT)
    with pytest.raises(ValueError, match="embeddings must be finite numbers"):
        measure.recall_at_1(logits, SPLIT.labels)
    with pytest.raises(ValueError, match="other must be finite numbers"):
        measure.centered_kernel_alignment(LOGITS, logits)
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    nn.init.constant_(model[1].bias, broken)
    with pytest.raises(ValueError, match="for 4 of 4 examples"):
        measure.accuracy(model, SPLIT)


def test_a_language_model_of_nan_has_no_loss():
    class Lost(nn.Module):
        def forward(self, tokens):
            return torch.full((*tokens.shape, 3), torch.nan)

    with pytest.raises(ValueError, match="the losses must be finite numbers, got NaN or infinity for 2 of 2"):
        measure.next_token_loss(Lost(), torch.zeros(2, 5).long(), torch.zeros(2, 5).long())


def test_kernel_alignment_sees_neither_scale_nor_rotation():
    features = torch.randn(20, 5, dtype=torch.float64)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))
    assert measure.centered_kernel_alignment(features, 3 * features @ turn + 7) == pytest.approx(1)
    assert measure.centered_kernel_alignment(features, torch.randn(20, 5)) < 0.7


def test_kernel_alignment_agrees_with_its_other_form():
    """‖YᵀX‖² / (‖XᵀX‖ ‖YᵀY‖) on centred columns (Kornblith et al. 2019, eq. 4)."""
    x, y = torch.randn(12, 3, 2, 2, dtype=torch.float64), torch.randn(12, 5, dtype=torch.float64)
    a, b = (side.flatten(1) - side.flatten(1).mean(0) for side in (x, y))
    expected = (b.T @ a).norm() ** 2 / ((a.T @ a).norm() * (b.T @ b).norm())
    assert measure.centered_kernel_alignment(x, y) == pytest.approx(expected.item())
    with pytest.raises(ValueError, match="same pictures, at least 2, got 12 and 3"):
        measure.centered_kernel_alignment(x, y[:3])


def test_recall_by_hand():
    embeddings = torch.tensor([[1.0, 0], [9, 0.1], [0, 1], [0.1, 2], [-1, -1]])
    labels = torch.tensor([0, 0, 1, 1, 2])
    assert measure.recall_at_1(embeddings, labels) == 80  # the last has no other of its class
    assert measure.recall_at_1(5 * embeddings, labels) == 80
    with pytest.raises(ValueError, match=r"\(N, D\) and \(N,\)"):
        measure.recall_at_1(embeddings, labels[:3])


def test_outputs_are_the_layers_in_the_order_of_the_split():
    model = models.convnet((2, 3), classes=3).train()
    split = Split(torch.randn(7, 1, 8, 8))
    found = measure.outputs(model, split, ["stage1", "flatten"], batch_size=3)
    assert model.training and found["stage1"].shape == (7, 2, 4, 4)
    torch.testing.assert_close(model.classifier(found["flatten"]), found["logits"])


def test_the_median_leaves_the_warm_up_and_the_hiccup_out(monkeypatch):
    # When the warm-up begins, then before and after each of four calls, one of which is held up.
    ticks = iter([0, 10, 11, 20, 21, 30, 90, 100, 101])
    monkeypatch.setattr(measure.time, "perf_counter", lambda: next(ticks))
    assert measure.seconds(lambda: None, repeats=4, warm_up=1) == 1
