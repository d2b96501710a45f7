"""An exported network answers as it did, for any number of pictures, in a process without PyTorch."""

import subprocess
import sys

import pytest
import torch

from kdcourse import models
from kdcourse.data.splits import Split
from kdcourse.deployment import export
from kdcourse.evaluation import measure

SPLIT = Split(torch.randn(50, 1, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(50) % 3)
BUILDERS = {
    "perceptron": lambda: models.perceptron((64, 32), inputs=256, classes=3, dropout=0.5),
    "convnet": lambda: models.convnet((4, 8), classes=3),
}


@pytest.fixture(scope="module", params=BUILDERS)
def exported(request, tmp_path_factory):
    model = BUILDERS[request.param]().train()
    return model, export.to_onnx(model, SPLIT, tmp_path_factory.mktemp("export") / f"{request.param}.onnx")


@pytest.mark.parametrize("count", [1, 7, 50])
def test_the_file_answers_as_the_model_does(exported, count):
    model, path = exported
    some, outside = SPLIT.take(torch.arange(count)), export.OnnxModel(path, threads=1)
    torch.testing.assert_close(measure.predict(outside, some), measure.predict(model, some), atol=1e-4, rtol=0)
    assert model.training and outside.label == path.name
    assert measure.size_in_bytes(outside) == path.stat().st_size > 4 * measure.parameters(model)


def test_it_needs_no_pytorch(exported):
    model, path = exported
    script = f"""
import sys, numpy, onnxruntime
session = onnxruntime.InferenceSession({str(path)!r})
print(session.run(["logits"], {{"images": numpy.ones((3, 1, 16, 16), "float32")}})[0][2].tolist(), "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    *numbers, loaded = done.stdout.replace("[", "").replace("]", "").replace(",", "").split()
    expected = model.eval()(torch.ones(1, 1, 16, 16))[0]
    model.train()
    torch.testing.assert_close(torch.tensor([float(one) for one in numbers]), expected.detach(), atol=1e-4, rtol=0)
    assert loaded == "False"


def test_in_int8_the_file_is_smaller_and_answers_nearly_so(tmp_path, capfd):
    model = models.perceptron((300, 300), inputs=256, classes=3)
    whole = export.to_onnx(model, SPLIT, tmp_path / "whole.onnx")
    coarse = export.int8_onnx(whole, tmp_path / "coarse.onnx")
    assert coarse.stat().st_size < 0.4 * whole.stat().st_size
    answers = [measure.predict(one, SPLIT) for one in (export.OnnxModel(coarse), model)]
    assert 0 < (answers[0] - answers[1]).abs().max() < 0.05
    assert capfd.readouterr().err == ""


def test_a_convolutional_network_in_int8_by_either_way(tmp_path):
    """Dynamic leaves convolutions as they are; static finds its ranges on a few pictures, and takes them too."""
    model = models.separable((16, 32, 64, 128), classes=3)
    whole = export.to_onnx(model, SPLIT, tmp_path / "whole.onnx")
    dynamic = export.int8_onnx(whole, tmp_path / "dynamic.onnx")
    static = export.int8_onnx(whole, tmp_path / "static.onnx", SPLIT.take(torch.arange(40)))
    sizes = [path.stat().st_size for path in (static, dynamic, whole)]
    assert sizes[0] < 0.7 * sizes[2] and sizes[1] <= sizes[2]
    answers = measure.predict(model, SPLIT)
    for path in (dynamic, static):
        found = measure.predict(export.OnnxModel(path), SPLIT)
        assert (found - answers).abs().max() < 0.1 * answers.std() + 0.05


def test_the_graph_is_a_list_of_operations():
    model = BUILDERS["perceptron"]()
    steps = [str(node.target) for node in export.graph(model, SPLIT).graph.nodes if node.op == "call_function"]
    assert sum("linear" in step for step in steps) == 3 and sum("relu" in step for step in steps) == 2


def test_without_its_packages_it_says_what_to_install(tmp_path, monkeypatch):
    for package in ("onnx", "onnxscript", "onnxruntime"):
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ModuleNotFoundError, match=r"this needs onnx and onnxscript; run: pip install 'kdcourse\[export\]'"
    ):
        export.to_onnx(BUILDERS["perceptron"](), SPLIT, tmp_path / "never.onnx")
    with pytest.raises(
        ModuleNotFoundError, match=r"this needs onnx and onnxruntime; run: pip install 'kdcourse\[export\]'"
    ):
        export.int8_onnx(tmp_path / "never.onnx", tmp_path / "nor.onnx")
    with pytest.raises(ModuleNotFoundError, match="this needs onnxruntime; run"):
        export.OnnxModel(tmp_path / "never.onnx")
