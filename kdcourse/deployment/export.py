"""A network outside PyTorch: its graph caught by `torch.export`, written as an ONNX file, run by ONNX Runtime."""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from kdcourse.data.splits import Split, check_split
from kdcourse.models.tapping import unwrapped
from kdcourse.system.arguments import check_model, whole_number
from kdcourse.system.runtime import need

INPUT, OUTPUT = "images", "logits"  # what the file calls them
CALIBRATION_BATCH = 32  # pictures


def graph(model: nn.Module, split: Split) -> torch.export.ExportedProgram:
    """The model as a list of operations on tensors, in evaluation mode and on the CPU, for any number of pictures."""
    check_model("model", model)
    check_split(split, Split)
    model = copy.deepcopy(unwrapped(model)).cpu().eval()
    two = split.take(torch.arange(2) % len(split))  # one picture would be taken for the only number there is
    images = two.images.cpu().contiguous()
    return torch.export.export(model, (images,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))


def to_onnx(model: nn.Module, split: Split, path: str | Path) -> Path:
    """Write a model as an ONNX file that takes "images" (N, C, H, W), any N, and gives "logits" (N, classes).

    split: pictures of the kind that the model takes. Needs the packages onnx and onnxscript.
    """
    need("onnx", "onnxscript")
    program = torch.onnx.export(
        graph(model, split), dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT]
    )
    program.save(path)
    return Path(path)


def int8_onnx(path: str | Path, target: str | Path, calibration: Split | None = None) -> Path:
    """Write an ONNX file anew with its weights in 8 bits, a scale for each output.

    calibration: a few pictures as the model takes them, on which the range of what flows between layers is found beforehand:
    static quantisation, convolutions too. Default none: matrices alone, and what flows between them is rounded to 8 bits as it
    comes, with one scale for the whole batch: dynamic quantisation, which leaves convolutions as they are.
    """
    need("onnx", "onnxruntime")
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic, quantize_static
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    model = onnx.load(path)
    # The exporter has simplified the graph already. The shapes that it noted are those of matrices that are turned now.
    del model.graph.value_info[:]
    add_pre_process_metadata(model)
    if calibration is None:
        convolutions = [
            node.name for node in model.graph.node if node.op_type == "Conv"
        ]  # ONNX Runtime has no such kernel
        quantize_dynamic(model, target, weight_type=QuantType.QInt8, per_channel=True, nodes_to_exclude=convolutions)
    else:
        check_split(calibration, Split)
        quantize_static(model, target, _Calibration(calibration), per_channel=True)
    return Path(target)


class _Calibration:
    """Pictures as ONNX Runtime asks for them: some at a time, then None."""

    def __init__(self, split: Split):
        self.batches = iter(split.images.split(CALIBRATION_BATCH))

    def get_next(self) -> dict | None:
        images = next(self.batches, None)
        return None if images is None else {INPUT: images.float().cpu().contiguous().numpy()}


class OnnxModel(nn.Module):
    """An ONNX file as a model, (N, C, H, W) -> (N, classes): run by ONNX Runtime on the CPU, its answers where the pictures are.

    threads: default as many as PyTorch has. Raises `ValueError` for a file that is no such model.
    """

    def __init__(self, path: str | Path, threads: int | None = None):
        need("onnxruntime")
        import onnxruntime

        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads() if threads is None else whole_number("threads", threads)
        try:
            self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # a class of its own for each kind of failure
            raise ValueError(f"path must be an ONNX file that can be read, got {Path(path).name}: {error}") from error
        self.file, self.label = Path(path), Path(path).name

    def forward(self, images: Tensor) -> Tensor:
        if not images.is_floating_point():
            raise ValueError(f"images must be floating point, as the model was trained on them, got {images.dtype}")
        (logits,) = self.session.run([OUTPUT], {INPUT: images.float().cpu().contiguous().numpy()})
        return torch.from_numpy(logits).to(images.device)
