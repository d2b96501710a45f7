"""Argument checks that all losses share: an error names the argument, what came and what is accepted."""

import torch
from torch import Tensor


def as_logits(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Two (N, C) tensors of one shape, at least float32, the teacher cut off from the graph."""
    for name, tensor in (("student", student), ("teacher", teacher)):
        if not isinstance(tensor, Tensor) or not tensor.is_floating_point():
            raise ValueError(f"{name} must be a floating-point tensor, got {_kind(tensor)}")
        if tensor.ndim != 2 or 0 in tensor.shape:
            raise ValueError(f"{name} must be logits (N, C), got shape {tuple(tensor.shape)}")
        _refuse_nan(name, tensor)
    if student.shape != teacher.shape:
        raise ValueError(
            f"student and teacher must have one shape (N, C), got {tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    return at_least_float32(student), at_least_float32(teacher).detach()


def at_least_float32(tensor: Tensor) -> Tensor:
    """Half precision widened: logarithms of small probabilities need the digits."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def check_labels(labels: Tensor, logits: Tensor) -> None:
    """Labels are (N,) int64 within the classes of `logits`."""
    if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != logits.shape[:1]:
        raise ValueError(f"labels must be int64 of shape ({len(logits)},), got {_kind(labels)}")
    # Reading a value back makes a GPU wait, so values are looked at on the CPU only.
    if labels.device.type == "cpu" and not ((labels >= 0) & (labels < logits.shape[1])).all():
        raise ValueError(
            f"labels must be from 0 to {logits.shape[1] - 1}, got values from {labels.min()} to {labels.max()}"
        )


def check_positive(name: str, value: float) -> None:
    if not value > 0:
        raise ValueError(f"{name} must be above 0, got {value}")


def check_share(name: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise ValueError(f"{name} must be within [0, 1], got {value}")


def check_weight(name: str, value: float) -> None:
    if not value >= 0:
        raise ValueError(f"{name} must be 0 or more, got {value}")


def _refuse_nan(name: str, tensor: Tensor) -> None:
    # As with labels: cheap on the CPU, a wait on a GPU.
    if tensor.device.type == "cpu" and tensor.isnan().any():
        raise ValueError(f"{name} must not hold NaN, got {int(tensor.isnan().sum())} of {tensor.numel()} values")


def _kind(thing: object) -> str:
    if isinstance(thing, Tensor):
        return f"a {str(thing.dtype).removeprefix('torch.')} tensor of shape {tuple(thing.shape)}"
    return type(thing).__name__
