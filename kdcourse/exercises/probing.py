"""What an answer does, looked at from outside: the values it returns, the gradients it leaves, and how it got there."""

import dis
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from kdcourse.system.generators import fork_rng

Probe = Callable[[Callable], Mapping[str, object]]
NOTHING_DONE = {"RESUME", "NOP", "LOAD_CONST", "RETURN_VALUE", "RETURN_CONST", "COPY_FREE_VARS"}


class NothingReturned(Exception):
    """The answer came to its end without a value."""


class Observed:
    """A function under probe, with what it was given, what it returned, and the error that it raised itself."""

    running = 0  # how many are at work now, one within another

    def __init__(self, function: Callable):
        self.function = function
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
        return self.returned[-1]


@contextmanager
def undisturbed() -> Iterator[None]:
    """Gradients are on within, and afterwards they are as before, as are the random numbers: an answer may switch and draw."""
    before = torch.is_grad_enabled()
    with fork_rng():
        torch.set_grad_enabled(True)
        try:
            yield
        finally:
            torch.set_grad_enabled(before)


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


def values(answer: Callable, cases: list[tuple]) -> dict[str, object]:
    """What `answer` returns for each case, each with arguments of its own, and whether it changed them."""
    found: dict[str, object] = {}
    for number, case in enumerate(cases, start=1):
        own = tuple(given.clone() if isinstance(given, Tensor) else given for given in case)
        found[f"case {number}"] = filled(answer(*own))
        changed = any(isinstance(a, Tensor) and not torch.equal(a, b) for a, b in zip(own, case, strict=True))
        found[f"arguments changed in case {number}"] = changed
    return found


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
