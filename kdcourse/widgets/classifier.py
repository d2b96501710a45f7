"""Show a classifier a picture: one of the test pictures, or a file of one's own."""

from collections.abc import Callable, Mapping, Sequence

import ipywidgets
import torch
from torch import Tensor

from kdcourse import plots
from kdcourse.data.pictures import read_picture
from kdcourse.data.splits import Split
from kdcourse.plots import Figure
from kdcourse.plots.palette import array
from kdcourse.widgets.linked import WIDE
from kdcourse.widgets.live import LiveFigure, live

Classify = Callable[[Tensor], Tensor]


def uploaded(value) -> tuple[str, bytes] | None:
    """Name and content of the file that a FileUpload holds, None for none: ipywidgets 7 gives a dictionary, 8 a tuple."""
    if not value:
        return None
    if isinstance(value, Mapping):
        name, file = list(value.items())[-1]
    else:
        file = value[-1]
        name = file["name"]
    return name, bytes(file["content"])


def picture_classifier(models: Mapping[str, Classify], pixels: Split, classes: Sequence[str]) -> LiveFigure:
    """Show the probabilities that each model gives for one picture: a test picture, chosen by a slider, or an uploaded file.

    models: name -> what turns pixels (1, C, H, W) within [0, 1] into logits (1, classes). pixels: as `deployment.pixels` gives
    them. An upload is cut and scaled as training pictures were. Raises `ValueError` for no model, picture or label.
    """
    labels = pixels.labelled("picture_classifier")
    if not models or not len(pixels):
        raise ValueError(f"models and pixels must hold something, got {len(models)} models and {len(pixels)} pictures")
    channels, size = pixels.images.shape[1:3]

    def draw(picture: int, yours) -> Figure:
        shown, title = pixels.images[[picture]], f"test picture {picture}, {classes[int(labels[picture])]}"
        file = uploaded(yours) if picture == 0 else None
        if file is not None:
            name, content = file
            try:
                shown, title = read_picture(content, size, channels).to(pixels.device), f"your {name}"
            except ValueError:
                title = f"{name} is no picture that can be read; {title}"
        with torch.no_grad():
            opinions = {name: classify(shown)[0].softmax(dim=0) for name, classify in models.items()}
        return plots.opinions(_photograph(shown), title, opinions, classes)

    slider = ipywidgets.IntSlider(0, min=0, max=len(pixels) - 1, description="picture", **WIDE)
    upload = ipywidgets.FileUpload(accept="image/*", multiple=False, description="yours, at 0")
    return live(draw, picture=slider, yours=upload)


def _photograph(pixels: Tensor):
    """(1, C, H, W) -> (H, W) or (H, W, 3)."""
    picture = array(pixels)[0]
    return picture[0] if len(picture) == 1 else picture.transpose(1, 2, 0)
