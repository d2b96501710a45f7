"""Families of teachers and students, built by name and size."""

from kdcourse.models.images import ConvNet, Perceptron, ResNet, SeparableNet, convnet, perceptron, resnet, separable
from kdcourse.models.language import LanguageModel, gpt
from kdcourse.models.sentiment import SentimentClassifier, bert, every_second_layer, pretrained

__all__ = [
    "ConvNet",
    "LanguageModel",
    "Perceptron",
    "ResNet",
    "SentimentClassifier",
    "SeparableNet",
    "bert",
    "convnet",
    "every_second_layer",
    "gpt",
    "perceptron",
    "pretrained",
    "resnet",
    "separable",
]
