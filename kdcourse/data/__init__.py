"""Data sets by name, from a folder, the cache, the network, or built in: pictures, sentences, characters, a table."""

from kdcourse.data.augment import augmented, random_shift_flip
from kdcourse.data.characters import CharacterData, Windows, load_characters
from kdcourse.data.download import DownloadError
from kdcourse.data.images import load_images
from kdcourse.data.imperfect import long_tail, noisy_labels, tail_counts
from kdcourse.data.splits import ImageData, Split
from kdcourse.data.tables import table
from kdcourse.data.texts import Sentences, TextData, load_texts

__all__ = [
    "CharacterData",
    "DownloadError",
    "ImageData",
    "Sentences",
    "Split",
    "TextData",
    "Windows",
    "augmented",
    "load_characters",
    "load_images",
    "load_texts",
    "long_tail",
    "noisy_labels",
    "random_shift_flip",
    "table",
    "tail_counts",
]
