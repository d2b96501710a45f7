"""When a model answers and when it hands a picture to a person: confidence, coverage, and what the two cost.

Sources: Chow (1970), *On Optimum Recognition Error and Reject Tradeoff*; El-Yaniv, Wiener (2010), *On the Foundations of
Noise-free Selective Classification*.
"""

from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor, nn

from kdcourse.data.splits import Split
from kdcourse.evaluation.measure import correct, predict

NEVER = 2.0  # a threshold that no probability reaches


@dataclass(frozen=True)
class Answers:
    """How sure a model is of N examples, and whether it is right.

    confidence: (N,), the largest of its probabilities, from 0 to 1. right: (N,) bool.
    Raises `ValueError` for other shapes and kinds, and where there is no example.
    """

    confidence: Tensor
    right: Tensor

    def __post_init__(self):
        if self.confidence.ndim != 1 or self.confidence.shape != self.right.shape or not len(self.right):
            raise ValueError(
                "confidence and right must be (N,), one value for each example, at least one, "
                f"got {tuple(self.confidence.shape)} and {tuple(self.right.shape)}"
            )
        if self.right.dtype != torch.bool:
            raise ValueError(f"right must be bool, got {self.right.dtype}")
        if not ((self.confidence >= 0) & (self.confidence <= 1 + 1e-6)).all():
            raise ValueError("confidence must hold probabilities from 0 to 1: the softmax of the logits gives them")

    def coverage(self, threshold: float) -> float:
        """The share of examples that the model answers itself, those of which it is at least so sure, in percent."""
        return 100 * (self.confidence >= threshold).float().mean().item()

    def accuracy(self, threshold: float) -> float | None:
        """The share of right answers among those that it gives, in percent; None where it gives none."""
        answered = self.confidence >= threshold
        return 100 * self.right[answered].float().mean().item() if answered.any() else None

    def costs(self, threshold: float, *, error: float, asking: float = 1.0) -> Tensor:
        """What each example costs, (N,) float32: `asking` where a person is asked, `error` for a wrong answer, else 0.

        Both in one unit, at least 0. Raises `ValueError` for other costs.
        """
        _check_costs(error, asking)
        answered = self.confidence >= threshold
        return error * (answered & ~self.right).float() + asking * (~answered).float()


def answers(model_or_logits: nn.Module | Tensor, split: Split) -> Answers:
    """How sure a model is of each example of a labelled split, and whether it is right; arguments as in `evaluation.measure`."""
    logits = predict(model_or_logits, split) if isinstance(model_or_logits, nn.Module) else model_or_logits
    right = correct(logits, split)  # checks both
    return Answers(logits.softmax(dim=1).max(dim=1).values.cpu(), right.cpu())


def cheapest_threshold(given: Answers, *, error: float, asking: float = 1.0) -> float:
    """The threshold with the lowest cost on these examples, the lowest of several such; `NEVER` where no answer is worth it.

    given: on validation data, whose pictures neither trained nor judge. error, asking: as in `Answers.costs`.
    """
    _check_costs(error, asking)
    candidates = torch.cat([given.confidence.unique(), given.confidence.new_tensor([NEVER])])
    totals = torch.stack([given.costs(threshold, error=error, asking=asking).sum() for threshold in candidates])
    return candidates[totals.argmin()].item()


def chows_threshold(*, error: float, asking: float = 1.0) -> float:
    """The best threshold for probabilities that are true: 1 − asking / error, and 0 where asking costs as much as an error."""
    _check_costs(error, asking)
    return max(0.0, 1 - asking / error) if error > 0 else 0.0


def _check_costs(error: float, asking: float) -> None:
    for name, cost in (("error", error), ("asking", asking)):
        if not isinstance(cost, Real) or not 0 <= cost < float("inf"):
            raise ValueError(f"{name} must be a cost of 0 or more, got {cost!r}")
