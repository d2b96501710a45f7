"""A teacher's answers: asked for once, then looked up for every batch."""

import copy
import math
import shutil
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import chain
from numbers import Real
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.utils.weak import WeakTensorKeyDictionary

from kdcourse.data.splits import Split, check_split
from kdcourse.evaluation.inference import BATCH, answered
from kdcourse.models.tapping import LOGITS
from kdcourse.system.arguments import check_model
from kdcourse.system.storage import (
    DamagedFile,
    being_written,
    check_seal,
    fingerprint,
    load_tensors,
    save_tensors,
    seal,
)

LIMIT = 4 * 2**30  # bytes


class OnDisk:
    """A tensor (N, …) that stays in a file, in half precision. `answers[index]` reads the rows of an index (B,), float32.

    path: a file of NumPy's that carries its hash. device: where the rows are put. Raises `FileNotFoundError`, and `DamagedFile`
    for a file that is cut short or has changed.
    """

    def __init__(self, path: Path, device: torch.device):
        check_seal(path)
        # Mapped, not read; "c" keeps what anybody should write to the rows out of the file.
        self.values = torch.from_numpy(np.load(path, mmap_mode="c"))
        self.device, self.shape = device, self.values.shape

    @property
    def ndim(self) -> int:
        return self.values.ndim

    def to(self, device: torch.device) -> "OnDisk":
        """The same file, read to another device."""
        other = copy.copy(self)
        other.device = device
        return other

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Tensor) -> Tensor:
        return self.values[index.cpu()].to(self.device).float()

    def index_select(self, dim: int, index: Tensor) -> Tensor:
        """Rows, as a tensor in memory gives them: dim is 0."""
        return self[index]


class TeacherCache:
    """A teacher's logits and features, computed once for each split and looked up by example ever after.

    Answers are kept under a fingerprint of the teacher (weights, plain attributes, how it prints) and of the split's pictures in
    their order. Batches look rows up by each example's position in the split, so shuffling cannot mix up answers and pictures.

    teacher: a model that gives (N, C) logits. folder: where answers are kept beyond the session, default nowhere; a damaged
        file is computed again, with a message.
    limit: bytes, default 4 GiB. The output of a layer for a whole split is held in memory up to this size. What is larger goes
        to a file in `folder`, or in a temporary folder, in half precision (11 bits), and batches read only their rows.
    Raises `ValueError` for a teacher that is no model.
    """

    def __init__(self, teacher: nn.Module, folder: str | Path | None = None, *, limit: int = LIMIT):
        check_model("teacher", teacher)
        if any(is_lazy(one) for one in teacher.parameters()):
            raise ValueError("teacher has weights without values: run it on an example before its answers are kept")
        if not isinstance(limit, Real) or not limit >= 0:
            raise ValueError(f"limit must be a number of bytes of at least 0, got {limit!r}")
        self.teacher, self.limit = teacher, limit
        self.folder = None if folder is None else Path(folder).expanduser()
        if self.folder is not None and self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"folder must be one, or the name of a new one, got the file {self.folder.name}")
        self._key, self._marks = _key(teacher), _marks(teacher)
        self._known: dict[tuple[str, str], Tensor | OnDisk] = {}
        self._pictures = WeakTensorKeyDictionary()

    def logits(self, split: Split) -> Tensor | OnDisk:
        """(N, C) logits, in the order of the split and on its device. Raises `ValueError` when the teacher has changed since."""
        return self.outputs(split)[LOGITS]

    def outputs(self, split: Split, names: Iterable[str] = (LOGITS,)) -> dict[str, Tensor | OnDisk]:
        """The logits (N, C), as "logits", and the outputs (N, …) of named layers, in the order of the split.

        Raises as `logits`, and as `Tapped` for a layer that the teacher has not.
        """
        check_split(split)
        if _marks(self.teacher) != self._marks and _key(self.teacher) != self._key:
            raise ValueError("teacher has changed since this TeacherCache was made; make a new one for the new weights")
        names, pictures = [names] if isinstance(names, str) else list(names), self._fingerprint(split.inputs)
        for name in names:
            if (pictures, name) not in self._known and (stored := self._read(pictures, name, split.device)) is not None:
                self._known[pictures, name] = stored
        missing = [name for name in names if (pictures, name) not in self._known]
        if missing:
            for name, answers in self._ask(split, pictures, missing).items():
                self._known[pictures, name] = answers
        return {name: self._known[pictures, name].to(split.device) for name in names}

    def _fingerprint(self, images: Tensor) -> str:
        """Taken once for each tensor, and anew when it was written to: for 60,000 pictures it takes half an epoch's time."""
        mark, known = self._pictures.get(images, (None, ""))
        if mark != (now := _mark(images)):
            known = fingerprint(images)
            self._pictures[images] = now, known
        return known

    def _ask(self, split: Split, pictures: str, names: Sequence[str]) -> dict[str, Tensor | OnDisk]:
        """One pass of the teacher over the split; kept in the folder, if there is one."""
        batches = answered(self.teacher, split, [name for name in names if name != LOGITS], role="teacher")
        first = next(batches)
        if len(first[LOGITS]) not in (BATCH, len(split)):
            raise ValueError(f"teacher must give a row of logits for each example, got {len(first[LOGITS])} rows")
        shapes = {name: (len(split), *first[name].shape[1:]) for name in names}
        held: dict[str, list[Tensor]] = {name: [] for name in names if self._fits(shapes[name])}
        paths = {name: self._path(pictures, name, "npy") for name in names if name not in held}
        with ExitStack() as stack:
            files = {name: stack.enter_context(_half_file(path, shapes[name])) for name, path in paths.items()}
            for answers in chain([first], batches):
                for name, parts in held.items():
                    parts.append(answers[name])
                for name, file in files.items():
                    file.write(_halves(name, answers[name]))
        found = {name: torch.cat(parts) for name, parts in held.items()}
        if self.folder:
            for name, answers in found.items():
                save_tensors(self._path(pictures, name, "safetensors"), {name: answers})
        return found | {name: OnDisk(path, split.device) for name, path in paths.items()}

    def _read(self, pictures: str, name: str, device: torch.device) -> Tensor | OnDisk | None:
        if self.folder is None:
            return None
        for kind, read in (
            ("safetensors", lambda path: load_tensors(path)[0][name].to(device)),
            ("npy", lambda path: OnDisk(path, device)),
        ):
            try:
                answers = read(self._path(pictures, name, kind))
            except FileNotFoundError:
                continue
            except DamagedFile as error:
                print(f"{error}; the teacher answers again.")
                continue
            if self._fits(answers.shape) == (kind == "safetensors"):
                return answers
        return None

    def _fits(self, shape: Sequence[int]) -> bool:
        return 4 * math.prod(shape) <= self.limit

    def _path(self, pictures: str, name: str, kind: str) -> Path:
        return self._place() / f"teacher-{name}-{self._key}-{pictures}.{kind}"

    def _place(self) -> Path:
        """The folder, else a temporary one that goes with the cache."""
        if self.folder is not None:
            return self.folder
        if not hasattr(self, "_temporary"):
            self._temporary = Path(tempfile.mkdtemp(prefix="kdcourse-"))
            weakref.finalize(self, shutil.rmtree, self._temporary, ignore_errors=True)
        return self._temporary


def _marks(teacher: nn.Module) -> tuple:
    """What changes with the teacher, at a glance."""
    state = teacher.state_dict().values()  # of a quantised model, not tensors alone
    marks = [_mark(part.detach()) if isinstance(part, Tensor) else repr(part) for part in state]
    return repr(teacher), repr(_attributes(teacher)), *marks


def _mark(tensor: Tensor) -> tuple[int, int]:
    """What changes with a tensor: the sum of its bits, a tenth of the time that their hash takes.

    Its version alone does not move with what is written through NumPy or `.data`.
    """
    whole = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor._version, int(tensor.view(whole[tensor.itemsize]).sum())


def _key(teacher: nn.Module) -> str:
    return fingerprint(teacher, repr(teacher), _attributes(teacher))


def _attributes(teacher: nn.Module) -> list[tuple[str, str, object]]:
    """(module, name, value) of all plain attributes: a scale, a switch that `forward` looks at."""
    plain = (bool, int, float, str, type(None), tuple, list, dict)
    return [
        (place, name, value)
        for place, module in teacher.named_modules()
        for name, value in sorted(vars(module).items())
        if name != "training" and not name.startswith("_") and isinstance(value, plain) and " at 0x" not in repr(value)
    ]


@contextmanager
def _half_file(path: Path, shape: Sequence[int]) -> Iterator[BinaryIO]:
    """A file of NumPy's to which the rows of a half-precision array of this shape are written, one after another."""
    with being_written(path) as temporary:
        with temporary.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": tuple(shape)})
            yield file
        seal(temporary)


def _halves(name: str, answers: Tensor) -> bytes:
    halves = answers.half()
    if not halves.isfinite().all():
        raise ValueError(f"{name} of the teacher holds numbers beyond half precision's 65,504; give a higher limit=")
    return halves.cpu().contiguous().numpy().tobytes()
