"""A loss tried on small random logits, and what its gradient is made of."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from scipy.optimize import minimize_scalar
from torch import Tensor

from kdcourse.review.bank import Known, Part
from kdcourse.review.calling import Calling

CLOSE = 1e-3  # relative: what is left of a gradient when all that is known is taken from it
TEMPERATURES = (1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 20.0, 1.5, 2.5, 0.5)  # tried where a loss hides its own


@dataclass(frozen=True)
class Case:
    """Logits (N, C), or (N, L, C) where `length` is given; labels of one shape less; the temperature and share to set."""

    rows: int = 6
    classes: int = 5
    length: int | None = None
    temperature: float = 4.0
    alpha: float | None = None

    @property
    def logits(self) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(self.rows + 10 * self.classes)
        shape = (self.rows, *([self.length] if self.length else []), self.classes)
        student, teacher = (3 * torch.randn(shape, generator=generator) for _ in range(2))
        return student, teacher

    @property
    def labels(self) -> Tensor:
        generator = torch.Generator().manual_seed(1)
        shape = (self.rows, *([self.length] if self.length else []))
        return torch.randint(self.classes, shape, generator=generator)


@dataclass(frozen=True)
class Outcome:
    """value: the loss, a float. gradient: the student's, (M, C). into_teacher: the largest entry of the teacher's gradient.

    shape: of what was returned, before it was made one number.
    """

    value: float
    gradient: Tensor
    into_teacher: float
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Match:
    """A known loss, the temperature at which it was recognised, and the factor of each part in each case."""

    known: Known
    factors: dict[str, list[float]]
    temperature: float

    def slope(self, case: str, stretch: float, part: int = 0) -> int | None:
        """The power with which a part's factor grows as something is stretched; None where it follows none."""
        if case not in self.factors:
            return None
        ratio = self.factors[case][part] / self.factors["base"][part]
        power = math.log(ratio) / math.log(stretch) if ratio > 0 else math.nan
        return round(power) if abs(power - round(power)) < 0.02 else None


def outcome(
    call: Calling,
    case: Case,
    student: Tensor | None = None,
    teacher: Tensor | None = None,
    labels: Tensor | None = None,
) -> Outcome:
    """What the loss makes of a case: also where it returns no scalar."""
    given = case.logits
    student = (given[0] if student is None else student).clone().requires_grad_()
    teacher = (given[1] if teacher is None else teacher).clone().requires_grad_()
    with torch.enable_grad():
        result = call.at(case.temperature, case.alpha)(student, teacher, case.labels if labels is None else labels)
        # Unreduced, (N,) or (N, C) or (N, L), it is taken as the mean over rows of the sum over classes.
        rows = math.prod(result.shape[:-1] if result.shape == student.shape else result.shape)
        total = result.sum() / rows
        if result.requires_grad:
            total.backward()
    grads = [torch.zeros_like(side) if side.grad is None else side.grad for side in (student, teacher)]
    ours, theirs = grads[0].reshape(-1, case.classes), grads[1]
    return Outcome(total.detach().float().item(), ours, theirs.abs().max().item(), tuple(result.shape))


def part_outcome(part: Part, case: Case, temperature: float) -> tuple[float, Tensor]:
    """Value and gradient (M, C) of a known part on the same logits."""
    student, teacher = (side.reshape(-1, case.classes) for side in case.logits)
    student = student.clone().requires_grad_()
    with torch.enable_grad():
        value = part(student, teacher, case.labels.flatten(), temperature)
        gradient = torch.autograd.grad(value, student)[0]
    return value.item(), gradient


def recognise(
    cases: dict[str, Case], seen: dict[str, Outcome], candidates: Iterable[Known], temperatures: Iterable[float] | None
) -> Match | None:
    """The first candidate whose parts, each times a factor, give the gradient of every case.

    temperatures: where the loss hides its own, those that are tried; None takes each case's.
    """
    tries = list(temperatures) if temperatures else [None]
    for known in candidates:
        for temperature in tries:
            factors = {}
            for name, case in cases.items():
                found = _factors(known.parts, case, seen[name].gradient, temperature or case.temperature)
                if found is None:
                    break
                factors[name] = found
            else:
                return Match(known, factors, temperature or cases["base"].temperature)
    return None


def hidden_temperature(case: Case, seen: Outcome) -> float:
    """The T at which T · (q − p) lies nearest to the gradient in direction, between 0.3 and 30."""
    student, teacher = (side.reshape(-1, case.classes) for side in case.logits)

    def apart(log_temperature: float) -> float:
        temperature = math.exp(log_temperature)
        wanted = (student / temperature).softmax(1) - (teacher / temperature).softmax(1)
        return -torch.cosine_similarity(wanted.flatten().double(), seen.gradient.flatten().double(), dim=0).item()

    found = minimize_scalar(apart, bounds=(math.log(0.3), math.log(30)), method="bounded", options={"xatol": 1e-5})
    return float(f"{math.exp(found.x):.3g}")


def _factors(parts: tuple[Part, ...], case: Case, gradient: Tensor, temperature: float) -> list[float] | None:
    columns = torch.stack([part_outcome(part, case, temperature)[1].flatten() for part in parts], dim=1).double()
    target = gradient.flatten().double()
    if not columns.isfinite().all() or not target.isfinite().all() or not target.any():
        return None
    factors = torch.linalg.lstsq(columns, target.unsqueeze(1), driver="gelsd").solution[:, 0]
    length = target.norm()
    counts = (factors.abs() * columns.norm(dim=0) > CLOSE * length).all()  # a part that adds nothing is not there
    return factors.tolist() if counts and (columns @ factors - target).norm() < CLOSE * length else None
