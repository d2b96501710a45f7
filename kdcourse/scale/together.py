"""What several processes must do together, so that they compute what one would: sums, whole batches, batch norm, a stop."""

import signal
from contextlib import AbstractContextManager
from types import FrameType

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from torch import Tensor, distributed, nn

from kdcourse.models.tapping import Tapped
from kdcourse.scale.recipe import Training
from kdcourse.system import runtime


def engine(training: Training) -> Accelerator:
    """Hugging Face accelerate, as the launcher has set it up; buffers are equal on all processes without being sent around."""
    AcceleratorState._reset_state()  # another recipe, or a lab before it in the same session, may have had another precision
    return Accelerator(
        cpu=runtime.device().type == "cpu",
        mixed_precision="bf16" if training.precision == "bf16" else "no",
        # A method on features alone, or on gradients, leaves the last layer or its bias without a gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=True)],
    )


class ProcessLost(RuntimeError):
    """Another process of the run is gone, so this one cannot go on either."""


class Summed(torch.autograd.Function):
    """The sum over processes; so is its gradient, and the gradient's own."""

    @staticmethod
    def forward(ctx, mine: Tensor) -> Tensor:
        total = mine.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return Summed.apply(gradient)


class Gathered(torch.autograd.Function):
    """The parts of a batch from all processes, in their order: (n, …) -> (processes · n, …).

    Each process computes the loss of the whole batch, so the gradients of one part come from all of them; the engine's mean over
    processes brings them back to size.
    """

    @staticmethod
    def forward(ctx, mine: Tensor) -> Tensor:
        parts = [
            torch.empty_like(mine, memory_format=torch.contiguous_format) for _ in range(distributed.get_world_size())
        ]
        distributed.all_gather(parts, mine.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return Summed.apply(gradient).chunk(distributed.get_world_size())[distributed.get_rank()]


def own_draws(device: torch.device) -> AbstractContextManager:
    """Within the block the global generators may be seeded; afterwards they are as before. No other GPU is touched."""
    return torch.random.fork_rng(devices=[device] if device.type == "cuda" else [])


def whole(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else Gathered.apply(tensor)


class NormTogether(nn.BatchNorm2d):
    """Batch norm over the batches of all processes, in sums: what `nn.SyncBatchNorm` does, which knows GPUs only."""

    def forward(self, maps: Tensor) -> Tensor:
        if not self.training:
            return super().forward(maps)
        count = maps.numel() // maps.shape[1] * distributed.get_world_size()
        mean = Summed.apply(maps.sum(dim=(0, 2, 3))) / count
        centred = maps - mean.view(1, -1, 1, 1)
        variance = Summed.apply(centred.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return centred * scale.view(1, -1, 1, 1) + self.bias.view(1, -1, 1, 1)


def norm_together(module: nn.Module, device: torch.device) -> nn.Module:
    """Let every batch norm see the batches of all processes; parameters and buffers stay the same ones."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(module)
    if isinstance(module, nn.BatchNorm2d):
        other = NormTogether(module.num_features, module.eps, module.momentum).train(module.training)
        other._parameters, other._buffers = module._parameters, module._buffers
        return other
    for name, child in module.named_children():
        module.add_module(name, norm_together(child, device))
    return module


def shard(tapped: Tapped, device: torch.device) -> Tapped:
    """Spread a frozen model's weights over the processes; each layer is put together when its turn comes, and let go after it.

    From wherever the model lies, layer by layer: the whole of it is never on the device. A parameter that belongs to no layer
    stays whole.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    for layer in _called(tapped):
        for parameter in layer.parameters():
            parameter.data = parameter.data.contiguous()  # channels-last weights cannot be cut
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    return tapped.to(device)


def _called(tapped: Tapped) -> list[nn.Module]:
    """The layers with weights, as this model calls them: a traced one by its graph, blocks having no code there any more."""
    if tapped.extract is None:
        return _outermost(tapped.model)
    calls = dict.fromkeys(node.target for node in tapped.extract.eval_graph.nodes if node.op == "call_module")
    layers = [tapped.extract.get_submodule(name) for name in calls]
    return [layer for layer in dict.fromkeys(layers) if next(layer.parameters(), None) is not None]


def _outermost(module: nn.Module) -> list[nn.Module]:
    """Modules with parameters of their own; what is inside of one belongs to it, for its code may read it uncalled."""
    if next(module.parameters(recurse=False), None) is not None:
        return [module]
    return [layer for child in module.children() for layer in _outermost(child)]


class Agreement:
    """Within the block SIGTERM and Ctrl-C no longer end this process at once; `on` tells all processes when any was told to.

    saved: the step of the last checkpoint. Raises `ProcessLost` out of the block where another process is gone.
    """

    def __init__(self, accelerator: Accelerator, name: str, saved: int):
        self.accelerator, self.name, self.saved, self.asked = accelerator, name, saved, False

    def __enter__(self) -> "Agreement":
        self._before = {number: signal.signal(number, self._hear) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if self.accelerator.num_processes > 1 and isinstance(error, RuntimeError) and tells_of_a_loss(error):
            # The launcher is about to end this process: its signal must not cut the message short, so nothing is put back.
            raise ProcessLost(
                f"another process of this run is gone, so {self.name} stops; its last checkpoint is of step {self.saved:,}"
            ) from error
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def on(self, *questions: bool) -> list[bool]:
        """Whether any process was asked to stop, then for each question whether any process says yes: the same on all."""
        votes = torch.tensor([self.asked, *questions], dtype=torch.float32, device=self.accelerator.device)
        return (self.accelerator.reduce(votes, "sum") > 0).tolist()

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.asked = True


def tells_of_a_loss(error: RuntimeError) -> bool:
    """Whether an error is what a process hears when another is gone: the backends' own kinds of error, or gloo's words."""
    words = str(error).lower()
    kinds = (distributed.DistBackendError, distributed.DistNetworkError)
    return isinstance(error, kinds) or "gloo" in words or "connection" in words
