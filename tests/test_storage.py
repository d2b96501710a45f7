"""Nothing half-written is ever read, and a changed bit is noticed."""

import os
import subprocess
import sys
import time

import pytest
import torch

from kdcourse.system import storage


def test_a_failing_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "results.json"
    storage.write_safely(path, lambda temporary: temporary.write_text("old"))

    def fail(temporary):
        temporary.write_text("half")
        raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        storage.write_safely(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_process_killed_while_writing_leaves_no_final_file(tmp_path):
    path = tmp_path / "checkpoint.bin"
    script = f"""
import os, signal
from kdcourse.system.storage import write_safely
def write(temporary):
    temporary.write_bytes(b"half")
    os._exit(9)
write_safely({str(path)!r}, write)
"""
    assert subprocess.run([sys.executable, "-c", script]).returncode == 9
    assert not path.exists()


def test_tensors_come_back_as_they_were(tmp_path):
    tensors = {"weight": torch.randn(3, 4), "count": torch.tensor(7), "half": torch.randn(5).half()}
    tensors["shared"] = tensors["weight"]  # as in a GPT
    storage.save_tensors(tmp_path / "a.safetensors", tensors, {"card": "{}"})
    loaded, metadata = storage.load_tensors(tmp_path / "a.safetensors")
    assert metadata == {"card": "{}"}
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


@pytest.mark.parametrize("where", [0, 20, -1, -9])
def test_one_flipped_bit_is_noticed(tmp_path, where):
    path = storage.save_tensors(tmp_path / "a.safetensors", {"weight": torch.randn(100)}, {"card": "seed 0"})
    content = bytearray(path.read_bytes())
    content[where] ^= 1
    path.write_bytes(content)
    with pytest.raises(storage.DamagedFile, match=r"a\.safetensors"):
        storage.load_tensors(path)


@pytest.mark.parametrize("kept", [0, 5, 300])
def test_a_truncated_checkpoint_is_noticed(tmp_path, kept):
    path = storage.save_tensors(tmp_path / "a.safetensors", {"weight": torch.randn(100)})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(storage.DamagedFile):
        storage.load_tensors(path)


def test_a_changed_card_is_noticed(tmp_path):
    path = storage.save_tensors(tmp_path / "a.safetensors", {"weight": torch.zeros(2)}, {"card": "accuracy 90"})
    path.write_bytes(path.read_bytes().replace(b"accuracy 90", b"accuracy 99"))
    with pytest.raises(storage.DamagedFile, match="does not match"):
        storage.load_tensors(path)


def test_a_missing_checkpoint_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.safetensors"):
        storage.load_tensors(tmp_path / "none.safetensors")


def test_fingerprints_tell_apart_what_differs():
    model = torch.nn.Linear(3, 2)
    before = storage.fingerprint(model)
    assert before == storage.fingerprint(model)
    with torch.no_grad():
        model.weight[0, 0] += 1e-6
    assert before != storage.fingerprint(model)
    images = torch.arange(12.0).view(3, 4)
    assert storage.fingerprint(images) != storage.fingerprint(images.view(4, 3))
    assert storage.fingerprint(images) != storage.fingerprint(images.flip(0))
    assert storage.fingerprint("a", "b") != storage.fingerprint("ab")


def test_a_cache_that_cannot_be_written_is_replaced_with_a_message(tmp_path, monkeypatch, capsys):
    blocked = tmp_path / "a file, not a folder"
    blocked.write_text("")
    monkeypatch.setenv("KDCOURSE_CACHE", str(blocked / "cache"))
    folder = storage.cache_folder()
    assert folder != blocked / "cache" and folder.is_dir()
    assert "cannot be written" in capsys.readouterr().out
    storage.save_tensors(folder / "a.safetensors", {"weight": torch.zeros(1)})
    assert storage.cache_folder() == folder


def test_a_cache_that_can_only_be_read_still_serves_what_it_holds(tmp_path, monkeypatch, capsys):
    full = tmp_path / "cache"
    storage.save_tensors(full / "data" / "held.safetensors", {"weight": torch.ones(2)})
    monkeypatch.setenv("KDCOURSE_CACHE", str(full))
    real = storage.write_safely

    def read_only(path, write):
        if full in storage.Path(path).parents:
            raise PermissionError(13, "Permission denied")  # chmod does not stop root, who may run the tests
        return real(path, write)

    monkeypatch.setattr(storage, "write_safely", read_only)
    assert storage.cached("data", "held.safetensors") == full / "data" / "held.safetensors"
    elsewhere = storage.cached("data", "new.safetensors")
    assert full not in elsewhere.parents and "Permission denied" in capsys.readouterr().out
    storage.save_tensors(elsewhere, {"weight": torch.zeros(1)})
    assert storage.cached("data", "new.safetensors") == elsewhere


def test_what_a_killed_writer_left_goes_after_a_day(tmp_path):
    path, day = tmp_path / "a[1].txt", 24 * 60 * 60
    old, young, of_another = (tmp_path / f".{name}.part" for name in ("a[1].txt.x", "a[1].txt.y", "b.txt.z"))
    for left, age in ((old, 2 * day), (young, 60), (of_another, 2 * day)):
        left.write_text("half")
        os.utime(left, (time.time() - age,) * 2)
    storage.write_safely(path, lambda temporary: temporary.write_text("whole"))
    assert path.read_text() == "whole" and not old.exists() and young.exists() and of_another.exists()
