"""Feature knowledge: losses on what happens inside a network, before its last layer.

The student comes first, then the teacher. Feature maps are (N, C, H, W) unless stated. Each function returns one scalar without
unit, and no gradient reaches the teacher. All raise `ValueError` for shapes that do not fit and for NaN. Half precision is
computed in float32. What is trained beside the student (regressors, variances) is an `nn.Module`.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdcourse.losses.checks import (
    as_equal_features,
    as_feature_pair,
    as_features,
    check_labels,
    check_mask,
    check_positive,
    check_tensor,
    without_padding,
)
from kdcourse.losses.vectors import unit


class Regressor(nn.Module):
    """Brings the student's maps to the teacher's channels and size: (N, Cs, H, W) -> (N, Ct, *size).

    A 1×1 convolution changes the channels. Where `size` is given, adaptive average pooling changes the size. Give its weights
    to the optimiser; otherwise the student would have to imitate a random projection.
    student_channels, teacher_channels: Cs and Ct. size: (H, W) of the teacher's maps; by default the size stays. Forward raises
    `ValueError` for features that are not (N, Cs, H, W).
    Source: Romero et al. (2015), *FitNets*, §2.2, eq. 3.
    """

    def __init__(self, student_channels: int, teacher_channels: int, size: tuple[int, int] | None = None):
        super().__init__()
        self.project = nn.Conv2d(student_channels, teacher_channels, kernel_size=1, bias=False)
        self.size = size

    def forward(self, features: Tensor) -> Tensor:
        if features.ndim != 4 or features.shape[1] != self.project.in_channels:
            raise ValueError(
                f"features must be maps (N, {self.project.in_channels}, H, W), got shape {tuple(features.shape)}"
            )
        projected = self.project(features)
        if self.size is None or projected.shape[-2:] == self.size:
            return projected
        return F.adaptive_avg_pool2d(projected, self.size)


def hint(student: Tensor, teacher: Tensor) -> Tensor:
    """FitNets: mean squared difference of two layers' outputs over all elements.

    student, teacher: features (N, …) of one shape; where channels or sizes differ, use a `Regressor`.
    Source: Romero et al. (2015), eq. 3, without its factor 1/2 and averaged where the paper sums.
    """
    student, teacher = as_equal_features(student, teacher)
    return F.mse_loss(student, teacher)


def attention_map(features: Tensor, *, power: float = 2) -> Tensor:
    """Where a layer is active: (N, C, H, W) -> (N, H·W), each row of Euclidean length 1.

    The mean over channels of |feature|^power, flattened and l2-normalised; an all-zero map stays zero. power: at least 1,
    default 2. Raises `ValueError` for features that are no maps and for a smaller power.
    Source: Zagoruyko, Komodakis (2017), *Paying More Attention to Attention*, §3.1.
    """
    if not power >= 1:
        raise ValueError(f"power must be at least 1, got {power}")
    features = as_features("features", features, maps=True)
    return unit(features.abs().pow(power).mean(dim=1).flatten(1))


def attention_transfer(student: Tensor, teacher: Tensor, *, power: float = 2) -> Tensor:
    """AT: squared difference of the two networks' attention maps, mean over pictures and positions.

    student, teacher: maps (N, C, H, W), C may differ; the larger of two sizes is average-pooled to the smaller. power: at least
    1, default 2.
    Source: Zagoruyko, Komodakis (2017), eq. 2, in the form of the authors' code.
    """
    student, teacher = _pooled(student, teacher)
    return F.mse_loss(attention_map(student, power=power), attention_map(teacher, power=power))


def gradient_attention(
    student_loss: Tensor, student_features: Tensor, teacher_loss: Tensor, teacher_features: Tensor
) -> Tensor:
    """AT's gradient form: both networks should be sensitive at the same places.

    `attention_transfer` between the gradients d(loss)/d(features) of both networks. So channels may differ, and the size of a
    loss does not matter.
    student_loss, teacher_loss: scalars computed from the features. student_features, teacher_features: (N, C, H, W), in the
    paper the pictures themselves; both must require a gradient. Raises as `feature_gradient`.
    Source: Zagoruyko, Komodakis (2017), §3.2, eq. 5, which takes the plain difference of input gradients.
    """
    return attention_transfer(
        feature_gradient(student_loss, student_features, keep_graph=True),
        feature_gradient(teacher_loss, teacher_features),
    )


def jacobian(student_logits: Tensor, teacher_logits: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """Jacobian matching: the true class's logit should react to the same pixels in both networks.

    The gradient of that logit with respect to the input is l2-normalised picture by picture; then the mean squared difference
    over all elements.
    student_logits, teacher_logits: (N, C), computed from `inputs`. inputs: (N, …), requiring a gradient. labels: (N,) int64.
    Source: Srinivas, Fleuret (2018), *Knowledge Transfer with Jacobian Matching*, eq. 5; Czarnecki et al. (2017),
    *Sobolev Training*, eq. 1.
    """
    gradients = []
    for name, logits, keep in (("student_logits", student_logits, True), ("teacher_logits", teacher_logits, False)):
        if logits.ndim != 2 or len(logits) != len(inputs):
            raise ValueError(f"{name} must be (N, C) with N = {len(inputs)} as inputs, got shape {tuple(logits.shape)}")
        check_labels(labels, logits)
        true_class = logits.gather(1, labels.unsqueeze(1)).sum()  # a sum, so that each picture gets its own gradient
        gradients.append(unit(feature_gradient(true_class, inputs, keep_graph=keep).flatten(1)))
    return F.mse_loss(*gradients)


def feature_gradient(loss: Tensor, features: Tensor, *, keep_graph: bool = False) -> Tensor:
    """d(loss)/d(features), in the shape of the features; `keep_graph=True` where it will be differentiated again.

    Raises `ValueError` when the features require no gradient or the loss does not depend on them.
    """
    if not features.requires_grad or not loss.requires_grad:
        raise ValueError("features and loss must require a gradient, so that one can be taken; got one that does not")
    (gradient,) = torch.autograd.grad(loss, features, create_graph=keep_graph, retain_graph=True, allow_unused=True)
    if gradient is None:
        raise ValueError("loss must be computed from features, got a loss that does not depend on them")
    return gradient if keep_graph else gradient.detach()


def activation_boundary(student_pre: Tensor, teacher_pre: Tensor, *, margin: float = 1.0) -> Tensor:
    """AB: each neuron should be active where the teacher's is, and inactive elsewhere; how strongly does not matter.

    On the pre-activations s of the student and t of the teacher: mean over all elements of (s + m)² where s > −m and t ≤ 0, and
    (s − m)² where s ≤ m and t > 0. What is transferred is which neurons are active.

    student_pre, teacher_pre: features before the ReLU, of one shape. margin: m > 0, default 1.
    Source: Heo, Lee, Yun, Choi (2019), *Knowledge Transfer via Distillation of Activation Boundaries*, eq. 4.
    """
    student, teacher = as_equal_features(student_pre, teacher_pre)
    check_positive("margin", margin)
    wrongly_on = (student + margin).square() * ((student > -margin) & (teacher <= 0))
    wrongly_off = (student - margin).square() * ((student <= margin) & (teacher > 0))
    return (wrongly_on + wrongly_off).mean()


def neuron_selectivity(student: Tensor, teacher: Tensor) -> Tensor:
    """NST: the channels of both layers, taken as sets of spatial patterns, should have the same distribution.

    Squared maximum mean discrepancy with the kernel k(x, y) = (x·y)² between channels, each l2-normalised over positions;
    mean over the batch.
    student, teacher: maps (N, C, H, W), C may differ; the larger of two sizes is average-pooled to the smaller.
    Source: Huang, Wang (2017), *Like What You Like*, eq. 4 and 7 with d = 2, c = 0.
    """
    student, teacher = _pooled(student, teacher)
    s, t = (unit(maps.flatten(2)) for maps in (student, teacher))  # (N, C, H·W)

    def kernel(one: Tensor, other: Tensor) -> Tensor:
        return (one @ other.transpose(1, 2)).square().mean()  # all pairs of channels at once: (N, C, C')

    return kernel(t, t) + kernel(s, s) - 2 * kernel(s, t)


class WeightProjector(nn.Module):
    """A learned linear map from the student's weight to the shape of the teacher's, one matrix for each dimension.

    (outₛ, inₛ, …) -> (outₜ, inₜ, …): rows and columns are mapped, further dimensions (a kernel's 3×3) must agree.
    student_shape, teacher_shape: of the two weights. Raises `ValueError` where they cannot be mapped. Give its weights to the
    optimiser.
    """

    def __init__(self, student_shape: torch.Size, teacher_shape: torch.Size):
        super().__init__()
        if len(student_shape) < 2 or len(student_shape) != len(teacher_shape) or student_shape[2:] != teacher_shape[2:]:
            raise ValueError(
                "student_shape and teacher_shape must be (out, in, …) and agree after in, got "
                f"{tuple(student_shape)} and {tuple(teacher_shape)}"
            )
        self.rows = nn.Linear(student_shape[0], teacher_shape[0], bias=False)
        self.columns = nn.Linear(student_shape[1], teacher_shape[1], bias=False)

    def forward(self, weight: Tensor) -> Tensor:
        weight = self.rows(weight.movedim(0, -1))  # (in_s, …, out_t)
        return self.columns(weight.movedim(0, -1)).movedim((-2, -1), (0, 1))


def weight(student_weight: Tensor, teacher_weight: Tensor, project: nn.Module) -> Tensor:
    """The student's weight, after a learned linear map, should equal the teacher's.

    Mean squared difference of project(student_weight) and teacher_weight. The map is needed because their dimensions differ.
    student_weight, teacher_weight: of at least two dimensions. project: a module such as `WeightProjector`, trained with the
    student.
    Source: the intermediate weights of Gou, Yu, Maybank, Tao (2021), *Knowledge Distillation: A Survey*, §2.2.
    """
    return hint(project(student_weight), teacher_weight)


class VariationalInformation(nn.Module):
    """VID: maximise a lower bound of the mutual information between both layers.

    0.5 · mean((mu(student) − teacher)² / var + log var), where mu is two 1×1 convolutions with a ReLU between them, and var is
    learned for each channel. Channels that the student cannot predict get a large variance and so a small weight, provided that
    this module's parameters are in the optimiser.
    student_channels, teacher_channels: Cs and Ct. first_variance: every channel's variance at the start, above 0, default 5.
    Forward: maps (N, Cs, H, W) and (N, Ct, H, W) -> scalar; the larger of two sizes is average-pooled to the smaller. Raises
    `ValueError` for other channels.
    Source: Ahn, Hu, Damianou, Lawrence, Dai (2019), *Variational Information Distillation*, eq. 5 and 6.
    """

    FLOOR = 1e-5  # of the variance, so that no channel can have an infinite weight

    def __init__(self, student_channels: int, teacher_channels: int, *, first_variance: float = 5.0):
        super().__init__()
        check_positive("first_variance", first_variance)
        self.mean = nn.Sequential(
            nn.Conv2d(student_channels, teacher_channels, kernel_size=1),
            nn.ReLU(),
            nn.Conv2d(teacher_channels, teacher_channels, kernel_size=1),
        )
        start = math.log(math.expm1(first_variance - self.FLOOR))  # softplus turns it back
        self.softness = nn.Parameter(torch.full((teacher_channels,), start))

    @property
    def variance(self) -> Tensor:
        """(Ct,), above zero."""
        return F.softplus(self.softness) + self.FLOOR

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        student, teacher = _pooled(student, teacher)
        if student.shape[1] != self.mean[0].in_channels or teacher.shape[1] != len(self.softness):
            raise ValueError(
                f"student and teacher must have {self.mean[0].in_channels} and {len(self.softness)} channels, got "
                f"{student.shape[1]} and {teacher.shape[1]}"
            )
        variance = self.variance.view(1, -1, 1, 1)
        return 0.5 * ((self.mean(student) - teacher).square() / variance + variance.log()).mean()


def hidden_cosine(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """DistilBERT: 1 − cosine similarity of hidden states, mean over the real tokens: 0 where all directions agree, 2 at most.

    student, teacher: (N, L, D). mask: (N, L), true or 1 where a token is real, 0 for padding; at least one must be real.
    Source: Sanh, Debut, Chaumond, Wolf (2019), *DistilBERT*, §2, the cosine embedding loss.
    """
    for name, states in (("student", student), ("teacher", teacher)):
        check_tensor(name, states)
    mask = check_mask(mask, student.shape[:2])
    student, teacher = as_equal_features(*(without_padding(states, mask) for states in (student, teacher)))
    distance = 1 - (unit(student) * unit(teacher)).sum(dim=2)
    return (distance * mask).sum() / mask.sum()


def attention_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """TinyBERT: mean squared difference of attention scores over heads and pairs of real tokens.

    student, teacher: (N, heads, L, L), in the paper the scores before the softmax. mask: (N, L), true or 1 where a token is
    real, 0 for padding; at least one must be real.
    Source: Jiao et al. (2020), *TinyBERT*, eq. 7.
    """
    student, teacher = as_equal_features(student, teacher)
    if student.ndim != 4 or student.shape[2] != student.shape[3]:
        raise ValueError(f"student must be attention scores (N, heads, L, L), got shape {tuple(student.shape)}")
    mask = check_mask(mask, (student.shape[0], student.shape[2]))
    pairs = (mask[:, None, :, None] * mask[:, None, None, :]).expand_as(student)
    # Padded scores may be −∞, and 0 · ∞ is not a number: they are taken out, not multiplied away.
    gap = torch.where(pairs > 0, student - teacher, 0.0)
    return gap.square().sum() / pairs.sum()


def _pooled(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both maps at one size: each side is average-pooled to the smaller of the two."""
    student, teacher = as_feature_pair(student, teacher, maps=True)
    size = tuple(min(sides) for sides in zip(student.shape[2:], teacher.shape[2:], strict=True))
    return tuple(maps if maps.shape[2:] == size else F.adaptive_avg_pool2d(maps, size) for maps in (student, teacher))
