"""Data sets by name, from a folder, the cache, the network, or built in: pictures, sentences, characters, a table."""

from kdcourse.data.augment import augmented, random_crop, random_shift_flip
from kdcourse.data.characters import CharacterData, Windows, load_characters
from kdcourse.data.images import load_images
from kdcourse.data.imperfect import long_tail, noisy_labels, tail_counts
from kdcourse.data.pictures import read_picture
from kdcourse.data.planted import marked, noise
from kdcourse.data.samples import load_pictures, picture_folder
from kdcourse.data.splits import ImageData, Split
from kdcourse.data.sums import load_sums
from kdcourse.data.tables import table
from kdcourse.data.texts import Sentences, TextData, load_texts
from kdcourse.system.download import DownloadError
