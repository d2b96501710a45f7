"""Directions without accidents."""

import torch
from torch import Tensor

SHORTEST = 1e-12


def unit(vectors: Tensor, *, shortest: float | Tensor = SHORTEST) -> Tensor:
    """Vectors along the last dimension scaled to length 1; one no longer than `shortest` becomes zero, without gradient.

    Dividing by a tiny constant instead, as is often done, turns the gradient of a dead neuron's map into a number like 10¹².
    """
    squared = vectors.square().sum(dim=-1, keepdim=True)
    has_length = squared.detach().sqrt() > shortest
    # The root of zero has an infinite slope, so it is never taken.
    length = torch.where(has_length, squared, 1.0).sqrt()
    return torch.where(has_length, vectors / length, 0.0)
