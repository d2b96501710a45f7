"""Teachers and students for pictures: perceptrons and small convolutional networks.

A model's first weights depend on its `seed` alone, never on what was drawn before it, so that two methods of one
comparison start from the very same student.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from kdcourse.models.common import seeded


class Perceptron(nn.Module):
    """Fully connected layers with ReLU between them; pictures are flattened first. (N, C, H, W) -> (N, classes)."""

    def __init__(self, sizes: Sequence[int], dropout: float = 0.0):
        super().__init__()
        self.label = "perceptron " + "-".join(map(str, sizes))
        self.hidden = nn.Sequential()
        for fan_in, fan_out in pairwise(sizes[:-1]):
            self.hidden.extend([nn.Linear(fan_in, fan_out), nn.ReLU(), nn.Dropout(dropout)])
        self.classifier = nn.Linear(sizes[-2], sizes[-1])

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.hidden(images.flatten(1)))


class TwoHeads(Perceptron):
    """A perceptron with a second head that no label ever trains: `auxiliary` logits beside the class logits.

    Forward gives the class logits alone, (N, C, H, W) -> (N, classes). The auxiliary logits (N, auxiliary) are tapped by the
    layer's name, `auxiliary`. Source: Cloud et al. (2025), *Subliminal Learning*, §6.
    """

    def __init__(self, sizes: Sequence[int], auxiliary: int):
        super().__init__(sizes)
        self.label += f" and {auxiliary} auxiliary logits"
        self.auxiliary = nn.Linear(sizes[-2], auxiliary)

    def forward(self, images: Tensor) -> Tensor:
        hidden = self.hidden(images.flatten(1))
        self.auxiliary(hidden)  # for those who tap it
        return self.classifier(hidden)


class ConvNet(nn.Module):
    """Stages of 3×3 convolution, batch norm, ReLU and max-pooling, then the mean over positions.

    (N, channels, H, W) -> (N, classes). Each stage halves the side; `stage1`, `stage2`, … can be tapped by name.
    """

    def __init__(self, widths: Sequence[int], classes: int, channels: int):
        super().__init__()
        self.label = "convnet " + "-".join(map(str, widths))
        self.stages = len(widths)
        for number, (fan_in, fan_out) in enumerate(zip((channels, *widths), widths, strict=False), start=1):
            stage = nn.Sequential(
                nn.Conv2d(fan_in, fan_out, 3, padding=1, bias=False),
                nn.BatchNorm2d(fan_out),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
            self.add_module(f"stage{number}", stage)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        features = images
        for number in range(1, self.stages + 1):
            features = self.get_submodule(f"stage{number}")(features)
        return self.classifier(self.pool(features).flatten(1))


class PlainNet(nn.Module):
    """Stages of 3×3 convolutions with ReLU, each ended by max-pooling, then one hidden layer over all that is left of the maps.

    (N, channels, H, W) -> (N, classes), of one size of pictures. Each stage halves the side; `features.stage1`, … and their
    end laid flat, `flat`, can be tapped by name.
    """

    def __init__(
        self, stages: Sequence[Sequence[int]], units: int, classes: int, channels: int, side: int, dropout: float
    ):
        super().__init__()
        self.label = "plain net " + " ".join("-".join(map(str, widths)) for widths in stages)
        self.features = nn.Sequential()
        for number, widths in enumerate(stages, start=1):
            stage = nn.Sequential()
            for width in widths:
                stage.extend([nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()])
                channels = width
            self.features.add_module(f"stage{number}", stage.append(nn.MaxPool2d(2)))
            side //= 2
        self.flat = nn.Flatten()
        self.classifier = nn.Sequential(
            *(nn.Linear(channels * side**2, units), nn.ReLU(), nn.Dropout(dropout), nn.Linear(units, classes))
        )

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.flat(self.features(images)))


class SeparableNet(nn.Module):
    """MobileNet's idea: a 3×3 convolution in each channel alone, then a 1×1 convolution across channels.

    (N, channels, H, W) -> (N, classes). Each stage halves the side by stride; `features.stage1`, … can be tapped by name.
    Source: Howard et al. (2017), *MobileNets*, §3.1.
    """

    def __init__(self, widths: Sequence[int], classes: int, channels: int):
        super().__init__()
        self.label = "separable " + "-".join(map(str, widths))
        self.features = nn.Sequential()
        for number, (fan_in, fan_out) in enumerate(zip((channels, *widths), widths, strict=False), start=1):
            # The first stage sees raw pixels, which hold too few channels to be filtered one by one.
            filters = fan_out if number == 1 else fan_in
            stage = nn.Sequential(
                nn.Conv2d(fan_in, filters, 3, stride=2, padding=1, groups=1 if number == 1 else fan_in, bias=False),
                nn.BatchNorm2d(filters),
                nn.ReLU(),
                nn.Conv2d(filters, fan_out, 1, bias=False),
                nn.BatchNorm2d(fan_out),
                nn.ReLU(),
            )
            self.features.add_module(f"stage{number}", stage)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(widths[-1], classes)

    def forward(self, images: Tensor) -> Tensor:
        return self.classifier(self.pool(self.features(images)).flatten(1))


@seeded
def perceptron(
    hidden: Sequence[int] = (1200, 1200), *, classes: int = 10, inputs: int = 28 * 28, dropout: float = 0.0
) -> Perceptron:
    """A perceptron with these hidden layers; the default is the teacher of Hinton et al. (2015), §3.

    hidden: units of each hidden layer. classes: number of logits. inputs: pixels × channels of a picture.
    dropout: share of hidden units dropped while training. seed: fixes the first weights (default 0).
    """
    if any(units < 1 for units in (*hidden, classes, inputs)):
        raise ValueError(f"hidden, classes and inputs must be at least 1, got {tuple(hidden)}, {classes}, {inputs}")
    if not 0 <= dropout < 1:
        raise ValueError(f"dropout must be at least 0 and below 1, got {dropout}")
    return Perceptron((inputs, *hidden, classes), dropout)


@seeded
def two_heads(
    hidden: Sequence[int] = (256, 256), *, auxiliary: int = 20, classes: int = 10, inputs: int = 28 * 28
) -> TwoHeads:
    """A perceptron with auxiliary logits; the default is near the network of Cloud et al. (2025), §6, which has 3 of them.

    hidden: units of each hidden layer. auxiliary, classes: numbers of logits. inputs: pixels × channels of a picture.
    seed: fixes the first weights (default 0); those of hidden layers and class logits are the same for any `auxiliary`.
    """
    if any(units < 1 for units in (*hidden, auxiliary, classes, inputs)):
        raise ValueError(
            f"hidden, auxiliary, classes and inputs must be at least 1, got {tuple(hidden)}, {auxiliary}, {classes}, {inputs}"
        )
    return TwoHeads((inputs, *hidden, classes), auxiliary)


@seeded
def convnet(widths: Sequence[int] = (32, 64, 128, 256), *, classes: int = 10, channels: int = 1) -> ConvNet:
    """A convolutional network with one stage for each width; the default is the course's strong teacher.

    widths: channels after each stage (each stage halves the side, so 28×28 allows four). classes: number of logits.
    channels: 1 for grey pictures, 3 for colour. seed: fixes the first weights (default 0).
    """
    return _on_maps(ConvNet, widths, classes, channels)


@seeded
def plainnet(
    stages: Sequence[Sequence[int]] = ((128, 64), (64, 32)),
    units: int = 512,
    *,
    classes: int = 10,
    channels: int = 3,
    inputs: int = 3 * 32 * 32,
    dropout: float = 0.1,
) -> PlainNet:
    """A network without batch norm; the default is the teacher of PyTorch's *Knowledge Distillation Tutorial*, whose student
    has stages of (16,) and (16,) and 256 units.

    stages: channels after each convolution of each stage. units: of the hidden layer. classes: number of logits.
    channels: 1 for grey pictures, 3 for colour. inputs: pixels × channels of a picture, which must be square.
    dropout: share of hidden units dropped while training. seed: fixes the first weights (default 0).
    """
    widths = [width for stage in stages for width in stage]
    if not all(stages) or any(number < 1 for number in (*widths, units, classes, channels)):
        raise ValueError(
            f"stages, units, classes and channels must be at least 1, got {stages}, {units}, {classes}, {channels}"
        )
    side = math.isqrt(inputs // channels)
    if channels * side**2 != inputs:
        raise ValueError(
            f"inputs must be channels × side × side of a square picture, got {inputs} for {channels} channels"
        )
    if side >> len(stages) < 1:
        raise ValueError(
            f"stages must be few enough for pictures {side} pixels wide to be halved so often, got {stages}"
        )
    network = PlainNet(stages, units, classes, channels, side, dropout)
    return network.to(memory_format=torch.channels_last)


@seeded
def separable(widths: Sequence[int] = (16, 32, 64, 64), *, classes: int = 10, channels: int = 1) -> SeparableNet:
    """A small MobileNet: a student of another architecture than `convnet`. Arguments as there."""
    return _on_maps(SeparableNet, widths, classes, channels)


def _on_maps(network: type[nn.Module], widths: Sequence[int], classes: int, channels: int) -> nn.Module:
    if not widths or any(width < 1 for width in (*widths, classes, channels)):
        raise ValueError(f"widths, classes and channels must be at least 1, got {tuple(widths)}, {classes}, {channels}")
    return network(widths, classes, channels).to(memory_format=torch.channels_last)
