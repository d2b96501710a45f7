"""Augmentation of whole batches where they lie: no loop over pictures, no trip to the host."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from kdcourse.data.splits import Split
from kdcourse.system.arguments import whole_number


def random_shift_flip(
    images: Tensor, *, shift: int = 2, flip: bool = True, generator: torch.Generator | None = None
) -> Tensor:
    """Move each picture by a random number of whole pixels, down or up and left or right, and mirror half of them.

    images: (N, C, H, W), floating point; returned anew in the same shape, channels-last. Edge pixels fill what the
    shift leaves open, so that the background stays what it is, whatever the standardisation.
    shift: the most pixels in each direction, default 2. flip: whether left and right are exchanged with probability 1/2, default
    True; wrong for letters and digits. generator: on the device of `images`; default the global one.
    Raises `ValueError` for another shape or dtype and for a negative shift.
    """
    _check(images)
    if not isinstance(shift, int) or shift < 0:
        raise ValueError(f"shift must be a whole number of pixels, 0 or more, got {shift!r}")
    return move(images, shift, *draw_moves(len(images), shift, flip, generator, images.device))


def draw_moves(
    count: int, shift: int, flip: bool, generator: torch.Generator | None, device: torch.device | str
) -> tuple[Tensor, Tensor]:
    """Draw what happens to each of `count` pictures.

    Returns (2, count) int64, where its window begins in the padded picture, down and right, from 0 to 2 · shift; and (count,)
    bool, whether it is mirrored. shift, flip, generator: as in `random_shift_flip`.
    """
    settings = {"generator": generator, "device": device}
    windows = (
        torch.randint(2 * shift + 1, (2, count), **settings) if shift else torch.zeros(2, count, dtype=torch.int64)
    )
    mirrored = torch.rand(count, **settings) < 0.5 if flip else torch.zeros(count, dtype=torch.bool)
    return windows.to(device), mirrored.to(device)


def move(images: Tensor, shift: int, windows: Tensor, mirrored: Tensor) -> Tensor:
    """Move and mirror each picture (N, C, H, W) as `draw_moves` has drawn for it."""
    if shift:
        _, _, height, width = images.shape
        padded = F.pad(images, (shift,) * 4, mode="replicate")
        # A view of every possible window, (N, C, 2 shift + 1, 2 shift + 1, H, W); indexing copies one for each picture.
        every = padded.unfold(2, height, 1).unfold(3, width, 1)
        images = every[torch.arange(len(images), device=images.device), :, windows[0], windows[1]]
    images = torch.where(mirrored.view(-1, 1, 1, 1), images.flip(3), images)
    return images.clone(memory_format=torch.channels_last)


def random_crop(
    images: Tensor, *, smallest: float = 0.25, flip: bool = True, generator: torch.Generator | None = None
) -> Tensor:
    """Cut a random window of the picture's own shape out of each picture, scale it up to full size, and mirror half of them.

    images: (N, C, H, W), floating point; returned anew in the same shape, channels-last, sampled bilinearly.
    smallest: the window's share of the area is uniform between this and 1; default 0.25. flip, generator: as in
    `random_shift_flip`.
    Raises `ValueError` for another shape or dtype and for a share outside (0, 1].
    """
    _check(images)
    if not 0 < smallest <= 1:
        raise ValueError(f"smallest must be a share of the area above 0 and at most 1, got {smallest}")
    count, settings = len(images), {"generator": generator, "device": images.device}
    side = (smallest + (1 - smallest) * torch.rand(count, **settings)).sqrt()
    place = (2 * torch.rand(count, 2, **settings) - 1) * (1 - side).unsqueeze(1)
    mirrored = torch.rand(count, **settings) < (0.5 if flip else 0.0)
    theta = images.new_zeros(count, 2, 3)  # window -> picture, both from -1 to 1
    theta[:, 0, 0], theta[:, 1, 1], theta[:, :, 2] = torch.where(mirrored, -side, side), side, place
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    windows = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return windows.contiguous(memory_format=torch.channels_last)


def augmented(
    split: Split, views: int = 4, *, augment: Callable[..., Tensor] = random_shift_flip, seed: int = 0
) -> Split:
    """A split that holds several augmented copies of every picture, drawn once: images (V · N, C, H, W), view after view.

    A `TeacherCache` can answer for them: the views never change, so its answers stay exact. In a long run it can cost accuracy
    that the same views come again; lab 10 measures it.
    views: V, how many copies, default 4; each takes as much memory as the split. augment: called as
    augment(pictures, generator=...), default `random_shift_flip`. seed: fixes the views, default 0.
    Raises `ValueError` for fewer than one view, and where augment gives no view of each picture.
    """
    views = whole_number("views", views)
    generator = torch.Generator(split.device).manual_seed(seed)
    images = torch.cat([view(split.images, augment, generator) for _ in range(views)])
    return Split(images, None if split.labels is None else split.labels.repeat(views))


def view(images: Tensor, augment: Callable[..., Tensor], generator: torch.Generator) -> Tensor:
    """What `augment` makes of pictures (N, C, H, W).

    Raises `ValueError` where it cannot be called as augment(images, generator=...) or gives something else than N pictures.
    """
    try:
        seen = augment(images, generator=generator)
    except TypeError as error:
        raise ValueError(
            f"augment must be called as augment(images, generator=...), got {augment!r}: {error}"
        ) from error
    if not isinstance(seen, Tensor) or len(seen) != len(images):
        got = f"{len(seen)} of {len(images)}" if isinstance(seen, Tensor) else type(seen).__name__
        raise ValueError(f"augment must give a view of each picture, got {got}")
    return seen


def _check(images: Tensor) -> None:
    if images.ndim != 4 or not images.is_floating_point():
        raise ValueError(f"images must be (N, C, H, W) floating point, got {tuple(images.shape)} {images.dtype}")
