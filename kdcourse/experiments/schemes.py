"""Who teaches whom, and when: ways to call the one training loop.

An ensemble is a teacher made of teachers. Peers are students trained as one model. A chain hands a teacher's knowledge on
through students of students.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdcourse.data.splits import Split
from kdcourse.evaluation import measure
from kdcourse.experiments.experiment import Recipe
from kdcourse.experiments.facts import Facts, Work, temperature_of, untrained
from kdcourse.losses.checks import check_share, check_temperature
from kdcourse.losses.response import soft_target
from kdcourse.methods.base import Batch, Method
from kdcourse.training.cache import TeacherCache


class Ensemble(nn.Module):
    """Several teachers as one model, whose logits, softened at `temperature`, are the ensemble's softened target.

    Forward: pictures (N, C, H, W) -> logits (N, classes). models: M teachers over the same classes. temperature: T > 0,
    default 4. mean: "probabilities" (default) averages the softened probabilities, Σ w softmax(z / T), and gives T · log of
    their mean as logits; "logits" averages the logits, Σ w z. weights: M numbers w of 0 or more, default equal; they are scaled
    to add to 1.
    Raises `ValueError` for no model, another mean, a temperature that is not above 0, and weights that do not fit.
    Source: Hinton, Vinyals, Dean (2015), §1: "arithmetic or geometric mean of their individual predictive distributions".
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        *,
        temperature: float = 4.0,
        mean: str = "probabilities",
        weights: Sequence[float] | None = None,
    ):
        super().__init__()
        if not len(models):
            raise ValueError("models must hold at least one teacher, got none")
        check_temperature(temperature)
        if mean not in ("probabilities", "logits"):
            raise ValueError(f'mean must be "probabilities" or "logits", got {mean!r}')
        weights = [1.0] * len(models) if weights is None else list(map(float, weights))
        if len(weights) != len(models) or min(weights) < 0 or sum(weights) == 0:
            raise ValueError(f"weights must be {len(models)} numbers of 0 or more, not all 0, got {weights}")
        self.members = nn.ModuleList(models)
        self.temperature, self.mean = temperature, mean
        device = next((parameter.device for parameter in self.members.parameters()), None)
        self.register_buffer("weights", torch.tensor(weights, device=device) / sum(weights))

    def forward(self, images: Tensor) -> Tensor:
        return self.combine(torch.stack([member(images) for member in self.members]))

    def combine(self, logits: Tensor) -> Tensor:
        """The logits of the M members, (M, N, C), as the ensemble's logits (N, C)."""
        if self.mean == "logits":
            return torch.einsum("m,mnc->nc", self.weights, logits)
        log_p = (logits / self.temperature).log_softmax(dim=2)
        # By logsumexp: a class that every member gives 10⁻²⁰ keeps a finite logarithm.
        return self.temperature * (log_p + self.weights.log().view(-1, 1, 1)).logsumexp(dim=0)

    def extra_repr(self) -> str:
        return f"temperature={self.temperature}, mean={self.mean!r}"


@dataclass(frozen=True)
class Committee:
    """Members that are trained one by one and answer together; an arm that `compare` can run.

    recipes: one for each member. temperature, mean: as in `Ensemble`, default 4 and "probabilities".
    """

    recipes: Sequence[Recipe]
    temperature: float = 4.0
    mean: str = "probabilities"

    @property
    def budget(self) -> int:
        """Pictures that gradient steps see, all members together."""
        return sum(recipe.budget for recipe in self.recipes)

    def facts(self, seed: int = 0) -> Facts:
        """Of all members together, what they share counted once; the temperature is that of the first member's method."""
        first = self.recipes[0]
        return self.work(seed).facts(temperature_of(first.method), getattr(first.student, "pretrained", False))

    def work(self, seed: int = 0) -> Work:
        """What training looks at and computes, all members together."""
        return sum((recipe.work(1000 * number + seed) for number, recipe in enumerate(self.recipes)), Work())

    def run(self, seed: int = 0, *, progress: bool = False) -> Ensemble:
        """Train all members and give their `Ensemble`, frozen. Member k of a run has the seed 1000 · k + seed."""
        members = [recipe.run(1000 * number + seed) for number, recipe in enumerate(self.recipes)]
        return Ensemble(members, temperature=self.temperature, mean=self.mean).eval().requires_grad_(False)

    def describe(self, student: nn.Module) -> dict:
        first = self.recipes[0].describe(student)
        return {**first, "student": " + ".join(member.label for member in student.members)}


class Peers(nn.Module):
    """Several students as one model, so that the loop trains them at once: pictures -> logits (N, K, C).

    models: the K ≥ 2 peers; they share no parameter, so each gets the gradient of its own terms only. evaluated: the positions
    of those whose accuracy `peer_accuracy` reports, default all. Raises `ValueError` for fewer than two.
    """

    def __init__(self, models: Sequence[nn.Module], evaluated: Sequence[int] | None = None):
        super().__init__()
        if len(models) < 2:
            raise ValueError(f"models must be at least two peers, got {len(models)}")
        self.members = nn.ModuleList(models)
        self.evaluated = list(range(len(models))) if evaluated is None else list(evaluated)
        self.label = " + ".join(getattr(model, "label", type(model).__name__) for model in models)

    def forward(self, images: Tensor) -> Tensor:
        return torch.stack([member(images) for member in self.members], dim=1)


def peer_accuracy(model: nn.Module, split: Split) -> float:
    """Right answers on the split in percent: the mean over the evaluated peers, or the accuracy of a single model."""
    evaluated = [model.members[number] for number in model.evaluated] if isinstance(model, Peers) else [model]
    return sum(measure.accuracy(one, split) for one in evaluated) / len(evaluated)


class MutualLearning(Method):
    """Deep mutual learning: each peer learns from the labels and from the mean of what the others say now.

    Sum over peers of cross-entropy + weight · mean over the others of KL(other ‖ peer), the others cut off from the graph,
    so that the gradient of the sum is, for each peer, the gradient of its own loss.
    For `Peers`. weight ≥ 0, default 1. temperature: T > 0, default 1 as in the paper; the KL carries T².
    Source: Zhang, Xiang, Hospedales, Lu (2018), *Deep Mutual Learning*, eq. 4, 5 and 8.
    """

    needs_teacher, needs_labels = False, True

    def __init__(self, weight: float = 1.0, temperature: float = 1.0):
        super().__init__()
        check_temperature(temperature)
        if not weight >= 0:
            raise ValueError(f"weight must be 0 or more, got {weight}")
        self.weight, self.temperature = weight, temperature

    def forward(self, batch: Batch) -> Tensor:
        peers = _peers(batch)
        return sum(self.of_peer(number, peers, batch.labels) for number in range(len(peers)))

    def of_peer(self, number: int, peers: Sequence[Tensor], labels: Tensor) -> Tensor:
        """The loss of the peer at position `number`. peers: the logits of all, each (N, C). labels: (N,)."""
        own, others = peers[number], [peer for other, peer in enumerate(peers) if other != number]
        # soft_target cuts its second argument off from the graph.
        imitation = sum(soft_target(own, other, temperature=self.temperature) for other in others) / len(others)
        return F.cross_entropy(own, labels) + self.weight * imitation

    def extra_repr(self) -> str:
        return f"weight={self.weight}, temperature={self.temperature}"


class CoTraining(Method):
    """A teacher and its student trained at once: the first of two `Peers` learns from labels, the second from both.

    cross-entropy(teacher) + (1 − alpha) · cross-entropy(student) + alpha · soft_target(student, teacher), the teacher's output
    cut off from the graph, so that its imitation does not move the teacher. For `Peers`. alpha: in [0, 1], default 0.5.
    temperature: T > 0, default 4. Raises `ValueError` for values outside these.
    """

    needs_teacher, needs_labels = False, True

    def __init__(self, alpha: float = 0.5, temperature: float = 4.0):
        super().__init__()
        check_share("alpha", alpha)
        check_temperature(temperature)
        self.alpha, self.temperature = alpha, temperature

    def forward(self, batch: Batch) -> Tensor:
        teacher, student = _peers(batch)
        hard = F.cross_entropy(teacher, batch.labels) + (1 - self.alpha) * F.cross_entropy(student, batch.labels)
        return hard + self.alpha * soft_target(student, teacher, temperature=self.temperature)

    def extra_repr(self) -> str:
        return f"alpha={self.alpha}, temperature={self.temperature}"


@dataclass(frozen=True)
class Chain:
    """One model after another, each the teacher of the next: assistants, or generations of one architecture.

    stages: a recipe for each, in order. The first keeps its own teacher, or needs none; every later one is taught by the
    stage before it. The last gives the final student. An arm that `compare` can run.
    Raises `ValueError` for no stage, and for a later stage whose method asks no teacher.
    Sources: Mirzadeh et al. (2020), *Improved Knowledge Distillation via Teacher Assistant*; Furlanello et al. (2018),
    *Born-Again Neural Networks*.
    """

    stages: Sequence[Recipe]

    def __post_init__(self):
        if len(self.stages) < 1:
            raise ValueError("stages must hold at least one recipe, got none")
        for number, recipe in enumerate(self.stages[1:], start=2):
            if not recipe.method.needs_teacher:
                raise ValueError(f"stages must listen to the one before; stage {number} has {recipe.method!r}")

    @property
    def budget(self) -> int:
        """Pictures that gradient steps see, all stages together."""
        return sum(recipe.budget for recipe in self.stages)

    def facts(self, seed: int = 0) -> Facts:
        """Of all stages together, what they share counted once; the temperature is that of the last stage."""
        pretrained = getattr(self.stages[-1].student, "pretrained", False)
        return self.work(seed).facts(temperature_of(self.stages[-1].method), pretrained)

    def work(self, seed: int = 0) -> Work:
        """What training looks at and computes, all stages together."""
        work = self.stages[0].work(seed)
        for before, recipe in pairwise(self.stages):
            work += replace(recipe, teacher=TeacherCache(untrained(before.student, seed))).work(seed)
        return work

    def train(self, seed: int = 0) -> list[nn.Module]:
        """Train all stages; every stage's model, in order, frozen."""
        trained: list[nn.Module] = []
        for number, recipe in enumerate(self.stages, start=1):
            # The last stage has the run's own seed, so that it is paired with a student trained without a chain.
            student = partial(_with_seed, recipe.student, seed + 1000 * (len(self.stages) - number))
            teacher = TeacherCache(trained[-1]) if trained else recipe.teacher
            stage = replace(recipe, student=student, teacher=teacher).run(seed)
            trained.append(stage.eval().requires_grad_(False))
        return trained

    def run(self, seed: int = 0, *, progress: bool = False) -> nn.Module:
        """Train all stages; the last stage's student."""
        return self.train(seed)[-1]

    def describe(self, student: nn.Module) -> dict:
        return {
            **self.stages[-1].describe(student),
            "stages": [recipe.describe(student)["method"] for recipe in self.stages],
        }


class WarmStart:
    """Students that have learnt something before: called as student(seed=...), it gives a copy of what `recipe` trained.

    All arms go on, seed by seed, from the same weights. These are trained once for each seed, and their work is counted for
    each arm.
    """

    pretrained = True

    def __init__(self, recipe: Recipe):
        self.recipe = recipe
        self._trained: dict[int, nn.Module] = {}

    def __call__(self, *, seed: int = 0) -> nn.Module:
        if seed not in self._trained:
            self._trained[seed] = self.recipe.run(seed)
        return copy.deepcopy(self._trained[seed])

    def untrained(self, *, seed: int = 0) -> nn.Module:
        """A student of the same shape that has learnt nothing."""
        return untrained(self.recipe.student, seed)

    def work(self, seed: int = 0) -> Work:
        """What its learning takes."""
        return self.recipe.work(seed)


def _with_seed(builder: Callable[..., nn.Module], own_seed: int, *, seed: int) -> nn.Module:
    """A builder whose weights do not follow the run's seed."""
    return builder(seed=own_seed)


def _peers(batch: Batch) -> tuple[Tensor, ...]:
    logits = batch.student_logits
    if logits.ndim != 3:
        raise ValueError(f"student must be Peers, which give logits (N, K, C), got shape {tuple(logits.shape)}")
    return logits.unbind(dim=1)
