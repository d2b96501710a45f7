"""The loop for many processes, epochs and days: the labs' methods, batches and teachers, with SGD, milestones and checkpoints.

A step's batch, pictures and learning rate depend on the seed and the step's number alone, and its random draws on the process
besides. So a run goes on exactly from weights, the optimiser's state and a number, and two processes see the batches of one.
"""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from kdcourse.methods import Batch, Method
from kdcourse.models.common import evaluating
from kdcourse.models.tapping import Tapped
from kdcourse.scale.answers import Teach
from kdcourse.scale.checkpoints import Checkpoints, packed, unpack
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.recipe import Data, Training
from kdcourse.scale.schedule import learning_rate, optimizer_of, shares
from kdcourse.scale.sources import FromFolder, InMemory, Part, mixed
from kdcourse.scale.together import Agreement, norm_together, own_draws, whole

LOOK_EVERY = 10  # steps after which the processes ask each other whether to stop or to save


class Stopped(Exception):
    """The run was asked to stop and has saved where it stands."""


@dataclass
class Job:
    """One run, ready to go. teach: a part's teacher logits and features. teacher: the model itself, for methods that want it."""

    name: str
    student: nn.Module
    method: Method
    source: InMemory | FromFolder
    data: Data
    training: Training
    checkpoints: Checkpoints
    seed: int
    teach: Teach
    teacher: nn.Module | None = None


class Objective(nn.Module):
    """Student and method as one module, so that the engine averages the gradients of both: a batch -> its loss."""

    def __init__(self, tapped: Tapped, method: Method, gather: bool):
        super().__init__()
        self.tapped, self.method, self.gather = tapped, method, gather

    def forward(
        self, part: Part, answers: tuple[Tensor | None, dict[str, Tensor]], teacher: nn.Module | None
    ) -> Tensor:
        batch = self.batch(part, answers, teacher)
        with torch.autocast(part.images.device.type, enabled=False):
            return self.method(batch)

    def batch(self, part: Part, answers: tuple, teacher: nn.Module | None) -> Batch:
        bring = whole if self.gather else lambda tensor: tensor
        logits, features = self.tapped(part.images)
        theirs, their_features = answers
        ours, others = (
            {name: bring(one.float()) for name, one in found.items()} for found in (features, their_features)
        )
        student = self.tapped.model
        labels = bring(part.labels) if self.method.needs_labels else None
        theirs = None if theirs is None else bring(theirs.float())
        return Batch(bring(logits.float()), theirs, labels, part.images, ours, others, student, teacher)


def learn(job: Job, accelerator: Accelerator) -> list[float]:
    """Train the job's student to its last step, from its newest checkpoint on; returns all losses.

    Raises `Stopped` after SIGTERM or Ctrl-C, `ProcessLost` where another process is gone, `FloatingPointError` on divergence.
    """
    method, processes = job.method, accelerator.num_processes
    _check(job, processes)
    per_epoch = len(job.source) // job.training.batch_size
    steps = job.training.steps or job.training.epochs * per_epoch
    tapped = Tapped(job.student.to(accelerator.device), [ours for ours, _ in method.features], role="student")
    _prepare(job, tapped)
    parameters = [*job.student.parameters(), *method.to(accelerator.device).parameters()]
    optimizer = optimizer_of(parameters, job.training)
    begun, state = job.checkpoints.newest()
    if begun:
        unpack(state, job.student, method, optimizer)
        accelerator.print(f"{job.name} goes on from step {begun:,} of {steps:,}.")
    losses, recent = state.get("losses", torch.empty(0)).tolist(), []
    objective = Objective(tapped, method, gather=processes > 1 and method.relates_examples)
    if processes > 1:
        objective = norm_together(objective, accelerator.device)
    run = accelerator.prepare(objective.train())
    mine = shares(len(job.source), job.data, job.training, job.seed, range(begun, steps), accelerator)
    saved = time.monotonic()
    with Agreement(accelerator, job.name, begun) as agreement, own_draws(accelerator.device):
        for step, part in enumerate(_bar(job.source.stream(mine), job.name, begun, steps, accelerator), start=begun):
            torch.manual_seed(mixed(job.seed, step, accelerator.process_index))
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(job.training, step, per_epoch, steps)
            part.images = part.images.requires_grad_() if method.needs_gradients else part.images
            loss = run(part, job.teach(part), job.teacher)
            optimizer.zero_grad()
            accelerator.backward(loss)
            optimizer.step()
            recent.append(loss.detach())  # read every few steps: reading makes a GPU wait
            if (step + 1) % LOOK_EVERY == 0 or step + 1 == steps:
                losses, recent = losses + torch.stack(recent).float().tolist(), []
                late = time.monotonic() - saved > 60 * job.training.checkpoint_minutes
                stop, due, diverged = agreement.on(late, not math.isfinite(sum(losses[-LOOK_EVERY:])))
                if diverged:
                    raise FloatingPointError(f"{job.name} diverged by step {step + 1}: lower training.learning_rate")
                if (stop or due) and step + 1 < steps:
                    _save(job, step + 1, optimizer, losses, accelerator)
                    saved, agreement.saved = time.monotonic(), step + 1
                if stop and step + 1 < steps:
                    raise Stopped(f"{job.name} was asked to stop and is saved after step {step + 1:,} of {steps:,}")
    accelerator.free_memory()
    return losses


def _prepare(job: Job, tapped: Tapped) -> None:
    """Let the method make what it learns beside the student, the same on every process."""
    few = next(job.source.stream([(0, torch.arange(2))]))
    few.images = few.images.requires_grad_() if job.method.needs_gradients else few.images
    with own_draws(few.images.device), evaluating(tapped):
        torch.manual_seed(job.seed)
        with torch.no_grad():
            answers = job.teach(few)
            job.method.prepare(Objective(tapped, job.method, False).batch(few, answers, job.teacher))


def _save(job: Job, step: int, optimizer: torch.optim.Optimizer, losses: list[float], accelerator: Accelerator) -> None:
    if accelerator.is_main_process:
        state = packed(job.student, job.method, optimizer, torch.tensor(losses))
        job.checkpoints.save(step, state)
    accelerator.wait_for_everyone()


def _bar(parts: Iterator[Part], name: str, begun: int, steps: int, accelerator: Accelerator) -> Iterator[Part]:
    from tqdm.auto import tqdm

    hidden = None if accelerator.is_main_process else True
    return tqdm(parts, desc=name, initial=begun, total=steps, unit="step", leave=False, disable=hidden)


def _check(job: Job, processes: int) -> None:
    size, count = job.training.batch_size, len(job.source)
    if size % processes:
        raise RecipeError(f"training.batch_size must be a multiple of the {processes} processes, got {size}")
    if size > count:
        raise RecipeError(f"training.batch_size must be at most {count}, the pictures there are, got {size}")
    if processes > 1 and job.method.relates_examples and job.method.needs_gradients:
        raise RecipeError(
            f"runs.{job.name}.method must not both relate examples and differentiate by pictures on {processes} processes"
        )
