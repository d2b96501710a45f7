"""A student on its way to people: it takes pixels as they are, and a card says what it can do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdcourse.data.splits import ImageData, Split
from kdcourse.evaluation import measure
from kdcourse.models.transfer import Moments
from kdcourse.system.arguments import check_model
from kdcourse.system.markup import verbatim


class Deployed(nn.Module):
    """A classifier as it is handed out: pixels (N, C, H, W) within [0, 1] -> logits (N, classes).

    It holds what training did to the pictures before the network saw them, so that nobody has to remember it.
    model: trained on `data`; it is put into evaluation mode and frozen. data: or the mean and deviation of each channel, by
    which its pictures were standardised.
    """

    def __init__(self, model: nn.Module, data: ImageData | Moments):
        super().__init__()
        check_model("model", model)
        if isinstance(data, ImageData):
            data = data.mean, data.std
        if not isinstance(data, tuple) or len(data) != 2:
            raise ValueError(f"data must be the ImageData that the model was trained on, got {type(data).__name__}")
        place = next((one.device for one in model.parameters()), None)
        self.model = model
        for name, values in zip(("mean", "std"), data, strict=True):
            self.register_buffer(name, torch.tensor(values, device=place).view(1, -1, 1, 1))
        self.eval().requires_grad_(False)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.model((pixels - self.mean) / self.std)


def pixels(data: ImageData, split: Split) -> Split:
    """A split's pictures as a camera gives them, within [0, 1] and no longer standardised: what `Deployed` takes."""
    mean, std = (torch.tensor(values, device=split.device).view(1, -1, 1, 1) for values in (data.mean, data.std))
    return Split((split.images * std + mean).clamp(0, 1), split.labels)


@dataclass(frozen=True)
class Judged:
    """What a card says of one model: logits (N, classes) of the test pictures, and the number of its parameters."""

    logits: Tensor
    parameters: int


def model_card(
    models: Mapping[str, nn.Module], data: ImageData, *, training: str, limits: Sequence[str], file_bytes: int
) -> str:
    """A model card in Markdown: what the model is, how it was made, how good it is by class, and what it is not for.

    models: name -> classifier of standardised pictures; the card is the last one's, the others stand beside it. training: a
    sentence on how it was made, in Markdown: names in it as `kd.verbatim` gives them. limits: sentences on what it must not be
    used for, shown as they are written. file_bytes: of the exported model.
    Numbers are measured on `data.test`. Source of the parts: Mitchell et al. (2019), *Model Cards for Model Reporting*, §4.
    Raises `ValueError` where no model is given, and for limits that are one string: its letters would be listed.
    """
    if not isinstance(models, Mapping) or not models:
        raise ValueError(
            f"models must hold at least the one that the card is for, name -> model, got {type(models).__name__}"
        )
    judged = {
        name: Judged(measure.predict(model, data.test), measure.parameters(model)) for name, model in models.items()
    }
    return written_card(
        judged,
        data.name,
        data.classes,
        data.test.labels,
        tuple(data.test.images.shape[1:]),
        training=training,
        limits=limits,
        file_bytes=file_bytes,
    )


def written_card(
    judged: Mapping[str, Judged],
    title: str,
    classes: Sequence[str],
    labels: Tensor,
    shape: tuple[int, int, int],
    *,
    training: str,
    limits: Sequence[str],
    file_bytes: int,
) -> str:
    """The card of the last of those judged, as `model_card` writes it, from answers that are there already.

    title: of the data set. labels: (N,) of the test pictures. shape: of one of them, (C, H, W). Others as there.
    """
    if isinstance(limits, str):
        raise ValueError(f"limits must be a list of sentences, got one string: [{limits!r}]")
    name, last = list(judged.items())[-1]
    answered = Split(last.logits[:, :, None, None], labels)  # measures look at labels alone
    by_class = measure.per_class_accuracy(last.logits, answered).tolist()
    channels, height, width = shape
    rows = ["| class | test pictures | accuracy, % |", "|---|---|---|"]
    for label, (of_class, share) in enumerate(zip(classes, by_class, strict=True)):
        rows.append(f"| {verbatim(of_class)} | {int((labels == label).sum()):,} | {share:.1f} |")
    lines = [
        f"# {verbatim(name)}: pictures of {verbatim(title)}",
        f"**What it is.** A classifier of {height}×{width} {'grey' if channels == 1 else 'colour'} pictures into "
        f"{len(classes)} classes. {last.parameters:,} parameters, a file of {file_bytes / 1000:,.0f} kB. "
        "It takes pixels from 0 to 1 and gives a logit for each class; a softmax makes probabilities of them.",
        f"**How it was made.** {training}",
        f"**How good it is**, on {len(labels):,} test pictures:",
        "\n".join(_beside(judged, answered)),
        "By class:",
        "\n".join(rows),
        "**What it is not for.**",
        "\n".join(f"- {verbatim(limit)}" for limit in limits),
    ]
    return "\n\n".join(lines) + "\n"


def _beside(judged: Mapping[str, Judged], answered: Split) -> list[str]:
    """A row for each model."""
    rows = ["| model | accuracy, % | calibration error, points | parameters |", "|---|---|---|---|"]
    for name, one in judged.items():
        right, error = measure.accuracy(one.logits, answered), measure.calibration_error(one.logits, answered)
        rows.append(f"| {verbatim(name)} | {right:.1f} | {error:.1f} | {one.parameters:,} |")
    return rows
