"""Networks that others have trained: what is at hand is taken, and a silent host is not waited for."""

import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from urllib.error import URLError

import pytest
import torch
from torch import nn
from torchvision import models

from kdcourse.models import from_torchvision, transfer
from kdcourse.models.transfer import from_hub, torchvision_model
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.registry import DataSpec, build_model

NAME = "mobilenet_v3_small"
COMMIT = "0" * 40


@pytest.fixture
def silent(monkeypatch, tmp_path):
    """No host answers, and nothing was downloaded yet."""
    monkeypatch.setattr(transfer, "answering", lambda addresses: set())
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


def test_weights_that_cannot_be_had_are_given_up_at_once(silent, monkeypatch):
    monkeypatch.setattr(models, "get_model", lambda *_, **__: pytest.fail("torchvision was left to wait"))
    with pytest.raises(OSError, match=f"weights of {NAME} cannot be downloaded: download.pytorch.org does not answer"):
        from_torchvision(NAME, classes=3)
    with pytest.raises(
        RecipeError, match=f"runs.teacher.student.torchvision:{NAME}: the weights of .* does not answer"
    ):
        build_model({f"torchvision:{NAME}": {"weights": "DEFAULT"}}, "runs.teacher.student", DataSpec(10, 3, 3072), 0)


def test_a_host_that_breaks_off_is_named_by_its_reason(silent, monkeypatch):
    def broken(*_, **__):
        raise URLError("connection reset")

    monkeypatch.setattr(transfer, "answering", lambda addresses: {"download.pytorch.org"})
    monkeypatch.setattr(models, "get_model", broken)
    with pytest.raises(OSError, match=f"weights of {NAME} cannot be downloaded: connection reset"):
        from_torchvision(NAME, classes=3)


def test_weights_that_were_downloaded_before_need_no_host(silent, tmp_path):
    before = torchvision_model(NAME)
    file = Path(models.get_model_weights(NAME).DEFAULT.url).name
    (tmp_path / "hub/checkpoints").mkdir(parents=True)
    torch.save(before.state_dict(), tmp_path / "hub/checkpoints" / file)
    again = torchvision_model(NAME, weights="DEFAULT")
    for name, value in again.state_dict().items():
        assert torch.equal(value, before.state_dict()[name]), name


def test_other_weights_than_torchvision_has():
    with pytest.raises(ValueError, match=r"weights must be one of IMAGENET1K_V1, DEFAULT.* or None, got 'BEST'"):
        from_torchvision(NAME, classes=3, weights="BEST")


def test_the_hub_is_asked_for_names_and_not_for_folders(silent, monkeypatch, tmp_path):
    from transformers import AutoConfig, BertConfig

    with pytest.raises(
        ValueError, match=r"got 'nobody/small'; huggingface.co does not answer, and it was not downloaded"
    ):
        from_hub(AutoConfig, "nobody/small", cache_dir=tmp_path)
    snapshot = tmp_path / "models--nobody--small/snapshots" / COMMIT
    BertConfig(num_hidden_layers=3).save_pretrained(snapshot)
    (tmp_path / "models--nobody--small/refs").mkdir()
    (tmp_path / "models--nobody--small/refs/main").write_text(COMMIT)
    assert from_hub(AutoConfig, "nobody/small", cache_dir=tmp_path).num_hidden_layers == 3
    monkeypatch.setattr(transfer, "answering", lambda addresses: pytest.fail("a folder needs no host"))
    assert from_hub(AutoConfig, snapshot).num_hidden_layers == 3


COLOUR = DataSpec(2, 3, 3 * 32 * 32, names=("ant", "bee"), moments=((0.4, 0.4, 0.4), (0.2, 0.2, 0.2)))


@pytest.fixture
def timm(monkeypatch):
    """A stand-in for the package: one model, which counts its pictures' brightness."""
    package = ModuleType("timm")
    package.__spec__ = ModuleSpec("timm", None)
    package.is_model = lambda name: name == "lamp"
    package.list_models = lambda: ["lamp"]
    package.get_pretrained_cfg = lambda name: SimpleNamespace(hf_hub_id="timm/lamp")

    def create_model(name: str, pretrained: bool, num_classes: int = 1000) -> nn.Module:
        model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, num_classes))
        model.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
        return model

    package.create_model = create_model
    monkeypatch.setitem(sys.modules, "timm", package)


def test_a_package_that_is_not_there_is_named(monkeypatch):
    monkeypatch.setattr("kdcourse.system.runtime.find_spec", lambda name: None if name == "timm" else name)
    with pytest.raises(RecipeError, match=r"kd.teacher.timm:resnet18: this needs timm; run: pip install timm"):
        build_model({"timm:resnet18": {"pretrained": True}}, "kd.teacher", COLOUR, 0)


def test_timms_models_are_built_by_name(timm, silent, monkeypatch):
    assert build_model("timm:lamp", "kd.student", COLOUR, 0)(torch.zeros(4, 3, 32, 32)).shape == (4, 2)
    with pytest.raises(RecipeError, match=r"timm:resnet: name must be one of timm's models \(lamp, …\), got 'resnet'"):
        build_model("timm:resnet", "kd.student", COLOUR, 0)
    with pytest.raises(
        RecipeError, match=r"timm:lamp: the weights of lamp cannot be downloaded: huggingface.co does not"
    ):
        build_model({"timm:lamp": {"pretrained": True}}, "kd.teacher", COLOUR, 0)
    monkeypatch.setattr(transfer, "answering", lambda addresses: {"huggingface.co"})
    teacher = build_model({"timm:lamp": {"pretrained": True}}, "kd.teacher", COLOUR, 0)
    pictures = torch.rand(4, 3, 32, 32)
    ours, theirs = (pictures - 0.4) / 0.2, (pictures - 0.5) / 0.5
    assert teacher(ours).shape == (4, 1000), "pretrained, it keeps the classes that it has learnt"
    torch.testing.assert_close(teacher(ours), teacher.model(theirs))


def test_the_hubs_classifiers_are_built_by_name(silent, tmp_path):
    from transformers import ViTConfig, ViTForImageClassification, ViTImageProcessor

    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    config = ViTConfig(image_size=32, patch_size=16, id2label={0: "ant", 1: "bee"}, **sizes)
    model = ViTForImageClassification(config).eval()
    model.save_pretrained(tmp_path)
    ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    teacher = build_model(f"hub:{tmp_path}", "kd.teacher", COLOUR, 0).eval()
    pictures = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        logits, expected = teacher((pictures - 0.4) / 0.2), model(pixel_values=(pictures - 0.5) / 0.5).logits
    torch.testing.assert_close(logits, expected)
    other = replace(COLOUR, names=("bee", "ant"))
    with pytest.raises(RecipeError, match="must have its classes in the data's order, bee, ant, …; got ant, bee, …"):
        build_model(f"hub:{tmp_path}", "kd.teacher", other, 0)
    with pytest.raises(RecipeError, match=r"kd.teacher.hub:nobody/vit: .*; huggingface.co does not answer"):
        build_model("hub:nobody/vit", "kd.teacher", COLOUR, 0)
    with pytest.raises(RecipeError, match="the hub's models are for pictures of 3 channels, these have 1"):
        build_model("hub:nobody/vit", "kd.teacher", DataSpec(10, 1, 784), 0)
