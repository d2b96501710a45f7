"""`tests/gpu/run` on a machine without a GPU: it goes through all of itself on the second device, and says what it lacks."""

import json
import os
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import pytest
import torch

from kdcourse.authoring import notebooks

SCRIPT = Path(__file__).parent / "gpu" / "run"


@pytest.fixture
def script():
    loader = SourceFileLoader("gpu_run", str(SCRIPT))
    module = module_from_spec(spec_from_loader("gpu_run", loader))
    loader.exec_module(module)
    return module


def call(*arguments, **environment) -> subprocess.CompletedProcess:
    settings = {**os.environ, **environment}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)], env=settings, capture_output=True, text=True
    )


def test_it_goes_through_all_of_itself_on_the_second_device(tmp_path):
    done = call("--pretend", "--out", tmp_path, "--labs", "01", OMP_NUM_THREADS="1")
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    stages = report["stages"]
    assert report["pretended"] and list(stages) == ["tests", "labs", "bench", "recipe", "photographs"]
    assert stages["tests"]["tests"] > 20 and stages["tests"]["skipped"] == stages["tests"]["failures"] == 0
    assert stages["labs"]["labs"]["01"]["steps"] > 10 and not stages["labs"]["labs"]["01"]["failures"]
    measured = json.loads((tmp_path / "bench-gpu.json").read_text(encoding="utf-8"))
    assert {way["workload"] for way in measured["ways"]} >= {"resnet32x4 → resnet8x4"}
    assert any("published" in line for line in stages["recipe"]["said"])
    assert any("student-int8.onnx" in line for line in stages["photographs"]["said"])
    refused = call("--store", tmp_path)
    assert refused.returncode and "only pretended; nothing is kept" in refused.stderr


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is at hand")
def test_without_a_gpu_it_says_so_at_once(tmp_path):
    done = call("--out", tmp_path)
    assert done.returncode == 1 and "no GPU at hand; --pretend" in done.stderr


def test_a_lab_that_fails_fails_the_run_and_is_named(script, tmp_path, monkeypatch):
    asked = script.argparse.Namespace(out=tmp_path, labs=["07"], at_once=1, pretend=True)
    failing = lambda name, *rest: (3, tmp_path / "labs-07.log")  # noqa: E731
    monkeypatch.setattr(script, "_python", failing)
    (tmp_path / "labs-07.log").write_text("Traceback\nKeyError: 7\n", encoding="utf-8")
    found = script._labs(asked, {})
    assert not found["passed"]
    assert found["faults"] == [
        *("lab 07, labs-07.log ends with exit code 3:", "lab 07, Traceback", "lab 07, KeyError: 7"),
    ]


def test_a_stage_ends_with_its_time(script, tmp_path, monkeypatch):
    monkeypatch.setitem(script.SECONDS, "bench", 0.5)
    asked = script.argparse.Namespace(out=tmp_path, pretend=False)
    code, log = script._python(
        "bench", asked, dict(os.environ), "-c", "import time; print(1, flush=True); time.sleep(60)"
    )
    assert code == 124 and script._faults(code, log) == ["bench.log ends with its time:", "1"]


def test_what_it_would_fetch_is_what_the_machine_lacks(script, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(
        script.subprocess, "run", lambda command: seen.extend(command) or subprocess.CompletedProcess([], 0)
    )
    assert script._fetch(tmp_path) == 0
    names = {one.partition("==")[0] for one in seen if "==" in one}
    assert {"pandas", "optuna", "pytest", "jupytext", "alembic"} <= names
    assert not names & {"torch", "numpy", "transformers", "tokenizers", "kdcourse"}


def test_readme_has_a_column_for_a_gpu_where_one_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(notebooks, "RUNTIMES_ON_GPU", tmp_path / "runtimes-gpu.json")
    assert "GPU" not in notebooks.runtime_table()
    found = {"machine": "Tesla T4", "seconds": {"00": 21.4}}
    (tmp_path / "runtimes-gpu.json").write_text(json.dumps(found), encoding="utf-8")
    first, rule, *rows = notebooks.runtime_table().splitlines()
    assert first.endswith("| seconds on a GPU, Tesla T4 |") and rule == "|---|---|---|---|"
    assert rows[0].endswith("| 21 |") and rows[1].endswith("| not measured |")
