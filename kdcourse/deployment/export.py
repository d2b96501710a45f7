"""A network outside PyTorch: its graph caught by `torch.export`, written as an ONNX file, run by ONNX Runtime."""

import copy
from pathlib import Path

import torch
from torch import Tensor, nn

from kdcourse.data.splits import Split
from kdcourse.models.tapping import unwrapped
from kdcourse.system.runtime import need

INPUT, OUTPUT = "images", "logits"  # what the file calls them


def graph(model: nn.Module, split: Split) -> torch.export.ExportedProgram:
    """The model as a list of operations on tensors, in evaluation mode and on the CPU, for any number of pictures."""
    model = copy.deepcopy(unwrapped(model)).cpu().eval()
    images = split.images[:2].cpu().contiguous()  # two: one picture would be taken for the only number there is
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


def int8_onnx(path: str | Path, target: str | Path) -> Path:
    """Write an ONNX file anew with its matrices in 8 bits, a scale for each output.

    What flows between them is rounded to 8 bits as it comes, with one scale for the whole batch.
    """
    need("onnx", "onnxruntime")
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.quant_utils import add_pre_process_metadata

    model = onnx.load(path)
    # The exporter has simplified the graph already. The shapes that it noted are those of matrices that are turned now.
    del model.graph.value_info[:]
    add_pre_process_metadata(model)
    quantize_dynamic(model, target, weight_type=QuantType.QInt8, per_channel=True)
    return Path(target)


class OnnxModel(nn.Module):
    """An ONNX file as a model, (N, C, H, W) -> (N, classes): run by ONNX Runtime on the CPU, its answers where the pictures are.

    threads: default as many as PyTorch has.
    """

    def __init__(self, path: str | Path, threads: int | None = None):
        need("onnxruntime")
        import onnxruntime

        super().__init__()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or torch.get_num_threads()
        self.session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.file, self.label = Path(path), Path(path).name

    def forward(self, images: Tensor) -> Tensor:
        (logits,) = self.session.run([OUTPUT], {INPUT: images.cpu().contiguous().numpy()})
        return torch.from_numpy(logits).to(images.device)
