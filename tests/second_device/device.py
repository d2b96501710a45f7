"""A second device that no machine needs to have: its tensors lie in the CPU's memory and behave as a GPU's do.

`torch.device("second:0")` is known to PyTorch, as a backend that is registered in Python: whatever makes tensors, moves them
or differentiates them takes it. What it computes is the CPU's, number by number. As CUDA does, it raises where tensors of two
devices meet, where NumPy asks for one of its tensors, and where one of them indexes a tensor that lies elsewhere.
It does not see a generator of its own that is given to the CPU.
"""

import os
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from functools import cache, partial
from threading import Thread
from unittest import mock
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils import backend_registration
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_map

from tests.second_device import rules
from tests.second_device.rules import NAME

# What makes tensors from nothing; all else that does goes through these.
FACTORIES = ("empty.memory_format", "empty_strided.default", "arange.default", "arange.start", "arange.start_step")
FACTORIES += ("eye.default", "eye.m", "tril_indices.default", "triu_indices.default")
# What autocast computes in half the bits, on CUDA too, as far as the course asks for it.
IN_HALF_THE_BITS = ("addmm", "baddbmm", "bmm", "conv1d", "conv2d", "linear", "matmul", "mm")

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

    def quantile(self, *args, **kwargs):
        # PyTorch ranks in float64 on CUDA; an Apple GPU, which has none, is taken to have a way of its own.
        return SecondTensor(self.held.quantile(*tree_map(_held, args), **tree_map(_held, kwargs)), self.device)

    def tolist(self):
        return self.cpu().tolist()

    def new_tensor(self, data, **settings):
        # PyTorch would take the first device.
        return torch.tensor(data, **{"dtype": self.dtype, "device": self.device, **settings})

    def __deepcopy__(self, memo):
        made = self.detach().clone().requires_grad_(self.requires_grad)
        return memo.setdefault(id(self), nn.Parameter(made) if isinstance(self, nn.Parameter) else made)

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


class _Backend(getattr(backend_registration, "_DummyBackendModule", object)):
    """What `torch.second` answers. index: which of the two is current, None outside of `present`."""

    index: int | None = None

    def is_available(self) -> bool:
        return self.index is not None

    def current_device(self) -> int:
        return self.index

    def device_count(self) -> int:
        return 2 if self.is_available() else 0

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [dtype for dtype in (torch.bfloat16, torch.float16) if dtype not in _refused]


class _Hook(getattr(backend_registration, "_DummyPrivateUse1Hook", object)):
    def is_available(self) -> bool:
        return _BACKEND.is_available()


_BACKEND = _Backend()


@contextmanager
def present(*, index: int = 0, without: Collection[torch.dtype] = ()) -> Iterator[torch.device]:
    """The device, which the course takes for its own within the block.

    index: which of the two, as in cuda:1. without: what it cannot hold: float64 makes it an Apple GPU, bfloat16 a T4.
    Skips the test where PyTorch is too old to know a backend that is written in Python, as the oldest that the course allows.
    """
    if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
        import pytest

        pytest.skip(f"PyTorch {torch.__version__} knows no backend that is written in Python")
    _register()
    place = torch.device(NAME, index)
    rules.waits.clear()
    _refused.update(without)
    with ExitStack() as stack:
        stack.callback(_refused.clear)
        stack.enter_context(mock.patch.object(_BACKEND, "index", index))
        stack.enter_context(mock.patch.dict(os.environ, KDCOURSE_DEVICE=str(place), ACCELERATE_TORCH_DEVICE=str(place)))
        stack.enter_context(mock.patch.object(torch, "Generator", Generator))
        stack.enter_context(mock.patch.object(torch.accelerator, "synchronize", lambda device=None: rules.count_wait()))
        # Backward on the thread that asks: a wait is known by its line, and PyTorch starts no thread for the device 1.
        stack.enter_context(torch.autograd.set_multithreading_enabled(False))
        stack.enter_context(mock.patch.object(Thread, "run", _with_own_backward(Thread.run)))
        # Parameters stay the same objects when a module moves, as they do between a CPU and a GPU.
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, False)
        torch.__future__.set_swap_module_params_on_conversion(True)
        yield place


def _with_own_backward(run: Callable[[Thread], None]) -> Callable[[Thread], None]:
    return lambda thread: torch.autograd.set_multithreading_enabled(False)(run)(thread)


@cache
def _register() -> list[torch.library.Library]:
    """Make the device known to PyTorch, once in a process. What is returned must live on, or PyTorch forgets it."""
    backend_registration._setup_privateuseone_for_python_backend(NAME, _BACKEND, _Hook())
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
        rules.count_wait()
    return target


def _in_half_the_bits(operator, *args, **kwargs):
    """An operator under autocast: its inputs are rounded, and it is called again without."""

    def rounded(part):
        wide = isinstance(part, Tensor) and part.is_floating_point()
        return part.to(torch.get_autocast_dtype(NAME)) if wide else part

    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)):
        args, kwargs = tree_map(rounded, (args, kwargs))
        return operator(*args, **kwargs)


def _run(operator, args: tuple, kwargs: dict):
    """One operator: the CPU computes it, under a GPU's rules."""
    name = operator.overloadpacket.__name__
    tensors: list[Tensor] = []
    _each(lambda part: isinstance(part, Tensor) and tensors.append(part), (*args, *kwargs.values()))
    place = _place_of_result(name, args, kwargs, tensors)
    _check_generator(kwargs.get("generator"))
    rules.check(name, args, tensors)
    if rules.makes_host_wait(name, args, kwargs, tensors, place):
        rules.count_wait()
    held_args, held_kwargs = _each(_held, args), {key: _each(_held, part) for key, part in kwargs.items()}
    if "device" in kwargs:
        held_kwargs["device"] = torch.device("cpu")
    found = operator(*held_args, **held_kwargs)
    if place.type != NAME:
        # A tensor that leaves the device shares no memory with it.
        return found.clone() if name == "_to_copy" else found
    # A view of a tensor from outside of inference mode is none of its own.
    outside = operator.is_view and not args[0].is_inference()
    with torch.inference_mode(False) if outside else nullcontext():
        found = _each(lambda part: SecondTensor(part, place) if isinstance(part, Tensor) else part, found)
    if operator.is_view or operator._schema.is_mutable:
        found = return_and_correct_aliasing(operator, args, kwargs, found)
    if any(part.shape != _held(part).shape for part in tensors):
        raise NotImplementedError(f"{NAME} cannot give {name} an out= of another size")
    return found


def _each(function: Callable, part):
    """A function of every part of what an operator takes or gives, which nests in lists and tuples alone."""
    return type(part)([_each(function, one) for one in part]) if isinstance(part, list | tuple) else function(part)


def _place_of_result(name: str, args: tuple, kwargs: dict, tensors: list[Tensor]) -> torch.device:
    if kwargs.get("device") is not None:
        return _with_index(kwargs["device"])
    if name in rules.COPIES | rules.INDEXING:
        return args[0].device
    return next(part.device for part in tensors if isinstance(part, SecondTensor))


def _check_generator(generator: torch.Generator | None) -> None:
    if generator is not None and not any(generator._cdata == ours._cdata for ours in _generators):
        raise RuntimeError(f"Expected a '{NAME}' device type for generator but found '{generator.device.type}'")


def _held(part):
    return part.held if isinstance(part, SecondTensor) else part


def _with_index(device: torch.device | str | None) -> torch.device:
    device = torch.device(device or NAME)
    if device.type == NAME and device.index is None:
        return torch.device(NAME, _BACKEND.current_device())
    return device


def _refuse(dtype: torch.dtype) -> None:
    if dtype in _refused:
        raise TypeError(f"Cannot convert a tensor to {dtype} on {NAME}, which has no such numbers")
