"""Built-in photographs, in colour and of any size: painted signs on patchy walls, told apart by the shape of the plate.

The ten shapes come in families of look-alikes, such as hexagon, octagon and circle, so that a teacher has something to say
beyond the right answer. A plate is turned, pressed flat on one side, scaled and moved; its colours, its scrawl and the wall say
nothing about the class. A seed draws the same pictures again.
"""

import math
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

SIDE = 96  # pixels of a picture
SMOOTH = 3  # pixels drawn for each pixel kept, in both directions: edges without steps
PATCHES = 5  # the wall's colour changes over so many patches a side
NOISE = 10.0  # standard deviation of each pixel's, of 255
# Corners of a plate of radius 1, (angle in turns, radius); a circle has many.
Corners = list[tuple[float, float]]


def _regular(corners: int, turned: float = 0.0) -> Corners:
    return [((number + turned) / corners, 1.0) for number in range(corners)]


def _star(points: int, inner: float) -> Corners:
    return [(number / (2 * points), inner if number % 2 else 1.0) for number in range(2 * points)]


SHAPES: dict[str, Corners] = {
    "circle": _regular(48),
    "diamond": _regular(4),
    "hexagon": _regular(6),
    "octagon": _regular(8, 0.5),
    "pentagon": _regular(5),
    "shield": [(0.0, 0.75), *_regular(4, 0.5)[:1], (0.36, 0.9), (0.5, 1.0), (0.64, 0.9), _regular(4, 0.5)[3]],
    "square": _regular(4, 0.5),
    "star": _star(5, 0.45),
    "triangle": _regular(3),
    "yield": _regular(3, 0.5),
}


def sign(shape: str, rng: np.random.Generator, side: int = SIDE) -> Image.Image:
    """One picture, RGB, `side` pixels each way, of a plate in one of the `SHAPES`."""
    large = side * SMOOTH
    picture = _wall(rng, large)
    pen, radius = ImageDraw.Draw(picture), large * rng.uniform(0.28, 0.44)
    centre = large * (0.5 + rng.uniform(-0.08, 0.08, 2))
    turn, flat = rng.uniform(-0.03, 0.03), rng.uniform(0.75, 1.0)  # turns; width over height
    rim, face = (tuple(rng.integers(*bounds, 3).tolist()) for bounds in ((170, 256), (0, 150)))
    for colour, share in ((rim, 1.0), (face, 0.84)):
        pen.polygon(_outline(SHAPES[shape], centre, share * radius, turn, flat), fill=colour)
    for _ in range(rng.integers(1, 4)):  # a scrawl on the plate
        ends = np.concatenate([centre, centre]) + rng.uniform(-0.5, 0.5, 4) * radius
        pen.line(ends.tolist(), fill=rim, width=int(0.05 * large))
    pixels = np.asarray(picture.resize((side, side), Image.Resampling.BOX), dtype=np.float32)
    pixels = pixels * rng.uniform(0.6, 1.0) + rng.normal(0, NOISE, pixels.shape)
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def sign_folder(root: Path, counts: dict[str, int], side: int = SIDE) -> Path:
    """An ImageFolder of signs as JPEGs, so many in each part, the classes in equal shares. Returns `root`."""
    for path, content in sign_files(counts, side):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        if not (root / path).exists():  # or a trial that goes on would find other times of its files
            (root / path).write_bytes(content)
    return root


def sign_files(counts: dict[str, int], side: int = SIDE) -> Iterator[tuple[str, bytes]]:
    """Each file's path in the folder, and its content; a part's pictures follow from its place and its count's order alone."""
    names = list(SHAPES)
    for seed, (part, count) in enumerate(counts.items()):
        rng = np.random.default_rng([seed, side])
        for number in range(count):
            buffer, shape = BytesIO(), names[number % len(names)]
            sign(shape, rng, side).save(buffer, format="JPEG", quality=90)
            yield f"{part}/{shape}/{number:05d}.jpg", buffer.getvalue()


def _wall(rng: np.random.Generator, side: int) -> Image.Image:
    patches = rng.uniform(60, 180, 3) + rng.uniform(-50, 50, (PATCHES, PATCHES, 3))
    return Image.fromarray(patches.clip(0, 255).astype(np.uint8)).resize((side, side), Image.Resampling.BICUBIC)


def _outline(
    corners: Corners, centre: np.ndarray, radius: float, turn: float, flat: float
) -> list[tuple[float, float]]:
    """Corners on the picture, clockwise from the top."""
    angles = [(2 * math.pi * (angle + turn), radius * length) for angle, length in corners]
    return [(centre[0] + flat * far * math.sin(angle), centre[1] - far * math.cos(angle)) for angle, far in angles]
