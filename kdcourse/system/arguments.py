"""Looks at arguments that all rooms share: an error names the argument, what came and what is accepted."""

import inspect
from itertools import chain
from numbers import Integral

from torch import Tensor, nn


def whole_number(name: str, value: object, least: int | None = 1, most: int | None = None) -> int:
    """The value, NumPy's numbers too, as Python's own. Raises `ValueError` for another kind of thing and beyond the bounds."""
    is_whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not is_whole or (least is not None and value < least) or (most is not None and value > most):
        bounds = f" from {least} to {most}" if most is not None else "" if least is None else f" of at least {least}"
        raise ValueError(f"{name} must be a whole number{bounds}, got {value!r}")
    return int(value)


def check_model(name: str, model: object, accepted: str = "a model") -> None:
    """Raise `ValueError` for what is no `nn.Module`: a class, a function that builds one, logits."""
    if isinstance(model, nn.Module):
        if any(one.is_meta for one in chain(model.parameters(), model.buffers())):
            raise ValueError(f"{name} lies on the device meta, where shapes have no values: load its weights first")
        return
    if inspect.isclass(model):
        raise ValueError(f"{name} must be {accepted}, got the class {model.__name__}; write {model.__name__}(...)")
    if inspect.isroutine(model):
        raise ValueError(
            f"{name} must be {accepted}, got the function {model.__name__}; call it, and give what it returns"
        )
    if isinstance(model, Tensor):
        raise ValueError(f"{name} must be {accepted}, got a tensor of shape {tuple(model.shape)}")
    raise ValueError(f"{name} must be {accepted}, got {type(model).__name__}")
