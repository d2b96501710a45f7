"""Methods of feature knowledge: the student imitates what layers give before the logits.

`layers` names pairs of layers, student's -> teacher's, as in {"stage2": "stage2"}. Their outputs are maps (N, C, H, W) unless
stated, and the loss is the mean over the pairs. What must be learned beside the student (a regressor, variances) is made when
training begins and is trained with it. Formulas and errors stand with the losses.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdcourse.losses import feature, response
from kdcourse.methods.base import Batch, Method
from kdcourse.system.arguments import whole_number


class LayerMethod(Method):
    """A method on pairs of layers: a subclass defines `match`, and `adapter` where something is learned beside the student.

    layers: student's layer -> teacher's, at least one pair, else `ValueError`. settings: hyper-parameters of the loss, by name.
    """

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
        """What is learned for one pair of layers, given a few examples of their outputs (N, …); by default nothing."""
        return nn.Identity()

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one pair of layers, a scalar, given their outputs (N, …). Raises `TypeError` where it is not defined."""
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
    """A method that compares element by element: a `Regressor` first brings the student's maps to the teacher's shape."""

    def adapter(self, student: Tensor, teacher: Tensor) -> nn.Module:
        return feature.Regressor(student.shape[1], teacher.shape[1], tuple(teacher.shape[-2:]))


class Hint(RegressedMethod):
    """FitNets: the teacher's maps, guessed from the student's by a learned 1×1 convolution. Loss: `losses.hint`.

    Source: Romero et al. (2015), *FitNets: Hints for Thin Deep Nets*, eq. 3.
    """

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        return feature.hint(adapter(student), teacher)


class HiddenCosine(LayerMethod):
    """1 − the cosine of two layers' outputs (N, …), each laid flat. Loss: `losses.hidden_cosine`.

    Where the teacher's is of another length, averages bring it to the student's.
    Source: PyTorch, *Knowledge Distillation Tutorial*, which does to pictures what DistilBERT does to words.
    """

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        student, teacher = (features.flatten(1).unsqueeze(1) for features in (student, teacher))  # one word, (N, 1, D)
        teacher = F.adaptive_avg_pool1d(teacher, student.shape[2])
        return feature.hidden_cosine(student, teacher, student.new_ones(student.shape[:2]))


class AuxiliaryLogits(LayerMethod):
    """Logits that stand for no class, of a layer named `auxiliary` in both networks: KL(teacher ‖ student), T = 1.

    The class logits are not looked at, and no labels. count: only the first so many of the auxiliary logits are compared, at
    least 2, default 20. Loss: `losses.soft_target` at temperature 1. Raises `ValueError` for fewer, and in training for more
    than there are. Source: Cloud et al. (2025), *Subliminal Learning*, §6.
    """

    def __init__(self, count: int = 20):
        super().__init__({"auxiliary": "auxiliary"}, count=whole_number("count", count, least=2))

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        count = whole_number("count", self.settings["count"], most=min(student.shape[1], teacher.shape[1]))
        return response.soft_target(student[:, :count], teacher[:, :count], temperature=1)


class AttentionTransfer(LayerMethod):
    """AT: at which positions a layer is active, whatever its channels. Loss: `losses.attention_transfer`.

    power: that of each feature before the mean over channels, at least 1, default 2.
    Source: Zagoruyko, Komodakis (2017), *Paying More Attention to Attention*, eq. 2.
    """

    def __init__(self, layers: Mapping[str, str], power: float = 2):
        super().__init__(layers, power=power)

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        return feature.attention_transfer(student, teacher, **self.settings)


class ActivationBoundary(RegressedMethod):
    """AB: which neurons fire, no matter how strongly. Loss: `losses.activation_boundary`.

    layers: they name outputs before the ReLU, such as "stage4.1". margin: how far beyond zero the student is pushed, above 0,
    default 1.
    Source: Heo et al. (2019), *Knowledge Transfer via Distillation of Activation Boundaries*, eq. 4.
    """

    def __init__(self, layers: Mapping[str, str], margin: float = 1.0):
        super().__init__(layers, margin=margin)

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        return feature.activation_boundary(adapter(student), teacher, **self.settings)


class NeuronSelectivity(LayerMethod):
    """NST: which spatial patterns there are among the channels, whatever their number. Loss: `losses.neuron_selectivity`.

    Source: Huang, Wang (2017), *Like What You Like*, eq. 4 and 7.
    """

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        return feature.neuron_selectivity(student, teacher)


class VariationalInformation(LayerMethod):
    """VID: how much of the teacher's maps can be foreseen from the student's, channel by channel.

    A mean and a variance for each channel are learned beside the student. Loss: `losses.VariationalInformation`.
    Source: Ahn et al. (2019), *Variational Information Distillation*, eq. 5 and 6.
    """

    def adapter(self, student: Tensor, teacher: Tensor) -> nn.Module:
        return feature.VariationalInformation(student.shape[1], teacher.shape[1])

    def match(self, adapter: nn.Module, student: Tensor, teacher: Tensor) -> Tensor:
        return adapter(student, teacher)


class WeightTransfer(Method):
    """The teacher's weights, which the student's should be after a learned linear map. Loss: `losses.weight`.

    weights: pairs of parameter names, student's -> teacher's, as in {"stage2.0.weight": "stage2.0.weight"}; of shapes
    (out, in, …) that agree after the first two. Raises `ValueError` for a name that a network has not, and for other shapes.
    Source: Gou, Yu, Maybank, Tao (2021), *Knowledge Distillation: A Survey*, §2.2.
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
    """Which pixels the true class's logit reacts to. Needs labels, and asks the teacher at every step. Loss: `losses.jacobian`.

    Source: Srinivas, Fleuret (2018), *Knowledge Transfer with Jacobian Matching*, eq. 5.
    """

    needs_labels = needs_gradients = True

    def forward(self, batch: Batch) -> Tensor:
        return feature.jacobian(batch.student_logits, batch.teacher_logits, batch.inputs, batch.labels)


class GradientAttention(Method):
    """AT's gradient form: at which pixels the cross-entropy with the labels is sensitive. Loss: `losses.gradient_attention`.

    Needs labels, and asks the teacher at every step. Source: Zagoruyko, Komodakis (2017), §3.2, eq. 5.
    """

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
