"""What a model says of every example: logits and layers, in evaluation mode and without gradients.

A model is where it is asked to work: it is moved to the examples' device, and answers there.
"""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor, nn

from kdcourse.data.splits import Examples, check_split
from kdcourse.data.texts import Sentences
from kdcourse.models.common import evaluating
from kdcourse.models.tapping import LOGITS, Tapped
from kdcourse.system import runtime
from kdcourse.system.arguments import check_model, whole_number

BATCH = 1000  # examples at once


def predict(model: nn.Module, split: Examples | Sentences, batch_size: int = BATCH) -> Tensor:
    """Logits (N, C) of every example, in the order of the split; the model's training flag is restored."""
    if isinstance(split, Sentences):
        return model.to(runtime.device()).predict(split.texts)
    return outputs(model, split, batch_size=batch_size)[LOGITS]


def outputs(
    model: nn.Module, split: Examples, layers: Iterable[str] = (), batch_size: int = BATCH
) -> dict[str, Tensor]:
    """ "logits" and the outputs of named layers for every example: name -> (N, …), in evaluation mode."""
    answers = list(answered(model, split, layers, batch_size))
    return {name: torch.cat([batch[name] for batch in answers]) for name in answers[0]}


@torch.no_grad()
def answered(
    model: nn.Module, split: Examples, layers: Iterable[str] = (), batch_size: int = BATCH, *, role: str = "model"
) -> Iterator[dict[str, Tensor]]:
    """What `outputs` gives, batch after batch, for answers that are too many to be held at once.

    Raises `ValueError` for what is no model and no split, and for answers that are no logits.
    """
    check_model(role, model)
    check_split(split)
    batch_size = whole_number("batch_size", batch_size)
    with evaluating(model, split.device):
        tapped = Tapped(model, layers, role=role).eval()
        for inputs in split.inputs.split(batch_size):
            logits, features = tapped(inputs)
            yield {**{name: features[name].float() for name in features}, LOGITS: logits.float()}
