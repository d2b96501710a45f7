"""Models are built by name and size, and their seed alone fixes their first weights."""

import pytest
import torch

from kdcourse import models
from kdcourse.models.tapping import Tapped


@pytest.mark.parametrize("build", [models.perceptron, models.convnet])
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


def test_layers_can_be_tapped_by_their_names():
    from torchvision.models.feature_extraction import create_feature_extractor

    student = models.convnet((8, 16), seed=0).eval()
    tapped = create_feature_extractor(student, {"stage2": "features", "classifier": "logits"})
    images = torch.randn(2, 1, 28, 28)
    out = tapped(images)
    assert out["features"].shape == (2, 16, 7, 7)
    torch.testing.assert_close(out["logits"], student(images))


@pytest.mark.parametrize(
    ("name", "parameters", "last"),
    [
        ("resnet20", 278_324, (2, 64, 8, 8)),
        ("resnet32", 472_756, (2, 64, 8, 8)),
        ("resnet8x4", 1_233_540, (2, 256, 8, 8)),
        ("resnet32x4", 7_433_860, (2, 256, 8, 8)),
        ("vgg13", 9_462_180, (2, 512, 4, 4)),
        ("mobilenetv2", 812_836, (2, 160, 2, 2)),
    ],
)
def test_the_published_comparisons_networks_have_their_size(name, parameters, last):
    """As many parameters as those of Tian, Krishnan, Isola's code have, for 100 classes."""
    model = getattr(models, name)().eval()
    assert sum(one.numel() for one in model.parameters()) == parameters
    with torch.no_grad():
        logits, features = Tapped(model, [model.stages[-1], "pool"])(torch.zeros(2, 3, 32, 32))
    assert logits.shape == (2, 100) and features[model.stages[-1]].shape == last


def test_the_tutorials_networks_have_their_published_sizes_and_can_be_tapped():
    teacher, student = models.plainnet(), models.plainnet(((16,), (16,)), 256)
    sizes = [sum(weights.numel() for weights in model.parameters()) for model in (teacher, student)]
    assert sizes == [1_186_986, 267_738]
    with torch.no_grad():
        logits, features = Tapped(student.eval(), ["features.stage2", "flat"])(torch.zeros(2, 3, 32, 32))
    assert logits.shape == (2, 10) and features["features.stage2"].shape == (2, 16, 8, 8)
    assert features["flat"].shape == (2, 1024)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: models.plainnet(((8,), ())), "stages, units, classes and channels"),
        (lambda: models.plainnet(inputs=3 * 20 * 30), "inputs must be channels × side × side"),
        (lambda: models.plainnet(((8,),) * 6), "stages must be few enough for pictures 32 pixels wide"),
        (lambda: models.perceptron((0,)), "hidden, classes and inputs"),
        (lambda: models.perceptron(dropout=1.0), "dropout"),
        (lambda: models.convnet(()), "widths"),
        (lambda: models.convnet((8,), channels=0), "channels"),
    ],
)
def test_impossible_sizes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("build", "parameters"),
    [
        (models.resnet8, 83_892),
        (models.resnet20, 278_324),
        (models.resnet8x4, 1_233_540),
        (models.resnet32x4, 7_433_860),
        (models.vgg13, 9_462_180),
        (models.mobilenetv2, 812_836),
    ],
)
def test_networks_of_the_published_comparisons_have_their_published_sizes(build, parameters):
    """What Tian, Krishnan, Isola's networks count for 100 classes."""
    assert sum(weights.numel() for weights in build().parameters()) == parameters
    model = build(classes=5, channels=1)
    assert model(torch.zeros(2, 1, 32, 32)).shape == (2, 5)
