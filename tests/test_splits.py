"""Splits hold their pictures and labels together; the built-in glyphs come out of a seed."""

from pathlib import Path

import matplotlib
import pytest
import torch

from kdcourse.data.glyphs import CHARACTERS, FONTS, SIDE, draw_letters, glyphs, printed_letters
from kdcourse.data.splits import ImageData, Split, picked, standardised
from kdcourse.models import perceptron


def split(count: int = 40, classes: int = 4) -> Split:
    """Pictures whose every pixel is their own number, so that a lost pairing shows."""
    numbers = torch.arange(float(count)).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    return Split(numbers.contiguous(), torch.arange(count) % classes)


def test_a_sample_is_seeded_stratified_and_keeps_pairs():
    whole = split()
    drawn = whole.sample(10, seed=3)
    assert drawn.labels.bincount().tolist() in (
        [3, 3, 2, 2],
        [2, 3, 3, 2],
        [2, 2, 3, 3],
        [3, 2, 2, 3],
        [3, 2, 3, 2],
        [2, 3, 2, 3],
    )
    assert torch.equal(drawn.images[:, 0, 0, 0].long() % 4, drawn.labels)
    assert torch.equal(drawn.images, whole.sample(10, seed=3).images)
    assert not torch.equal(drawn.images, whole.sample(10, seed=4).images)
    assert len(drawn.images[:, 0, 0, 0].unique()) == 10


@pytest.mark.parametrize("count", [0, -1, 41])
def test_a_sample_of_an_impossible_size_is_refused(count):
    with pytest.raises(ValueError, match="count must be a whole number from 1 to 40"):
        split().sample(count)


def test_classes_can_be_left_out_and_labels_thrown_away():
    whole = split()
    assert whole.without(1, 2).labels.unique().tolist() == [0, 3]
    assert whole.only(1).labels.unique().tolist() == [1]
    bare = whole.unlabelled()
    assert bare.labels is None and len(bare) == len(whole)
    assert bare.take(torch.tensor([5, 7])).images[:, 0, 0, 0].tolist() == [5, 7]
    for choose in (lambda: bare.sample(3), lambda: bare.only(1), lambda: bare.without(1)):
        with pytest.raises(ValueError, match="no labels"):
            choose()


def test_wrong_shapes_are_refused():
    with pytest.raises(ValueError, match="images must be"):
        Split(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="labels must be"):
        Split(torch.zeros(3, 1, 2, 2), torch.zeros(4, dtype=torch.int64))


def test_the_fingerprint_sees_order_pixels_and_labels():
    whole = split()
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))
    assert whole.fingerprint == split().fingerprint
    assert whole.take(order).fingerprint != whole.fingerprint
    assert Split(whole.images, whole.labels.roll(1)).fingerprint != whole.fingerprint


def test_pictures_undo_the_standardisation():
    raw = torch.randint(0, 256, (6, 3, 4, 5), dtype=torch.uint8)
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.1)
    made = standardised(raw, [0] * 6, mean, std, "cpu")
    data = ImageData("toy", ("a",), made, made, made, mean, std, "built in")
    assert data.pictures(made.images).shape == (6, 4, 5, 3)
    torch.testing.assert_close(torch.from_numpy(data.pictures(made.images)), raw.permute(0, 2, 3, 1) / 255)
    assert made.images.is_contiguous(memory_format=torch.channels_last)


def test_glyphs_come_out_of_their_seed():
    images, labels = glyphs(200, seed=1)
    assert images.shape == (200, 1, SIDE, SIDE) and images.dtype == torch.uint8
    assert labels.bincount().tolist() == [20] * len(CHARACTERS)
    again, _ = glyphs(200, seed=1)
    other, _ = glyphs(200, seed=2)
    assert torch.equal(images, again) and not torch.equal(images, other)


def test_every_letter_of_every_font_is_drawn_whole():
    letters = printed_letters()
    assert letters.shape[:2] == (len(CHARACTERS), len(FONTS))
    ink = letters.flatten(2).sum(-1)
    assert (ink > 50).all(), "a font lacks a character"
    edge = torch.cat([letters[..., 0, :], letters[..., -1, :], letters[..., :, 0], letters[..., :, -1]], dim=-1)
    assert edge.max() == 0, "a letter is cut off at the border of its canvas"
    # No two characters of a font are the same drawing (a missing glyph's box would be).
    for font in range(len(FONTS)):
        assert len(letters[:, font].flatten(1).unique(dim=0)) == len(CHARACTERS)


def test_the_sheet_holds_what_matplotlibs_fonts_draw():
    here = {font.stem for font in (Path(matplotlib.get_data_path()) / "fonts" / "ttf").glob("*.ttf")}
    places = [place for place, font in enumerate(FONTS) if font in here]
    assert len(places) >= len(FONTS) - 1, "Colab's matplotlib lacks one"
    drawn = draw_letters([FONTS[place] for place in places])
    assert (printed_letters()[:, places] - drawn).abs().mean() < 0.01  # another FreeType may shade an edge differently


@pytest.mark.parametrize("shape", [(20, 1, 4, 4), (20, 3, 4, 4), (20, 7)])
def test_a_batch_is_picked_as_by_indexing_and_laid_out_as_the_whole(shape):
    images = torch.randn(shape)
    images = images.contiguous(memory_format=torch.channels_last) if len(shape) == 4 else images
    index = torch.tensor([3, 0, 3, 19])
    assert torch.equal(picked(images, index), images[index])
    assert picked(images, index).stride() == images[index].stride()


def test_a_networks_sizes_follow_the_pictures():
    images, labels = torch.zeros(4, 3, 8, 8), torch.tensor([0, 1, 0, 1])
    data = ImageData("own", ("a", "b"), *[Split(images, labels)] * 3, mean=(0.0,) * 3, std=(1.0,) * 3, origin="a test")
    assert data.sizes == {"inputs": 192, "classes": 2}
    assert perceptron((5,), **data.sizes)(images).shape == (4, 2)
