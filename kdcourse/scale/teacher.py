"""A teacher at work on many processes: asked at every step, or once for each picture and view."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from kdcourse.methods import Method
from kdcourse.models.tapping import LOGITS, Tapped
from kdcourse.scale.datasets import ImageFolderDataset, InMemoryDataset, Minibatch, ViewIndex
from kdcourse.scale.distributed import any_process, shard
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.recipe import Run
from kdcourse.system.storage import DamagedFile, fingerprint, load_tensors, save_tensors
from kdcourse.training.objective import Answers, Teaching

CHUNK_SIZE = 1024  # examples a file
BATCH_SIZE = 128

Chunk = tuple[int | None, int]  # a view, None for examples as they are, and the number of a stretch of them


def prepare_teacher(
    run: Run,
    model: nn.Module | None,
    method: Method,
    dataset: InMemoryDataset | ImageFolderDataset,
    folder: Path,
    accelerator: Accelerator,
) -> Teaching:
    """A frozen teacher, asked about a `Minibatch`, as the run wants it: `sharded` over the processes, `cached` in the folder."""
    if not method.needs_teacher:
        return Teaching()
    layers = sorted({theirs for _, theirs in method.features})
    key = fingerprint(model, repr(model), layers, run.training.precision) if run.cached else ""
    sharded = run.sharded and accelerator.num_processes > 1
    # Other runs may have the same teacher, whole.
    model = copy.deepcopy(model) if sharded else model.to(accelerator.device)
    tapped = Tapped(model.requires_grad_(False), layers, role="teacher").eval()
    if sharded:
        shard(tapped, accelerator.device)

    def ask(inputs: Tensor) -> Answers:
        with torch.set_grad_enabled(method.needs_gradients), accelerator.autocast():
            return tapped(inputs)

    if not run.cached:
        return Teaching(lambda batch: ask(batch.inputs), model)
    views = range(max(1, run.data.views))
    cache = DistributedTeacherCache(dataset, views, ask, folder, key, accelerator, lockstep=sharded)
    return Teaching(lambda batch: cache.outputs(batch.view, batch.index), model)


class EmbeddedDataset:
    """What a frozen body says of a dataset's examples as they are, in place of these: a probe's head learns from it.

    body: inputs -> embeddings (N, D), asked once for each example. Other arguments as `DistributedTeacherCache` takes them.
    """

    def __init__(
        self, dataset: InMemoryDataset | ImageFolderDataset, body: nn.Module, folder: Path, accelerator: Accelerator
    ):
        def ask(inputs: Tensor) -> Answers:
            with accelerator.autocast():
                return body(inputs), {}

        body.to(accelerator.device).eval()
        key = fingerprint(body, repr(body), accelerator.mixed_precision)
        self.dataset = dataset
        self.cache = DistributedTeacherCache(dataset, [None], ask, folder, key, accelerator)

    def __len__(self) -> int:
        return len(self.dataset)

    @property
    def fingerprint(self) -> str:
        return self.dataset.fingerprint

    def batches(self, sampler: Iterable[ViewIndex]) -> Iterator[Minibatch]:
        """Embeddings (n, D) and labels for each positions that the sampler names, whatever the view."""
        labels = self.dataset.labels
        for view, index in sampler:
            embeddings, _ = self.cache.outputs(None, index)
            yield Minibatch(embeddings, labels[index.to(labels.device)].to(embeddings.device), index, view)


class DistributedTeacherCache:
    """Logits and features of every example, from files that the processes have divided among themselves.

    views: which of the fixed views of each picture, None for pictures as they are. ask: inputs -> (logits, {layer: output}).
    folder: where the files are; all processes must see it. key: of the teacher's weights, layers and precision; the dataset's
    fingerprint stands for pictures and what is done to them. chunk_size: examples a file, whatever the number of processes, so
    that a run which is stopped and resumed makes only those that are missing. Files are mapped: what is not looked at need not
    lie in memory. lockstep: the teacher answers on all processes at once or not at all, as a sharded one does; default, each
    asks when it likes.
    Raises `RecipeError` where a file that another process made cannot be read.
    """

    def __init__(
        self,
        dataset: InMemoryDataset | ImageFolderDataset,
        views: Sequence[int | None],
        ask: Callable[[Tensor], Answers],
        folder: Path,
        key: str,
        accelerator: Accelerator,
        *,
        chunk_size: int = CHUNK_SIZE,
        lockstep: bool = False,
    ):
        self.dataset, self.ask, self.chunk_size, self.device = dataset, ask, chunk_size, accelerator.device
        self.paths = {
            (view, number): folder
            / f"{key}-{dataset.fingerprint}-{chunk_size}-view-{view}-part-{number:05d}.safetensors"
            for view in views
            for number in range(math.ceil(len(dataset) / chunk_size))
        }
        self.computed: list[Chunk] = []  # by this process
        self._compute_missing(accelerator, lockstep)
        accelerator.wait_for_everyone()
        self.answers = {chunk: self._read(path) for chunk, path in self.paths.items()}

    def outputs(self, view: int | None, index: Tensor) -> Answers:
        """Logits (n, C) and features of the examples at `index` (n,) in this view."""
        places = [divmod(position, self.chunk_size) for position in index.tolist()]
        rows = [{name: answers[row] for name, answers in self.answers[view, number].items()} for number, row in places]
        found = {name: torch.stack([row[name] for row in rows]).to(self.device) for name in rows[0]}
        return found.pop(LOGITS), found

    def _compute_missing(self, accelerator: Accelerator, lockstep: bool) -> None:
        """Round after round, a chunk for each process."""
        chunks, processes, rank = list(self.paths), accelerator.num_processes, accelerator.process_index
        for begin in range(0, len(chunks), processes):
            turn = chunks[begin : begin + processes]
            mine = turn[rank] if rank < len(turn) else None
            missing = mine is not None and not self._exists(mine)
            if lockstep and any_process(accelerator, missing)[0]:
                # A process that lacks nothing asks all the same, for the others' sake, and throws the answers away.
                passes = max(len(self._batches(chunk)) for chunk in turn)
                answers = self._compute(mine or turn[0], passes)
            elif missing:
                answers = self._compute(mine)
            if missing:
                save_tensors(self.paths[mine], answers)
                self.computed.append(mine)

    def _batches(self, chunk: Chunk) -> list[Tensor]:
        """Positions of its examples, batch by batch."""
        begin = chunk[1] * self.chunk_size
        return list(torch.arange(begin, min(begin + self.chunk_size, len(self.dataset))).split(BATCH_SIZE))

    def _exists(self, chunk: Chunk) -> bool:
        try:
            load_tensors(self.paths[chunk])
        except FileNotFoundError:
            return False
        except DamagedFile as error:
            print(f"{error}; the teacher answers again.")
            return False
        return True

    @torch.no_grad()
    def _compute(self, chunk: Chunk, passes: int = 0) -> dict[str, Tensor]:
        """The answers for a chunk. passes: how many forward passes there must be at least; the last one is repeated."""
        batches = self._batches(chunk)
        repeated = batches + batches[-1:] * (passes - len(batches))
        found = [self.ask(batch.inputs) for batch in self.dataset.batches((chunk[0], index) for index in repeated)]
        found = [{**features, LOGITS: logits} for logits, features in found[: len(batches)]]
        return {name: torch.cat([one[name] for one in found]).float() for name in found[0]}

    def _read(self, path: Path) -> dict[str, Tensor]:
        try:
            return load_tensors(path)[0]
        except (FileNotFoundError, DamagedFile) as error:
            raise RecipeError(f"output must be a folder that all processes see, but {error}") from error
