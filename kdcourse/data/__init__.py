"""Data sets on the device as tensors: pictures by name, from a folder, the cache, the network, or built in."""

from kdcourse.data.augment import random_shift_flip
from kdcourse.data.download import DownloadError
from kdcourse.data.images import load_images
from kdcourse.data.imperfect import long_tail, noisy_labels, tail_counts
from kdcourse.data.splits import ImageData, Split

__all__ = [
    "DownloadError",
    "ImageData",
    "Split",
    "load_images",
    "long_tail",
    "noisy_labels",
    "random_shift_flip",
    "tail_counts",
]
