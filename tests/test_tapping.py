"""Taps give what the layers give, change nothing, and name a mistyped layer's alternatives."""

import pytest
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

import kdcourse as kd
from kdcourse.models.tapping import Tapped, layers

IMAGES = torch.randn(3, 1, 28, 28)


def hooked(model, layer, images):
    """A layer's output by another way than tracing."""
    seen = []
    handle = model.get_submodule(layer).register_forward_hook(lambda _, __, output: seen.append(output.clone()))
    logits = model(images)
    handle.remove()
    return logits, seen[0]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("model", "layer"),
    [
        (kd.models.convnet((4, 8)), "stage2"),
        (kd.models.convnet((4, 8)), "stage1.1"),
        (kd.models.separable((4, 8)), "features.stage1"),
        (kd.models.perceptron((16,)), "hidden.1"),
    ],
)
def test_a_tap_gives_what_the_layer_gives(model, layer, training):
    model.train(training)
    logits, wanted = hooked(model, layer, IMAGES)
    found, features = Tapped(model, [layer]).train(training)(IMAGES)
    torch.testing.assert_close(found, logits)
    torch.testing.assert_close(features[layer], wanted)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("layer", ["layer1.0.bn2", "layer1.0.bn1", "layer2"])
def test_work_in_place_behind_a_tap_does_not_change_what_it_gave(training, layer):
    """torchvision's ResNet adds and rectifies in place: read afterwards, a pre-activation would have become another value."""
    torch.manual_seed(0)
    model, images = torchvision.models.resnet18(num_classes=5).train(training), torch.randn(2, 3, 64, 64)
    logits, wanted = hooked(model, layer, images)
    found, features = Tapped(model, [layer]).train(training)(images)
    torch.testing.assert_close(found, logits)
    torch.testing.assert_close(features[layer], wanted)


def test_training_through_taps_trains_the_model():
    model = kd.models.convnet((4, 8))
    before = model.stage1[0].weight.detach().clone()
    tapped = Tapped(model, ["stage2"])
    assert len(list(tapped.parameters())) == len(list(model.parameters()))
    tapped(IMAGES)[1]["stage2"].sum().backward()
    torch.optim.SGD(model.parameters(), 0.1).step()
    assert not torch.equal(model.stage1[0].weight, before)


def test_without_names_nothing_is_traced():
    class Untraceable(nn.Module):
        def forward(self, images):
            return images.flatten(1)[:, :2] if images.sum() > 0 else images.flatten(1)[:, 2:4]

    logits, features = Tapped(Untraceable())(IMAGES.abs())
    assert logits.shape == (3, 2) and features == {}
    with pytest.raises(ValueError, match="Untraceable cannot be traced"):
        layers(Untraceable())


def test_a_mistyped_layer_is_named_with_those_there_are():
    message = "the student has no layer 'stage9'; its layers are stage1.0, .*stage2.3, pool, flatten, classifier"
    with pytest.raises(ValueError, match=message):
        Tapped(kd.models.convnet((4, 8)), ["stage9"], role="student")


def test_layers_come_in_the_order_of_the_computation():
    names = layers(kd.models.convnet((4, 8)))
    assert names[0] == "stage1.0" and names[-1] == "classifier" and names.index("stage1.3") < names.index("stage2.0")


class InPlace(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.first, self.last, self.change = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 3), change

    def forward(self, images):
        return self.last(self.change(self.first(images))).mean((2, 3))


def drops(x):
    x.add_(1)
    return x


@pytest.mark.parametrize(
    "change",
    [
        F.relu_,
        torch.relu_,
        lambda x: x.relu_(),
        lambda x: x.mul_(2),
        lambda x: x.clamp_(min=0),
        lambda x: F.leaky_relu_(x, 0.1),
    ],
    ids=["F.relu_", "torch.relu_", "x.relu_", "x.mul_", "x.clamp_", "F.leaky_relu_"],
)
@pytest.mark.parametrize("training", [True, False])
def test_a_tap_keeps_what_is_overwritten_later(change, training):
    model, images = InPlace(change), torch.randn(2, 1, 6, 6)
    tapped = Tapped(model, ["first"]).train(training)
    logits, taps = tapped(images)
    torch.testing.assert_close(taps["first"], model.first(images))
    torch.testing.assert_close(logits, model(images))
    assert tapped.training is training


def test_a_model_that_traces_to_something_else_is_refused():
    with pytest.raises(ValueError, match=r"InPlace computes something else when its layers are tapped: .*x\.add_\(1\)"):
        Tapped(InPlace(drops), ["first"])(torch.randn(2, 1, 6, 6))


@pytest.mark.parametrize(
    "wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")], ids=["parallel", "compiled"]
)
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_wrapped_models_are_tapped_by_either_name(wrap, prefix):
    model, images = InPlace(torch.relu), torch.randn(2, 1, 6, 6)
    logits, taps = Tapped(wrap(model), [f"{prefix}first"])(images)
    torch.testing.assert_close(taps[f"{prefix}first"], model.first(images))
    torch.testing.assert_close(logits, model(images))
