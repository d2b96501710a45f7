"""Targets that stay: what a cached teacher and the labels ask of a student, worked out once for a whole run.

Soft and hard targets are of one kind, KL divergences from distributions that never change. All but the student's part is
known before the first step, so that a step of distillation costs hardly more than one with labels alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from kdcourse.losses.checks import as_logits, at_least_float32, check_labels, check_positive

if TYPE_CHECKING:
    from kdcourse.methods.base import Method


@dataclass(frozen=True)
class Target:
    """One term of a loss: weight · KL(probabilities ‖ softmax(student / temperature)), its mean over the examples.

    probabilities: of all examples, (n, C); rows sum to 1. temperature: above 0. weight: what the term counts.
    """

    probabilities: Tensor
    temperature: float = 1.0
    weight: float = 1.0

    @classmethod
    def soft(cls, teacher: Tensor, temperature: float) -> "Target":
        """What `losses.soft_target` compares with: teacher's logits (n, C), softened. Raises as that does."""
        _, teacher = as_logits(teacher, teacher)
        check_positive("temperature", temperature)
        return cls((teacher / temperature).softmax(dim=1), temperature, temperature**2)

    @classmethod
    def hard(cls, labels: Tensor, teacher: Tensor) -> "Target":
        """What cross-entropy compares with: labels (n,) as certainties over the classes of teacher (n, C)."""
        check_labels(labels, teacher)
        return cls(F.one_hot(labels, teacher.shape[1]).to(at_least_float32(teacher).dtype))

    def times(self, weight: float) -> "Target":
        return replace(self, weight=self.weight * weight)


class FixedTargets:
    """The sum of such terms, called with a batch's logits (N, C) and its examples' positions (N,): a scalar.

    Raises `ValueError` for logits over other classes.
    """

    def __init__(self, targets: Sequence[Target]):
        self.wanted = torch.stack([target.weight * target.probabilities for target in targets], dim=1)
        self.known = -sum(target.weight * torch.special.entr(target.probabilities).sum(1) for target in targets)
        numbers = [(target.weight, 1 / target.temperature) for target in targets]
        self.weights, self.colder = self.wanted.new_tensor(numbers).T.unsqueeze(2)

    @classmethod
    def of(cls, method: "Method", teacher_logits: object, labels: Tensor | None) -> "FixedTargets | None":
        """A method's, for all examples; None where it has none, or where the answers (n, C) are no tensor in memory."""
        targets = method.targets(teacher_logits, labels) if isinstance(teacher_logits, Tensor) else []
        return cls(targets) if targets else None

    def __call__(self, logits: Tensor, index: Tensor) -> Tensor:
        if logits.shape[1:] != self.wanted.shape[2:]:
            raise ValueError(
                f"student must answer for {self.wanted.shape[2]} classes, got logits {tuple(logits.shape)}"
            )
        wanted, known = self.wanted.index_select(0, index), self.known.index_select(0, index)
        return _Divergence.apply(at_least_float32(logits), wanted, known, self.weights, self.colder)


class _Divergence(torch.autograd.Function):
    """The mean over examples of Σ weight · Σ p (log p − log q), and its gradient Σ weight · (q − p) / T: two thirds of the calls
    that automatic differentiation makes. Source of the gradient: Hinton, Vinyals, Dean (2015), eq. 2.

    logits: (N, C). wanted: weight · p, (N, terms, C). known: Σ weight · Σ p log p, (N,). weights, colder: 1 / T, (terms, 1).
    """

    @staticmethod
    def forward(ctx, logits: Tensor, wanted: Tensor, known: Tensor, weights: Tensor, colder: Tensor) -> Tensor:
        # (C, terms, N): classes first, a CPU takes many examples at a time and wakes no second thread for so little.
        log_q, wanted = (logits.t().unsqueeze(1) * colder).log_softmax(dim=0), wanted.permute(2, 1, 0)
        loss = (known - (wanted * log_q).sum(dim=(0, 1))).mean()
        apart = log_q.exp_().mul_(weights).sub_(wanted)
        ctx.save_for_backward(apart.mul_(colder / len(logits)).sum(dim=1).t())
        return loss

    @staticmethod
    @once_differentiable
    def backward(ctx, upstream: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return gradient * upstream, None, None, None, None
