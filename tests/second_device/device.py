"""A second device that no machine needs to have: its tensors lie in the CPU's memory and behave as a GPU's do.

`torch.device("second:0")` is known to PyTorch, as a backend that is registered in Python: whatever makes tensors, moves them
or differentiates them takes it. What it computes is the CPU's, number by number. As CUDA does, it raises where tensors of two
devices meet, where NumPy asks for one of its tensors, and where one of them indexes a tensor that lies elsewhere.
It does not see a generator of its own that is given to the CPU.
"""

import os
import sys
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache, partial
from pathlib import Path
from unittest import mock
from weakref import WeakSet

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

import kdcourse

NAME = "second"
PACKAGE = Path(kdcourse.__file__).parent
COPIES = {"_to_copy", "copy_", "_copy_from"}
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
# What makes tensors from nothing; all else that does goes through these.
FACTORIES = ("empty.memory_format", "empty_strided.default", "arange.default", "arange.start", "arange.start_step")
FACTORIES += ("eye.default", "eye.m", "tril_indices.default", "triu_indices.default")
# Where a GPU's host waits: for a value, or for a size that depends on values.
READS = {"_local_scalar_dense", "_unique2", "bincount", "equal", "masked_select", "nonzero", "repeat_interleave"}
# What autocast computes in half the bits, on CUDA too, as far as the course asks for it.
IN_HALF_THE_BITS = ("addmm", "baddbmm", "bmm", "conv1d", "conv2d", "linear", "matmul", "mm")

waits: Counter[str] = Counter()  # the line of kdcourse that made the host wait -> how often
_refused: set[torch.dtype] = set()  # what the device cannot hold
_generators: WeakSet = WeakSet()


class SecondTensor(torch.Tensor):
    """A tensor of the device. held: the CPU's tensor with its numbers."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, held: Tensor, device: torch.device):
        _refuse(held.dtype)
        place = {"strides": held.stride(), "storage_offset": held.storage_offset(), "device": device}
        return torch.Tensor._make_wrapper_subclass(cls, held.size(), dtype=held.dtype, **place)

    def __init__(self, held: Tensor, device: torch.device):
        self.held = held

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):
        return _run(operator, args, kwargs or {})

    def numpy(self, *args, **kwargs):
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first.")

    def tolist(self):
        return self.cpu().tolist()

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if self.dim() == 0 else object.__format__(self, spec)

    def __repr__(self, **kwargs) -> str:
        return f"{repr(self.held)[:-1]}, device='{self.device}')"


class Generator(torch.Generator):
    """Random numbers for a device: those that the CPU draws from the same seed."""

    def __new__(cls, device: torch.device | str = "cpu"):
        device = torch.device(device)
        generator = super().__new__(cls, "cpu" if device.type == NAME else device)
        if device.type == NAME:
            _generators.add(generator)
        return generator

    def __init__(self, device: torch.device | str = "cpu"):
        self._device = torch.device(device)

    @property
    def device(self) -> torch.device:
        return self._device


class _Backend(backend_registration._DummyBackendModule):
    """What `torch.second` answers."""

    def device_count(self) -> int:
        return 2

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [dtype for dtype in (torch.bfloat16, torch.float16) if dtype not in _refused]


@contextmanager
def present(*, index: int = 0, without: Collection[torch.dtype] = ()) -> Iterator[torch.device]:
    """The device, which the course takes for its own within the block.

    index: which of the two, as in cuda:1. without: what it cannot hold: float64 makes it an Apple GPU, bfloat16 a T4.
    """
    _register()
    place = torch.device(NAME, index)
    waits.clear()
    _refused.update(without)
    with ExitStack() as stack:
        stack.callback(_refused.clear)
        stack.enter_context(mock.patch.dict(os.environ, KDCOURSE_DEVICE=str(place), ACCELERATE_TORCH_DEVICE=str(place)))
        stack.enter_context(mock.patch.object(torch, "Generator", Generator))
        stack.enter_context(mock.patch.object(torch.accelerator, "synchronize", lambda device=None: None))
        # On this thread, so that a wait is known by its line, and for the device 1, for which PyTorch starts no thread.
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        # Parameters stay the same objects when a module moves, as they do between a CPU and a GPU.
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, False)
        torch.__future__.set_swap_module_params_on_conversion(True)
        yield place


@cache
def _register() -> list[torch.library.Library]:
    """Make the device known to PyTorch, once in a process. What is returned must live on, or PyTorch forgets it."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Backend())
    kernels, autocast = (torch.library.Library("aten", "IMPL") for _ in range(2))
    kernels.impl("_copy_from", _copy_from, "PrivateUse1")
    for name in FACTORIES:
        packet, overload = name.split(".")
        operator = getattr(getattr(torch.ops.aten, packet), overload)
        kernels.impl(name.removesuffix(".default"), partial(_made, operator), "PrivateUse1")
    for name in IN_HALF_THE_BITS:
        autocast.impl(name, partial(_in_half_the_bits, getattr(torch.ops.aten, name).default), "AutocastPrivateUse1")
    others = torch.library.Library("_", "IMPL", "AutocastPrivateUse1")
    others.fallback(torch.library.fallthrough_kernel)
    return [kernels, autocast, others]


def _made(operator, *args, device=None, **kwargs) -> Tensor:
    """A factory of the device's: made by the CPU's."""
    return SecondTensor(operator(*args, **kwargs, device="cpu"), _with_index(device))


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    """How PyTorch itself copies, within `torch.tensor` for instance, past `__torch_dispatch__`."""
    _held(target).copy_(_held(source))
    if source.numel() and not non_blocking:
        _count_wait()
    return target


def _in_half_the_bits(operator, *args, **kwargs):
    """An operator under autocast: its inputs are rounded, and it is called again without."""

    def rounded(part):
        return part.to(torch.get_autocast_dtype(NAME)) if isinstance(part, Tensor) and part.is_floating_point() else part

    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
        args, kwargs = tree_map(rounded, (args, kwargs))
        return operator(*args, **kwargs)


def _run(operator, args: tuple, kwargs: dict):
    """One operator: the CPU computes it, under a GPU's rules."""
    name = operator.overloadpacket.__name__
    tensors = [part for part in tree_leaves((args, kwargs)) if isinstance(part, Tensor)]
    place = _place_of_result(name, args, kwargs, tensors)
    _check(name, args, kwargs, tensors, place)
    if _waits(name, args, kwargs, tensors, place):
        _count_wait()
    held_args, held_kwargs = tree_map(_held, (args, kwargs))
    if "device" in kwargs:
        held_kwargs["device"] = torch.device("cpu")
    found = operator(*held_args, **held_kwargs)
    if place.type != NAME:
        # A tensor that leaves the device shares no memory with it.
        return found.clone() if name == "_to_copy" else found
    # A view of a tensor from outside of inference mode is none of its own.
    outside = operator.is_view and not args[0].is_inference()
    with torch.inference_mode(False) if outside else nullcontext():
        found = tree_map(lambda part: SecondTensor(part, place) if isinstance(part, Tensor) else part, found)
    if operator.is_view or operator._schema.is_mutable:
        found = return_and_correct_aliasing(operator, args, kwargs, found)
    if any(part.shape != _held(part).shape for part in tensors):
        raise NotImplementedError(f"{NAME} cannot give {name} an out= of another size")
    return found


def _place_of_result(name: str, args: tuple, kwargs: dict, tensors: list[Tensor]) -> torch.device:
    if kwargs.get("device") is not None:
        return _with_index(kwargs["device"])
    if name in COPIES | INDEXING:
        return args[0].device
    return next(part.device for part in tensors if isinstance(part, SecondTensor))


def _check(name: str, args: tuple, kwargs: dict, tensors: list[Tensor], place: torch.device) -> None:
    """Raise as CUDA does where tensors of two devices meet, or a generator is another device's."""
    generator = kwargs.get("generator")
    if generator is not None and not any(generator._cdata == ours._cdata for ours in _generators):
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found '{generator.device.type}'")
    if name in COPIES:
        return
    if name in INDEXING:
        _check_indices(args[0], [part for part in args[1] if part is not None])
        tensors = [part for part in (args[0], *args[2:3])]
    # A single number of the CPU's may join tensors of any device.
    places = {str(part.device): None for part in tensors if part.dim() or part.device.type != "cpu"}
    if len(places) > 1:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {' and '.join(places)}! ({name})"
        )


def _check_indices(indexed: Tensor, indices: list[Tensor]) -> None:
    if any(part.device not in (indexed.device, torch.device("cpu")) for part in indices):
        raise RuntimeError(
            f"indices should be either on cpu or on the same device as the indexed tensor ({indexed.device})"
        )


def _waits(name: str, args: tuple, kwargs: dict, tensors: list[Tensor], place: torch.device) -> bool:
    if name in COPIES:
        crosses = len({part.device for part in tensors} | {place}) > 1 and tensors[-1].numel() > 0
        return crosses and not (kwargs.get("non_blocking") or args[2:3] == (True,))
    if name in INDEXING:
        return any(part is not None and (part.dtype == torch.bool or part.device.type == "cpu") for part in args[1])
    return name in READS


def _count_wait() -> None:
    """Under the innermost line of the package, else of whoever called."""
    frame = sys._getframe(2)
    while frame is not None and PACKAGE not in Path(frame.f_code.co_filename).parents:
        frame = frame.f_back
    waits["elsewhere" if frame is None else f"{Path(frame.f_code.co_filename).relative_to(PACKAGE)}:{frame.f_lineno}"] += 1


def _held(part):
    return part.held if isinstance(part, SecondTensor) else part


def _with_index(device: torch.device | str | None) -> torch.device:
    device = torch.device(NAME if device is None else device)
    return torch.device(NAME, device.index or 0) if device.type == NAME else device


def _refuse(dtype: torch.dtype) -> None:
    if dtype in _refused:
        raise TypeError(f"Cannot convert a tensor to {dtype} on {NAME}, which has no such numbers")
