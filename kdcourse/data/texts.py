"""A data set of sentences by name, from wherever it can be had: a folder, the cache, the network, or built in."""

import csv
import io
import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path

import torch
from torch import Tensor

from kdcourse.data.images import hold_out
from kdcourse.data.reviews import reviews
from kdcourse.data.splits import balanced_indices
from kdcourse.system.download import DownloadError, RemoteFile, fetch, sha256
from kdcourse.system.storage import cache_folder, cached, fingerprint

CLASSES = ("negative", "positive")
DEFAULT = "sst2"
BUILT_IN = {"train": 20_000, "validation": 2_000, "test": 4_000}
VALIDATION = 2_000  # sentences split off SST-2's training split

SST2 = RemoteFile(
    "SST-2.zip",
    7439277,
    "d67e16fb55739c1b32cdce9877596db1c127dc322d93c082281f64057c16deaa",
    ("https://dl.fbaipublicfiles.com/glue/data/SST-2.zip",),
)
# sha256 of the two files with labels; GLUE keeps those of its test split to itself, so the dev split is the test split here.
SST2_FILES = {
    "train.tsv": "48eac26399f8456935f81dd9e3a745c1430adb6c62e233ccfe22db4a0d15d1d1",
    "dev.tsv": "54a9c12c77e402fc14d6a66a506f24d999f596b0176eb777c972cccc2f9cc4b0",
}
TITLES = {"sst2": "SST-2", "reviews": "Built-in reviews", "product-reviews": "Product reviews"}


@dataclass(frozen=True, eq=False)
class Sentences:
    """Texts and, where there are any, their labels and categories.

    texts: N of them. labels: (N,) int64, 0 negative and 1 positive, or None for a transfer set without labels.
    categories: what each text is about, "" where that is not known.
    """

    texts: tuple[str, ...]
    labels: Tensor | None = None
    categories: tuple[str, ...] = ()

    def __post_init__(self):
        if isinstance(self.texts, str):
            raise ValueError("texts must be a tuple of strings, got one string")
        empty = [number for number, text in enumerate(self.texts) if not isinstance(text, str) or not text.strip()]
        if empty:
            raise ValueError(f"texts must all hold words, got {self.texts[empty[0]]!r} at position {empty[0]}")
        if self.labels is not None:
            if not isinstance(self.labels, Tensor) or self.labels.is_floating_point():
                kind = self.labels.dtype if isinstance(self.labels, Tensor) else type(self.labels).__name__
                raise ValueError(f"labels must be a tensor ({len(self.texts)},) of whole numbers 0 and 1, got {kind}")
            if self.labels.shape != (len(self.texts),):
                raise ValueError(f"labels must be ({len(self.texts)},), one a text, got {tuple(self.labels.shape)}")
            if not ((self.labels >= 0) & (self.labels < len(CLASSES))).all():
                raise ValueError(f"labels must be 0 or 1, got values from {self.labels.min()} to {self.labels.max()}")
        if not self.categories:
            object.__setattr__(self, "categories", ("",) * len(self.texts))

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def device(self) -> torch.device:
        return torch.device("cpu")  # texts are where Python is

    @cached_property
    def fingerprint(self) -> str:
        """Changes when a single character or label does."""
        return fingerprint(self.texts, self.labels)

    def take(self, index: Tensor) -> "Sentences":
        """The sentences at `index`: positions (K,) int64 or a mask (N,) bool."""
        positions = torch.arange(len(self))[index].tolist()
        labels = None if self.labels is None else self.labels[index]
        return Sentences(tuple(self.texts[i] for i in positions), labels, tuple(self.categories[i] for i in positions))

    def sample(self, count: int, seed: int = 0) -> "Sentences":
        """`count` sentences drawn by `seed` (default 0), both classes as equal in number as can be.

        Raises `ValueError` without labels, and for more sentences than there are.
        """
        if self.labels is None:
            raise ValueError("this split has no labels, so sample() cannot choose by class")
        return self.take(balanced_indices(self.labels, count, seed))

    def about(self, *categories: str) -> "Sentences":
        """The sentences of these categories. Raises `ValueError` for one that does not occur."""
        known = sorted(set(self.categories))
        for category in categories:
            if category not in known:
                raise ValueError(f"categories must be among {', '.join(known)}, got {category!r}")
        return self.take(torch.tensor([category in categories for category in self.categories]))

    def unlabelled(self) -> "Sentences":
        """The same sentences with the labels thrown away."""
        return replace(self, labels=None)


def joined(*parts: Sentences) -> Sentences:
    """Several labelled sets as one, in their order; their categories are dropped."""
    texts = tuple(text for part in parts for text in part.texts)
    return Sentences(texts, torch.cat([part.labels for part in parts]))


@dataclass(frozen=True, eq=False)
class TextData:
    """A named set of sentences in three splits: learn on `train`, choose on `validation`, report on `test`.

    origin: where they came from, in words. note: what else is to be said of them.
    """

    name: str
    train: Sentences = field(repr=False)
    validation: Sentences = field(repr=False)
    test: Sentences = field(repr=False)
    origin: str
    classes: tuple[str, ...] = CLASSES
    note: str = ""


def load_texts(name: str | Path | None = None, *, fallback: bool = True) -> TextData:
    """Sentences with their sentiment; one printed line says where they came from.

    name: "sst2" (film reviews, Socher et al. 2013, in GLUE's version), "product-reviews" (Blitzer et al. 2007: only where
        the folder in KDCOURSE_DATA holds it), "reviews" (built in), or the path of a folder with `train.tsv` and `dev.tsv`,
        columns `sentence` and `label`, parted by tabs, in UTF-8, quoted as spreadsheets do or not at all. Default: the
        environment variable KDCOURSE_TEXTS, else "sst2".
    fallback: take the built-in reviews when a set cannot be had, with a message; otherwise the failure is raised.

    Training sentences that the test split holds, too, are dropped. Where a folder of your own repeats a sentence, or gives it
    both labels, the printed line says so. Sentences in SST-2's training split are often parts of each other, so its validation
    accuracy is a little higher than that of its test split.
    Raises `ValueError` for an unknown name or a folder that cannot be read, `DownloadError` as said.
    """
    wanted = name or os.environ.get("KDCOURSE_TEXTS") or DEFAULT
    if str(wanted) not in TITLES and not Path(wanted).expanduser().is_dir():
        raise ValueError(f"name must be one of {', '.join(TITLES)}, or the path of a folder, got {str(wanted)!r}")
    try:
        data = _load(
            str(wanted), os.environ.get("KDCOURSE_DATA"), os.environ.get("KDCOURSE_CACHE"), _stamps(str(wanted))
        )
    except DownloadError as error:
        failure = f"{TITLES[wanted]} could not be had ({error})"
        if not fallback:
            raise DownloadError(failure) from error
        print(f"{failure}; using the built-in reviews instead.")
        data = _load("reviews", None, None, ())
    sizes = f"{len(data.train):,} training, {len(data.validation):,} validation and {len(data.test):,} test sentences"
    print(f"{TITLES.get(data.name, data.name)}, {data.origin}: {sizes}, {' or '.join(data.classes)}.{data.note}")
    return data


def _stamps(name: str) -> tuple:
    """When the files of a folder were last written: a mended one is read again."""
    folder = Path(name).expanduser()
    files = [folder / part for part in ("train.tsv", "dev.tsv")] if name not in TITLES else []
    return tuple((file.stat().st_mtime_ns, file.stat().st_size) for file in files if file.is_file())


@lru_cache(maxsize=4)
def _load(name: str, local: str | None, _cache: str | None, _written: tuple) -> TextData:
    """_cache, _written: which cache folder is in use, and when files were written; parts of the key alone."""
    if name == "reviews":
        return _built_in()
    if name == "sst2":
        return _sst2(local)
    if name == "product-reviews":
        return _product_reviews(local)
    folder = Path(name).expanduser()
    train, test = _read_folder(folder)
    train, note = _unambiguous(train)
    return replace(_make_splits(folder.resolve().name, train, test, "from your folder"), note=note)


def _built_in() -> TextData:
    """All splits from one stream of different reviews, so that none stands in two."""
    written = reviews(sum(BUILT_IN.values()))
    parts, start = {}, 0
    for part, count in BUILT_IN.items():
        some = written[start : start + count]
        labels = torch.tensor([int(review.positive) for review in some])
        parts[part] = Sentences(tuple(r.text for r in some), labels, tuple(r.category for r in some))
        start += count
    return TextData("reviews", **parts, origin="built in")


def _sst2(local: str | None) -> TextData:
    files, origin = {}, "from the folder in KDCOURSE_DATA"
    if local and (folder := Path(local).expanduser() / "sst2").is_dir():
        intact = {
            name: (folder / name).is_file() and sha256(folder / name) == good for name, good in SST2_FILES.items()
        }
        if all(intact.values()):
            files = {name: (folder / name).read_bytes() for name in SST2_FILES}
        else:
            print("SST-2 in the folder in KDCOURSE_DATA is not the original; looking in the cache.")
    if not files:
        folder = cached("data", "sst2")
        if not SST2.is_intact(folder):
            folder = cache_folder() / "data" / "sst2"
        origin = "downloaded into the cache" if fetch([SST2], folder) else "from the cache"
        with zipfile.ZipFile(folder / SST2.name) as archive:
            files = {name: archive.read(f"SST-2/{name}") for name in SST2_FILES}
    train, test = (_read_table(files[name].decode("utf-8"), name) for name in ("train.tsv", "dev.tsv"))
    return _make_splits("sst2", train, test, origin, category="films")


def _product_reviews(local: str | None) -> TextData:
    root = Path(local).expanduser() / "reviews" if local else None
    if root is None or not root.is_dir():
        raise DownloadError(
            "they are not to be downloaded; put them into reviews/ below the folder that KDCOURSE_DATA names"
        )
    train, test = [], []
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        for rows, part in zip((train, test), _read_folder(folder), strict=True):
            rows += [(text, label, folder.name) for text, label, _ in part]
    return _make_splits("product-reviews", train, test, "from the folder in KDCOURSE_DATA")


Rows = list[tuple[str, int, str]]


def _read_folder(folder: Path) -> tuple[Rows, Rows]:
    parts = []
    for name in ("train.tsv", "dev.tsv"):
        try:
            content = (folder / name).read_bytes()
        except OSError as error:
            raise ValueError(f"the folder {folder.name}/ must hold train.tsv and dev.tsv: {error.strerror}") from error
        try:
            parts.append(_read_table(content.decode("utf-8-sig"), name, may_quote=True))
        except UnicodeDecodeError as error:
            line = content[: error.start].count(b"\n") + 1
            raise ValueError(f"{name} must be in UTF-8, got other bytes in line {line}; save it as UTF-8") from error
    return tuple(parts)


def _read_table(content: str, name: str, *, may_quote: bool = False) -> Rows:
    """A table with columns `sentence` and `label`.

    may_quote: whether it may be quoted as spreadsheets do; otherwise quotation marks are text like any other.
    """
    quoting = csv.QUOTE_MINIMAL if may_quote and _is_quoted(content) else csv.QUOTE_NONE
    limit = csv.field_size_limit(len(content) + 1)  # of Python's own, some 131,000 characters: a text may be longer
    try:
        rows = _rows(csv.DictReader(io.StringIO(content, newline=""), delimiter="\t", quoting=quoting), name)
    finally:
        csv.field_size_limit(limit)
    if not rows:
        raise ValueError(f"{name} must hold sentences below its first line, `sentence<TAB>label`, got none")
    return rows


def _rows(reader: csv.DictReader, name: str) -> Rows:
    columns = reader.fieldnames or ["none"]
    if missing := {"sentence", "label"} - set(columns):
        hint = "; columns are parted by tabs" if len(columns) == 1 else ""
        found = f"no {min(missing)} in: {', '.join(columns)[:80]}"
        raise ValueError(f"{name} must name the columns sentence and label in its first line{hint}; {found}")
    rows = []
    for number, row in enumerate(reader, start=2):
        text, label = (row["sentence"] or "").strip(), (row["label"] or "").strip()
        if not text or label not in ("0", "1"):
            raise ValueError(
                f"{name} must have a sentence and the label 0 or 1 in each line, got {text[:80]!r}, {label!r} in line {number}"
            )
        rows.append((text, int(label), ""))
    return rows


def _is_quoted(content: str) -> bool:
    """Whether a field is put into quotation marks because it holds some, doubled, or a tab."""
    return bool(re.search(r'(?m)(?:^|\t)"(?:[^"\n]|"")*(?:""|\t)(?:[^"\n]|"")*"(?:\t|\r?$)', content))


def _unambiguous(rows: Rows) -> tuple[Rows, str]:
    """Rows without texts that have both labels, and what there is to say of these and of repeated ones."""
    labels: dict[str, set[int]] = {}
    for text, label, _ in rows:
        labels.setdefault(text, set()).add(label)
    both = [text for text, found in labels.items() if len(found) > 1]
    kept = [row for row in rows if len(labels[row[0]]) == 1]
    repeated, said = len(kept) - (len(labels) - len(both)), ""
    if both:
        more = f" and {len(both) - 1:,} more" if both[1:] else ""
        said += f" Left out, for both labels stand beside it: {both[0][:60]!r}{more}."
    if repeated:
        said += f" {repeated:,} duplicate lines of train.tsv count once."
    return kept, said


def _make_splits(name: str, train: Rows, test: Rows, origin: str, category: str = "") -> TextData:
    held = {text for text, _, _ in test}
    once = list({text: (text, *rest) for text, *rest in train if text not in held}.values())
    every = _sentences(once, category)
    count = min(VALIDATION, len(every) // 10)
    if count < len(CLASSES):
        raise ValueError(f"train.tsv must hold at least 20 sentences that the test split does not, got {len(every)}")
    fewest, label = min(zip(every.labels.bincount(minlength=len(CLASSES)).tolist(), CLASSES, strict=True))
    if fewest < 2:
        wanted = f"at least two {label} sentences, one to learn from and one to validate"
        raise ValueError(f"train.tsv must hold {wanted}, got {fewest}")
    kept, held_out = hold_out(every.labels, count)
    return TextData(name, every.take(kept), every.take(held_out), _sentences(test, category), origin)


def _sentences(rows: Sequence[tuple[str, int, str]], category: str) -> Sentences:
    texts, labels, categories = zip(*rows, strict=True)
    return Sentences(texts, torch.tensor(labels), tuple(one or category for one in categories))
