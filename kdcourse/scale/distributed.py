"""What several processes must do together, so that they compute what one would: sums, whole batches, batch norm, a stop."""

import signal
from types import FrameType

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs
from accelerate.state import AcceleratorState
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from kdcourse.losses.checks import at_least_float32
from kdcourse.models.tapping import Tapped
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.recipe import Training
from kdcourse.system import runtime


def build_accelerator(training: Training) -> Accelerator:
    """Hugging Face accelerate, as the launcher has set it up; buffers are equal on all processes without being sent around.

    Raises `RecipeError` for fp16 without a GPU.
    """
    if training.precision == "fp16" and runtime.device().type == "cpu":
        raise RecipeError("training.precision must be fp32 or bf16 on a machine without a GPU, got 'fp16'")
    AcceleratorState._reset_state()  # another recipe, or a lab before it in the same session, may have had another precision
    return Accelerator(
        cpu=runtime.device().type == "cpu",
        mixed_precision="no" if training.precision == "fp32" else training.precision,
        # A method on features alone, or on gradients, leaves the last layer or its bias without a gradient.
        kwargs_handlers=[DistributedDataParallelKwargs(broadcast_buffers=False, find_unused_parameters=True)],
    )


def any_process(accelerator: Accelerator, *flags: bool) -> list[bool]:
    """For each flag whether it is set on any process: the same answer on all. Every process must ask."""
    votes = torch.tensor(flags, dtype=torch.float32, device=accelerator.device)
    return (accelerator.reduce(votes, "sum") > 0).tolist()


class AllReduce(torch.autograd.Function):
    """The sum over processes; so is its gradient, and the gradient's own."""

    @staticmethod
    def forward(ctx, local: Tensor) -> Tensor:
        total = local.contiguous().clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return AllReduce.apply(gradient)


def all_gather(local: Tensor) -> Tensor:
    """The parts of a batch from all processes, in their order: (n, …) -> (processes · n, …).

    Each process computes the loss of the whole batch, so the gradients of one part come from all of them; the mean over
    processes, which data parallelism takes, brings them back to size.
    """
    # As a sum: torch's own gather with a gradient is deprecated, and its successor private.
    rank, others = distributed.get_rank(), torch.zeros_like(local)
    return AllReduce.apply(torch.cat([local if one == rank else others for one in range(distributed.get_world_size())]))


class SyncBatchNorm(_BatchNorm):
    """Batch norm over the batches of all processes, (N, C, …) -> (N, C, …).

    `nn.SyncBatchNorm` knows GPUs only, and has no second derivative, which methods on gradients need. This one is for layers
    with weights, running statistics and a momentum, as all of the course's and of torchvision's are.
    """

    def _check_input_dim(self, inputs: Tensor) -> None:
        """Any number of dimensions will do, as in `nn.SyncBatchNorm`."""

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return super().forward(inputs)
        wide = at_least_float32(inputs)
        dims, shape = [0, *range(2, inputs.ndim)], (1, -1, *[1] * (inputs.ndim - 2))
        count = inputs.numel() // inputs.shape[1] * distributed.get_world_size()
        mean = AllReduce.apply(wide.sum(dims)) / count
        centred = wide - mean.view(shape)
        variance = AllReduce.apply(centred.square().sum(dims)) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centred * scale.view(shape) + self.bias.view(shape)).to(inputs.dtype)


def convert_sync_batchnorm(module: nn.Module) -> nn.Module:
    """Let every batch norm see the batches of all processes; parameters and buffers stay the same ones."""
    if isinstance(module, _BatchNorm):
        synced = SyncBatchNorm(module.num_features, module.eps, module.momentum).train(module.training)
        synced._parameters, synced._buffers = module._parameters, module._buffers
        return synced
    for name, child in module.named_children():
        module.add_module(name, convert_sync_batchnorm(child))
    return module


def shard(tapped: Tapped, device: torch.device) -> Tapped:
    """Spread a frozen model's weights over the processes; each layer is put together when its turn comes, and let go after it.

    From wherever the model lies, layer by layer: the whole of it is never on the device. A parameter that belongs to no layer
    stays whole.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (distributed.get_world_size(),))
    for layer in _called_layers(tapped):
        for parameter in layer.parameters():
            parameter.data = parameter.data.contiguous()  # channels-last weights cannot be cut
        fully_shard(layer, mesh=mesh, reshard_after_forward=True)
    return tapped.to(device)


def _called_layers(tapped: Tapped) -> list[nn.Module]:
    """The layers with weights, as this model calls them: a traced one by its graph, blocks having no code there any more."""
    if tapped.extract is None:
        return _outermost(tapped.model)
    names = dict.fromkeys(node.target for node in tapped.extract.eval_graph.nodes if node.op == "call_module")
    layers = dict.fromkeys(tapped.extract.get_submodule(name) for name in names)
    return [layer for layer in layers if any(True for _ in layer.parameters())]


def _outermost(module: nn.Module) -> list[nn.Module]:
    """Modules with parameters of their own; what is inside of one belongs to it, for its code may read it uncalled."""
    if any(True for _ in module.parameters(recurse=False)):
        return [module]
    return [layer for child in module.children() for layer in _outermost(child)]


class ProcessLost(RuntimeError):
    """Another process of the run is gone, so this one cannot go on either."""


class GracefulStop:
    """Within the block SIGTERM and Ctrl-C no longer end this process at once, but set `requested`.

    name: the run's. saved_step: the step of its last checkpoint, to be kept up to date.
    Raises `ProcessLost` out of the block where another process is gone.
    """

    def __init__(self, name: str, saved_step: int):
        self.name, self.saved_step, self.requested = name, saved_step, False

    def __enter__(self) -> "GracefulStop":
        self._handlers = {number: signal.signal(number, self._request) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: object) -> None:
        if distributed.is_initialized() and isinstance(error, RuntimeError) and is_connection_error(error):
            # The launcher is about to end this process: its signal must not cut the message short, so nothing is put back.
            raise ProcessLost(
                f"another process of this run is gone, so {self.name} stops; its last checkpoint is of step {self.saved_step:,}"
            ) from error
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _request(self, number: int, frame: FrameType | None) -> None:
        self.requested = True


def is_connection_error(error: RuntimeError) -> bool:
    """Whether an error is what a process hears when another is gone: the backends' own kinds of error, or gloo's words."""
    words = str(error).lower()
    kinds = (distributed.DistBackendError, distributed.DistNetworkError)
    return isinstance(error, kinds) or "gloo" in words or "connection" in words
