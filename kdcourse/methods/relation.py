"""Methods of relation knowledge: how the pictures of a batch, or two layers, stand to each other.

`layers` names the pair whose outputs serve as embeddings, student's layer -> teacher's, as in {"pool": "pool"}.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from kdcourse.losses import relation
from kdcourse.losses.feature import Regressor
from kdcourse.methods.base import Batch
from kdcourse.methods.feature import LayerMethod


class FromRelation(LayerMethod):
    """A method that is one function of `losses.relation`, with its hyper-parameters as `settings`."""

    loss = None
    relates_examples = True

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        return self.loss(student, teacher, **self.settings)


class RelationalDistance(FromRelation):
    """RKD-D: relative distances of pairs. Loss: `losses.rkd_distance`."""

    loss = staticmethod(relation.rkd_distance)


class RelationalAngle(FromRelation):
    """RKD-A: angles of triplets. Loss: `losses.rkd_angle`."""

    loss = staticmethod(relation.rkd_angle)


class SimilarityPreserving(FromRelation):
    """SP: which pictures activate a layer alike. Loss: `losses.similarity_preserving`."""

    loss = staticmethod(relation.similarity_preserving)


class ProbabilisticTransfer(FromRelation):
    """PKT: each picture's distribution over its neighbours. Loss: `losses.probabilistic_transfer`."""

    loss = staticmethod(relation.probabilistic_transfer)


class CorrelationCongruence(FromRelation):
    """CC: correlations of pictures under a Gaussian kernel. Loss: `losses.correlation_congruence`."""

    loss = staticmethod(relation.correlation_congruence)

    def __init__(self, layers: Mapping[str, str], gamma: float = 0.4, order: int = 2):
        super().__init__(layers, gamma=gamma, order=order)


class Contrastive(FromRelation):
    """Find your own picture among the teacher's embeddings, after a learned linear map. Loss: `losses.contrastive`."""

    loss = staticmethod(relation.contrastive)

    def __init__(self, layers: Mapping[str, str], temperature: float = 0.1):
        super().__init__(layers, temperature=temperature)

    def adapter(self, student: Tensor, teacher: Tensor) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(student[0].numel(), teacher[0].numel()))

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        return self.loss(adapter(student), teacher, **self.settings)


class Flow(LayerMethod):
    """FSP: the way from each named layer to the next; channels meet by regressors. Loss: `losses.flow`."""

    def __init__(self, layers: Mapping[str, str]):
        super().__init__(layers)
        if len(layers) < 2:
            raise ValueError(f"layers must name at least two pairs, between which something flows, got {layers!r}")

    def adapter(self, student: Tensor, teacher: Tensor) -> nn.Module:
        return Regressor(student.shape[1], teacher.shape[1])

    def forward(self, batch: Batch) -> Tensor:
        ours, theirs = zip(*self.pairs(batch), strict=True)
        ours = [adapter(maps) for adapter, maps in zip(self.adapters, ours, strict=True)]
        steps = range(len(ours) - 1)
        return sum(relation.flow(ours[step : step + 2], theirs[step : step + 2]) for step in steps) / len(steps)
