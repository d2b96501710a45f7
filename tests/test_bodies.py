"""Networks that others have trained, as teachers in one call: built by name, with fresh weights where none can be had here."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch
from torch import nn

from kdcourse import scale, zoo
from kdcourse.data.splits import ImageData, Split
from kdcourse.evaluation import measure
from kdcourse.models import convnet
from kdcourse.models.transfer import IMAGENET, Probe
from kdcourse.scale import runs
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.registry import DataSpec, build_model
from kdcourse.training.loop import train
from tests.test_scale import SMALL, recipe, weights

COLOUR = DataSpec(3, 3, 3 * 32 * 32, names=("ant", "bee", "cow"), moments=IMAGENET)


GLYPHS = {"student": {"probe": {"body": "zoo:glyphs"}}, "cached": True}


def bright(count: int, seed: int) -> Split:
    """Pictures whose class is the channel that is brightest."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    images = torch.randn(count, 3, 32, 32, generator=generator)
    images[torch.arange(count), labels] += 1
    return Split(images, labels)


def data() -> ImageData:
    splits = (bright(90, 0), bright(30, 1), bright(30, 2))
    return ImageData("lamps", COLOUR.names, *splits, (0.4,) * 3, (0.2,) * 3, "folder")


def test_a_probe_learns_by_its_head_alone():
    body = convnet((8, 16), classes=10, channels=3)
    before = {name: value.clone() for name, value in body.state_dict().items() if "classifier" not in name}
    teacher = zoo.probe(body, data(), steps=60)
    after = {name: value for name, value in teacher.body.state_dict().items() if name in before}
    assert all(torch.equal(before[name], after[name]) for name in before) and len(after) == len(before)
    assert measure.accuracy(teacher, data().test) > 80
    assert not teacher.training and not any(one.requires_grad for one in teacher.parameters())


def test_a_probes_body_does_not_drift_while_its_head_learns():
    model = Probe(convnet((8, 16), classes=10, channels=3), 3)
    before = {name: value.clone() for name, value in model.body.state_dict().items()}
    train(model, data().train, steps=3, batch_size=30, learning_rate=0.01, progress=False)
    assert all(torch.equal(before[name], value) for name, value in model.body.state_dict().items()), (
        "batch norm included"
    )


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v2", "mobilenet_v3_small", "vit_b_16"])
def test_torchvisions_networks_teach_and_learn_on_a_body_of_theirs(name):
    size = 224 if name.startswith("vit") else 32
    pictures = torch.randn(2, 3, size, size)
    for kind in ("probe", "new_head"):
        model = build_model({kind: {"body": name, "weights": None}}, "kd.teacher", COLOUR, 0).eval()
        with torch.no_grad():
            assert model(pictures).shape == (2, 3)
        learns = sum(one.numel() for one in model.parameters() if one.requires_grad)
        assert (learns < 10_000) is (kind == "probe")


def test_weights_in_a_file_of_ones_own_are_the_bodys(tmp_path):
    whole, _ = zoo.trained_body("resnet18", weights=None)
    torch.save(whole.state_dict(), tmp_path / "resnet18.pth")
    given = {"probe": {"body": "resnet18", "file": str(tmp_path / "resnet18.pth")}}
    teacher = build_model(given, "kd.teacher", COLOUR, 7)
    assert torch.equal(teacher.body.conv1.weight, whole.conv1.weight)
    assert torch.equal(teacher.body.layer4[1].conv2.weight, whole.layer4[1].conv2.weight)


def test_dinos_and_clips_in_a_folder_of_the_hubs_kind_are_bodies(tmp_path):
    from transformers import (
        CLIPConfig,
        CLIPForImageClassification,
        CLIPImageProcessor,
        Dinov2Config,
        Dinov2ForImageClassification,
        ViTImageProcessor,
    )

    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 32, "patch_size": 16}
    clip = CLIPConfig(
        text_config={"hidden_size": 16, "num_hidden_layers": 1}, vision_config=tiny | {"intermediate_size": 16}
    )
    made = {
        "dino": (Dinov2ForImageClassification(Dinov2Config(**tiny)), ViTImageProcessor()),
        "clip": (CLIPForImageClassification(clip), CLIPImageProcessor()),
    }
    for name, (model, processor) in made.items():
        model.save_pretrained(tmp_path / name)
        processor.save_pretrained(tmp_path / name)
        teacher = zoo.probe(f"hub:{tmp_path / name}", data(), steps=2)
        assert teacher(data().test.images).shape == (30, 3)


@pytest.fixture
def open_clip(monkeypatch):
    """A stand-in for the package: one model, whose eye gives the mean of each channel."""
    package = ModuleType("open_clip")
    package.__spec__ = ModuleSpec("open_clip", None)
    package.list_models = lambda: ["ViT-Tiny"]

    def create_model(name: str, pretrained: str | None) -> nn.Module:
        model = nn.Module()
        model.visual = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        model.visual.output_dim, model.visual.image_mean, model.visual.image_std = 3, (0.5,) * 3, (0.25,) * 3
        return model

    package.create_model = create_model
    monkeypatch.setitem(sys.modules, "open_clip", package)


def test_open_clips_eyes_see_pictures_as_they_know_them(open_clip):
    teacher = zoo.probe("open_clip:ViT-Tiny", data(), learning_rate=0.1)
    pictures = data().test.images
    expected = ((pictures * 0.2 + 0.4 - 0.5) / 0.25).mean((2, 3))
    torch.testing.assert_close(teacher.body(pictures), expected, rtol=1e-3, atol=1e-4)
    assert measure.accuracy(teacher, data().test) > 80


def test_a_package_that_is_not_there_is_asked_for_in_a_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(RecipeError, match=r"kd.teacher.probe: this needs open_clip; run: pip install open_clip_torch"):
        build_model({"probe": {"body": "open_clip:ViT-B-32/openai"}}, "kd.teacher", COLOUR, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"body": "resnet51"}, "name must be one of torchvision's classifiers .* got 'resnet51'"),
        (
            {"body": "nowhere:resnet50"},
            "body must be a name of torchvision's or torchvision:<name>.* got 'nowhere:resnet50'",
        ),
        ({}, "body must be a name of torchvision's"),
        ({"body": "zoo:mars"}, "home must be one of cifar10, glyphs, fashion-mnist, got 'mars'"),
        ({"body": "hub:dino", "file": "weights.pt"}, "file must be left out for hub, whose models bring their weights"),
        ({"body": "resnet18", "file": "/no/where.pt"}, "no file of weights at /no/where.pt"),
    ],
)
def test_a_body_that_there_is_not_is_named(arguments, message):
    with pytest.raises(RecipeError, match=f"kd.teacher.probe.*{message}"):
        build_model({"probe": arguments}, "kd.teacher", COLOUR, 0)


def test_a_recipes_probe_asks_its_body_once_for_each_picture(tmp_path, monkeypatch):
    asked, within_steps, train_job, forward = [], [], runs.train, nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, images: asked.append(len(images)) or forward(self, images))

    def counting(job, accelerator):
        before = len(asked)
        losses = train_job(job, accelerator)
        within_steps.append(len(asked) - before)
        return losses

    monkeypatch.setattr(runs, "train", counting)
    scale.train_recipe(recipe(tmp_path, probe=GLYPHS), tmp_path / "out", runs=["probe"])
    assert asked and within_steps == [0]
    kept = list((tmp_path / "out" / "answers").glob("*-view-None-*"))
    assert len(kept) == 1 and any(name.startswith("body.stage1") for name in weights(tmp_path / "out", "probe"))
    taught = {"student": SMALL, "teacher": "probe", "cached": True, "method": "Distillation"}
    outcomes = scale.train_recipe(recipe(tmp_path, probe=GLYPHS, taught=taught), tmp_path / "out", runs=["taught"])
    assert [one.name for one in outcomes] == ["probe", "taught"]


def test_a_fresh_head_teaches_nobody(tmp_path):
    for kind in ("probe", "new_head"):
        with pytest.raises(
            RecipeError, match=r"runs.kd.teacher must have learnt the classes: name a run whose student it is"
        ):
            recipe(tmp_path, kd={"student": SMALL, "teacher": {kind: {"body": "resnet18"}}, "method": "Distillation"})
