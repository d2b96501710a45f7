"""One picture file, of any kind that Pillow opens, as the pixels that a person sees: the labs and the recipes read by it."""

import warnings
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from kdcourse.system.arguments import whole_number

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp", ".avif")
DEPTHS = (8, 12, 16)  # bits of a grey level, as cameras and scanners write them
BLOCK = 2**20  # levels that are scaled at a time
ORIENTATION = 0x0112  # of EXIF: which way up the camera was held


def open_picture(source: str | Path | bytes, side: int | None = None) -> "Picture":
    """A picture in 8-bit RGB, upright, and on one colour where it lets the background through.

    source: a file or its content. side: no more than about four times as many pixels a side are decoded of a JPEG, where that is
    faster; default all. Grey of more than 8 bits is scaled by the fewest bits of 8, 12 and 16 that hold the picture's largest
    level, or by that level; floating point by 1, or likewise. What shows through is white, and black where white ink on nothing
    would vanish. Raises `ValueError` for what is no picture, is cut short, or has more pixels than Pillow opens (179 million).
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what Pillow finds odd of a file, and yet reads
            with Image.open(BytesIO(source) if isinstance(source, bytes) else source) as image:
                if side is not None:
                    image.draft(None, (4 * side, 4 * side))
                image.load()
                return _turned(_as_rgb(image), _orientation(image))
    except Exception as error:  # damaged files make Pillow and its plugins raise errors of every kind
        raise ValueError(f"no picture that can be read: {error or type(error).__name__}") from error


def cut_square(picture: "Picture", size: int) -> np.ndarray:
    """A picture cut to a square about its centre and scaled to `size` pixels a side: (size, size, 3) uint8."""
    from PIL import Image, ImageOps

    if picture.size != (size, size):
        picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    return np.asarray(picture)


def read_picture(source: str | Path | bytes, size: int, channels: int) -> Tensor:
    """One picture as those of a folder are read: a tensor (1, channels, size, size) within [0, 1], not standardised.

    source: a file or its content. size: pixels a side. channels: 3 for colours, or 1 for grey, to which colours are turned by
    their brightness (0.299 red, 0.587 green, 0.114 blue). Raises `ValueError` for what is no picture and for other channels.
    """
    size = whole_number("size", size)
    if channels not in (1, 3):
        raise ValueError(f"channels must be 1 for grey or 3 for colours, got {channels!r}")
    try:
        picture = cut_square(open_picture(source, size), size)
    except ValueError as error:
        raise ValueError(f"source must be a picture that can be read, such as a JPEG or a PNG; got {error}") from error
    pixels = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1).unsqueeze(0)
    if channels == 1:
        pixels = torch.einsum("nchw,c->nhw", pixels, torch.tensor([0.299, 0.587, 0.114])).unsqueeze(1)
    return pixels


def _orientation(image: "Picture") -> int:
    """1 to 8; 1 where the camera wrote nothing, or nonsense: the pixels are there all the same."""
    try:
        return int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # the parser meets whatever cameras and editors have written
        return 1


def _turned(image: "Picture", orientation: int) -> "Picture":
    from PIL.Image import Transpose

    turns = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
    }
    turns |= {6: Transpose.ROTATE_270, 7: Transpose.TRANSVERSE, 8: Transpose.ROTATE_90}
    return image.transpose(turns[orientation]) if orientation in turns else image


def _as_rgb(image: "Picture") -> "Picture":
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_eight_bits(np.asarray(image))).convert("RGB")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _on_one_colour(image.convert("RGBA"))
    return image.convert("RGB")


def _eight_bits(levels: np.ndarray) -> np.ndarray:
    """Grey levels (H, W) of more bits, or of floating point, as uint8; some rows at a time, for scans of a hundred megapixels."""
    if not np.isfinite(levels).all():
        raise ValueError("its levels are not finite")
    highest = float(levels.max(initial=0))
    tops = [2**bits - 1 for bits in DEPTHS]
    if levels.dtype.kind == "f":
        tops = [1, *tops]
    top = next((top for top in tops if highest <= top), highest)
    blocks = np.array_split(levels, 1 + levels.size // BLOCK)
    return np.concatenate([(rows.clip(0) * (255 / top)).round().astype(np.uint8) for rows in blocks])


def _on_one_colour(image: "Picture") -> "Picture":
    """What lies under a transparent pixel is nobody's to see, and often noise."""
    from PIL import Image

    def laid_on(colour: str) -> "Picture":
        return Image.alpha_composite(Image.new("RGBA", image.size, colour), image).convert("RGB")

    seen = laid_on("white")
    is_flat = all(low == high for low, high in seen.getextrema())
    return laid_on("black") if is_flat else seen
