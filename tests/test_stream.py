"""A folder as a stream: memory does not grow with its pictures, and its parts are those that the labs see."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from kdcourse.data import load_images
from kdcourse.scale.datasets import open_data
from kdcourse.scale.distributed import build_accelerator
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.recipe import Data, Training
from kdcourse.system.storage import load_tensors

CPU = torch.device("cpu")
MARGIN = 100  # MiB; 4,500 pictures more of 96 pixels would take 475 as floating point, and 119 as bytes
# A teacher's answers for every picture, then a few steps of a student on them.
RUN = """
import resource, sys, yaml
from pathlib import Path
from kdcourse import scale

folder, output = map(Path, sys.argv[1:])
data = {"folder": str(folder), "size": 96, "workers": 2, "crop": True, "views": 1}
training = {"steps": 10, "batch_size": 32, "learning_rate": 0.01}
runs = {"teacher": {"student": {"convnet": {"widths": [2, 4]}}}}
runs["kd"] = {"student": {"convnet": {"widths": [2, 4]}}, "teacher": "teacher", "cached": True, "method": "Distillation"}
output.mkdir()
(output / "stream.yaml").write_text(yaml.safe_dump({"data": data, "training": training, "runs": runs}))
scale.train_recipe(scale.read_recipe(output / "stream.yaml"), output)
print(max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024)
"""


def draw(root: Path, part: str, count: int, side: int = 110) -> Path:
    """JPEGs of two classes, smooth and each another."""
    rng = np.random.default_rng(count)
    for number in range(count):
        place = root / part / ("ant", "bee")[number % 2] / f"{number}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        patches = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        Image.fromarray(patches).resize((side, side)).save(place)
    return root


def peak(folder: Path, output: Path) -> float:
    """MiB that the largest of a run's processes takes, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, str(folder), str(output)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return float(done.stdout.split()[-1])


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has another unit elsewhere")
def test_ten_times_as_many_pictures_take_no_more_memory(tmp_path):
    few, many = (draw(tmp_path / str(count), "train", count) for count in (500, 5000))
    for root in (few, many):
        draw(root, "val", 40)
    before, after = peak(few, tmp_path / "few"), peak(many, tmp_path / "many")
    assert after - before < MARGIN, f"{before:.0f} MiB for 500 pictures, {after:.0f} MiB for 5,000"
    kept = list((tmp_path / "many" / "answers").glob("*.safetensors"))
    answers = [load_tensors(path)[0]["logits"] for path in kept]  # raises where the hash of a file does not fit
    assert sum(map(len, answers)) == 5000


def counts(samples: list) -> Counter:
    return Counter(label for _, label in samples)


@pytest.mark.parametrize("on_the_disk", [("",), ("train", "val"), ("train", "test"), ("train", "val", "test")])
def test_test_pictures_are_kept_apart_as_the_labs_do(on_the_disk, tmp_path):
    root = tmp_path / "set"
    for part in on_the_disk:
        draw(root, part, 40, side=16)
    train, judged, spec = open_data(Data(folder=str(root), size=16, workers=0, test=True), 0, CPU)
    parts = {"train": train, "validation": judged, "test": train.part("test")}
    held = load_images(root, device="cpu", size=16)
    for name, part in parts.items():
        assert counts(part.samples) == Counter(getattr(held, name).labels.tolist())
        assert part.labels.tolist() == [label for _, label in part.samples]
    files = [path for part in parts.values() for path, _ in part.samples]
    assert len(files) == len(set(files)) == 40 * len(on_the_disk) and spec.names == held.classes


# Batches of two views from a worker, started as Windows and macOS start it, and from this process alone.
SPAWNED = """
import sys
import torch
torch.multiprocessing.set_start_method("spawn", force=True)
from kdcourse.scale.datasets import open_data
from kdcourse.scale.recipe import Data

def batches(workers):
    settings = {"folder": sys.argv[1], "size": 16, "crop": True, "mirror": True, "workers": workers}
    train, _, _ = open_data(Data(**settings), 0, torch.device("cpu"))
    return list(train.batches([(None, torch.arange(6)), (1, torch.arange(4, 10))]))

for alone, spawned in zip(batches(0), batches(1), strict=True):
    assert torch.equal(alone.inputs, spawned.inputs) and torch.equal(alone.labels, spawned.labels)
    assert spawned.inputs.is_contiguous(memory_format=torch.channels_last)
print(torch.multiprocessing.get_start_method())
"""


def test_a_worker_that_is_spawned_decodes_the_same(tmp_path):
    draw(draw(tmp_path, "train", 12, side=24), "val", 4, side=24)
    done = subprocess.run([sys.executable, "-c", SPAWNED, str(tmp_path)], capture_output=True, text=True)
    assert done.stdout == "spawn\n", done.stderr


def test_a_large_photograph_is_seen_as_it_is_from_fewer_pixels(tmp_path, monkeypatch):
    root = draw(draw(tmp_path, "train", 4, side=2000), "val", 4, side=2000)
    train, *_ = open_data(Data(folder=str(root), size=32, workers=0), 0, CPU)
    quick, _ = train[None, 0]
    monkeypatch.setattr(train, "whole", 10_000)  # all pixels are decoded
    whole, _ = train[None, 0]
    assert (quick - whole).abs().mean() < 0.02


def test_fp16_wants_a_gpu(monkeypatch):
    monkeypatch.setenv("KDCOURSE_DEVICE", "cpu")
    with pytest.raises(
        RecipeError, match=r"training.precision must be fp32 or bf16 on a machine without a GPU, got 'fp16'"
    ):
        build_accelerator(Training(precision="fp16"))
