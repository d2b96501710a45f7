"""Smaller networks: what is taken out is gone, what stays is as it was, and what was given is untouched."""

import sys

import pytest
import torch
from torch import nn

import kdcourse as kd
from kdcourse import models
from kdcourse.data.splits import Split
from kdcourse.deployment.compression import (
    largest_scale,
    least_squares_scale,
    linear_layers,
    prune,
    prune_groups,
    prune_units,
    quantize,
    remove_masks,
    rewind,
    round_weights,
)
from kdcourse.evaluation import measure

SPLIT = Split(torch.randn(40, 1, 3, 4, generator=torch.Generator().manual_seed(0)), torch.arange(40) % 3)


@pytest.fixture
def network():
    return models.perceptron((20, 16), inputs=12, classes=3, dropout=0.5).eval().requires_grad_(False)


def zeros(model) -> list[int]:
    return [int((layer.weight == 0).sum()) for layer in linear_layers(model)]


def test_the_weights_nearest_to_zero_go_and_stay_gone_in_training(network):
    before = measure.predict(network, SPLIT)
    pruned = prune(network, 0.8)
    total = sum(layer.weight.numel() for layer in linear_layers(network))
    assert sum(zeros(pruned)) == round(0.8 * total)
    least = min(layer.weight[layer.weight != 0].abs().min() for layer in linear_layers(pruned))
    gone = zip(linear_layers(network), linear_layers(pruned), strict=True)
    assert all(old.weight[new.weight == 0].abs().max() <= least for old, new in gone)
    holes = zeros(pruned)
    kd.train(pruned, SPLIT, steps=5, progress=False)
    answers = measure.predict(pruned, SPLIT)
    assert zeros(remove_masks(pruned)) == holes and not any("mask" in name for name, _ in pruned.named_buffers())
    torch.testing.assert_close(measure.predict(pruned, SPLIT), answers)
    assert not torch.equal(answers, before)
    assert torch.equal(measure.predict(network, SPLIT), before) and zeros(network) == [0, 0, 0]


def test_units_that_are_gone_were_those_that_said_nothing(network):
    """Units without incoming weights and bias say 0, so taking them out changes no answer."""
    with torch.no_grad():
        for layer in linear_layers(network)[:-1]:
            layer.weight[::2], layer.bias[::2] = 0, 0
    smaller = prune_units(network, 0.5)
    assert smaller.label == "perceptron 12-10-8-3"
    torch.testing.assert_close(measure.predict(smaller, SPLIT), measure.predict(network, SPLIT))
    assert all(parameter.requires_grad for parameter in smaller.parameters())
    assert not any(layer.p for layer in smaller.modules() if isinstance(layer, nn.Dropout))
    assert prune_units(network, 0.99).label == "perceptron 12-1-1-3"


def test_it_is_the_labs_own_work(network):
    """The package and the exercises agree."""
    first, second, _ = linear_layers(network)
    smaller = linear_layers(prune_units(network, 0.75))
    keep = first.weight.norm(dim=1).topk(5).indices.sort().values
    weight, bias, _ = kd.exercise("12.remove_units")(first.weight, first.bias, second.weight, keep)
    assert torch.equal(smaller[0].weight, weight) and torch.equal(smaller[0].bias, bias)
    alone = nn.Sequential(nn.Linear(30, 40))
    mask = kd.exercise("12.magnitude_mask")(alone[0].weight, 0.9)
    assert torch.equal(prune(alone, 0.9)[0].weight != 0, mask)
    codes, scale = kd.exercise("12.to_int8")(alone[0].weight.detach())
    torch.testing.assert_close(quantize(alone)(torch.eye(30)) - alone[0].bias, (codes * scale).T, atol=2e-3, rtol=0)


@pytest.mark.parametrize("activations", [False, True])
def test_eight_bits_are_a_quarter_of_the_bytes_and_nearly_the_same_answers(activations):
    network = models.perceptron((300, 300), inputs=12, classes=3).eval()
    coarse = quantize(network, activations=activations)
    assert measure.size_in_bytes(coarse) < 0.35 * measure.size_in_bytes(network)
    difference = (measure.predict(coarse, SPLIT) - measure.predict(network, SPLIT)).abs().max()
    assert 0 < difference < 0.05
    assert network.classifier.weight.dtype == coarse.classifier.bias.dtype == torch.float32


@pytest.mark.parametrize("make", [prune, prune_units])
@pytest.mark.parametrize("share", [-0.1, 1, 90, float("nan")])
def test_a_share_is_a_share(make, share, network):
    with pytest.raises(ValueError, match=f"share must be at least 0 and below 1, got {share}"):
        make(network, share)


def test_what_cannot_be_cut_is_named():
    with pytest.raises(ValueError, match=r"model must be a Perceptron, .*, got ConvNet"):
        prune_units(models.convnet((2, 3), classes=3), 0.5)
    with pytest.raises(ValueError, match="model must have linear layers, got Flatten"):
        prune(nn.Flatten(), 0.5)


def test_without_torchao_it_says_what_to_install(monkeypatch, network):
    monkeypatch.setitem(sys.modules, "torchao", None)
    with pytest.raises(ModuleNotFoundError, match=r"this needs torchao; run: pip install 'kdcourse\[export\]'"):
        quantize(network)


def test_weights_of_few_bits_learn_on_and_stay_of_few_bits(network):
    before = measure.predict(network, SPLIT)
    coarse = round_weights(network, 2)
    for layer in linear_layers(coarse):
        assert all(len(row.abs().unique()) <= 2 for row in layer.weight)  # zero and the row's scale
    answers = measure.predict(coarse, SPLIT)
    kd.train(coarse, SPLIT, steps=5, progress=False)
    assert not torch.equal(measure.predict(coarse, SPLIT), answers)
    for layer in linear_layers(coarse):
        assert all(len((row.detach() / row.abs().max()).abs().round(decimals=4).unique()) <= 2 for row in layer.weight)
    assert torch.equal(measure.predict(network, SPLIT), before)
    one = linear_layers(round_weights(network, 2, layers=[1]))
    kept = zip(linear_layers(network), one, strict=True)
    assert [torch.equal(old.weight, new.weight) for old, new in kept] == [True, False, True]
    torch.testing.assert_close(measure.predict(round_weights(network, 16), SPLIT), before, rtol=1e-2, atol=1e-2)
    with pytest.raises(ValueError, match="bits must be a whole number from 2 to 24, got 1"):
        round_weights(network, 1)


def squared_error(weight, scale, steps):
    return ((weight / scale).round().clamp(-steps, steps) * scale - weight).square().sum(1)


def test_the_best_scale_leaves_less_error_than_the_largest_and_not_much_more_than_the_least():
    weight = torch.randn(6, 200, generator=torch.Generator().manual_seed(3)) * torch.tensor(
        [[1], [9], [0.1], [2], [3], [0]]
    )
    for steps in (1, 3, 7):
        best = squared_error(weight, least_squares_scale(weight, steps), steps)
        largest = largest_scale(weight, steps)
        assert best[:5].lt(squared_error(weight, largest, steps)[:5]).all()
        tried = torch.stack([squared_error(weight, largest * part, steps) for part in torch.linspace(0.1, 1, 200)])
        assert best.le(1.4 * tried.min(0).values + 1e-6).all() and best.isfinite().all()
    assert least_squares_scale(torch.tensor([[1.0, -1.0, 0.2, 3.0]]), 1, rounds=1).item() == 3  # one code is not 0


def test_the_best_scales_hold_in_a_network_and_follow_it(network):
    weight = linear_layers(network)[0].weight.detach()
    best, largest = round_weights(network, 3, scales="best"), round_weights(network, 3)
    error = {model: (linear_layers(model)[0].weight - weight).square().sum() for model in (best, largest)}
    assert error[best] < error[largest]
    kd.train(best, SPLIT, steps=5, progress=False)
    learnt = linear_layers(best)[0]
    behind = learnt.parametrizations.weight.original
    torch.testing.assert_close((learnt.weight / least_squares_scale(behind, 3)).abs().max().item(), 3.0)
    assert not torch.equal(behind, weight)
    with pytest.raises(ValueError, match="scales must be one of largest, best, got 'smallest'"):
        round_weights(network, 3, scales="smallest")


def test_of_every_four_neighbours_the_two_largest_stay(network):
    pruned = prune_groups(network)
    for old, new in zip(linear_layers(network), linear_layers(pruned), strict=True):
        left = (new.weight != 0).unflatten(1, (-1, 4))
        assert left.sum(2).eq(2).all()
        groups = old.weight.abs().unflatten(1, (-1, 4))
        assert groups.masked_fill(~left, 9).amin(2).ge(groups.masked_fill(left, 0).amax(2)).all()
    assert torch.equal(
        linear_layers(pruned)[1].weight != 0, kd.exercise("12.two_of_four")(linear_layers(network)[1].weight)
    )
    kd.train(pruned, SPLIT, steps=5, progress=False)
    assert zeros(remove_masks(pruned)) == [120, 160, 24] and zeros(network) == [0, 0, 0]
    assert zeros(prune_groups(network, keep=1)) == [180, 240, 36]
    with pytest.raises(ValueError, match="of must divide the inputs of every layer, got 8 for a layer of 12"):
        prune_groups(network, of=8)
    with pytest.raises(ValueError, match="keep must be a whole number from 1 to 4, got 5"):
        prune_groups(network, keep=5)


def test_rewound_weights_lie_under_the_mask_that_was_there(network):
    earlier = models.perceptron((20, 16), inputs=12, classes=3, seed=7)
    pruned = prune(network, 0.5)
    holes = [layer.weight == 0 for layer in linear_layers(pruned)]
    rewound = rewind(pruned, earlier)
    for layer, source, hole in zip(linear_layers(rewound), linear_layers(earlier), holes, strict=True):
        assert torch.equal(layer.weight, source.weight.masked_fill(hole, 0)) and torch.equal(layer.bias, source.bias)
    with pytest.raises(ValueError, match="pruned must carry masks in every linear layer"):
        rewind(network, earlier)
    with pytest.raises(ValueError, match="earlier must have the linear layers of pruned"):
        rewind(pruned, models.perceptron((20,), inputs=12, classes=3))
