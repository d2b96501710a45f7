"""The built-in data: letters and digits drawn from the fonts that matplotlib ships.

Nothing is downloaded: a seed draws the same pictures again within seconds, from one sheet of printed letters. The ten
characters come in families of look-alikes (O Q C G D, B 8 3 S 5), so that a teacher has something to say beyond the
right answer.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

CHARACTERS = "OQCGDB83S5"
FONTS = (
    *("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSansMono"),
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
    *("cmr10", "cmb10", "cmss10", "cmti10", "cmtt10"),
)
SHEET = Path(__file__).with_name("letters.png")  # a row for each character, a column for each font
SIDE = 28  # pixels of a picture
CANVAS = 56  # pixels of the clean drawing that pictures are sampled from
CHUNK = 10_000  # pictures made at once: bounds the memory


@dataclass(frozen=True)
class Difficulty:
    """How far a picture may be from the printed letter. What has bounds is drawn uniformly between them."""

    rotation: float = 8.0  # degrees to either side
    shear: float = 0.1
    scale: tuple[float, float] = (0.85, 1.05)
    shift: float = 1.0  # pixels in each direction
    ink: tuple[float, float] = (0.35, 1.0)
    strokes: float = 0.5  # share of pictures that a stray stroke crosses
    # Standard deviation where full ink is 1: enough that even a strong teacher hesitates between look-alikes.
    noise: float = 0.3


def glyphs(count: int, seed: int, difficulty: Difficulty = Difficulty()) -> tuple[Tensor, Tensor]:
    """Draw pictures of letters: (count, 1, 28, 28) uint8, and their labels (count,) int64, the classes in equal shares.

    seed: fixes all that is drawn. difficulty: default as the course uses it.
    """
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % len(CHARACTERS)
    labels = labels[torch.randperm(count, generator=generator)]
    chunks = [_draw(part, difficulty, generator) for part in labels.split(CHUNK)]
    return torch.cat(chunks), labels


def _draw(labels: Tensor, difficulty: Difficulty, generator: torch.Generator) -> Tensor:
    count = len(labels)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=generator)

    fonts = torch.randint(len(FONTS), (count,), generator=generator)
    clean = printed_letters()[labels, fonts].unsqueeze(1)  # (N, 1, CANVAS, CANVAS)

    angle = uniform(-1, 1) * math.radians(difficulty.rotation)
    shear = uniform(-1, 1) * difficulty.shear
    size = 1 / uniform(*difficulty.scale)
    shift = uniform(-1, 1, 2) * difficulty.shift * 2 / SIDE
    # Rows of the inverse map, output pixel -> place on the canvas: rotate, then shear, then scale.
    rows = [
        torch.stack([size * angle.cos(), size * (shear * angle.cos() - angle.sin()), shift[:, 0]], dim=1),
        torch.stack([size * angle.sin(), size * (shear * angle.sin() + angle.cos()), shift[:, 1]], dim=1),
    ]
    grid = F.affine_grid(torch.stack(rows, dim=1), (count, 1, SIDE, SIDE), align_corners=False)
    pictures = F.grid_sample(clean, grid, align_corners=False) * uniform(*difficulty.ink, 1, 1, 1)

    crossed = uniform(0, 1, 1, 1, 1) < difficulty.strokes
    strokes = _strokes(uniform(-1, 1, 2), uniform(-1, 1, 2)) * uniform(0.3, 0.8, 1, 1, 1)
    pictures = torch.maximum(pictures, strokes * crossed)
    pictures += difficulty.noise * torch.randn(pictures.shape, generator=generator)
    return (pictures.clamp_(0, 1) * 255).round().to(torch.uint8)


def _strokes(start: Tensor, end: Tensor) -> Tensor:
    """Thin straight strokes between two points (N, 2) in [−1, 1]²: (N, 1, SIDE, SIDE) in [0, 1]."""
    axis = (torch.arange(SIDE) + 0.5) * 2 / SIDE - 1
    pixels = torch.stack(torch.meshgrid(axis, axis, indexing="xy"), dim=-1).view(1, -1, 2)
    start, along = start.unsqueeze(1), (end - start).unsqueeze(1)
    place = ((pixels - start) * along).sum(-1, keepdim=True) / along.square().sum(-1, keepdim=True).clamp(min=1e-6)
    distance = (pixels - start - place.clamp(0, 1) * along).norm(dim=-1) * SIDE / 2  # in pixels
    return (1.2 - distance).clamp(0, 1).view(-1, 1, SIDE, SIDE)


@cache
def printed_letters() -> Tensor:
    """Every character in every font, centred, capitals of one height: (characters, fonts, CANVAS, CANVAS) in [0, 1].

    Read from a sheet that holds what `draw_letters` drew: not every matplotlib has all of these fonts.
    """
    import numpy as np
    from PIL import Image

    with Image.open(SHEET) as sheet:
        pixels = torch.from_numpy(np.asarray(sheet, dtype=np.float32) / 255)
    return pixels.view(len(CHARACTERS), CANVAS, len(FONTS), CANVAS).transpose(1, 2).contiguous()


def draw_letters(fonts: Sequence[str] = FONTS) -> Tensor:
    """The same, drawn from matplotlib's own fonts. Raises `OSError` where it lacks one."""
    return torch.stack([torch.stack([_print(character, font) for font in fonts]) for character in CHARACTERS])


def _print(character: str, font: str) -> Tensor:
    import matplotlib
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    path = str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{font}.ttf")  # Pillow 10.0 takes no Path
    height = 0.68 * CANVAS
    # One measure for all characters of a font: the height of a capital D, which overshoots no line.
    _, top, _, bottom = ImageFont.truetype(path, 100).getbbox("D")
    drawn = ImageFont.truetype(path, round(100 * height / (bottom - top)))
    left, top, right, bottom = drawn.getbbox(character)
    picture = Image.new("L", (CANVAS, CANVAS))
    place = ((CANVAS - left - right) / 2, (CANVAS - top - bottom) / 2)
    ImageDraw.Draw(picture).text(place, character, fill=255, font=drawn)
    return torch.from_numpy(np.asarray(picture, dtype=np.float32) / 255)
