"""Noise has the size and spread it says, and a mark changes its pixels and nothing else."""

import pytest
import torch

from kdcourse.data import marked, noise
from kdcourse.data.splits import Split

SPLIT = Split(torch.arange(2 * 6 * 7.0).view(2, 1, 6, 7).repeat(3, 1, 1, 1) / 100, torch.arange(6))


@pytest.mark.parametrize(("kind", "spread"), [("uniform", 3**-0.5), ("normal", 1.0), ("coarse", 3**-0.5)])
def test_noise_has_its_size_and_spread(kind, spread):
    made = noise(SPLIT, 500, kind, seed=3)
    assert made.images.shape == (500, 1, 6, 7) and made.labels is None
    assert abs(made.images.mean()) < 0.05 and made.images.std().item() == pytest.approx(spread, rel=0.05)
    assert torch.equal(made.images, noise(SPLIT, 500, kind, seed=3).images)
    assert not torch.equal(made.images, noise(SPLIT, 500, kind, seed=4).images)


def test_coarse_noise_holds_for_blocks():
    images = noise(SPLIT, 20, "coarse").images
    assert (images[..., :4, :4] == images[..., :1, :1]).all() and (images[..., 4:, 4:] == images[..., 4:5, 4:5]).all()
    assert (images[..., 0, 0] != images[..., 0, 4]).all()


@pytest.mark.parametrize(("mark", "pixels"), [("patch", 16), ("bar", 12)])
def test_a_mark_changes_its_pixels_in_the_chosen_pictures_alone(mark, pixels):
    before = SPLIT.images.clone()
    chosen = torch.tensor([True, False, False, True, False, False])
    bright = marked(SPLIT, mark, chosen).images == SPLIT.images.max()
    assert bright[chosen].sum(dim=(1, 2, 3)).tolist() == [
        pixels,
        pixels + (mark == "bar"),
    ]  # the brightest pixel was in a corner
    assert torch.equal(marked(SPLIT, mark, chosen).images[~chosen], before[~chosen])
    assert torch.equal(SPLIT.images, before), "the split stays as it is"
    by_place, everywhere = (marked(SPLIT, mark, which).images for which in ([0, 3], None))
    assert torch.equal(by_place, marked(SPLIT, mark, chosen).images)
    assert torch.equal(everywhere[0], by_place[0]) and torch.equal(marked(SPLIT, mark).labels, SPLIT.labels)


def test_unknown_kinds_are_refused():
    with pytest.raises(ValueError, match="kind must be one of uniform, normal, coarse, got 'pink'"):
        noise(SPLIT, 3, "pink")
    with pytest.raises(ValueError, match="count must be a whole number of at least 1, got 0"):
        noise(SPLIT, 0)
    with pytest.raises(ValueError, match="mark must be one of patch, bar, got 'dot'"):
        marked(SPLIT, "dot")
