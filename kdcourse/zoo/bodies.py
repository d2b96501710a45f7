"""Bodies that others have trained, by name, and the cheapest teacher of one: a linear probe."""

from pathlib import Path

from torch import nn

from kdcourse.data.splits import ImageData, Split
from kdcourse.evaluation import measure
from kdcourse.models import files
from kdcourse.models.transfer import (
    IMAGENET,
    Moments,
    Probe,
    hub_classifier,
    open_clip_model,
    restandardised,
    timm_model,
    torchvision_model,
    with_channels,
)
from kdcourse.training.loop import train
from kdcourse.zoo.images import own_body

KINDS = ("torchvision", "timm", "hub", "open_clip", "zoo")


def trained_body(
    name: str, *, channels: int = 3, weights: str | None = "DEFAULT", file: str | Path | None = None
) -> tuple[nn.Module, Moments | None]:
    """A classifier of pictures as others have trained it, its own head still on it, and how its pictures are standardised.

    name: one of torchvision's, such as "resnet50"; "timm:<name>"; "hub:<name or folder>" for one of the Hugging Face hub's,
    such as "hub:facebook/dinov2-small"; "open_clip:<model>/<weights>", such as "open_clip:ViT-B-32/openai"; "zoo:cifar10" and
    the like for the course's own, whose moments are None. channels: 3 for colour, 1 for grey pictures.
    weights: "DEFAULT", downloaded once, or another name of torchvision's; None for fresh ones, to try a program offline.
    file: weights of one's own, as `models.load` takes them, of torchvision's or timm's architecture.
    Raises `ValueError` for another name, `ModuleNotFoundError` for a missing package, `OSError` where weights cannot be had.
    """
    kind, sign, rest = str(name).partition(":")
    kind, rest = (kind, rest) if sign else ("torchvision", name)
    if kind not in KINDS or not isinstance(name, str):
        raise ValueError(
            f"body must be a name of torchvision's or {', '.join(f'{one}:<name>' for one in KINDS)}, got {name!r}"
        )
    if file is not None and kind not in ("torchvision", "timm"):
        raise ValueError(f"file must be left out for {kind}, whose models bring their weights, got {str(file)!r}")
    model, moments = _built(kind, rest, weights if file is None else None)
    if file is not None:
        files.load(file, model)
    model.label = name
    if kind == "zoo" or channels != 3:  # all others have learnt on colours
        with_channels(model, channels)
    return model, moments


def _built(kind: str, name: str, weights: str | None) -> tuple[nn.Module, Moments | None]:
    if kind == "torchvision":
        return torchvision_model(name, weights=weights), IMAGENET
    if kind == "timm":
        return timm_model(name, pretrained=weights is not None)
    if kind == "hub":
        return hub_classifier(name)
    if kind == "open_clip":
        model, _, its_weights = name.partition("/")
        return open_clip_model(model, pretrained=(its_weights or None) if weights is not None else None)
    return own_body(name), None


def probe(
    body: nn.Module | str,
    data: ImageData,
    split: Split | None = None,
    *,
    steps: int = 300,
    batch_size: int = 64,
    learning_rate: float = 1e-2,
    **options,
) -> Probe:
    """A teacher in one call: a body that others have trained, and a linear head that learns the classes of `data`.

    body: a classifier whose last linear layer is replaced, in place, or a name as `trained_body` takes it, with its options
    `weights` and `file`. split: what the head learns from, default `data.train`; the body is asked once for each picture.
    steps, batch_size, learning_rate: of the head. Frozen, in evaluation mode, on the data's device. Raises as `trained_body`.
    """
    split = data.train if split is None else split
    if isinstance(body, str):
        body, moments = trained_body(body, channels=split.images.shape[1], **options)
        body = restandardised(body, (data.mean, data.std), moments)
    model = Probe(body, len(data.classes)).to(split.device)
    embeddings = Split(measure.predict(model.body, split)[:, :, None, None], split.labels)
    settings = {"steps": steps, "batch_size": batch_size, "learning_rate": learning_rate, "progress": False}
    train(nn.Sequential(nn.Flatten(), model.head), embeddings, **settings)
    return model.eval().requires_grad_(False)
