"""The first cell and the command line."""

import logging
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from kdcourse.cli import app
from kdcourse.system import runtime
from tests.second_device import device


def test_the_device_can_be_chosen(monkeypatch):
    monkeypatch.setenv("KDCOURSE_DEVICE", "cpu")
    assert runtime.device() == torch.device("cpu")
    monkeypatch.setenv("KDCOURSE_DEVICE", "abacus")
    with pytest.raises(ValueError, match="KDCOURSE_DEVICE must name a device of this machine, got 'abacus'"):
        runtime.device()
    monkeypatch.delenv("KDCOURSE_DEVICE")
    assert runtime.device().type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_the_first_cell_says_one_line(monkeypatch, capsys):
    monkeypatch.setenv("KDCOURSE_DEVICE", "cpu")
    runtime.setup()
    out, err = capsys.readouterr()
    assert out.count("\n") == 1 and "CPU thread" in out and not err


@pytest.mark.parametrize("asked", ["by setup", "by KDCOURSE_SIZE"])
def test_full_size_needs_a_gpu_and_the_first_cell_says_so(asked, monkeypatch, capsys):
    monkeypatch.setattr(runtime, "_asked_by_setup", False)
    monkeypatch.setenv("KDCOURSE_SIZE", "full" if asked == "by KDCOURSE_SIZE" else "")
    monkeypatch.setenv("KDCOURSE_DEVICE", "cpu")
    runtime.setup(full_size=asked == "by setup")
    assert not runtime.full_size()
    out = capsys.readouterr().out
    assert out.count("\n") == 1 and "; full size needs a GPU, so the labs keep their own size." in out
    with device.present():
        runtime.setup(full_size=asked == "by setup")
        assert runtime.full_size() and "calls second, at full size." in capsys.readouterr().out
        monkeypatch.delenv("KDCOURSE_SIZE")
        runtime.setup()  # the last word counts
        assert not runtime.full_size() and "size" not in capsys.readouterr().out


def test_a_size_is_full_or_lab(monkeypatch):
    for size in ("lab", ""):
        monkeypatch.setenv("KDCOURSE_SIZE", size)
        with device.present():
            assert not runtime.full_size()
    monkeypatch.setenv("KDCOURSE_SIZE", "huge")
    for ask in (runtime.setup, runtime.full_size):
        with pytest.raises(ValueError, match="KDCOURSE_SIZE must be full or lab, got 'huge'"):
            ask()


def test_one_warning_of_torchs_is_held_back_and_no_other(monkeypatch):
    monkeypatch.setenv("KDCOURSE_DEVICE", "cpu")
    runtime.setup()
    logger = logging.getLogger("torch.utils._pytree")
    said = ["%s is an Enum subclass and is now natively supported", "%s is something else"]
    assert [bool(logger.filter(logging.makeLogRecord({"msg": text}))) for text in said] == [False, True]


def test_after_the_first_cell_torchao_and_transformers_load_without_a_word():
    script = "import kdcourse as kd; kd.setup(); import torchao.quantization; from transformers import BertModel"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_on_colab_without_a_gpu_it_says_how_to_switch_one_on(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setenv("KDCOURSE_DEVICE", "cpu")
    assert runtime.in_colab()
    runtime.setup()
    assert "Change runtime type" in capsys.readouterr().out


def test_say_prints_outside_a_notebook(capsys):
    runtime.say("**12** of 12")
    assert capsys.readouterr().out == "**12** of 12\n"


@pytest.fixture
def pip(monkeypatch):
    """On Colab; what pip is asked for is collected, with the pins that it is given, and not done."""
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    asked = []

    def run(command, **_):
        place = command.index("--constraint") + 1
        asked.append(
            [*command[: place - 1], *command[place + 1 :], *Path(command[place]).read_text(encoding="utf-8").split()]
        )
        return subprocess.CompletedProcess(command, returncode=len(asked) - 1)

    monkeypatch.setattr(runtime.subprocess, "run", run)
    return asked


def test_on_colab_what_is_missing_is_added_and_nothing_else_is_touched(pip, monkeypatch, capsys):
    versions = {"torch": "2.11.0+cu128", "numpy": "2.1.3", "optuna": None}
    there = [
        ("torch", "2.11.0+cu128"),
        ("numpy", "2.1.3"),
        ("Proto_Buf", "5.29.6"),
        ("numpy", "1.0"),
        ("x", "-"),
        (None, "1"),
    ]
    found = [types.SimpleNamespace(metadata={"Name": name}, version=number) for name, number in there]
    monkeypatch.setattr(runtime, "distributions", lambda: found)
    needed = ["torch>=2.6", "numpy>=1.26", 'optuna>=4; extra == "tuning"', 'jupyterlab>=4.2; extra == "lab"']
    monkeypatch.setattr(runtime, "requires", lambda _: needed)
    monkeypatch.setattr(runtime, "version_of", versions.__getitem__)
    runtime.setup()
    (asked,) = pip
    assert [asked[:6], asked[6:]] == [
        [sys.executable, "-m", "pip", "install", "--quiet", "optuna>=4"],
        ["torch==2.11.0+cu128", "numpy==2.1.3", "proto-buf==5.29.6"],
    ]
    assert "optuna" not in capsys.readouterr().out
    runtime.setup()
    assert "optuna>=4 could not be installed" in capsys.readouterr().out


def test_on_colab_nothing_is_installed_when_all_is_there(pip, monkeypatch):
    monkeypatch.setattr(runtime, "version_of", lambda _: "99")
    runtime.setup()
    assert pip == []


def test_on_kaggle_what_is_missing_is_added_too(pip, monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab")
    monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    monkeypatch.setattr(runtime, "requires", lambda _: ["torch>=2.6", "optuna>=4"])
    monkeypatch.setattr(runtime, "version_of", {"torch": "2.8.0", "optuna": None}.__getitem__)
    runtime.setup()
    (asked,) = pip
    assert asked[:6] == [sys.executable, "-m", "pip", "install", "--quiet", "optuna>=4"]


def test_elsewhere_nothing_is_ever_installed(pip, monkeypatch):
    monkeypatch.delitem(sys.modules, "google.colab")
    monkeypatch.setattr(runtime, "version_of", lambda _: None)
    runtime.setup()
    assert pip == []


def test_a_gpu_is_named_with_its_memory(monkeypatch, capsys):
    monkeypatch.setattr(runtime, "device", lambda: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Tesla T4")
    memory = types.SimpleNamespace(total_memory=15 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: memory)
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda precision: precision)
    runtime.setup()
    assert "on Tesla T4 with 15 GiB." in capsys.readouterr().out


def test_requirements_and_those_that_an_extra_adds(monkeypatch):
    needed = ["torch>=2.6", 'optuna>=4; extra == "lab"', 'pytest>=8; extra == "test"', 'numpy>=1; python_version > "3"']
    monkeypatch.setattr(runtime, "requires", lambda _: needed)
    assert [one.name for one in runtime.requirements()] == ["torch", "numpy"]
    assert [one.name for one in runtime.requirements("lab")] == ["optuna"]


def test_what_is_missing_is_asked_for_by_its_extra(monkeypatch, capsys):
    needed = [
        "torch>=2.6",
        'huggingface-hub>=1; extra == "text"',
        'onnx>=1; extra == "export"',
        'onnxruntime>=1; extra == "export"',
    ]
    monkeypatch.setattr(runtime, "requires", lambda _: needed)
    monkeypatch.setattr(runtime, "find_spec", lambda name: "there" if name == "torch" else None)
    monkeypatch.setattr(runtime, "version_of", lambda name: None if name == "onnx" else "1")
    runtime.need("torch")
    assert runtime.what_labs_lack() == "To run labs 12, 14 too: pip install 'kdcourse[export]'"
    runtime.setup()
    assert capsys.readouterr().out.splitlines()[1:] == [runtime.what_labs_lack()]
    for packages, line in {
        ("onnx", "onnxruntime"): "this needs onnx and onnxruntime; run: pip install 'kdcourse[export]'",
        (
            "torch",
            "huggingface_hub",
            "onnx",
        ): "huggingface_hub and onnx; run: pip install 'kdcourse[text]' 'kdcourse[export]'",
        ("timm",): "this needs timm; run: pip install timm",
    }.items():
        with pytest.raises(ModuleNotFoundError, match=re.escape(line)):
            runtime.need(*packages)


def test_a_command_that_lacks_a_package_ends_with_one_line(monkeypatch):
    monkeypatch.setattr(runtime, "find_spec", lambda _: None)
    monkeypatch.setattr(
        runtime, "requires", lambda _: ['jupyterlab>=4; extra == "lab"', 'accelerate>=1; extra == "text"']
    )
    for command, package, extra in ((["lab"], "jupyterlab", "lab"), (["train", "a.yaml"], "accelerate", "text")):
        done = run(*command)
        assert done.exit_code == 1 and done.output.count("\n") == 1 and not done.stdout
        assert f"needs {package}" in done.output and f"'kdcourse[{extra}]'" in done.output


def run(*arguments):
    return CliRunner().invoke(app, arguments)


def test_the_command_line_knows_its_labs():
    assert "lab must be one of 00" in run("run", "77").output.replace("│", "")
    assert run("run", "77").exit_code == 2


def test_progress_is_shown():
    output = run("progress").output
    assert "one_hot" in output and "Not attempted" in output


def test_results_are_kept_beside_the_course_and_no_setting_outlives_the_command(monkeypatch):
    """Each study of a lab on the sets that it is meant for, then the lab itself; what they do has tests of its own."""
    from kdcourse import data, studies
    from kdcourse.authoring import notebooks

    stored, environments = [], []

    def study(name, dataset):
        def store(folder):
            stored.append((name, dataset, folder))
            return [folder / f"{name}-{dataset}.json"]

        return types.SimpleNamespace(store=store)

    def execute(notebook, folder, environment):
        environments.append(environment)
        return 12.3

    monkeypatch.setattr(data, "load_texts", lambda name, fallback: name)
    monkeypatch.setattr(studies, "study", study)
    monkeypatch.setattr(notebooks, "execute", execute)
    before = dict(os.environ)
    done = run("results", "09")
    assert done.exit_code == 0 and dict(os.environ) == before
    results = notebooks.ROOT / "results"
    wanted = {"sst2": ["copy", "copy-choice", "half-depth", "plateau", "sentiment"]}
    wanted["reviews"] = ["copy", "copy-choice", "half-depth", "sentiment", "shift"]
    assert stored == [(f"09-{name}", dataset, results) for dataset, names in wanted.items() for name in names]
    assert environments == [{"KDCOURSE_TEXTS": dataset, "KDCOURSE_RESULTS": str(results)} for dataset in wanted]
    assert "09-shift-reviews.json kept" in done.output and "Lab 09 on sst2: 12 s" in done.output
    run("results", "09", "--study", "09-shift", "--data", "reviews")
    assert stored[10:] == [("09-shift", "reviews", results)] and len(environments) == 2
    # A study whose data are the same beside every text is run on them once, and the lab is not.
    monkeypatch.setattr(data, "load_characters", lambda name, fallback: name)
    monkeypatch.setattr(data, "load_sums", lambda name, fallback: name)
    run("results", "13")
    assert stored[-1] == ("13-traces", "sums", results) and [one for one, *_ in stored].count("13-traces") == 1
    assert [one["KDCOURSE_CHARACTERS"] for one in environments[2:]] == ["tinyshakespeare", "plays"]


def test_a_lab_becomes_a_page(tmp_path, monkeypatch):
    from pathlib import Path

    from kdcourse.authoring import notebooks

    fixture = notebooks.Lab("90", Path(__file__).parent / "fixtures" / "good.py")
    monkeypatch.setattr(notebooks, "lab", lambda _: fixture)
    result = run("run", "90", "--html", str(tmp_path / "page.html"))
    assert result.exit_code == 0, result.output
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "Show that a sound notebook passes" in page and "a clear gain" in page


@pytest.mark.skipif(
    not list(Path(torch.__file__).parent.glob("lib/libgomp*")) or torch.get_num_threads() == 1,
    reason="PyTorch has no libgomp here, or one thread",
)
def test_cores_are_released_for_another_thread_and_taken_again():
    def waiting():
        return len(list(Path("/proc/self/task").iterdir()))

    one = torch.randn(400_000)
    before, busy = one.exp(), waiting()
    threads = torch.get_num_threads()
    runtime.release_cores()
    assert waiting() < busy and torch.get_num_threads() == threads
    torch.testing.assert_close(one.exp(), before, rtol=0, atol=0)
    assert waiting() == busy
