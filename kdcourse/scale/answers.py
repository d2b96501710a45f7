"""What a teacher answers, once for each picture and view: each process asks it for its own parts, all read every part."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from kdcourse.methods import Method
from kdcourse.models.tapping import LOGITS, Tapped
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.recipe import Run
from kdcourse.scale.sources import Part
from kdcourse.scale.together import shard
from kdcourse.system.storage import DamagedFile, fingerprint, load_tensors, save_tensors

PART = 1024  # examples a file
ASKED = 128  # examples a question

Ask = Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]
Teach = Callable[[Part], tuple[Tensor | None, dict[str, Tensor]]]


def teaching(
    run: Run, teacher: nn.Module | None, method: Method, source, folder: Path, accelerator: Accelerator
) -> tuple[Teach, nn.Module | None]:
    """What gives a part's teacher logits and features, asked at every step or once for all; and the teacher where it now lies."""
    if not method.needs_teacher:
        return (lambda part: (None, {})), None
    names = sorted({theirs for _, theirs in method.features})
    key = fingerprint(teacher, repr(teacher), names, run.training.precision) if run.cached else ""
    spread = run.sharded and accelerator.num_processes > 1
    # Other runs may have the same teacher, whole.
    model = copy.deepcopy(teacher) if spread else teacher.to(accelerator.device)
    tapped = Tapped(model.requires_grad_(False), names, role="teacher").eval()
    if spread:
        shard(tapped, accelerator.device)

    def ask(images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.set_grad_enabled(method.needs_gradients), accelerator.autocast():
            return tapped(images)

    if not run.cached:
        return (lambda part: ask(part.images)), model
    answers = Answers(source, max(1, run.data.views), ask, folder, key, accelerator, together=spread)
    return (lambda part: answers.at(part.view, part.index)), model


class Answers:
    """Logits and features of every example, from files that the processes have divided among themselves.

    source: an `InMemory` or `FromFolder`. views: how many fixed views of each picture. ask: images -> (logits, {layer: output}).
    folder: where the files are; all processes must see it. key: of the teacher's weights, layers and precision; the source's
    fingerprint stands for pictures and what is done to them. Parts are the same whatever the number of processes, so a run
    that is stopped and resumed makes only those that are missing. They are mapped from their files: what is not looked at
    need not lie in memory.
    together: the teacher answers on all processes at once or not at all, as a sharded one does; default, each asks when it likes.
    Raises `RecipeError` where a part that another process made cannot be read.
    """

    def __init__(
        self,
        source,
        views: int,
        ask: Ask,
        folder: Path,
        key: str,
        accelerator: Accelerator,
        *,
        size: int = PART,
        together: bool = False,
    ):
        self.size, self.device, self.count = size, accelerator.device, len(source)
        self.paths = {
            (view, number): folder / f"{key}-{source.fingerprint}-{size}-view-{view}-part-{number:05d}.safetensors"
            for view in range(views)
            for number in range(-(-self.count // size))
        }
        self.made = []  # which parts this process computed
        places, processes, rank = list(self.paths), accelerator.num_processes, accelerator.process_index
        for turn in (places[begin : begin + processes] for begin in range(0, len(places), processes)):
            place = turn[rank] if rank < len(turn) else None
            missing = place is not None and not self._is_there(place)
            if together and accelerator.reduce(torch.tensor(float(missing), device=self.device), "sum") > 0:
                questions = max(len(self._pieces(one)) for one in turn)
                self._make(source, place or turn[0], ask, questions, keep=missing)
            elif missing:
                self._make(source, place, ask)
        accelerator.wait_for_everyone()
        self.parts = {place: self._read(path) for place, path in self.paths.items()}

    def at(self, view: int, index: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits (n, C) and features of the examples at `index` (n,) in this view."""
        found = [(self.parts[view, place // self.size], place % self.size) for place in index.tolist()]
        names = found[0][0]
        answers = {name: torch.stack([part[name][row] for part, row in found]).to(self.device) for name in names}
        return answers.pop(LOGITS), answers

    def _pieces(self, place: tuple[int, int]) -> list[Tensor]:
        """The examples of a part, question by question."""
        begin = place[1] * self.size
        return list(torch.arange(begin, min(begin + self.size, self.count)).split(ASKED))

    def _is_there(self, place: tuple[int, int]) -> bool:
        try:
            load_tensors(self.paths[place])
        except FileNotFoundError:
            return False
        except DamagedFile as error:
            print(f"{error}; the teacher answers again.")
            return False
        return True

    def _make(self, source, place: tuple[int, int], ask: Ask, questions: int = 0, *, keep: bool = True) -> None:
        """Ask about a part, and once more until there are so many questions: those of the other processes want company."""
        pieces = self._pieces(place)
        asked = pieces + pieces[-1:] * (questions - len(pieces))
        with torch.no_grad():
            answers = [ask(part.images) for part in source.stream((place[0], piece) for piece in asked)][: len(pieces)]
        if keep:
            features = {name: torch.cat([one[name] for _, one in answers]).float() for name in answers[0][1]}
            save_tensors(self.paths[place], {**features, LOGITS: torch.cat([one for one, _ in answers]).float()})
            self.made.append(place)

    def _read(self, path: Path) -> dict[str, Tensor]:
        try:
            return load_tensors(path)[0]
        except (FileNotFoundError, DamagedFile) as error:
            raise RecipeError(f"output must be a folder that all processes see, but {error}") from error
