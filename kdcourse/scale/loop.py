"""The loop for many processes, epochs and days: the labs' methods, batches and teachers, with SGD, milestones and checkpoints.

A step's batch, pictures and learning rate depend on the seed and the step's number alone, and its random draws on the process
besides. So a run goes on exactly from weights, the optimiser's state and a number, and two processes see the batches of one.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from kdcourse.methods import Method
from kdcourse.scale.checkpoints import Checkpoints, load_state_dict, state_dict
from kdcourse.scale.datasets import ImageFolderDataset, InMemoryDataset, Minibatch, derive_seed
from kdcourse.scale.distributed import GracefulStop, all_gather, any_process, convert_sync_batchnorm
from kdcourse.scale.recipe import Data, Training
from kdcourse.scale.schedule import batch_sampler, build_optimizer, learning_rate
from kdcourse.system.generators import fork_rng, seeded_rng
from kdcourse.training.objective import Objective, Teaching

SYNC_EVERY = 10  # steps after which the processes ask each other whether to stop or to save


class Stopped(Exception):
    """The run was asked to stop and has saved where it stands."""


@dataclass(frozen=True)
class Job:
    """One run, ready to go."""

    name: str
    student: nn.Module
    method: Method
    dataset: InMemoryDataset | ImageFolderDataset
    data: Data
    training: Training
    checkpoints: Checkpoints
    seed: int
    teacher: Teaching = field(default_factory=Teaching)

    @property
    def steps_per_epoch(self) -> int:
        return len(self.dataset) // self.training.batch_size

    @property
    def steps(self) -> int:
        return self.training.steps or self.training.epochs * self.steps_per_epoch


@dataclass
class TrainingState:
    """A run between two steps. objective: as the accelerator has wrapped it.

    step: how many are done. losses: of these, but for the recent ones: they are on the device, where reading makes a GPU wait.
    """

    objective: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    losses: list[float] = field(default_factory=list)
    recent: list[Tensor] = field(default_factory=list)
    saved_at: float = field(default_factory=time.monotonic)


def train(job: Job, accelerator: Accelerator) -> list[float]:
    """Train the job's student to its last step, from its newest checkpoint on; returns all losses.

    Raises `Stopped` after SIGTERM or Ctrl-C, `ProcessLost` where another process is gone, `FloatingPointError` on divergence.
    """
    state = prepare(job, accelerator)
    remaining = range(state.step, job.steps)
    sampler = batch_sampler(len(job.dataset), job.data, job.training, job.seed, remaining, accelerator)
    with GracefulStop(job.name, state.step) as stop, fork_rng(accelerator.device):
        for batch in _bar(job.dataset.batches(sampler), job, state.step, accelerator):
            step(job, state, batch, accelerator)
            if state.step % SYNC_EVERY == 0 or state.step == job.steps:
                synchronize(job, state, stop, accelerator)
    accelerator.free_memory()
    return state.losses


def prepare(job: Job, accelerator: Accelerator) -> TrainingState:
    """Student, method and optimiser as they were at the newest checkpoint, spread over the processes."""
    processes, method = accelerator.num_processes, job.method
    objective = Objective(job.student.to(accelerator.device), method)
    few = next(job.dataset.batches([(0, torch.arange(2))]))
    with seeded_rng(job.seed, accelerator.device):  # what the method learns begins the same on every process
        objective.prepare(*_arguments(job, few))
    state = TrainingState(objective, build_optimizer(objective.parameters(), job.training))
    state.step, checkpoint = job.checkpoints.newest()
    if state.step:
        state.losses = load_state_dict(checkpoint, job.student, method, state.optimizer)
        accelerator.print(f"{job.name} goes on from step {state.step:,} of {job.steps:,}.")
    if processes > 1 and method.relates_examples:
        objective.gather = all_gather
    if processes > 1:
        objective = convert_sync_batchnorm(objective)
    # The optimiser too: in fp16 it scales gradients, and skips a step in which they overflow.
    state.objective, state.optimizer = accelerator.prepare(objective.train(), state.optimizer)
    return state


def step(job: Job, state: TrainingState, batch: Minibatch, accelerator: Accelerator) -> None:
    """One update of the student, and of what the method learns beside it."""
    torch.manual_seed(derive_seed(job.seed, state.step, accelerator.process_index))
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(job.training, state.step, job.steps_per_epoch, job.steps)
    loss = state.objective(*_arguments(job, batch))
    state.optimizer.zero_grad()
    accelerator.backward(loss)
    state.optimizer.step()
    state.recent.append(loss.detach())
    state.step += 1


def synchronize(job: Job, state: TrainingState, stop: GracefulStop, accelerator: Accelerator) -> None:
    """Read the recent losses, and do what any process wants: give up, save, stop. Raises `FloatingPointError`, `Stopped`."""
    recent = torch.stack(state.recent).float().tolist()
    state.losses += recent
    state.recent.clear()
    late = time.monotonic() - state.saved_at > 60 * job.training.checkpoint_minutes
    diverged = not math.isfinite(sum(recent))
    stopping, late, diverged = any_process(accelerator, stop.requested, late, diverged)
    if diverged:
        raise FloatingPointError(f"{job.name} diverged by step {state.step}: lower training.learning_rate")
    if state.step == job.steps:
        return
    if stopping or late:
        _save(job, state, accelerator)
        stop.saved_step = state.step
    if stopping:
        raise Stopped(f"{job.name} was asked to stop and is saved after step {state.step:,} of {job.steps:,}")


def _arguments(job: Job, batch: Minibatch) -> tuple:
    """What the objective is called with."""
    batch.inputs.requires_grad_(job.method.needs_gradients)
    return batch.inputs, batch.labels, job.teacher.ask(batch), job.teacher.model


def _save(job: Job, state: TrainingState, accelerator: Accelerator) -> None:
    if accelerator.is_main_process:
        job.checkpoints.save(state.step, state_dict(job.student, job.method, state.optimizer, state.losses))
    accelerator.wait_for_everyone()
    state.saved_at = time.monotonic()


def _bar(batches: Iterator[Minibatch], job: Job, begun: int, accelerator: Accelerator) -> Iterator[Minibatch]:
    from tqdm.auto import tqdm

    hidden = None if accelerator.is_main_process else True  # None shows it on a terminal only
    return tqdm(batches, desc=job.name, initial=begun, total=job.steps, unit="step", leave=False, disable=hidden)
