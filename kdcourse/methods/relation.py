"""Methods of relation knowledge: the student imitates how the pictures of a batch, or two layers, stand to each other.

`layers` names the pairs of layers whose outputs serve as embeddings, student's -> teacher's, as in {"pool": "pool"}. Outputs
(N, …) are flattened to (N, D) unless stated, and D may differ between the networks. Formulas and errors stand with the
losses.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from kdcourse.losses import relation
from kdcourse.losses.feature import Regressor
from kdcourse.methods.base import Batch
from kdcourse.methods.feature import LayerMethod


class FromRelation(LayerMethod):
    """A method that is one function of `losses.relation` on two layers' outputs (N, …). settings: its hyper-parameters."""

    loss = None
    relates_examples = True

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        return self.loss(student, teacher, **self.settings)


class RelationalDistance(FromRelation):
    """RKD-D: the distances of all pairs of pictures, relative to their mean. Loss: `losses.rkd_distance`.

    Source: Park, Kim, Lu, Cho (2019), *Relational Knowledge Distillation*.
    """

    loss = staticmethod(relation.rkd_distance)


class RelationalAngle(FromRelation):
    """RKD-A: the angles within all triplets of pictures. Loss: `losses.rkd_angle`.

    Source: Park, Kim, Lu, Cho (2019), *Relational Knowledge Distillation*.
    """

    loss = staticmethod(relation.rkd_angle)


class SimilarityPreserving(FromRelation):
    """SP: which pictures of the batch activate a layer alike, as a table (N, N). Loss: `losses.similarity_preserving`.

    Source: Tung, Mori (2019), *Similarity-Preserving Knowledge Distillation*.
    """

    loss = staticmethod(relation.similarity_preserving)


class ProbabilisticTransfer(FromRelation):
    """PKT: for each picture, a distribution over the pictures of the batch, by cosine. Loss: `losses.probabilistic_transfer`.

    Source: Passalis, Tefas (2018), *Learning Deep Representations with Probabilistic Knowledge Transfer*.
    """

    loss = staticmethod(relation.probabilistic_transfer)


class CorrelationCongruence(FromRelation):
    """CC: how alike pictures are under a Gaussian kernel. Loss: `losses.correlation_congruence`.

    gamma: of the kernel, default 0.4. order: of its Taylor series, default 2.
    Source: Peng et al. (2019), *Correlation Congruence for Knowledge Distillation*.
    """

    loss = staticmethod(relation.correlation_congruence)

    def __init__(self, layers: Mapping[str, str], gamma: float = 0.4, order: int = 2):
        super().__init__(layers, gamma=gamma, order=order)


class Contrastive(FromRelation):
    """Find each picture's own teacher embedding among those of the batch, after a learned linear map. Loss: `losses.contrastive`.

    temperature: what the cosines are divided by, above 0, default 0.1.
    Source: Tian, Krishnan, Isola (2020), *Contrastive Representation Distillation*, §3.1.
    """

    loss = staticmethod(relation.contrastive)

    def __init__(self, layers: Mapping[str, str], temperature: float = 0.1):
        super().__init__(layers, temperature=temperature)

    def adapter(self, student: Tensor, teacher: Tensor) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.Linear(student[0].numel(), teacher[0].numel()))

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        return self.loss(adapter(student), teacher, **self.settings)


class Flow(LayerMethod):
    """FSP: how each named layer's maps go with those of the next one; regressors bring channels together. Loss: `losses.flow`.

    layers: of maps (N, C, H, W); at least two pairs, in the networks' order, else `ValueError`.
    Source: Yim, Joo, Bae, Kim (2017), *A Gift from Knowledge Distillation*.
    """

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
