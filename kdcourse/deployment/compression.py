"""A trained network made smaller: weights set to zero, units taken out, numbers in fewer bits. What is given is not changed."""

import copy
from collections.abc import Callable, Iterable
from numbers import Real

import torch
from torch import Tensor, nn
from torch.linalg import vecdot
from torch.nn.utils import parametrize
from torch.nn.utils import prune as masks

from kdcourse.models.images import Perceptron
from kdcourse.system.arguments import check_model, whole_number
from kdcourse.system.runtime import need


def prune(model: nn.Module, share: float) -> nn.Module:
    """A copy in which this share of all weights of linear layers, those nearest to zero, is zero and stays so in training.

    The masks are `torch.nn.utils.prune`'s; `remove_masks` writes them into the weights. Biases are kept.
    Source: Han, Pool, Tran, Dally (2015), *Learning both Weights and Connections for Efficient Neural Networks*, §3.
    Raises `ValueError` for a share outside [0, 1), for a model without linear layers and for one that carries masks.
    """
    _check_share(share)
    pruned = _trainable(model)
    weights = [(layer, "weight") for layer in linear_layers(pruned)]
    masks.global_unstructured(weights, pruning_method=masks.L1Unstructured, amount=float(share))
    return pruned


def prune_groups(model: nn.Module, keep: int = 2, of: int = 4) -> nn.Module:
    """A copy in which, of every `of` neighbours in a row of weights, the `keep` largest magnitudes stay and the others are zero.

    Groups lie along a layer's inputs. 2 of 4 is the pattern that NVIDIA's sparse tensor cores skip the zeros of. Masks are those
    of `prune`. Source: Mishra et al. (2021), *Accelerating Sparse Deep Neural Networks*, §2.
    Raises `ValueError` for `keep` outside 1 to `of`, for a layer whose inputs do not fall into whole groups, and as `prune`.
    """
    of = whole_number("of", of)
    keep = whole_number("keep", keep, most=of)
    pruned = _trainable(model)
    for layer in linear_layers(pruned):
        if layer.in_features % of:
            raise ValueError(f"of must divide the inputs of every layer, got {of} for a layer of {layer.in_features}")
        groups = layer.weight.detach().abs().unflatten(1, (-1, of))
        stay = torch.zeros_like(groups).scatter(2, groups.topk(keep, dim=2).indices, 1.0)
        masks.custom_from_mask(layer, "weight", stay.flatten(1))
    return pruned


def rewind(pruned: nn.Module, earlier: nn.Module) -> nn.Module:
    """A pruned model, changed in place: its masks stay, and under them lie the weights and biases of `earlier`.

    earlier: a model of the same shape without masks, such as the network early in its training, from which masked training
    starts anew. Sources: Frankle, Carbin (2019), *The Lottery Ticket Hypothesis*; Renda, Frankle, Carbin (2020), *Comparing
    Rewinding and Fine-tuning in Neural Network Pruning*. Raises `ValueError` for models whose layers differ, or without masks.
    """
    pairs = list(zip(linear_layers(pruned), linear_layers(earlier), strict=False))
    if [one.weight.shape for one in linear_layers(pruned)] != [one.weight.shape for one in linear_layers(earlier)]:
        raise ValueError("earlier must have the linear layers of pruned, and theirs differ in number or shape")
    if not all(masks.is_pruned(one) and not masks.is_pruned(other) for one, other in pairs):
        raise ValueError("pruned must carry masks in every linear layer, as prune gives them, and earlier none")
    with torch.no_grad():
        for layer, source in pairs:
            layer.weight_orig.copy_(source.weight)
            layer.weight = layer.weight_orig * layer.weight_mask
            if layer.bias is not None:
                layer.bias.copy_(source.bias)
    return pruned


def remove_masks(model: nn.Module) -> nn.Module:
    """The same model with its masks written into the weights and gone: once training is over, and before it is copied."""
    for layer in linear_layers(model):
        if masks.is_pruned(layer):
            masks.remove(layer, "weight")
    return model


def prune_units(model: Perceptron, share: float) -> Perceptron:
    """A smaller perceptron that has lost this share of each hidden layer's units, those with the shortest incoming weights.

    It has no dropout. At least one unit of each layer stays. Source of the criterion: Li et al. (2017), *Pruning Filters for
    Efficient ConvNets*, §3.1, with the Euclidean norm. Raises `ValueError` for a share outside [0, 1) and for another model.
    """
    _check_share(share)
    if not isinstance(model, Perceptron):
        raise ValueError(f"model must be a Perceptron, whose units are rows of matrices, got {type(model).__name__}")
    *hidden, last = linear_layers(model)
    weights, biases, keep = [], [], torch.arange(hidden[0].in_features, device=last.weight.device)
    for layer in hidden:
        strongest = layer.weight.norm(dim=1).topk(max(1, round((1 - share) * layer.out_features))).indices.sort().values
        weights.append(layer.weight[strongest][:, keep])
        biases.append(layer.bias[strongest])
        keep = strongest
    return _filled([*weights, last.weight[:, keep]], [*biases, last.bias])


def quantize(model: nn.Module, *, activations: bool = False) -> nn.Module:
    """A copy whose linear layers hold their weights in 8 bits, one scale for each output, by `torchao`.

    activations: round what flows in to 8 bits too, with a scale for each picture found as it comes.
    Raises `ValueError` as `prune` for a model.
    """
    need("torchao")
    from torchao.quantization import Int8DynamicActivationInt8WeightConfig, Int8WeightOnlyConfig, quantize_

    coarse = _trainable(model).eval().requires_grad_(False)
    quantize_(coarse, Int8DynamicActivationInt8WeightConfig() if activations else Int8WeightOnlyConfig())
    return coarse


def round_weights(
    model: nn.Module, bits: int, *, layers: Iterable[int] | None = None, scales: str = "largest"
) -> nn.Module:
    """A copy whose linear layers compute with weights of this many bits, and go on learning; the numbers still lie in 32.

    One scale for each row, 2^(bits − 1) − 1 steps on either side of zero. Training moves the weights in 32 bits: the gradient
    passes the rounding as if it were not there, a straight-through estimator. layers: which, counted from 0; all by default.
    scales: "largest", the row's largest magnitude is the last step; or "best", the row's squared error is as small as
    `least_squares_scale` makes it. Both follow the weights while they learn.
    Source: Bengio, Léonard, Courville (2013), *Estimating or Propagating Gradients Through Stochastic Neurons*; Jacob et al.
    (2018). Raises `ValueError` for bits outside 2 to 24, which float32 holds, for other scales, and as `prune` for a model.
    """
    bits = whole_number("bits", bits, least=2, most=24)
    if scales not in SCALES:
        raise ValueError(f"scales must be one of {', '.join(SCALES)}, got {scales!r}")
    rounded = _trainable(model)
    every = linear_layers(rounded)
    chosen = list(range(len(every)) if layers is None else layers)
    if len({whole_number("layers", number, least=0, most=len(every) - 1) for number in chosen}) < len(chosen):
        raise ValueError(f"layers must be different ones, got {chosen}")
    for number in chosen:
        parametrize.register_parametrization(every[number], "weight", _Rounded(2 ** (bits - 1) - 1, SCALES[scales]))
    return rounded


def largest_scale(weight: Tensor, steps: int) -> Tensor:
    """The scale (O, 1) at which the largest magnitude of each row of the weight (O, I) is `steps` steps from zero."""
    return weight.abs().amax(dim=1, keepdim=True).clamp(min=1e-12) / steps


def least_squares_scale(weight: Tensor, steps: int, rounds: int = 5) -> Tensor:
    """The scale s (O, 1) that lowers each row's squared error Σ (w − s·q)², with codes q = round(w/s) from −steps to steps.

    Codes for the scale, then the scale for the codes, Σ w·q / Σ q², in turn; neither can raise the error. It starts from
    `largest_scale`, and ends near a minimum, which need not be the lowest one. weight: (O, I).
    Source: Hwang, Sung (2014), *Fixed-point Feedforward Deep Neural Network Design Using Weights +1, 0, and −1*, §3.
    """
    scale = largest_scale(weight, steps)
    for _ in range(rounds):
        codes = _codes(weight, scale, steps)
        scale = (vecdot(weight, codes) / vecdot(codes, codes).clamp(min=1)).clamp(min=1e-12).unsqueeze(1)
    return scale


SCALES = {"largest": largest_scale, "best": least_squares_scale}


def _codes(weight: Tensor, scale: Tensor, steps: int) -> Tensor:
    return (weight / scale).round_().clamp_(-steps, steps)  # in place: this runs at every step of training


class _Rounded(nn.Module):
    def __init__(self, steps: int, scaled: Callable[[Tensor, int], Tensor]):
        super().__init__()
        self.steps, self.scaled = steps, scaled

    def forward(self, weight: Tensor) -> Tensor:
        fixed = weight.detach()
        scale = self.scaled(fixed, self.steps)
        return weight + (_codes(fixed, scale, self.steps) * scale - fixed)


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """In the order in which they were made, which is that of the network."""
    return [layer for layer in model.modules() if isinstance(layer, nn.Linear)]


def _check_share(share: float) -> None:
    if not isinstance(share, Real) or not 0 <= share < 1:
        raise ValueError(f"share must be at least 0 and below 1, got {share!r}")


def _trainable(model: nn.Module) -> nn.Module:
    """A copy that can learn, without dropout: what is left of a network has no unit to spare."""
    check_model("model", model)
    if not linear_layers(model):
        raise ValueError(f"model must have linear layers, got {type(model).__name__}")
    if any(masks.is_pruned(layer) for layer in linear_layers(model)):
        raise ValueError("model is pruned already: remove_masks(model) writes its masks into the weights")
    copied = copy.deepcopy(model).requires_grad_(True)
    for layer in copied.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0
    return copied


def _filled(weights: list[Tensor], biases: list[Tensor]) -> Perceptron:
    """A perceptron with these weights (O, I) and biases (O,), layer by layer."""
    model = Perceptron([weights[0].shape[1], *(len(bias) for bias in biases)]).to(biases[0].device)
    with torch.no_grad():
        for layer, weight, bias in zip(linear_layers(model), weights, biases, strict=True):
            layer.weight.copy_(weight)
            layer.bias.copy_(bias)
    return model.eval()
