"""Vectors of length 1, safe for those of length 0."""

import torch
from torch import Tensor

SHORTEST = 1e-12


def unit(vectors: Tensor, *, shortest: float | Tensor = SHORTEST) -> Tensor:
    """Vectors along the last dimension scaled to length 1; one no longer than `shortest` becomes zero, without gradient.

    It is often done by adding a tiny constant to the length. Then the map of a neuron that is never active has a gradient of
    10¹².
    """
    squared = vectors.square().sum(dim=-1, keepdim=True)
    has_length = squared.detach().sqrt() > shortest
    # The root of zero has an infinite slope, so it is never taken.
    length = torch.where(has_length, squared, 1.0).sqrt()
    return torch.where(has_length, vectors / length, 0.0)
