"""One look at what a run is given, before anything trains: an error names the argument, what came, and what is accepted."""

import inspect
import math
from itertools import chain
from numbers import Integral, Real

import torch
from torch import Tensor, nn

from kdcourse.data.splits import Examples
from kdcourse.methods import Method
from kdcourse.training.cache import TeacherCache


def check_run(student, split, method, teacher, steps, batch_size, learning_rate, augment=None) -> tuple[int, int]:
    """Steps and batch size, as Python's own numbers. Raises `ValueError` for arguments of `train` that cannot be meant."""
    check_model("student", student)
    if not any(parameter.requires_grad for parameter in student.parameters()):
        raise ValueError(
            "student has no weight that can learn: it has none, or all are frozen (requires_grad is False)"
        )
    if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
        raise ValueError("student cannot learn here: train was called within torch.no_grad() or torch.inference_mode()")
    _check_split(split)
    _check_method(method)
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if not isinstance(value, Integral) or isinstance(value, bool) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if not isinstance(learning_rate, Real) or not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be a finite number above 0, got {learning_rate!r}")
    if method.needs_labels and split.labels is None:
        raise ValueError(f"method {type(method).__name__} needs labels, but this split has none")
    if method.needs_teacher:
        _check_teacher(student, method, teacher)
    if augment is not None and isinstance(teacher, TeacherCache):
        raise ValueError(
            "augment changes the inputs at every step, so cached teacher logits would be out of step with them; "
            "train on data.augmented(split), whose views stay, or pass the teacher itself instead of a TeacherCache"
        )
    return int(steps), int(batch_size)


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


def _check_split(split: object) -> None:
    if not isinstance(split, Examples):
        hint = ", such as data.train" if hasattr(split, "train") else ": give Split(inputs, labels)"
        raise ValueError(f"split must be a Split{hint}, got {type(split).__name__}")
    if len(split) == 0:
        raise ValueError("split is empty: there is nothing to learn from")


def _check_method(method: object) -> None:
    if inspect.isclass(method) and issubclass(method, Method):
        raise ValueError(f"method must be a Method, got the class {method.__name__}; write {method.__name__}()")
    if isinstance(method, nn.Module) and not isinstance(method, Method):
        raise ValueError(f"method must be a Method, got {type(method).__name__}; a teacher is given as teacher=")
    if not isinstance(method, Method):
        raise ValueError(f"method must be a Method, such as SoftTarget(), got {method!r}")


def _check_teacher(student: nn.Module, method: Method, teacher: object) -> None:
    if teacher is None:
        raise ValueError(f"method {type(method).__name__} needs a teacher: pass teacher=, a model or a TeacherCache")
    if isinstance(teacher, TeacherCache):
        teacher = teacher.teacher
    check_model("teacher", teacher, "a model or a TeacherCache")
    shared = {id(parameter) for parameter in student.parameters()} & {
        id(parameter) for parameter in teacher.parameters()
    }
    if shared:
        raise ValueError(
            f"student and teacher share {len(shared)} weights, and a frozen teacher's cannot learn: copy.deepcopy the one"
        )
