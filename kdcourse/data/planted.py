"""Pictures that somebody made on purpose: noise in place of pictures, and marks planted in them."""

import torch
from torch import Tensor
from torch.nn import functional as F

from kdcourse.data.splits import Split
from kdcourse.system.arguments import whole_number

NOISES = ("uniform", "normal", "coarse")
MARKS = ("patch", "bar")
COARSE, PATCH, BAR = 4, 4, 2  # pixels: side of a block of coarse noise, side of the patch, width of the bar


def noise(like: Split, count: int, kind: str = "uniform", seed: int = 0) -> Split:
    """`count` pictures of noise without labels, of the size of those in `like` and on their device.

    kind: "uniform" (default), each value drawn evenly from −1 to 1; "normal", with mean 0 and deviation 1; "coarse", uniform
    values that hold for blocks of 4×4 pixels. Values count as standardised. seed: fixes them, default 0.
    Raises `ValueError` for another kind and for fewer than one picture.
    """
    count = whole_number("count", count, least=1)
    if kind not in NOISES:
        raise ValueError(f"kind must be one of {', '.join(NOISES)}, got {kind!r}")
    generator = torch.Generator().manual_seed(seed)
    _, channels, height, width = like.images.shape
    if kind == "normal":
        images = torch.randn(count, channels, height, width, generator=generator)
    elif kind == "uniform":
        images = 2 * torch.rand(count, channels, height, width, generator=generator) - 1
    else:
        blocks = torch.rand(count, channels, -(-height // COARSE), -(-width // COARSE), generator=generator)
        images = 2 * F.interpolate(blocks, scale_factor=COARSE)[..., :height, :width] - 1
    return Split(images.to(like.device).contiguous(memory_format=torch.channels_last))


def marked(split: Split, mark: str, which: Tensor | None = None) -> Split:
    """The same pictures and labels, with a bright mark on some: a copy, the split stays as it is.

    mark: "patch", a square of 4×4 pixels in the lower right corner, or "bar", two columns of pixels at the left edge. They are as
    bright as the brightest pixel of the split. which: a mask (N,) bool, or positions (K,) int64; default all.
    Raises `ValueError` for another mark.
    """
    if mark not in MARKS:
        raise ValueError(f"mark must be one of {', '.join(MARKS)}, got {mark!r}")
    images, brightest = split.images.clone(), split.images.max()
    chosen = slice(None) if which is None else torch.as_tensor(which, device=split.device)
    area = images[chosen]
    if mark == "patch":
        area[..., -PATCH:, -PATCH:] = brightest
    else:
        area[..., :BAR] = brightest
    images[chosen] = area
    return Split(images, split.labels)
