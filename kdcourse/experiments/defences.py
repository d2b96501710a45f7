"""Teachers that do not give everything away: one that misleads its copies, and many that vote so that no example can be read.

And an attack that asks whether it holds: do a network's losses tell whom it has learnt from?
"""

from math import sqrt

import torch
from torch import Tensor
from torch.nn import functional as F

from kdcourse.losses.checks import check_weight
from kdcourse.losses.response import soft_target
from kdcourse.methods import Batch, Method
from kdcourse.system.arguments import whole_number


class SelfUndermining(Method):
    """A nasty teacher: right about the labels, and as far as it can be from what a normally trained network says beside them.

    cross-entropy(z, y) − weight · T² · KL(p ‖ q) with p of the normal network and q of the nasty one, both softened; the normal
    network is the method's teacher. weight ≥ 0, default 0.04. temperature: T > 0, default 4.
    Source: Ma, Chen, Hu, You, Xie, Wang (2021), *Undistillable: Making A Nasty Teacher That CANNOT teach students*, eq. 2.
    """

    needs_labels = True

    def __init__(self, weight: float = 0.04, temperature: float = 4.0):
        super().__init__()
        check_weight("weight", weight)
        self.settings = {"weight": weight, "temperature": temperature}

    def forward(self, batch: Batch) -> Tensor:
        nearness = soft_target(batch.student_logits, batch.teacher_logits, temperature=self.settings["temperature"])
        return F.cross_entropy(batch.student_logits, batch.labels) - self.settings["weight"] * nearness

    def extra_repr(self) -> str:
        return ", ".join(f"{name}={value}" for name, value in self.settings.items())


def noisy_votes(votes: Tensor, classes: int, spread: float, seed: int = 0) -> Tensor:
    """The class with the most votes once normal noise is added to each count: (N,) int64.

    votes: (K, N) int64, what K teachers say of N pictures, each teacher having learnt from pictures of its own. classes: C.
    spread: the noise's standard deviation, in votes; 0 for none. seed: of the noise, default 0.
    Source: Papernot et al. (2018), *Scalable Private Learning with PATE*, the aggregator GNMax.
    """
    check_weight("spread", spread)
    counts = F.one_hot(votes, classes).sum(dim=0).double()
    noise = torch.randn(counts.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (counts + spread * noise.to(counts.device)).argmax(dim=1)


def privacy_spent(queries: int, spread: float, delta: float = 1e-5) -> float:
    """The epsilon of (epsilon, delta)-differential privacy of so many `noisy_votes`, whatever the teachers say.

    Whoever sees all answers can tell whether one example was among the teachers' with odds that change by a factor of at most
    e^epsilon, but for a chance of delta. One example is known to one teacher, whose vote moves two counts by 1: a distance of
    √2. Answers to Q queries tell as much as one answer at a distance of mu = √(2 Q) / spread, for which
    delta = Φ(mu / 2 − epsilon / mu) − e^epsilon Φ(−mu / 2 − epsilon / mu) exactly; epsilon is what solves it.
    queries: at least 1. spread: above 0. delta: within (0, 1), default 1e-5. Raises `ValueError` for others.
    Sources: Balle, Wang (2018), *Improving the Gaussian Mechanism for Differential Privacy*, theorem 8; Dong, Roth, Su (2022),
    *Gaussian Differential Privacy*, corollary 3.3, on queries one after another.
    """
    from scipy.optimize import brentq
    from scipy.stats import norm

    queries = whole_number("queries", queries)
    if not spread > 0 or not 0 < delta < 1:
        raise ValueError(f"spread must be above 0 and delta within (0, 1), got {spread} and {delta}")
    mu = sqrt(2 * queries) / spread

    def beyond(epsilon: float) -> float:
        # The logarithm keeps e^epsilon from overflowing where the second factor vanishes.
        second = torch.tensor(epsilon + norm.logcdf(-mu / 2 - epsilon / mu)).exp().item()
        return norm.cdf(mu / 2 - epsilon / mu) - second - delta

    if beyond(0) <= 0:
        return 0.0
    return brentq(beyond, 0, mu**2 / 2 + mu * norm.isf(delta) + 1)


def losses_apart(members: Tensor, others: Tensor) -> float:
    """How often a loss tells a member from a stranger: of all pairs of the two, the percent in which the member's is smaller.

    A model has learnt from the members and not from the others; 50 is chance, and a pair of equal losses counts as half. It is
    the area under the ROC curve of an attack that says "member" wherever the loss is small. members, others: (M,) and (N,).
    Raises `ValueError` for other shapes, for none, and for NaN.
    Source: Yeom, Giacomelli, Fredrikson, Jha (2018), *Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting*.
    """
    members, others = _checked_losses(members, others)
    ordered = others.sort().values
    above = len(ordered) - torch.searchsorted(ordered, members, right=True)
    equal = torch.searchsorted(ordered, members, right=True) - torch.searchsorted(ordered, members)
    return 100 * (above + equal / 2).mean(dtype=torch.float64).item() / len(ordered)


def members_found(members: Tensor, others: Tensor, alarms: float = 0.01) -> float:
    """The percent of members that are named where at most this share of strangers is named by mistake.

    Named is whoever has a loss below one threshold; a guess finds 100 · alarms percent. An attack may be no better than chance on
    average and still be sure of a few. members, others: as in `losses_apart`. alarms: within (0, 1), default 0.01. Raises
    `ValueError` as that does.
    Source: Carlini, Chien, Nasr, Song, Terzis, Tramèr (2022), *Membership Inference Attacks From First Principles*.
    """
    members, others = _checked_losses(members, others)
    if not 0 < alarms < 1:
        raise ValueError(f"alarms must be a share within (0, 1), got {alarms}")
    threshold = others.sort().values[int(alarms * len(others))]
    return 100 * (members < threshold).double().mean().item()


def _checked_losses(members: Tensor, others: Tensor) -> tuple[Tensor, Tensor]:
    for name, losses in (("members", members), ("others", others)):
        if losses.ndim != 1 or not len(losses) or losses.isnan().any():
            raise ValueError(f"{name} must be (N,), one loss for each example, at least one, got {tuple(losses.shape)}")
    return members, others
