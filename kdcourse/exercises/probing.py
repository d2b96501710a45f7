"""What an answer does, looked at from outside: the values it returns, the gradients it leaves, and how it got there."""

import copy
import dis
import inspect
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from kdcourse.system.generators import fork_rng

Probe = Callable[[Callable], Mapping[str, object]]
NOTHING_DONE = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "COPY_FREE_VARS"}


class NothingReturned(Exception):
    """The answer came to its end without a value."""


class NotJudged(Exception):
    """The answer did what no check can judge; its text says what to do instead."""


def as_tensor(value: object) -> Tensor | None:
    """Numbers in whatever form: a tensor, an array, a number, lists of these. None for what is none of them.

    NumPy's doubles become PyTorch's default: the labs go on computing with them beside networks' outputs.
    """
    if isinstance(value, np.ndarray | np.generic) and value.dtype == np.float64:
        value = value.astype(np.float32)
    try:
        if isinstance(value, list | tuple) and any(isinstance(part, Tensor) for part in value):
            value = torch.stack([torch.as_tensor(part) for part in value])
        tensor = torch.as_tensor(value)
        return None if tensor.is_complex() else tensor
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None


class Observed:
    """A function under probe, with what it was given, what it returned, and the error that it raised itself."""

    running = 0  # how many are at work now, one within another

    def __init__(self, function: Callable):
        self.function = self.__wrapped__ = function  # so that its signature is that of the function
        self.arguments: list[tuple] = []
        self.returned: list[object] = []
        self.error: Exception | None = None

    def __call__(self, *args, **kwargs):
        self.arguments.append((*args, *kwargs.values()))
        Observed.running += 1
        try:
            self.returned.append(self.function(*args, **kwargs))
        except Exception as error:
            self.error = error
            raise
        finally:
            Observed.running -= 1
        if unreadable := _unreadable(self.returned[-1]):
            raise NotJudged(f"Your function returns {unreadable}.")
        return self.returned[-1]


def _unreadable(result: object) -> str:
    """What kind of tensor a result is or holds that has no plain numbers, and what makes it plain; "" for all others."""
    if isinstance(result, dict | list | tuple):
        parts = result.values() if isinstance(result, dict) else result
        return next((found for part in parts if (found := _unreadable(part))), "")
    if not isinstance(result, Tensor):
        return ""
    if result.is_nested:
        return "a nested tensor, and a plain one is wanted: torch.stack what has one shape"
    if result.layout is not torch.strided:
        return "a sparse tensor, and a plain one is wanted: .to_dense()"
    if result.is_quantized:
        return "a quantised tensor, and a plain one is wanted: .dequantize()"
    return (
        "a tensor on the meta device, which holds no numbers: compute where the arguments are" if result.is_meta else ""
    )


@contextmanager
def undisturbed() -> Iterator[None]:
    """Gradients are on within; afterwards they, the random numbers and the default type are as before: an answer may switch."""
    before, dtype = torch.is_grad_enabled(), torch.get_default_dtype()
    with fork_rng(), _kept_alive():
        torch.set_grad_enabled(True)
        try:
            yield
        finally:
            torch.set_grad_enabled(before)
            torch.set_default_dtype(dtype)


@contextmanager
def _kept_alive() -> Iterator[None]:
    """A notebook's own quit() ends its kernel; within, it raises `SystemExit` as Python's does."""
    from IPython import get_ipython

    shell = get_ipython()
    if shell is None:
        yield
        return
    shell.ask_exit = sys.exit  # hides the class's own method until it is taken away again
    try:
        yield
    finally:
        vars(shell).pop("ask_exit", None)


class Heard(TorchFunctionMode):
    """The names of PyTorch's functions that are called meanwhile."""

    def __init__(self):
        super().__init__()
        self.names: set[str] = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.names.add(getattr(func, "__name__", ""))
        return func(*args, **(kwargs or {}))


def is_blank(answer: Callable) -> bool:
    """Whether a stub still stands: nothing but `...`, `pass` or a docstring. Of a class, whether one of its methods is such."""
    if inspect.isclass(answer):
        return any(is_blank(method) for method in vars(answer).values() if inspect.isfunction(method))
    code = getattr(answer, "__code__", None)
    if code is None:
        return False
    steps = list(dis.get_instructions(code))
    returned = [step.argval for step in steps if step.opname in ("LOAD_CONST", "RETURN_CONST")]
    return {step.opname for step in steps} <= NOTHING_DONE and returned[-1] in (None, Ellipsis)


def values(answer: Callable, cases: list[tuple], *, learns: bool = False) -> dict[str, object]:
    """What `answer` returns for each case, each with arguments of its own, and whether it changed them.

    learns: whether a loss is to be made of it, so that the gradient with respect to the first argument is looked at too.
    """
    found: dict[str, object] = {}
    for number, case in enumerate(cases, start=1):
        own = copy.deepcopy(case)
        found[f"case {number}"] = filled(answer(*own))
        kept = [torch.equal(a, b) if isinstance(b, Tensor) else a == b for a, b in zip(own, case, strict=True)]
        found[f"arguments changed in case {number}"] = not all(kept)
    for number, case in enumerate(cases if learns else (), start=1):
        result = found[f"case {number}"]  # an array has no gradient, and would raise at an argument that has one
        tensors = any(isinstance(part, Tensor) for part in (result if isinstance(result, list | tuple) else [result]))
        found[f"gradient in case {number}"] = _gradient(answer, case) if tensors else None
    return found


def _gradient(answer: Callable, case: tuple) -> Tensor | None:
    """Of a weighted sum of all that is returned, with respect to the first argument; None where no way leads back to it."""
    first, *more = copy.deepcopy(case)
    result = as_tensor(answer(first.requires_grad_().clone(), *more))
    if result is None or not result.requires_grad:
        return None
    weights = torch.linspace(1, 2, result.numel()).view_as(result)
    return torch.autograd.grad((result * weights).sum(), first, allow_unused=True)[0]


def gradients(answer: Callable, cases: list[tuple], **settings) -> dict[str, object]:
    """For losses of (student, teacher, ...): the value, the student's gradient, and whether the teacher got one."""
    found: dict[str, object] = {}
    for number, (*pair, rest) in enumerate(((*case[:2], case[2:]) for case in cases), start=1):
        student, teacher = (side.clone().requires_grad_() for side in pair)
        # As a network gives them, so that an operation in place is no error; and nothing that another check will use again.
        given = [side.clone() for side in (student, teacher)]
        more = [one.clone() if isinstance(one, Tensor) else one for one in rest]
        own = {name: one.clone() if isinstance(one, Tensor) else one for name, one in settings.items()}
        loss = filled(answer(*given, *more, **own))
        found[f"loss in case {number}"] = loss
        if not isinstance(loss, Tensor) or loss.ndim:
            continue
        if loss.requires_grad:
            loss.backward()
        found[f"student's gradient in case {number}"] = student.grad
        # Autograd leaves None where no path leads, and zeros where paths cancel.
        reached = teacher.grad is not None and bool(teacher.grad.abs().max() > 0)
        found[f"gradient into the teacher in case {number}"] = reached
        before, after = [*pair, *rest, *settings.values()], [*given, *more, *own.values()]
        kept = [torch.equal(a, b) for a, b in zip(after, before, strict=True) if isinstance(a, Tensor)]
        found[f"arguments changed in case {number}"] = not all(kept)
    return found


def filled(result: object) -> object:
    """The result, or `NothingReturned` where there is none."""
    if result is None or result is Ellipsis:
        raise NothingReturned
    return result


def several(result: object) -> object:
    """A result that is to be taken apart. A dict, which would come apart into its names, raises `TypeError`."""
    if isinstance(result, dict):
        raise TypeError("a dict has names, and a tuple is wanted")
    return filled(result)
