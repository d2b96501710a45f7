"""Teachers and students for pictures: perceptrons, small convolutional networks and residual ones.

A model's first weights depend on its `seed` alone, never on what was drawn before it, so that two methods of one
comparison start from the very same student.
"""

from collections.abc import Callable, Sequence
from functools import partial
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


class SeparableNet(nn.Module):
    """MobileNet's idea: a 3×3 convolution in each channel alone, then a 1×1 convolution across channels.

    (N, channels, H, W) -> (N, classes). Each stage halves the side by stride; `stage1`, `stage2`, … can be tapped by name.
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


class ResidualBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a 1×1 convolution where shapes differ. Halves the side by `stride` 2."""

    def __init__(self, fan_in: int, fan_out: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(fan_in, fan_out, 3, stride, padding=1, bias=False), nn.BatchNorm2d(fan_out)
        self.conv2, self.bn2 = nn.Conv2d(fan_out, fan_out, 3, padding=1, bias=False), nn.BatchNorm2d(fan_out)
        self.shortcut = nn.Identity()
        if stride != 1 or fan_in != fan_out:
            self.shortcut = nn.Sequential(nn.Conv2d(fan_in, fan_out, 1, stride, bias=False), nn.BatchNorm2d(fan_out))
        self.relu = nn.ReLU()

    def forward(self, maps: Tensor) -> Tensor:
        inner = self.relu(self.bn1(self.conv1(maps)))
        return self.relu(self.bn2(self.conv2(inner)) + self.shortcut(maps))


class ResNet(nn.Module):
    """The residual network for small pictures: a convolution, stages of residual blocks, the mean over positions.

    (N, channels, H, W) -> (N, classes). Every stage but the first halves the side; `stage1`, `stage2`, … can be tapped by name.
    Source: He, Zhang, Ren, Sun (2016), *Deep Residual Learning for Image Recognition*, §4.2.
    """

    def __init__(self, depth: int, widths: Sequence[int], classes: int, channels: int):
        super().__init__()
        self.label = f"resnet{depth} " + "-".join(map(str, widths))
        stem, *stages = widths
        blocks = (depth - 2) // (2 * len(stages))
        self.stages = len(stages)
        self.stem = nn.Sequential(nn.Conv2d(channels, stem, 3, padding=1, bias=False), nn.BatchNorm2d(stem), nn.ReLU())
        for number, (fan_in, fan_out) in enumerate(pairwise(widths), start=1):
            first = ResidualBlock(fan_in, fan_out, stride=1 if number == 1 else 2)
            others = [ResidualBlock(fan_out, fan_out, stride=1) for _ in range(blocks - 1)]
            self.add_module(f"stage{number}", nn.Sequential(first, *others))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(widths[-1], classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        features = self.stem(images)
        for number in range(1, self.stages + 1):
            features = self.get_submodule(f"stage{number}")(features)
        return self.classifier(self.pool(features).flatten(1))


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
def convnet(widths: Sequence[int] = (32, 64, 128, 256), *, classes: int = 10, channels: int = 1) -> ConvNet:
    """A convolutional network with one stage for each width; the default is the course's strong teacher.

    widths: channels after each stage (each stage halves the side, so 28×28 allows four). classes: number of logits.
    channels: 1 for grey pictures, 3 for colour. seed: fixes the first weights (default 0).
    """
    return _on_maps(ConvNet, widths, classes, channels)


@seeded
def separable(widths: Sequence[int] = (16, 32, 64, 64), *, classes: int = 10, channels: int = 1) -> SeparableNet:
    """A small MobileNet: a student of another architecture than `convnet`. Arguments as there."""
    return _on_maps(SeparableNet, widths, classes, channels)


@seeded
def resnet(
    depth: int = 8, widths: Sequence[int] = (32, 64, 128, 256), *, classes: int = 10, channels: int = 1
) -> ResNet:
    """A residual network; the default is resnet8x4 of Tian, Krishnan, Isola (2020), and depth 32 its teacher, resnet32x4.

    depth: layers that hold weights on the longest way, 2 + 2 × stages × blocks in a stage: 8, 14, 20, … for three stages.
    widths: channels of the first convolution, then of each stage. classes, channels, seed: as in `convnet`.
    """
    stages = len(widths) - 1
    if stages < 1 or depth < 2 + 2 * stages or (depth - 2) % (2 * stages):
        raise ValueError(
            f"depth must be 2 + 2 × stages × blocks with a stage for each width but the first, got {depth} for {tuple(widths)}"
        )
    return _on_maps(partial(ResNet, depth), widths, classes, channels)


def _on_maps(network: Callable[..., nn.Module], widths: Sequence[int], classes: int, channels: int) -> nn.Module:
    if not widths or any(width < 1 for width in (*widths, classes, channels)):
        raise ValueError(f"widths, classes and channels must be at least 1, got {tuple(widths)}, {classes}, {channels}")
    return network(widths, classes, channels).to(memory_format=torch.channels_last)
