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


TOGETHER = 2**18  # numbers that are looked up at once, a part of a processor's cache
LARGEST = 2**26  # logits, 256 MiB; a table for two terms is four times as large


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
        chances = torch.stack([target.probabilities for target in targets], dim=1)  # (n, terms, C)
        numbers = [(target.weight, 1 / target.temperature) for target in targets]
        weights, colder = chances.new_tensor(numbers).T.unsqueeze(2)  # (terms, 1) each
        # Minus and over N, so that a step only multiplies and sums. What has no chance adds nothing, whatever its logarithm.
        wanted = -weights / order.shape[1] * chances
        self.table = torch.stack([wanted, chances.log().where(chances > 0, 0.0)], dim=1)  # (n, 2, terms, C)
        self.order, self.colder = order, colder.unsqueeze(2)
        self.together = max(1, TOGETHER // (order.shape[1] * self.table[0].numel()))
        self.part: int | None = None  # which of the batches, so many together, are looked up

    @classmethod
    def of(
        cls, method: "Method", teacher_logits: object, labels: Tensor | None, order: Tensor
    ) -> "FixedTargets | None":
        """A method's, for all examples; None where it has none, and where the answers (n, C) are no tensor in memory or so
        large that a table of them might not fit beside them."""
        small = isinstance(teacher_logits, Tensor) and teacher_logits.numel() <= LARGEST
        targets = method.targets(teacher_logits, labels) if small else []
        return cls(targets, order) if targets else None

    def __call__(self, logits: Tensor, number: int) -> Tensor:
        part, within = divmod(number, self.together)
        if part != self.part:
            self.part, self.found = part, self._looked_up(part, logits)
        wanted, log_p = self.found[within]
        log_q = (at_least_float32(logits).t() * self.colder).log_softmax(dim=1)
        return wanted.dot((log_q - log_p).flatten())

    def _looked_up(self, part: int, logits: Tensor) -> list[tuple[Tensor, Tensor]]:
        """For each of so many batches: minus weight · p / N, (terms · C · N,), and log p, (terms, C, N)."""
        classes = self.table.shape[-1]
        if logits.shape[1:] != (classes,):
            raise ValueError(f"student must answer for {classes} classes, got logits {tuple(logits.shape)}")
        order = self.order[part * self.together : (part + 1) * self.together]
        rows = self.table.index_select(0, order.flatten()).to(at_least_float32(logits).dtype)
        # Examples last: then a CPU takes many at a time, and wakes no second thread for so little.
        turned = rows.view(*order.shape, -1).mT.contiguous().view(len(order), *self.table.shape[1:], -1)
        wanted, log_p = turned.unbind(1)
        return list(zip(wanted.flatten(1), log_p, strict=True))
