"""Models are built by name and size, and their seed alone fixes their first weights."""

import argparse

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

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


WRAPPINGS = {
    "alone": lambda weights: weights,
    "state_dict": lambda weights: {"state_dict": weights, "epoch": 3},
    "model": lambda weights: {"model": weights, "optimizer": {}},
    "model_state_dict": lambda weights: {"epoch": 3, "model_state_dict": weights},
    "both": lambda weights: {"model": {"state_dict": weights}},
    "DataParallel": lambda weights: {f"module.{name}": value for name, value in weights.items()},
    "compiled": lambda weights: {f"_orig_mod.module.{name}": value for name, value in weights.items()},
    "half": lambda weights: {name: value.half() for name, value in weights.items()},
    "before batches were counted": lambda weights: {
        name: value for name, value in weights.items() if "batches" not in name
    },
}


@pytest.fixture
def trained() -> nn.Module:
    """A network of one's own, with numbers that half precision can hold."""
    model = models.convnet((4, 6), classes=3, seed=8)
    for value in model.state_dict().values():
        value.copy_(value.half())
    return model


@pytest.mark.parametrize(
    ("wrapping", "ending"),
    [
        *((wrapping, "pt") for wrapping in WRAPPINGS),
        *(("alone", "pth"), ("alone", "safetensors"), ("DataParallel", "safetensors"), ("half", "safetensors")),
    ],
)
def test_weights_of_ones_own_are_read_however_they_are_wrapped(wrapping, ending, trained, tmp_path):
    wrapped = WRAPPINGS[wrapping](trained.state_dict())
    path = tmp_path / f"teacher.{ending}"
    if ending == "safetensors":
        save_file({name: value.contiguous() for name, value in wrapped.items()}, path)
    else:
        torch.save(wrapped, path)
    model = models.convnet((4, 6), classes=3, seed=1)
    assert models.load(path, model) is model and not model.training
    pictures = torch.randn(5, 1, 8, 8)
    torch.testing.assert_close(model(pictures), trained.eval()(pictures))
    assert all(value.dtype == torch.float32 for value in model.parameters())
    parallel = models.load(str(path), into=nn.DataParallel(models.convnet((4, 6), classes=3)))
    assert torch.equal(parallel.module.classifier.weight, trained.classifier.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.pop("classifier.bias"), r"1 missing \(classifier.bias\)"),
        (lambda weights: weights.update(extra=torch.ones(2)), r"1 left over \(extra\)"),
        (
            lambda weights: weights.update({"classifier.bias": torch.ones(5)}),
            r"1 of another shape \(classifier.bias: \(5,\) where the model has \(3,\)\)",
        ),
        (
            lambda weights: weights.update({"classifier.bias": torch.ones(3, dtype=torch.int8)}),
            r"1 of another shape \(classifier.bias: \(3,\) of int8 where the model has \(3,\)\)",
        ),
        (lambda weights: weights["classifier.bias"].fill_(float("nan")), r"1 NaN \(classifier.bias\)"),
        (
            lambda weights: [weights.update({f"old.{name}": weights.pop(name)}) for name in list(weights)],
            r"14 weights: 12 missing \(stage1.0.weight, .*, …\), 14 left over \(old.stage1.0.weight, .*, …\)",
        ),
        (lambda weights: weights.update({"module.classifier.bias": torch.ones(3)}), "holds classifier.bias twice"),
    ],
)
def test_other_weights_are_refused_and_change_nothing(change, message, trained, tmp_path):
    weights = {name: value.clone() for name, value in trained.state_dict().items()}
    change(weights)
    torch.save(weights, tmp_path / "teacher.pt")
    model = models.convnet((4, 6), classes=3, seed=1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=f"teacher.pt .*{message}"):
        models.load(tmp_path / "teacher.pt", model)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_weights_that_fit_by_name_can_be_taken_alone(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "teacher.pt")
    other = models.convnet((4, 6), classes=3, seed=1)
    other.classifier, other.head = nn.Identity(), nn.Linear(6, 7)
    models.load(tmp_path / "teacher.pt", other, strict=False)
    assert torch.equal(other.stage2[0].weight, trained.stage2[0].weight) and other.head.weight.shape == (7, 6)
    with pytest.raises(ValueError, match="2 of another shape"):
        models.load(tmp_path / "teacher.pt", nn.ModuleDict({"classifier": nn.Linear(6, 4)}), strict=False)
    with pytest.raises(ValueError, match=r"2 missing .*, 14 left over"):
        models.load(tmp_path / "teacher.pt", nn.Linear(2, 2), strict=False)


def test_files_that_cannot_be_read_are_named(trained, tmp_path):
    path = tmp_path / "teacher.pt"

    def refused(message: str, error: type[Exception] = ValueError) -> None:
        with pytest.raises(error, match=message):
            models.load(path, models.convnet((4, 6), classes=3))

    refused("no file of weights at .*teacher.pt", FileNotFoundError)
    torch.save(trained, path)
    refused(r"holds more than weights, kdcourse.models.images.ConvNet, .* torch.save\(model.state_dict\(\), path\)")
    torch.save({"model": trained.state_dict(), "args": argparse.Namespace(lr=1)}, path)
    refused("teacher.pt holds more than weights, argparse.Namespace")
    torch.save([1, 2], path)
    refused("teacher.pt must hold a state_dict, alone or under one of state_dict, .*, got list")
    torch.save({"epoch": 2}, path)
    refused("teacher.pt must hold a state_dict, .*, got a mapping of epoch")
    torch.save(trained.state_dict(), path)
    path.write_bytes(path.read_bytes()[:-700])
    refused("teacher.pt cannot be read: it is truncated, damaged or no file of torch.save")
    path.write_text("weights")
    refused("teacher.pt cannot be read")
    with pytest.raises(ValueError, match="load takes a file and a model, got ConvNet and PosixPath"):
        models.load(trained, path)
    path = tmp_path / "teacher.safetensors"
    save_file({"classifier.bias": torch.ones(3)}, path)
    path.write_bytes(path.read_bytes()[:-2])
    refused("teacher.safetensors cannot be read .*: it is truncated or damaged")


def test_no_label_trains_the_auxiliary_head():
    net = models.two_heads((5,), auxiliary=3, classes=4, inputs=16, seed=2)
    images = torch.randn(6, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    net(images).square().sum().backward()
    assert net(images).shape == (6, 4) and net.auxiliary.weight.grad is None and net.hidden[0].weight.grad is not None
    _, found = Tapped(net, ["auxiliary"])(images)
    torch.testing.assert_close(found["auxiliary"], net.auxiliary(net.hidden(images.flatten(1))))


def test_more_auxiliary_logits_leave_the_other_first_weights_as_they_are():
    few, many = (models.two_heads((5,), auxiliary=count, classes=4, inputs=16, seed=2) for count in (3, 9))
    assert torch.equal(few.hidden[0].weight, many.hidden[0].weight)
    assert torch.equal(few.classifier.weight, many.classifier.weight)


def test_weights_between_two_draws_keep_their_spread():
    one, other = (models.perceptron((200,), classes=4, inputs=100, seed=seed) for seed in (0, 1))
    for share, same in ((0, one), (1, other)):
        assert torch.equal(models.between(one, other, share).hidden[0].weight, same.hidden[0].weight)
    half = models.between(one, other, 0.5).hidden[0].weight
    assert half.std().item() == pytest.approx(one.hidden[0].weight.std().item(), rel=0.03)
    torch.testing.assert_close(half, (one.hidden[0].weight + other.hidden[0].weight) / 2**0.5)
    with pytest.raises(ValueError, match="share must be within"):
        models.between(one, other, 1.2)
    with pytest.raises(ValueError, match="parameters of the same shapes"):
        models.between(one, models.perceptron((20,), classes=4, inputs=100), 0.5)
