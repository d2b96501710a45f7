"""Argument checks that all losses share: an error names the argument, what came and what is accepted."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_trusted = ContextVar("trusted", default=False)


@contextmanager
def trusted(looked_at: bool = True) -> Iterator[None]:
    """Within it tensors are taken as they are: for a training loop that has looked at its first batch, and at all labels.

    looked_at: False changes nothing. Numbers such as a temperature are looked at all the same.
    """
    before = _trusted.set(looked_at or _trusted.get())
    try:
        yield
    finally:
        _trusted.reset(before)


def as_logits(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Two (N, C) tensors of one shape, at least float32, the teacher cut off from the graph."""
    return _as_pair(student, teacher, 2, "logits (N, C)")


def as_token_logits(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """The same for (N, L, V)."""
    return _as_pair(student, teacher, 3, "token logits (N, L, V)")


def _as_pair(student: Tensor, teacher: Tensor, dimensions: int, wanted: str) -> tuple[Tensor, Tensor]:
    if not _trusted.get():
        for name, tensor in (("student", student), ("teacher", teacher)):
            check_tensor(name, tensor)
            if tensor.ndim != dimensions or 0 in tensor.shape:
                raise ValueError(f"{name} must be {wanted}, got shape {tuple(tensor.shape)}")
            check_no_nan(name, tensor)
        check_same_shape(student, teacher)
    return at_least_float32(student), at_least_float32(teacher).detach()


def as_features(name: str, tensor: Tensor, *, maps: bool = False) -> Tensor:
    """A tensor with a batch dimension, at least float32; `maps`: it must be (N, C, H, W)."""
    if _trusted.get():
        return at_least_float32(tensor)
    check_tensor(name, tensor)
    if (maps and tensor.ndim != 4) or tensor.ndim < 2 or 0 in tensor.shape:
        wanted = "feature maps (N, C, H, W)" if maps else "features (N, …)"
        raise ValueError(f"{name} must be {wanted}, got shape {tuple(tensor.shape)}")
    check_no_nan(name, tensor)
    return at_least_float32(tensor)


def as_feature_pair(student: Tensor, teacher: Tensor, *, maps: bool = False) -> tuple[Tensor, Tensor]:
    """Features of the same pictures in both networks, the teacher's cut off from the graph."""
    student, teacher = as_features("student", student, maps=maps), as_features("teacher", teacher, maps=maps).detach()
    if len(student) != len(teacher):
        raise ValueError(f"student and teacher must hold the same pictures, got {len(student)} and {len(teacher)}")
    return student, teacher


def as_equal_features(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Features of one shape, the teacher's cut off from the graph."""
    student, teacher = as_feature_pair(student, teacher)
    check_same_shape(student, teacher, "a Regressor brings the student's to the teacher's")
    return student, teacher


def as_embeddings(
    student: Tensor, teacher: Tensor, *, least: int = 2, same_width: bool = False
) -> tuple[Tensor, Tensor]:
    """Two (N, D) tensors of the same pictures, flattened where they are maps, at least float32, the teacher cut off.

    least: how few pictures will do. same_width: both must have one D.
    """
    student, teacher = (side.flatten(1) for side in as_feature_pair(student, teacher))
    if len(student) < least:
        raise ValueError(f"student and teacher must hold at least {least} pictures to relate, got {len(student)}")
    if same_width:
        check_same_shape(student, teacher, "a linear layer brings the student's to the teacher's")
    return student, teacher


def check_mask(mask: Tensor, shape) -> Tensor:
    """A mask (N, L) of real tokens, as numbers; at least one token is real."""
    if not isinstance(mask, Tensor) or mask.shape != tuple(shape):
        raise ValueError(f"mask must be a tensor (N, L) of shape {tuple(shape)}, got {_kind(mask)}")
    if mask.device.type == "cpu" and not mask.any():
        raise ValueError("mask must let at least one token count, got none")
    return mask.to(torch.float32)


def check_tensor(name: str, tensor: object) -> None:
    if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
        raise ValueError(f"{name} must be a floating-point tensor, got {_kind(tensor)}")


def check_same_shape(student: Tensor, teacher: Tensor, advice: str = "") -> None:
    if student.shape != teacher.shape:
        shapes = f"{tuple(student.shape)} and {tuple(teacher.shape)}"
        raise ValueError(f"student and teacher must have one shape, got {shapes}" + (advice and f"; {advice}"))


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision widened: logarithms of small probabilities need the digits."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def check_labels(labels: Tensor, logits: Tensor) -> None:
    """Labels are (N,) int64 within the classes of `logits`."""
    if _trusted.get():
        return
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != logits.shape[:1]:
        raise ValueError(f"labels must be int64 of shape ({len(logits)},), got {_kind(labels)}")
    # Reading a value back makes a GPU wait, so values are looked at on the CPU only.
    if labels.device.type == "cpu" and len(labels):
        check_classes(labels, logits.shape[1])


def check_classes(labels: Tensor, classes: int) -> None:
    """Labels are from 0 to classes − 1. Reads them back, on a GPU too."""
    low, high = (int(value) for value in labels.aminmax())
    if low < 0 or high >= classes:
        raise ValueError(f"labels must be from 0 to {classes - 1}, got values from {low} to {high}")


def check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value}")


def check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be within [0, 1], got {value}")


def check_weight(name: str, value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{name} must be 0 or more, got {value}")


def check_no_nan(name: str, tensor: Tensor) -> None:
    # As with labels: cheap on the CPU, a wait on a GPU. A sum is NaN where a value is, and one pass; few others are NaN.
    if tensor.device.type == "cpu" and math.isnan(tensor.detach().sum()) and tensor.isnan().any():
        raise ValueError(f"{name} must not hold NaN, got {int(tensor.isnan().sum())} of {tensor.numel()} values")


def _kind(thing: object) -> str:
    if isinstance(thing, Tensor):
        return f"a {str(thing.dtype).removeprefix('torch.')} tensor of shape {tuple(thing.shape)}"
    return type(thing).__name__
