"""Directions without accidents."""

import torch
from torch import Tensor


def unit(vectors: Tensor, dim: int = -1) -> Tensor:
    """Vectors along `dim` scaled to length 1; those without length stay zero and send no gradient back.

    Without length means a millionth of the longest or less, so that the unit of the values does not matter. Dividing by a
    tiny constant instead, as is often done, turns the gradient of a dead neuron's map into a number like 10¹².
    """
    squared = vectors.square().sum(dim=dim, keepdim=True)
    has_length = squared > 1e-12 * squared.detach().max()
    # The root of zero has an infinite slope, so it is never taken.
    length = torch.where(has_length, squared, 1.0).sqrt()
    return torch.where(has_length, vectors / length, 0.0)
