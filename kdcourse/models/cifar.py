"""The networks of the published comparisons on 32×32 pictures, as Tian, Krishnan, Isola (2020) built them.

Each gives (N, channels, H, W) -> (N, classes) and begins with the weights that `seed` fixes (default 0). Outputs of `stage1`,
`stage2`, … can be tapped by name, the embedding before the classifier as `pool`.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from kdcourse.models.common import seeded


class StagedNet(nn.Module):
    """A stem, stages, the mean over positions, a linear classifier: what these networks have in common."""

    def __init__(
        self, label: str, stem: nn.Module, stages: Sequence[nn.Module], head: nn.Module, width: int, classes: int
    ):
        super().__init__()
        self.label, self.stem = label, stem
        self.stages = [f"stage{number}" for number in range(1, len(stages) + 1)]
        for name, stage in zip(self.stages, stages, strict=True):
            self.add_module(name, stage)
        self.head = head
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(width, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        features = self.stem(images)
        for name in self.stages:
            features = self.get_submodule(name)(features)
        return self.classifier(self.pool(self.head(features)))


@seeded
def resnet8(*, classes: int = 100, channels: int = 3) -> StagedNet:
    """He et al. (2016), §4.2: depth 6n + 2 in three stages of 16, 32 and 64 channels."""
    return _resnet(8, (16, 16, 32, 64), classes, channels)


@seeded
def resnet20(*, classes: int = 100, channels: int = 3) -> StagedNet:
    """As `resnet8`, 20 layers deep."""
    return _resnet(20, (16, 16, 32, 64), classes, channels)


@seeded
def resnet32(*, classes: int = 100, channels: int = 3) -> StagedNet:
    """As `resnet8`, 32 layers deep."""
    return _resnet(32, (16, 16, 32, 64), classes, channels)


@seeded
def resnet110(*, classes: int = 100, channels: int = 3) -> StagedNet:
    """As `resnet8`, 110 layers deep."""
    return _resnet(110, (16, 16, 32, 64), classes, channels)


@seeded
def resnet8x4(*, classes: int = 100, channels: int = 3) -> StagedNet:
    """As `resnet8`, with stages of 64, 128 and 256 channels after a stem of 32."""
    return _resnet(8, (32, 64, 128, 256), classes, channels)


@seeded
def resnet32x4(*, classes: int = 100, channels: int = 3) -> StagedNet:
    """As `resnet8x4`, 32 layers deep."""
    return _resnet(32, (32, 64, 128, 256), classes, channels)


@seeded
def vgg11(*, classes: int = 100, channels: int = 3) -> StagedNet:
    """Simonyan, Zisserman (2015), configuration A with batch norm, one linear layer at the end."""
    return _vgg("vgg11", ((64,), (128,), (256, 256), (512, 512), (512, 512)), classes, channels)


@seeded
def vgg13(*, classes: int = 100, channels: int = 3) -> StagedNet:
    """As `vgg11`, configuration B."""
    return _vgg("vgg13", ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)), classes, channels)


@seeded
def mobilenetv2(*, classes: int = 100, channels: int = 3) -> StagedNet:
    """Sandler et al. (2018), table 2 at half the width, with ReLU and the strides that 32×32 pictures allow."""
    # Repetitions, channels and stride of each row of the table; rows that share a resolution are one stage.
    rows = [[(1, 16, 1), (2, 24, 1)], [(3, 32, 2)], [(4, 64, 2), (3, 96, 1)], [(3, 160, 2), (1, 320, 1)]]
    width, expansion, stages = 16, 1, []
    for stage in rows:
        blocks = []
        for count, full, stride in stage:
            for number in range(count):
                blocks.append(InvertedResidual(width, full // 2, stride if number == 0 else 1, expansion))
                width = full // 2
            expansion = 6  # all but the first row's
        stages.append(nn.Sequential(*blocks))
    model = StagedNet("mobilenetv2", _normed(channels, 16, 3, 2), stages, _normed(width, 1280, 1), 1280, classes)
    return _small_classifier(model)


@seeded
def cifar_resnet50(*, classes: int = 100, channels: int = 3) -> nn.Module:
    """torchvision's ResNet-50 with a stem for small pictures: a 3×3 convolution, no pooling. Its stages are `layer1`, …"""
    from torchvision.models import resnet50

    model = resnet50(num_classes=classes)
    model.conv1, model.maxpool = nn.Conv2d(channels, 64, 3, padding=1, bias=False), nn.Identity()
    model.label = "resnet50"
    return model.to(memory_format=torch.channels_last)


class InvertedResidual(nn.Module):
    """Wide in the middle: 1×1 convolution, 3×3 in each channel alone, 1×1 back; added to its input where shapes agree."""

    def __init__(self, fan_in: int, fan_out: int, stride: int, expansion: int):
        super().__init__()
        wide = fan_in * expansion
        self.layers = nn.Sequential(
            *_normed(fan_in, wide, 1), *_normed(wide, wide, 3, stride, groups=wide), *_normed(wide, fan_out, 1)[:-1]
        )
        self.adds = stride == 1 and fan_in == fan_out

    def forward(self, features: Tensor) -> Tensor:
        return features + self.layers(features) if self.adds else self.layers(features)


def _resnet(depth: int, widths: Sequence[int], classes: int, channels: int) -> StagedNet:
    from torchvision.models.resnet import BasicBlock

    def block(fan_in: int, fan_out: int, stride: int) -> BasicBlock:
        same = stride == 1 and fan_in == fan_out
        return BasicBlock(fan_in, fan_out, stride, None if same else _normed(fan_in, fan_out, 1, stride)[:-1])

    stages = []
    for number, (fan_in, fan_out) in enumerate(pairwise(widths)):
        rest = [block(fan_out, fan_out, 1) for _ in range((depth - 2) // 6 - 1)]
        stages.append(nn.Sequential(block(fan_in, fan_out, 1 if number == 0 else 2), *rest))
    label = f"resnet{depth}" + ("x4" if widths[0] == 32 else "")
    model = StagedNet(label, _normed(channels, widths[0], 3), stages, nn.Identity(), widths[-1], classes)
    return model.to(memory_format=torch.channels_last)


def _vgg(label: str, widths: Sequence[Sequence[int]], classes: int, channels: int) -> StagedNet:
    stages, fan_in = [], channels
    for number, stage in enumerate(widths):
        # A stage is tapped at its last ReLU, so the pooling after it belongs to the next; the last two stages share a size.
        layers = [nn.MaxPool2d(2)] if number in (1, 2, 3) else []
        for fan_out in stage:
            layers += [nn.Conv2d(fan_in, fan_out, 3, padding=1), nn.BatchNorm2d(fan_out), nn.ReLU()]
            fan_in = fan_out
        stages.append(nn.Sequential(*layers))
    return _small_classifier(StagedNet(label, nn.Identity(), stages, nn.Identity(), fan_in, classes))


def _normed(fan_in: int, fan_out: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(fan_in, fan_out, size, stride, size // 2, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(fan_out), nn.ReLU())


def _small_classifier(model: StagedNet) -> StagedNet:
    nn.init.normal_(model.classifier.weight, 0, 0.01)
    nn.init.zeros_(model.classifier.bias)
    return model.to(memory_format=torch.channels_last)
