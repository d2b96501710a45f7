"""Networks that others have trained, made to answer for classes of one's own; a host that is silent costs seconds."""

from pathlib import Path
from typing import Any
from urllib.error import URLError

import torch
from torch import nn

from kdcourse.models.common import seeded
from kdcourse.system.arguments import whole_number
from kdcourse.system.download import answering, host_of


@seeded
def with_new_head(model: nn.Module, classes: int) -> nn.Module:
    """Give a classifier a fresh last linear layer, in place: the body keeps what it has learnt. Returns the model.

    classes: number of logits. seed: fixes the new layer's weights (default 0).
    Raises `ValueError` for fewer than two classes and for a model without a linear layer.
    """
    classes = whole_number("classes", classes, least=2)
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"model must end in a linear layer, and {type(model).__name__} has none")
    old = model.get_submodule(linear[-1])
    model.set_submodule(linear[-1], nn.Linear(old.in_features, classes).to(old.weight.device))
    return model


@seeded
def from_torchvision(name: str, *, classes: int, channels: int = 3, weights: str | None = "DEFAULT") -> nn.Module:
    """One of torchvision's classifiers, such as "resnet50" or "mobilenet_v2", with a new head for these classes.

    classes: number of logits. channels: 3 for colour, 1 for grey pictures. weights: "DEFAULT", the best that torchvision has,
    learnt on ImageNet and downloaded once; None for fresh ones. seed: fixes what is fresh (default 0).
    Raises `ValueError` for another name or other weights, and `OSError` where the weights cannot be downloaded.
    """
    model = with_new_head(torchvision_model(name, weights=weights), classes)
    if channels == 1:
        with_channels(model, 1)
    model.label = name
    return model.to(memory_format=torch.channels_last)


def with_channels(model: nn.Module, channels: int) -> nn.Module:
    """Let a network's first convolution take grey (1) or colour (3) pictures, in place: it answers as it did. Returns the model.

    A network for colour sees a grey picture as three equal colours, one for grey pictures sees the mean of the colours.
    """
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    if first.in_channels != channels:
        whole = first.weight.detach().sum(dim=1, keepdim=True)
        first.weight = nn.Parameter(whole.repeat(1, channels, 1, 1) / channels)
        first.in_channels = channels
    return model


def torchvision_model(name: str, *, weights: str | None = None, **arguments: Any) -> nn.Module:
    """`torchvision.models.get_model`, but for the wait where the weights' host does not answer.

    weights: the name of some that torchvision has, such as "DEFAULT", or None for fresh ones. arguments: as there.
    Raises `ValueError` for another name or other weights, and `OSError` where the weights cannot be downloaded.
    """
    from torchvision import models

    known = models.list_models(module=models)
    if name not in known:
        raise ValueError(f"name must be one of torchvision's classifiers ({', '.join(known[:3])}, …), got {name!r}")
    if weights is not None:
        offered = models.get_model_weights(name).__members__
        if weights not in offered:
            raise ValueError(f"weights must be one of {', '.join(offered)}, or None, got {weights!r}")
        address = offered[weights].url
        here = Path(torch.hub.get_dir(), "checkpoints", Path(address).name)
        if not here.exists() and not answering([address]):
            raise OSError(f"the weights of {name} cannot be downloaded: {host_of(address)} does not answer")
    try:
        return models.get_model(name, weights=weights, **arguments)
    except URLError as error:
        raise OSError(f"the weights of {name} cannot be downloaded: {error.reason}") from error


def from_hub(kind: Any, name_or_folder: str | Path, **settings: Any) -> Any:
    """`kind.from_pretrained`, for a class of `transformers`; where the hub does not answer, what it gave before.

    The hub's own client tries for most of a minute. settings: passed on. Raises `ValueError` where there is no such model.
    """
    from huggingface_hub.constants import ENDPOINT

    silent = not Path(name_or_folder).is_dir() and not answering([ENDPOINT])
    try:
        return kind.from_pretrained(name_or_folder, local_files_only=silent, **settings)
    except (OSError, ValueError) as error:
        why = f"; {host_of(ENDPOINT)} does not answer, and it was not downloaded before" if silent else ""
        raise ValueError(
            f"name_or_folder must be a folder that save_pretrained wrote or a model on the hub, got {str(name_or_folder)!r}{why}"
        ) from error
