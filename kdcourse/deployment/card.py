"""A student on its way to people: it takes pixels as they are, and a card says what it can do."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from kdcourse.data.splits import ImageData, Split
from kdcourse.evaluation import measure
from kdcourse.system.arguments import check_model
from kdcourse.system.markup import verbatim


class Deployed(nn.Module):
    """A classifier as it is handed out: pixels (N, C, H, W) within [0, 1] -> logits (N, classes).

    It holds what training did to the pictures before the network saw them, so that nobody has to remember it.
    model: trained on `data`; it is put into evaluation mode and frozen.
    """

    def __init__(self, model: nn.Module, data: ImageData):
        super().__init__()
        check_model("model", model)
        if not isinstance(data, ImageData):
            raise ValueError(f"data must be the ImageData that the model was trained on, got {type(data).__name__}")
        self.model = model
        self.register_buffer("mean", torch.tensor(data.mean).view(1, -1, 1, 1).to(data.train.device))
        self.register_buffer("std", torch.tensor(data.std).view(1, -1, 1, 1).to(data.train.device))
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model((pixels - self.mean) / self.std)


def pixels(data: ImageData, split: Split) -> Split:
    """A split's pictures as a camera gives them, within [0, 1] and no longer standardised: what `Deployed` takes."""
    mean, std = (torch.tensor(values, device=split.device).view(1, -1, 1, 1) for values in (data.mean, data.std))
    return Split((split.images * std + mean).clamp(0, 1), split.labels)


def model_card(
    models: Mapping[str, nn.Module], data: ImageData, *, training: str, limits: Sequence[str], file_bytes: int
) -> str:
    """A model card in Markdown: what the model is, how it was made, how good it is by class, and what it is not for.

    models: name -> classifier of standardised pictures; the card is the last one's, the others stand beside it. training: a
    sentence on how it was made. limits: sentences on what it must not be used for. file_bytes: of the exported model.
    Numbers are measured on `data.test`. Source of the parts: Mitchell et al. (2019), *Model Cards for Model Reporting*, §4.
    Raises `ValueError` where no model is given, and for limits that are one string: its letters would be listed.
    """
    if not isinstance(models, Mapping) or not models:
        raise ValueError(
            f"models must hold at least the one that the card is for, name -> model, got {type(models).__name__}"
        )
    if isinstance(limits, str):
        raise ValueError(f"limits must be a list of sentences, got one string: [{limits!r}]")
    name, model = list(models.items())[-1]
    by_class = measure.per_class_accuracy(model, data.test).tolist()
    _, channels, height, width = data.test.images.shape
    rows = ["| class | test pictures | accuracy, % |", "|---|---|---|"]
    for label, (title, share) in enumerate(zip(data.classes, by_class, strict=True)):
        rows.append(f"| {verbatim(title)} | {int((data.test.labels == label).sum()):,} | {share:.1f} |")
    lines = [
        f"# {verbatim(name)}: pictures of {verbatim(data.name)}",
        f"**What it is.** A classifier of {height}×{width} {'grey' if channels == 1 else 'colour'} pictures into "
        f"{len(data.classes)} classes. {measure.parameters(model):,} parameters, a file of {file_bytes / 1000:,.0f} kB. "
        "It takes pixels from 0 to 1 and gives a logit for each class; a softmax makes probabilities of them.",
        f"**How it was made.** {training}",
        f"**How good it is**, on {len(data.test):,} test pictures:",
        "\n".join(_beside(models, data)),
        "By class:",
        "\n".join(rows),
        "**What it is not for.**",
        "\n".join(f"- {limit}" for limit in limits),
    ]
    return "\n\n".join(lines) + "\n"


def _beside(models: Mapping[str, nn.Module], data: ImageData) -> list[str]:
    """A row for each model."""
    rows = ["| model | accuracy, % | calibration error, points | parameters |", "|---|---|---|---|"]
    for name, model in models.items():
        right, error = measure.accuracy(model, data.test), measure.calibration_error(model, data.test)
        rows.append(f"| {verbatim(name)} | {right:.1f} | {error:.1f} | {measure.parameters(model):,} |")
    return rows
