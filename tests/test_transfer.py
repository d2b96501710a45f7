"""Networks that others have trained: what is at hand is taken, and a silent host is not waited for."""

from pathlib import Path
from urllib.error import URLError

import pytest
import torch
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
