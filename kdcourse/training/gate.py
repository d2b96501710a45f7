"""One look at what a run is given, before anything trains: an error names the argument, what came, and what is accepted."""

import inspect
import math
from collections.abc import Sequence
from numbers import Real

import torch
from torch import nn

from kdcourse.data.splits import check_split
from kdcourse.methods import Method
from kdcourse.system.arguments import check_model, whole_number
from kdcourse.training.cache import TeacherCache


def check_run(
    student, split, method, teacher, steps, batch_size, learning_rate, weight_decay, augment=None
) -> tuple[int, int]:
    """Steps and batch size, as Python's own numbers. Raises `ValueError` for arguments of `train` that cannot be meant."""
    check_model("student", student)
    if not any(parameter.requires_grad for parameter in student.parameters()):
        raise ValueError(
            "student has no weight that can learn: it has none, or all are frozen (requires_grad is False)"
        )
    if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
        raise ValueError("student cannot learn here: train was called within torch.no_grad() or torch.inference_mode()")
    check_split(split)
    _check_method(method)
    steps, batch_size = (
        whole_number("steps", steps),
        whole_number("batch_size", batch_size, least=1 + method.relates_examples),
    )
    if not isinstance(learning_rate, Real) or not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be a finite number above 0, got {learning_rate!r}")
    if not isinstance(weight_decay, Real) or not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay must be a finite number of at least 0, got {weight_decay!r}")
    if method.needs_labels and split.labels is None:
        raise ValueError(f"method {type(method).__name__} needs labels, but this split has none")
    if method.needs_teacher:
        _check_teacher(student, method, teacher)
    if augment is not None and isinstance(teacher, TeacherCache):
        raise ValueError(
            "augment changes the inputs at every step, so cached teacher logits would be out of step with them; "
            "train on data.augmented(split), whose views stay, or pass the teacher itself instead of a TeacherCache"
        )
    return steps, batch_size


def check_callbacks(callbacks: object) -> None:
    """Raise `ValueError` unless there are functions in a list or tuple."""
    if callable(callbacks):
        raise ValueError(
            f"callbacks must be a list of functions, got {type(callbacks).__name__} alone; put it in brackets"
        )
    if not isinstance(callbacks, Sequence) or not all(callable(one) for one in callbacks):
        raise ValueError(f"callbacks must be a list of functions, called after each step, got {callbacks!r}")


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
