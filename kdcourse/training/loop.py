"""The one training loop.

Every scheme of the course is a way to call `train`: the student, a split, a method, a teacher if the method wants one.
"""

import copy
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from kdcourse.data.augment import view
from kdcourse.data.splits import Examples, Split, check_split, picked
from kdcourse.evaluation import measure
from kdcourse.losses import checks
from kdcourse.methods import Method
from kdcourse.system import runtime
from kdcourse.system.arguments import whole_number
from kdcourse.training import randomness
from kdcourse.training.cache import TeacherCache
from kdcourse.training.gate import check_run
from kdcourse.training.objective import Objective, Teaching, teaching


@dataclass
class History:
    """What a training run left behind.

    losses: one value for each step. evaluations: pairs (step, accuracy in percent), where a callback such as `Evaluate` measured
    them. seconds: of the whole run. examples: how many inputs the steps saw, repetitions counted. interrupted: whether the run
    ended before its last step.
    """

    losses: list[float] = field(default_factory=list)
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    examples: int = 0
    interrupted: bool = False


@dataclass
class TrainingState:
    """A training run between two steps: what a callback sees of it, and what it may change.

    student: the network that learns. objective: student and method together. optimizer, schedule: what moves the weights.
    steps: how many there are to be. losses: one for each step that is done, still on the device; to read one makes a GPU wait.
    history: what `train` will return. stopped: a callback sets it to True, and the run ends here.
    """

    student: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LRScheduler
    steps: int
    losses: list[Tensor] = field(default_factory=list)
    history: History = field(default_factory=History)
    stopped: bool = False

    @property
    def step(self) -> int:
        """How many steps are done."""
        return len(self.losses)

    @property
    def method(self) -> Method:
        """What the next step minimises; may be set, to `method.with_hyperparameters(...)` for instance."""
        return self.objective.method

    @method.setter
    def method(self, method: Method) -> None:
        self.objective.method = method


Callback = Callable[[TrainingState], None]


@dataclass(frozen=True)
class Evaluate:
    """A callback: accuracy on a labelled split, in percent, after every `every` steps and after the last one.

    The pairs (step, accuracy) are kept in `History.evaluations`. split: with labels, else `ValueError`. every: steps between two
    looks, default None: after the last step alone. report: called as report(step, accuracy) after each look; what it raises ends
    the run, as where a search gives up a hopeless trial. Raises `FloatingPointError` where the student's answers are no numbers.
    """

    split: Split
    every: int | None = None
    report: Callable[[int, float], None] | None = None

    def __post_init__(self):
        check_split(self.split)
        if self.split.labels is None:
            raise ValueError("split has no labels, so there is nothing to compare answers with")
        if self.every is not None:
            whole_number("every", self.every)

    def __call__(self, state: TrainingState) -> None:
        if state.step == state.steps or (self.every and state.step % self.every == 0):
            logits = measure.predict(state.student, self.split)
            if not logits.isfinite().all():
                raise FloatingPointError(
                    f"training diverged: the student's answers are no numbers after step {state.step}; lower learning_rate"
                )
            accuracy = measure.accuracy(logits, self.split)
            state.history.evaluations.append((state.step, accuracy))
            if self.report is not None:
                self.report(state.step, accuracy)


def train(
    student: nn.Module,
    split: Examples,
    method: Method | None = None,
    *,
    teacher: nn.Module | TeacherCache | None = None,
    steps: int,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-2,
    order_seed: int = 0,
    augment: Callable[..., Tensor] | None = None,
    balanced: bool = False,
    callbacks: Sequence[Callback] = (),
    draws: Callable[[int, nn.Module], AbstractContextManager] = randomness.shared,
    progress: bool = True,
) -> History:
    """Train `student` in place for a fixed number of steps: AdamW under a one-cycle schedule.

    student: gives (N, C) logits. split: what to learn from, without labels where the method needs none. method: what to
    minimise, default `HardTarget()`. teacher: a model, asked at every step, or a `TeacherCache`, asked once. steps: updates,
    each on `batch_size` examples. learning_rate: the schedule's peak. weight_decay: AdamW's. order_seed: fixes the order of
    batches, dropout, and the first weights of what a method learns beside the student. augment: called as augment(inputs,
    generator=...) on each batch; student and teacher see the same result. balanced: draw all classes equally often. callbacks:
    called with the `TrainingState` after each step, as `Evaluate` is. draws: where random numbers come from, `randomness.own`
    for a run beside other work. An interrupt from the keyboard ends the run early and keeps what was learnt. Raises `ValueError`
    for bad settings, `FloatingPointError` on divergence.
    """
    method, steps, batch_size, order_seed = check_run(
        student, split, method, teacher, steps, batch_size, learning_rate, weight_decay, order_seed, augment, callbacks
    )
    started = time.perf_counter()
    stream = _stream(split, batches(split, steps, batch_size, order_seed, balanced=balanced), augment, order_seed)
    with teaching(teacher, split, method) as taught, draws(order_seed, student.to(split.device)) as drawing:
        with drawing:
            objective = prepare(Objective(student, method), split, taught)
        updates = one_cycle(objective.parameters(), steps, learning_rate, weight_decay)
        state = TrainingState(student, objective, *updates, steps)
        loop(state, split, _bar(stream, steps, progress), taught, callbacks)
    return finish(state, batch_size, started)


_WHOLE = ContextVar("whole", default=False)


@contextmanager
def whole_runs() -> Iterator[None]:
    """Within it an interrupt from the keyboard is raised, and no run ends early: half a run must not be taken for a whole one."""
    before = _WHOLE.set(True)
    try:
        yield
    finally:
        _WHOLE.reset(before)


def prepare(objective: Objective, split: Examples, taught: Teaching) -> Objective:
    """Let the method make what it learns, from two examples, and check once what the steps will not check again.

    Raises `ValueError` for probabilities in place of logits, inputs that hold NaN or infinity, and labels of no class.
    """
    few = torch.arange(min(2, len(split)), device=split.device)
    inputs = split.inputs[few].requires_grad_(objective.method.needs_gradients)
    labels = None if split.labels is None else split.labels[few]
    batch = objective.prepare(inputs, labels, taught.ask(inputs, few), taught.model)
    for name, logits in (("student", batch.student_logits), ("teacher", batch.teacher_logits)):
        if logits is not None:
            checks.check_not_probabilities(name, logits)
    checks.check_no_nan("split", split.inputs)
    checks.check_finite("split", split.inputs)
    if objective.method.needs_labels:
        checks.check_classes(split.labels, checks.as_rows(batch.student_logits).shape[1])
    return objective.train()


def dry_run(
    student: nn.Module,
    split: Examples,
    method: Method,
    teacher: nn.Module | TeacherCache | None,
    *,
    steps: int,
    batch_size: int,
    learning_rate: float,
    weight_decay: float = 0.0,
) -> None:
    """Compute one loss on a few examples and take no step, to raise `ValueError` as `train` would, before anything trains.

    Arguments are those of `train`. The student is moved to the split's device; the method learns nothing.
    """
    check_run(student, split, method, teacher, steps, batch_size, learning_rate, weight_decay)
    model = teacher.teacher if isinstance(teacher, TeacherCache) else teacher
    with teaching(model, split, method) as taught:
        objective = prepare(Objective(student.to(split.device), copy.deepcopy(method)), split, taught).eval()
        few = torch.arange(min(8, len(split)), device=split.device)
        inputs = split.inputs[few].requires_grad_(method.needs_gradients)
        labels = split.labels[few] if method.needs_labels else None
        objective(inputs, labels, taught.ask(inputs, few), taught.model)


def loop(
    state: TrainingState, split: Examples, stream: Iterable, taught: Teaching, callbacks: Sequence[Callback] = ()
) -> None:
    """Take a step for each batch of the stream, until it ends, a callback stops it, or an interrupt from the keyboard does.

    stream: pairs of inputs (N, …) and their positions in the split, (N,). taught: the teacher's side. callbacks: as in `train`.
    """
    try:
        for inputs, index in stream:
            step(state, inputs, index, split.labels, taught)
            for callback in callbacks:
                callback(state)
            if state.stopped:
                break
    except KeyboardInterrupt as stop:
        if _WHOLE.get():
            raise KeyboardInterrupt(f"stopped after {state.step} of {state.steps} steps, and not measured") from stop
        print(f"Interrupted after {state.step} of {state.steps} steps; the student keeps what it has learnt.")
    state.history.interrupted = state.step < state.steps


def step(state: TrainingState, inputs: Tensor, index: Tensor, labels: Tensor | None, taught: Teaching) -> None:
    """One update of the student, and of what the method learns beside it.

    inputs: (N, …), a batch. index: (N,), their positions in the split. labels: of the whole split, or None.
    """
    inputs.requires_grad_(state.method.needs_gradients)
    answers = taught.ask(inputs, index)
    labels = labels[index] if state.method.needs_labels else None
    # The first batch is looked at as a whole: its shapes are those of all others.
    precision = torch.autocast(inputs.device.type, torch.bfloat16, enabled=runtime.has_bf16(inputs.device))
    with precision, checks.trusted(state.step > 0):
        loss = state.objective(inputs, labels, answers, taught.model)
    state.optimizer.zero_grad()
    loss.backward()
    state.optimizer.step()
    state.schedule.step()
    state.losses.append(loss.detach())  # read after the loop: reading it here would make a GPU wait


def finish(state: TrainingState, batch_size: int, started: float) -> History:
    """Set the student to evaluation mode and give the run's `History`. Raises `FloatingPointError` where the run diverged.

    started: the time at which it began, by `time.perf_counter`.
    """
    state.student.eval()
    history = state.history
    history.losses = torch.stack(state.losses).float().tolist() if state.losses else []
    history.seconds = time.perf_counter() - started
    history.examples = state.step * batch_size
    refuse_divergence(enumerate(history.losses, start=1))
    return history


def batches(split: Examples, steps: int, batch_size: int, seed: int, *, balanced: bool = False) -> Tensor:
    """Positions in the split, (steps, batch_size) int64, a batch in each row: one random order after another, cut into batches.

    seed: fixes the orders. balanced: draw with replacement instead, all classes equally often, whatever their sizes; default
    False.
    """
    generator = torch.Generator().manual_seed(seed)
    if balanced:
        labels = split.labelled("a balanced draw").cpu()
        chances = 1.0 / labels.bincount()[labels].double()
        order = torch.multinomial(chances, steps * batch_size, replacement=True, generator=generator)
    else:
        epochs = -(-steps * batch_size // len(split))
        order = torch.cat([torch.randperm(len(split), generator=generator) for _ in range(epochs)])
    # One copy to the device for the whole run.
    return order[: steps * batch_size].to(split.device).view(steps, batch_size)


def _stream(
    split: Examples, order: Tensor, augment: Callable[..., Tensor] | None, seed: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The inputs of each batch, and their positions."""
    noise = torch.Generator(split.device).manual_seed(seed)
    for index in order:
        inputs = picked(split.inputs, index)
        yield (inputs if augment is None else view(inputs, augment, noise)), index


def one_cycle(
    parameters: Iterable[nn.Parameter], steps: int, learning_rate: float, weight_decay: float
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.OneCycleLR]:
    """AdamW and its one-cycle schedule: the learning rate rises to `learning_rate`, then falls to almost 0.

    Source of the schedule: Smith, Topin (2018), *Super-Convergence*.
    """
    optimizer = torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay, fused=True)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=max(steps, 2))


def _bar(stream: Iterable, steps: int, shown: bool) -> Iterable:
    from tqdm.auto import tqdm

    # `None` lets tqdm stay silent where there is no terminal to draw on.
    return tqdm(stream, total=steps, desc="training", unit="step", leave=False, disable=None if shown else True)


def refuse_divergence(losses: Iterable[tuple[int, float]]) -> None:
    """Raise `FloatingPointError` with the first step whose loss is NaN or infinite. losses: pairs (step, loss), in order."""
    for step, loss in losses:
        if not math.isfinite(loss):
            raise FloatingPointError(f"training diverged: the loss is {loss} at step {step}; lower learning_rate")
