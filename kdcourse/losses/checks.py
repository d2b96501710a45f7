"""Argument checks that all losses share: an error names the argument, what came and what is accepted."""

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from numbers import Real

import torch
from torch import Tensor

# Of a temperature: below it logits leave float32's range, above it so small a divergence has no digits left in it.
COLDEST, HOTTEST = 1e-6, 1e5

LOGITS = {2: "(N, C)", 3: "(N, L, C)", 4: "(N, C, H, W)"}  # of examples, tokens and pixels, by their dimensions

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


def as_logits(
    student: Tensor,
    teacher: Tensor,
    mask: Tensor | None = None,
    *,
    dimensions: Collection[int] = tuple(LOGITS),
    may_rule_out: Collection[str] = (),
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Logits as rows (M, C), at least float32, the teacher's cut off from the graph, and each row's share (M,) of the mean.

    student, teacher: (N, C), (N, L, C) for tokens or (N, C, H, W) for pixels: a row for each example, token or pixel. mask:
    the same shape without C, true or 1 where a row counts; what stands elsewhere is set to 0. Without one the shares are None.
    dimensions: how many the logits may have. may_rule_out: who of "student" and "teacher" may hold −∞, the logit of a class
    that cannot be.
    """
    if not _trusted.get():
        for name, logits in (("student", student), ("teacher", teacher)):
            check_tensor(name, logits)
            if logits.ndim not in dimensions or 0 in logits.shape:
                accepted = " or ".join(LOGITS[count] for count in dimensions)
                raise ValueError(f"{name} must be logits {accepted}, got shape {tuple(logits.shape)}")
        check_same_shape(student, teacher)
    share = None
    if mask is not None:
        mask = check_mask(mask, without_classes(student.shape)).flatten()
        share = mask / mask.sum()
    rows = [as_rows(logits, mask) for logits in (student, teacher)]
    if not _trusted.get():
        for name, logits in zip(("student", "teacher"), rows, strict=True):
            check_no_nan(name, logits)
            if name not in may_rule_out:
                check_finite(name, logits)
    student = at_least_float32(rows[0])
    return student, rows[1].detach().to(student.dtype), share


def without_classes(shape: Sequence[int]) -> tuple[int, ...]:
    """The shape of logits less their classes: tokens have them last, examples and pixels second."""
    return tuple(shape[:2]) if len(shape) == 3 else (shape[0], *shape[2:])


def as_rows(logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """(N, C), (N, L, C) or (N, C, H, W) -> (M, C), with 0 in the rows where the mask (M,) has 0."""
    rows = logits if logits.ndim == 2 else (logits.movedim(1, -1) if logits.ndim == 4 else logits).flatten(0, -2)
    return rows if mask is None else rows.masked_fill(mask.unsqueeze(1) == 0, 0.0)


def mean_of_rows(values: Tensor, share: Tensor | None) -> Tensor:
    """The mean of one value a row (M,), each counting by its share; without shares all count alike."""
    return values.mean() if share is None else (values * share).sum()


def without_padding(tensor: Tensor, mask: Tensor) -> Tensor:
    """(N, L, D) with 0 wherever the mask (N, L) has 0: what stands there, NaN too, reaches neither value nor gradient."""
    return tensor.masked_fill(mask.unsqueeze(2) == 0, 0.0) if tensor.shape[:2] == mask.shape else tensor


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
    """A mask of what counts, (N, L) for tokens, as numbers; at least one counts."""
    if not isinstance(mask, Tensor) or mask.shape != tuple(shape):
        raise ValueError(f"mask must be a tensor of shape {tuple(shape)}, got {_kind(mask)}")
    if mask.device.type == "cpu":
        if not ((mask == 0) | (mask == 1)).all():
            raise ValueError(f"mask must hold 0 and 1, or false and true, got values from {mask.min()} to {mask.max()}")
        if not mask.any():
            raise ValueError("mask must let at least one row count, got none")
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


def check_labels(labels: Tensor, logits: Tensor, mask: Tensor | None = None) -> Tensor:
    """Labels (M,) for `as_rows` of these logits: int64, within the classes. 0 where the mask lets nothing count."""
    if not _trusted.get():
        shape = without_classes(logits.shape)
        if not isinstance(labels, Tensor) or labels.dtype != torch.int64 or labels.shape != shape:
            raise ValueError(f"labels must be int64 of shape {shape}, got {_kind(labels)}")
    rows = labels.flatten() if mask is None else labels.masked_fill(mask == 0, 0).flatten()
    # Reading a value back makes a GPU wait, so values are looked at on the CPU only.
    if not _trusted.get() and labels.device.type == "cpu" and len(rows):
        check_classes(rows, logits.shape[2 if logits.ndim == 3 else 1])
    return rows


def check_classes(labels: Tensor, classes: int) -> None:
    """Labels are from 0 to classes − 1. Reads them back, on a GPU too."""
    low, high = (int(value) for value in labels.aminmax())
    if low < 0 or high >= classes:
        advice = "; where no label counts, a loss takes mask=labels >= 0" if low == -100 else ""
        raise ValueError(
            f"labels must be from 0 to {classes - 1}, got values from {low} to {high}: the logits have {classes} classes{advice}"
        )


def check_temperature(temperature: float | Tensor) -> None:
    """A number from 1e-6 to 100,000. Beyond, take the limits: one-hot targets of the teacher, and `logit_mse`."""
    check_positive("temperature", temperature)
    if not isinstance(temperature, Tensor) and not COLDEST <= temperature <= HOTTEST:
        raise ValueError(
            f"temperature must be from {COLDEST:g} to {HOTTEST:g}, got {temperature}; logit_mse is its limit"
        )


def check_positive(name: str, value: float | Tensor) -> None:
    _check_number(name, value, "above 0", lambda number: number > 0)


def check_share(name: str, value: float | Tensor) -> None:
    _check_number(name, value, "within [0, 1]", lambda number: 0 <= number <= 1)


def check_weight(name: str, value: float | Tensor) -> None:
    _check_number(name, value, "0 or more", lambda number: number >= 0)


def _check_number(name: str, value: object, wanted: str, holds: Callable) -> None:
    if not isinstance(value, Real | Tensor):
        raise ValueError(f"{name} must be a number {wanted}, got {value!r}")
    if not holds(value) or (not isinstance(value, Tensor) and not math.isfinite(value)):
        raise ValueError(f"{name} must be {wanted}, got {value}")


def check_no_nan(name: str, tensor: Tensor) -> None:
    """Neither NaN nor +∞. −∞ passes: as a logit it rules out."""
    # As with labels: cheap on the CPU, a wait on a GPU. A sum shows at once that all is well, in one pass; few others do not.
    if tensor.device.type == "cpu" and not float(tensor.detach().sum()) < math.inf:
        wrong = tensor.isnan() | tensor.isposinf()
        if wrong.any():
            what = "NaN" if tensor.isnan().any() else "+infinity"
            raise ValueError(f"{name} must not hold {what}, got {int(wrong.sum())} of {tensor.numel()} values")


def check_not_probabilities(name: str, logits: Tensor) -> None:
    """Raise `ValueError` for rows that are a softmax's: they are between 0 and 1 and have the sum 1."""
    rows = as_rows(logits).float()
    if rows.shape[1] > 1 and bool(((rows >= 0) & ((rows.sum(dim=1, keepdim=True) - 1).abs() < 1e-3)).all()):
        raise ValueError(
            f"{name} must give logits, got probabilities: leave out its softmax, or take the logarithm of what it says"
        )


def check_finite(name: str, tensor: Tensor) -> None:
    if tensor.device.type == "cpu" and not math.isfinite(tensor.detach().sum()) and not tensor.isfinite().all():
        raise ValueError(
            f"{name} must be finite here, got {int((~tensor.isfinite()).sum())} infinite of {tensor.numel()} values"
        )


def _kind(thing: object) -> str:
    if isinstance(thing, Tensor):
        return f"a {str(thing.dtype).removeprefix('torch.')} tensor of shape {tuple(thing.shape)}"
    return type(thing).__name__
