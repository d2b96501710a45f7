"""Models are built by name and size, and their seed alone fixes their first weights."""

import pytest
import torch
from torch import nn

from kdcourse import models


def small_resnet(widths, seed):
    return models.resnet(6, (4, *widths), seed=seed)


@pytest.mark.parametrize("build", [models.perceptron, models.convnet, small_resnet])
def test_the_seed_alone_fixes_the_first_weights(build):
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    first = build((8, 4), seed=5)
    assert torch.equal(torch.random.get_rng_state(), state), "building a model moved the global generator"
    torch.manual_seed(2)
    again, other = build((8, 4), seed=5), build((8, 4), seed=6)
    for one, two in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    assert any(not torch.equal(one, two) for one, two in zip(first.parameters(), other.parameters(), strict=True))


def test_shapes_labels_and_sizes():
    teacher = models.perceptron(dropout=0.5)
    assert teacher.label == "perceptron 784-1200-1200-10"
    assert (
        sum(parameter.numel() for parameter in teacher.parameters())
        == 784 * 1200 + 1200 + 1200 * 1200 + 1200 + 1200 * 10 + 10
    )
    assert teacher(torch.zeros(3, 1, 28, 28)).shape == (3, 10)
    student = models.convnet((8, 16), classes=7, channels=3)
    assert student.label == "convnet 8-16"
    assert student(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    assert student.stage2(torch.zeros(2, 8, 16, 16)).shape == (2, 16, 8, 8)
    assert models.perceptron(()).label == "perceptron 784-10"


def test_the_residual_pair_of_the_literature():
    """Sizes as in Tian, Krishnan, Isola (2020): 7.4 and 1.2 million parameters for CIFAR-100."""
    sizes = {}
    for depth in (32, 8):
        model = models.resnet(depth, classes=100, channels=3)
        sizes[model.label] = sum(parameter.numel() for parameter in model.parameters())
    assert sizes == {"resnet32 32-64-128-256": 7_433_860, "resnet8 32-64-128-256": 1_233_540}
    maps = models.resnet(8, (4, 8, 16, 32)).stem(torch.zeros(2, 1, 28, 28))
    model = models.resnet(8, (4, 8, 16, 32))
    assert model.stage3(model.stage2(model.stage1(maps))).shape == (2, 32, 7, 7)
    assert model.stage1[0](maps).is_contiguous(memory_format=torch.channels_last)


def test_a_block_that_says_nothing_hands_on_what_it_gets():
    block = models.resnet(14, (4, 4, 8)).eval().stage1[1]
    nn.init.zeros_(block.conv2.weight)
    maps = torch.rand(2, 4, 6, 6)
    torch.testing.assert_close(block(maps), maps)


def test_layers_can_be_tapped_by_their_names():
    from torchvision.models.feature_extraction import create_feature_extractor

    student = models.convnet((8, 16), seed=0).eval()
    tapped = create_feature_extractor(student, {"stage2": "features", "classifier": "logits"})
    images = torch.randn(2, 1, 28, 28)
    out = tapped(images)
    assert out["features"].shape == (2, 16, 7, 7)
    torch.testing.assert_close(out["logits"], student(images))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.perceptron((0,)), "hidden, classes and inputs"),
        (lambda: models.perceptron(dropout=1.0), "dropout"),
        (lambda: models.convnet(()), "widths"),
        (lambda: models.convnet((8,), channels=0), "channels"),
        (lambda: models.resnet(9), "depth"),
        (lambda: models.resnet(2), "depth"),
        (lambda: models.resnet(8, (4,)), "depth"),
        (lambda: models.resnet(8, (4, 4, 4, 0)), "widths"),
    ],
)
def test_impossible_sizes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
