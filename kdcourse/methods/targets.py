"""Targets that stay: what a cached teacher and the labels ask of a student, worked out once for a whole run.

Soft and hard targets are of one kind, KL divergences from distributions that never change. All but the student's part is
known before the first step, so that a step of distillation costs hardly more than one with labels alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from kdcourse.losses.checks import as_logits, at_least_float32, check_labels, check_positive

if TYPE_CHECKING:
    from kdcourse.methods.base import Method


TOGETHER = 2**18  # numbers: what is looked up at once, a part of a processor's cache


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
    """The sum of such terms over the batches of a run, called with one batch's logits (N, C) and its number: a scalar.

    targets: of all examples. order: (steps, N) positions, which examples each batch holds.
    Raises `ValueError` for logits over other classes.
    """

    def __init__(self, targets: Sequence[Target], order: Tensor):
        # Minus and over N, so that a step only multiplies and sums.
        share = -1 / order.shape[1]
        self.wanted = torch.stack([share * target.weight * target.probabilities for target in targets], dim=1)
        self.known = -sum(target.weight * torch.special.entr(target.probabilities).sum(1) for target in targets)
        self.colder = self.wanted.new_tensor([[1 / target.temperature] for target in targets])
        self.order = order
        self.together = max(1, TOGETHER // (order.shape[1] * self.wanted[0].numel()))
        self.part: int | None = None  # which of the batches, so many together, are looked up

    @classmethod
    def of(
        cls, method: "Method", teacher_logits: object, labels: Tensor | None, order: Tensor
    ) -> "FixedTargets | None":
        """A method's, for all examples; None where it has none, or where the answers (n, C) are no tensor in memory."""
        targets = method.targets(teacher_logits, labels) if isinstance(teacher_logits, Tensor) else []
        return cls(targets, order) if targets else None

    def __call__(self, logits: Tensor, number: int) -> Tensor:
        if logits.shape[1:] != self.wanted.shape[2:]:
            raise ValueError(
                f"student must answer for {self.wanted.shape[2]} classes, got logits {tuple(logits.shape)}"
            )
        part, within = divmod(number, self.together)
        if part != self.part:
            self.part, self.found = part, self._looked_up(part)
        wanted, known = self.found
        # (C, terms, N): classes first, a CPU takes many examples at a time and wakes no second thread for so little.
        log_q = (at_least_float32(logits).t().unsqueeze(1) * self.colder).log_softmax(dim=0)
        return known[within] + torch.dot(wanted[within].to(log_q.dtype), log_q.flatten())

    def _looked_up(self, part: int) -> tuple[Tensor, Tensor]:
        """Of so many batches: −weight · p / N, (batches, C · terms · N), and the means of Σ weight · p log p, (batches,)."""
        order = self.order[part * self.together : (part + 1) * self.together]
        wanted = self.wanted.index_select(0, order.flatten()).view(*order.shape, *self.wanted.shape[1:])
        known = self.known.index_select(0, order.flatten()).view_as(order)
        return wanted.permute(0, 3, 2, 1).flatten(1), known.mean(dim=1)
