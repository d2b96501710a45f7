"""Every loss of the course: pure functions of tensors, student first."""

from kdcourse.losses.response import (
    correlation,
    decoupled,
    distillation,
    ensemble_target,
    logit_mse,
    soft_target,
    standardized_soft_target,
)

__all__ = [
    "correlation",
    "decoupled",
    "distillation",
    "ensemble_target",
    "logit_mse",
    "soft_target",
    "standardized_soft_target",
]
