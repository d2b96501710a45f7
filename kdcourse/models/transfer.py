"""Networks that others have trained, made to answer for classes of one's own; a host that is silent costs seconds."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import torch
from torch import Tensor, nn

from kdcourse.models.common import seeded
from kdcourse.system.arguments import whole_number
from kdcourse.system.download import answering, host_of
from kdcourse.system.runtime import need

Moments = tuple[
    Sequence[float], Sequence[float]
]  # mean and deviation of each channel, by which pictures are standardised
IMAGENET: Moments = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # those of torchvision's weights


@seeded
def with_new_head(model: nn.Module, classes: int) -> nn.Module:
    """Give a classifier a fresh last linear layer, in place: the body keeps what it has learnt. Returns the model.

    classes: number of logits. seed: fixes the new layer's weights (default 0).
    Raises `ValueError` for fewer than two classes and for a model without a linear layer.
    """
    classes = whole_number("classes", classes, least=2)
    name = last_linear(model)
    old = model.get_submodule(name)
    model.set_submodule(name, nn.Linear(old.in_features, classes).to(old.weight.device))
    return model


def last_linear(model: nn.Module) -> str:
    """The name of a classifier's last linear layer. Raises `ValueError` for a model without one."""
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise ValueError(f"model must end in a linear layer, and {type(model).__name__} has none")
    return linear[-1]


class Probe(nn.Module):
    """A body that stays as it is and a linear head on its embedding: pictures (N, C, H, W) -> logits (N, classes).

    model: a classifier whose last linear layer is taken off, in place, and a fresh one of `classes` outputs put beside it as
    `head`. What is left, `body`, gives embeddings (N, D); it is frozen, and answers as in evaluation even while the head learns.
    seed: fixes the head's first weights (default 0). Source: Alain, Bengio (2017), *Understanding intermediate layers using
    linear classifier probes*. Raises `ValueError` as `with_new_head`.
    """

    def __init__(self, model: nn.Module, classes: int, *, seed: int = 0):
        super().__init__()
        self.label = f"probe of {getattr(model, 'label', type(model).__name__)}"
        name = last_linear(with_new_head(model, classes, seed=seed))
        self.head = model.get_submodule(name)
        model.set_submodule(name, nn.Identity())
        self.body = model.requires_grad_(False).eval()
        self.head.requires_grad_(True)

    def train(self, mode: bool = True) -> "Probe":
        super().train(mode)
        self.body.eval()
        return self

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


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
    Raises `ValueError` for a model without a convolution.
    """
    first = next((module for module in model.modules() if isinstance(module, nn.Conv2d)), None)
    if first is None:
        raise ValueError(f"model must have a convolution that takes the pictures, and {type(model).__name__} has none")
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


def timm_model(name: str, *, pretrained: bool = False, **arguments: Any) -> tuple[nn.Module, Moments]:
    """`timm.create_model`, but for the wait where the weights' host does not answer; and how its pictures are standardised.

    pretrained: with timm's weights, or fresh ones. arguments: as there. Raises `ModuleNotFoundError` without the package timm,
    `ValueError` for another name, and `OSError` where the weights cannot be downloaded.
    """
    need("timm", "huggingface_hub")
    import timm
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.constants import ENDPOINT

    if not timm.is_model(name):
        raise ValueError(f"name must be one of timm's models ({', '.join(timm.list_models()[:3])}, …), got {name!r}")
    if pretrained and (known := timm.get_pretrained_cfg(name)) and known.hf_hub_id:
        here = any(try_to_load_from_cache(known.hf_hub_id, file) for file in ("model.safetensors", "pytorch_model.bin"))
        if not here and not answering([ENDPOINT]):
            raise OSError(f"the weights of {name} cannot be downloaded: {host_of(ENDPOINT)} does not answer")
    model = timm.create_model(name, pretrained=pretrained, **arguments)
    return model, (model.pretrained_cfg["mean"], model.pretrained_cfg["std"])


def open_clip_model(name: str, *, pretrained: str | None = None) -> tuple[nn.Module, Moments]:
    """The side of a CLIP that looks at pictures, with a fresh head of 1,000 classes; and how its pictures are standardised.

    name, pretrained: as `open_clip.create_model` takes them, such as "ViT-B-32" and "openai", or the path of a file of weights.
    Raises `ModuleNotFoundError` without the package open_clip, `ValueError` for another name and `OSError` where the weights
    cannot be downloaded.
    """
    if find_spec("open_clip") is None:
        raise ModuleNotFoundError("this needs open_clip; run: pip install open_clip_torch")
    import open_clip
    from huggingface_hub.constants import ENDPOINT

    if name not in open_clip.list_models():
        raise ValueError(
            f"name must be one of open_clip's models ({', '.join(open_clip.list_models()[:3])}, …), got {name!r}"
        )
    if pretrained and not Path(pretrained).exists() and not answering([ENDPOINT]):
        raise OSError(f"the weights of {name} cannot be downloaded: {host_of(ENDPOINT)} does not answer")
    eye = open_clip.create_model(name, pretrained=pretrained).visual
    model = nn.Sequential(eye, nn.Linear(eye.output_dim, 1000))
    return model, (eye.image_mean, eye.image_std)


class HubClassifier(nn.Module):
    """One of the Hugging Face hub's classifiers of pictures as a model like others: (N, C, H, W) -> logits (N, classes).

    model: an `AutoModelForImageClassification`.
    """

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model
        self.classes = [model.config.id2label[number] for number in range(model.config.num_labels)]

    def forward(self, images: Tensor) -> Tensor:
        return self.model(pixel_values=images).logits


def hub_classifier(name_or_folder: str | Path, **settings: Any) -> tuple[HubClassifier, Moments]:
    """A classifier of pictures from the hub or a folder, and how its pictures are standardised. Raises as `from_hub` does."""
    need("transformers")
    from transformers import AutoImageProcessor, AutoModelForImageClassification

    model = HubClassifier(from_hub(AutoModelForImageClassification, name_or_folder, **settings))
    processor = from_hub(AutoImageProcessor, name_or_folder)
    if not getattr(processor, "do_normalize", False):
        return model, ((0.0,), (1.0,))
    return model, (processor.image_mean, processor.image_std)


class Restandardised(nn.Module):
    """A model among pictures that are standardised otherwise than those it has learnt from: it gets them as it knows them.

    given, known: mean and deviation of each channel, of the pictures that come and of the model's own.
    """

    def __init__(self, model: nn.Module, given: Moments, known: Moments):
        super().__init__()
        self.model = model
        self.label = getattr(model, "label", type(model).__name__)
        (mean, deviation), (own_mean, own_deviation) = (map(torch.tensor, pair) for pair in (given, known))
        self.register_buffer("scale", (deviation / own_deviation).view(-1, 1, 1))
        self.register_buffer("shift", ((mean - own_mean) / own_deviation).view(-1, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.model(images * self.scale + self.shift)


def restandardised(model: nn.Module, given: Moments | None, known: Moments | None) -> nn.Module:
    """The model itself where pictures come as it knows them, or nobody can say; the layers of others are called model.…"""
    if given is None or known is None or all(np.allclose(*pair) for pair in zip(given, known, strict=True)):
        return model
    return Restandardised(model, given, known)


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
