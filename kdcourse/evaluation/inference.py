"""A model's answers for all examples of a split: logits and layers, in evaluation mode and without gradients.

The model is moved to the examples' device and answers there.
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
    """Logits (N, C) of every example, in the order of the split; the model's training flag is restored.

    split: pictures, other examples, or sentences; labels are not needed. batch_size: examples at once, default 1,000. Raises as
    `answered`.
    """
    if isinstance(split, Sentences):
        return model.to(runtime.device()).predict(split.texts)
    return outputs(model, split, batch_size=batch_size)[LOGITS]


def outputs(
    model: nn.Module, split: Examples, layers: Iterable[str] = (), batch_size: int = BATCH
) -> dict[str, Tensor]:
    """The logits, under the name "logits", and the outputs of named layers for every example: name -> (N, …).

    layers: names of the model's modules, default none. batch_size: examples at once, default 1,000. Raises as `answered`.
    """
    answers = list(answered(model, split, layers, batch_size))
    return {name: torch.cat([batch[name] for batch in answers]) for name in answers[0]}


@torch.no_grad()
def answered(
    model: nn.Module, split: Examples, layers: Iterable[str] = (), batch_size: int = BATCH, *, role: str = "model"
) -> Iterator[dict[str, Tensor]]:
    """What `outputs` gives, one batch after another, for answers that are too many to be held in memory at once.

    role: what errors call the model. Raises `ValueError` for something that is no model or no split, and for answers that are no
    logits.
    """
    check_model(role, model)
    check_split(split)
    batch_size = whole_number("batch_size", batch_size)
    with evaluating(model, split.device):
        tapped = Tapped(model, layers, role=role).eval()
        for inputs in split.inputs.split(batch_size):
            logits, features = tapped(inputs)
            yield {**{name: features[name].float() for name in features}, LOGITS: logits.float()}
