"""Methods of feature knowledge: what the layers in between do.

`layers` names pairs, student's layer -> teacher's, as in {"stage2": "stage2"}; the loss is the mean over pairs. What must be
learned beside the student (a regressor, variances) is made when training begins and is trained with it.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdcourse.losses import feature
from kdcourse.methods.base import Batch, Method


class LayerMethod(Method):
    """A method on pairs of layers: a subclass defines `adapter` if it learns something, and `match`."""

    def __init__(self, layers: Mapping[str, str], **settings: float):
        super().__init__()
        if not layers:
            raise ValueError(f"layers must name at least one pair of layers, got {layers!r}")
        self.layers, self.settings = dict(layers), settings
        self.adapters = nn.ModuleList()

    @property
    def features(self) -> list[tuple[str, str]]:
        return list(self.layers.items())

    def pairs(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        return [(batch.student_features[ours], batch.teacher_features[theirs]) for ours, theirs in self.features]

    def prepare(self, batch: Batch) -> None:
        if not self.adapters:
            self.adapters.extend(self.adapter(student, teacher) for student, teacher in self.pairs(batch))

    def adapter(self, student: Tensor, teacher: Tensor) -> nn.Module:
        """What is learned for one pair of layers, given a few examples of their outputs; by default nothing."""
        return nn.Identity()

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair of layers."""
        raise TypeError(f"{type(self).__name__} computes no loss: define match(adapter, student, teacher)")

    def forward(self, batch: Batch) -> Tensor:
        pairs = self.pairs(batch)
        return sum(
            self.match(adapter, student, teacher)
            for adapter, (student, teacher) in zip(self.adapters, pairs, strict=True)
        ) / len(pairs)

    def extra_repr(self) -> str:
        return ", ".join([f"{self.layers}", *(f"{name}={value}" for name, value in self.settings.items())])


class RegressedMethod(LayerMethod):
    """A method that compares element by element, so that the student's maps first go through a `Regressor`."""

    def adapter(self, student: Tensor, teacher: Tensor) -> nn.Module:
        return feature.Regressor(student.shape[1], teacher.shape[1], tuple(teacher.shape[-2:]))


class Hint(RegressedMethod):
    """FitNets: the teacher's maps, guessed from the student's by a 1×1 convolution. Loss: `losses.hint`."""

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        return feature.hint(adapter(student), teacher)


class HiddenCosine(LayerMethod):
    """Which way a layer's output points, laid flat; a longer teacher's is averaged down. Loss: `losses.hidden_cosine`.

    Source: PyTorch, *Knowledge Distillation Tutorial*, which does to pictures what DistilBERT does to words.
    """

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        student, teacher = (features.flatten(1).unsqueeze(1) for features in (student, teacher))  # one word, (N, 1, D)
        teacher = F.adaptive_avg_pool1d(teacher, student.shape[2])
        return feature.hidden_cosine(student, teacher, student.new_ones(student.shape[:2]))


class AttentionTransfer(LayerMethod):
    """AT: where a layer looks, whatever its channels. Loss: `losses.attention_transfer`."""

    def __init__(self, layers: Mapping[str, str], power: float = 2):
        super().__init__(layers, power=power)

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        return feature.attention_transfer(student, teacher, **self.settings)


class ActivationBoundary(RegressedMethod):
    """AB: which neurons fire; `layers` name outputs before their ReLU. Loss: `losses.activation_boundary`."""

    def __init__(self, layers: Mapping[str, str], margin: float = 1.0):
        super().__init__(layers, margin=margin)

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        return feature.activation_boundary(adapter(student), teacher, **self.settings)


class NeuronSelectivity(LayerMethod):
    """NST: which spatial patterns there are among the channels. Loss: `losses.neuron_selectivity`."""

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        return feature.neuron_selectivity(student, teacher)


class VariationalInformation(LayerMethod):
    """VID: what of the teacher's maps can be foreseen, channel by channel. Loss: `losses.VariationalInformation`."""

    def adapter(self, student: Tensor, teacher: Tensor) -> nn.Module:
        return feature.VariationalInformation(student.shape[1], teacher.shape[1])

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        return adapter(student, teacher)


class WeightTransfer(Method):
    """Intermediate weights, seen through learned linear maps. Loss: `losses.weight`.

    weights: pairs of parameter names, student's -> teacher's, as in {"stage2.0.weight": "stage2.0.weight"}.
    """

    def __init__(self, weights: Mapping[str, str]):
        super().__init__()
        self.names = dict(weights)
        self.projectors = nn.ModuleList()

    def pairs(self, batch: Batch) -> list[tuple[Tensor, Tensor]]:
        return [
            (_parameter("student", batch.student, ours), _parameter("teacher", batch.teacher, theirs))
            for ours, theirs in self.names.items()
        ]

    def prepare(self, batch: Batch) -> None:
        if not self.projectors:
            self.projectors.extend(
                feature.WeightProjector(ours.shape, theirs.shape) for ours, theirs in self.pairs(batch)
            )

    def forward(self, batch: Batch) -> Tensor:
        pairs = zip(self.projectors, self.pairs(batch), strict=True)
        return sum(feature.weight(*pair, project) for project, pair in pairs) / len(self.names)

    def extra_repr(self) -> str:
        return f"{self.names}"


class JacobianMatching(Method):
    """Which pixels the true class's logit reacts to. Loss: `losses.jacobian`."""

    needs_labels = needs_gradients = True

    def forward(self, batch: Batch) -> Tensor:
        return feature.jacobian(batch.student_logits, batch.teacher_logits, batch.inputs, batch.labels)


class GradientAttention(Method):
    """AT's gradient form, on the pictures as in the paper. Loss: `losses.gradient_attention`."""

    needs_labels = needs_gradients = True

    def forward(self, batch: Batch) -> Tensor:
        ours, theirs = (
            F.cross_entropy(logits, batch.labels) for logits in (batch.student_logits, batch.teacher_logits)
        )
        return feature.gradient_attention(ours, batch.inputs, theirs, batch.inputs)


def _parameter(role: str, model: nn.Module, name: str) -> torch.Tensor:
    known = dict(model.named_parameters())
    if name not in known:
        raise ValueError(f"the {role} has no weight {name!r}; its weights are {', '.join(known)}")
    return known[name]
