"""Families of teachers and students, built by name and size."""

from kdcourse.models.images import ConvNet, Perceptron, SeparableNet, convnet, perceptron, separable

__all__ = ["ConvNet", "Perceptron", "SeparableNet", "convnet", "perceptron", "separable"]
