"""Families of teachers and students, built by name and size."""

from kdcourse.models.cifar import (
    cifar_resnet50,
    mobilenetv2,
    resnet8,
    resnet8x4,
    resnet20,
    resnet32,
    resnet32x4,
    resnet110,
    vgg11,
    vgg13,
)
from kdcourse.models.common import between
from kdcourse.models.files import load
from kdcourse.models.images import (
    ConvNet,
    Perceptron,
    PlainNet,
    SeparableNet,
    TwoHeads,
    convnet,
    perceptron,
    plainnet,
    separable,
    two_heads,
)
from kdcourse.models.language import LanguageModel, gpt
from kdcourse.models.sentiment import SentimentClassifier, bert, every_second_layer, pretrained
from kdcourse.models.transfer import from_torchvision, with_channels, with_new_head
