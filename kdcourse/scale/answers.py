"""What a teacher answers, once for each picture and view: each process asks it for its own parts, all read every part."""

import copy
from collections.abc import Callable
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from kdcourse.methods import Method
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.recipe import Run
from kdcourse.scale.sources import Part
from kdcourse.scale.together import shard
from kdcourse.storage import DamagedFile, fingerprint, load_tensors, save_tensors
from kdcourse.tapping import LOGITS, Tapped

PART = 1024  # examples a file

Ask = Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]
Teach = Callable[[Part], tuple[Tensor | None, dict[str, Tensor]]]


def teaching(
    run: Run, teacher: nn.Module | None, method: Method, source, folder: Path, accelerator: Accelerator
) -> Teach:
    """What gives a part's teacher logits and features: the teacher at every step, or what it once answered."""
    if not method.needs_teacher:
        return lambda part: (None, {})
    if run.cached and method.needs_gradients:
        raise RecipeError(f"cached must be false for {method!r}, which differentiates what the teacher says, got true")
    names = sorted({theirs for _, theirs in method.features})
    key = fingerprint(teacher, names) if run.cached else ""
    spread = run.sharded and accelerator.num_processes > 1
    # Other runs may have the same teacher, whole.
    model = copy.deepcopy(teacher) if spread else teacher
    tapped = Tapped(model.to(accelerator.device).requires_grad_(False), names, role="teacher").eval()
    if spread:
        shard(tapped, accelerator.device)

    def ask(images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        with torch.set_grad_enabled(method.needs_gradients), accelerator.autocast():
            return tapped(images)

    if not run.cached:
        return lambda part: ask(part.images)
    answers = Answers(source, max(1, run.data.views), ask, folder, key, accelerator)
    return lambda part: answers.at(part.view, part.index)


class Answers:
    """Logits and features of every example, from files that the processes have divided among themselves.

    source: an `InMemory` or `FromFolder`. views: how many fixed views of each picture. ask: images -> (logits, {layer: output}).
    folder: where the files are; all processes must see it. key: of the teacher's weights and layers. Parts are the same whatever
    the number of processes, so a run that is stopped and resumed makes only those that are missing.
    Raises `RecipeError` where a part that another process made cannot be read.
    """

    def __init__(
        self, source, views: int, ask: Ask, folder: Path, key: str, accelerator: Accelerator, size: int = PART
    ):
        self.size, self.device = size, accelerator.device
        self.paths = {
            (view, number): folder / f"{key}-{source.fingerprint}-{size}-view-{view}-part-{number:05d}.safetensors"
            for view in range(views)
            for number in range(-(-len(source) // size))
        }
        self.made = []  # which parts this process computed
        for turn, (view, number) in enumerate(self.paths):
            if turn % accelerator.num_processes == accelerator.process_index:
                self._make(source, view, number, ask)
        accelerator.wait_for_everyone()
        self.parts = {place: self._read(path) for place, path in self.paths.items()}

    def at(self, view: int, index: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Logits (n, C) and features of the examples at `index` (n,) in this view."""
        found = [(self.parts[view, place // self.size], place % self.size) for place in index.tolist()]
        names = found[0][0]
        answers = {name: torch.stack([part[name][row] for part, row in found]).to(self.device) for name in names}
        return answers.pop(LOGITS), answers

    def _make(self, source, view: int, number: int, ask: Ask) -> None:
        path = self.paths[view, number]
        try:
            load_tensors(path)
            return
        except FileNotFoundError:
            pass
        except DamagedFile as error:
            print(f"{error}; the teacher answers again.")
        index = torch.arange(number * self.size, min((number + 1) * self.size, len(source)))
        with torch.no_grad():
            answers = [ask(part.images) for part in source.stream((view, piece) for piece in index.split(128))]
        features = {name: torch.cat([one[name] for _, one in answers]).float() for name in answers[0][1]}
        save_tensors(path, {**features, LOGITS: torch.cat([logits for logits, _ in answers]).float()})
        self.made.append((view, number))

    def _read(self, path: Path) -> dict[str, Tensor]:
        try:
            return load_tensors(path)[0]
        except (FileNotFoundError, DamagedFile) as error:
            raise RecipeError(f"output must be a folder that all processes see, but {error}") from error
