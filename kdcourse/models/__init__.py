"""Families of teachers and students, built by name and size."""

from kdcourse.models.images import ConvNet, Perceptron, convnet, perceptron

__all__ = ["ConvNet", "Perceptron", "convnet", "perceptron"]
