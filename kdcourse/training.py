"""The one training loop.

Every scheme of the course is a way to call `train`: the student, a split, a method, a teacher if the method wants one.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache

import torch
from torch import Tensor, nn

from kdcourse import measure, randomness
from kdcourse.cache import OnDisk, TeacherCache
from kdcourse.data.splits import Split, picked
from kdcourse.methods import Batch, FixedTargets, HardTarget, Method
from kdcourse.tapping import LOGITS, Tapped


@dataclass
class History:
    """What a training run left behind.

    losses: one value for each step. evaluations: (step, accuracy in percent on the validation split).
    seconds: the whole run. examples: pictures seen. interrupted: stopped by hand before the last step.
    """

    losses: list[float] = field(default_factory=list)
    evaluations: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    examples: int = 0
    interrupted: bool = False


def train(
    student: nn.Module,
    split: Split,
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
    validation: Split | None = None,
    evaluate_every: int | None = None,
    on_evaluation: Callable[[int, float], None] | None = None,
    control: Callable[[int, list[Tensor], Method], Method | None] | None = None,
    draws: Callable[[int, nn.Module], AbstractContextManager] = randomness.shared,
    compiler: str | None = None,
    progress: bool = True,
) -> History:
    """Train `student` in place for a fixed number of steps: AdamW under a one-cycle schedule.

    student: gives (N, C) logits; its first weights are the caller's choice, `order_seed` fixes the order of batches
        and the first weights of what a method learns beside it.
    split: the pictures to learn from; its labels may be missing when the method does not need them.
    method: what to minimise, default `HardTarget()`, cross-entropy with the labels.
    teacher: a model, which then answers at every step, or a `TeacherCache`, which answers once.
    steps: optimiser updates, the budget of a comparison. batch_size: examples a step.
    learning_rate: the schedule's peak. weight_decay: AdamW's.
    augment: called as augment(pictures, generator=...) on each batch; student and teacher see the same result.
    balanced: draw batches so that all classes come equally often, rare pictures repeatedly.
    validation: a labelled split; its accuracy is recorded every `evaluate_every` steps and after the last one.
    on_evaluation: called as on_evaluation(step, accuracy) after each; what it raises ends the run, as a search does that
        prunes a hopeless trial.
    control: called as control(step, losses, method) after each step; gives the method of the next one, the same or a
        `method.tuned(...)`, or None to end the run here. Losses still lie on the device: reading one makes a GPU wait.
    draws: where dropout and a method's own first weights draw from; `randomness.own` for a run beside other work.
    compiler: a backend of torch.compile for the student, such as "inductor", on a GPU with CUDA graphs; the same to rounding.
        Compiling takes up to a minute, so it is for long runs; default none.
    Returns a `History`. An interrupt from the keyboard ends the run early and keeps what was learnt.
    Raises `ValueError` for a method whose needs are not met and for bad settings, `FloatingPointError` on divergence.
    """
    from accelerate import Accelerator

    method = HardTarget() if method is None else method
    _check(split, method, teacher, steps, batch_size, learning_rate, augment)

    on_gpu = split.device.type == "cuda"
    accelerator = Accelerator(cpu=split.device.type == "cpu", mixed_precision="bf16" if on_gpu else "no")
    tapped = Tapped(student.to(split.device), [ours for ours, _ in method.features], role="student")
    noise = torch.Generator(split.device).manual_seed(order_seed)
    history, losses = History(), []
    started = time.perf_counter()
    order = batches(split, steps, batch_size, order_seed, balanced=balanced)
    with _answering(teacher, split, method) as (model, ask, known), draws(order_seed, student) as drawing:
        # Adapters and dropout too are the same for every run with this seed.

        def look(images: Tensor, index: Tensor) -> Batch:
            images = images.requires_grad_() if method.needs_gradients else images
            logits, features = run(images)
            teacher_logits, teacher_features = ask(images, index)
            labels = split.labels[index] if method.needs_labels else None
            return Batch(logits, teacher_logits, labels, images, features, teacher_features, student, model)

        @lru_cache(maxsize=1)  # worked out anew only where `control` changes the method
        def objective(method: Method) -> Callable[[Tensor, int], Tensor]:
            """A batch's pictures and its number, from 0 -> the loss."""
            if fixed := FixedTargets.of(method, known, split.labels, order):
                return lambda images, number: fixed(run(images)[0], number)
            return lambda images, number: method(look(images, order[number]))

        run = tapped.eval()
        with torch.no_grad(), drawing:
            few = torch.arange(min(2, len(split)), device=split.device)
            method.prepare(look(split.images[few], few))
        parameters = [*student.parameters(), *method.to(split.device).parameters()]
        optimizer, schedule = one_cycle(parameters, steps, learning_rate, weight_decay)
        # Only the model is wrapped: bf16 scales no losses, and a wrapped optimiser costs a fifth of a small student's step.
        run = accelerator.prepare(tapped.train())
        if compiler is not None:
            graphs = on_gpu and compiler == "inductor"
            run = torch.compile(run, backend=compiler, mode="reduce-overhead" if graphs else None)
        try:
            for step, index in enumerate(_bar(order, steps, progress), start=1):
                images = picked(split.images, index)
                if augment is not None:
                    images = augment(images, generator=noise)
                loss = objective(method)(images, step - 1)
                optimizer.zero_grad()
                accelerator.backward(loss)
                optimizer.step()
                schedule.step()
                losses.append(loss.detach())  # read after the loop: reading it here would make the GPU wait
                if validation is not None and (step == steps or (evaluate_every and step % evaluate_every == 0)):
                    history.evaluations.append((step, measure.accuracy(student, validation)))
                    if on_evaluation is not None:
                        on_evaluation(*history.evaluations[-1])
                if control is not None and (method := control(step, losses, method)) is None:
                    history.interrupted = step < steps
                    break
        except KeyboardInterrupt:
            history.interrupted = True
            print(f"Interrupted after {len(losses)} of {steps} steps; the student keeps what it has learnt.")
    accelerator.unwrap_model(run, keep_fp32_wrapper=False)
    student.eval()
    history.losses = torch.stack(losses).float().tolist() if losses else []
    history.seconds = time.perf_counter() - started
    history.examples = len(losses) * batch_size
    refuse_divergence(history.losses)
    return history


def batches(split: Split, steps: int, batch_size: int, seed: int, *, balanced: bool = False) -> Tensor:
    """Positions (steps, batch_size), a batch in each row: one random order of the split after another, cut into batches.

    balanced: drawn with replacement instead, each class with one chance, whatever its size.
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


def one_cycle(
    parameters: Iterable[nn.Parameter | Tensor], steps: int, learning_rate: float, weight_decay: float
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.OneCycleLR]:
    """AdamW and its schedule over so many steps: up to `learning_rate`, then down to almost nothing."""
    optimizer = torch.optim.AdamW(parameters, learning_rate, weight_decay=weight_decay, fused=True)
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(optimizer, learning_rate, total_steps=max(steps, 2))


@contextmanager
def frozen(model: nn.Module | None) -> Iterator[nn.Module | None]:
    """A teacher at work: evaluation mode and no gradients, its own flags restored afterwards."""
    if model is None:
        yield None
        return
    training, grads = model.training, [parameter.requires_grad for parameter in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield model
    finally:
        model.train(training)
        for parameter, wanted in zip(model.parameters(), grads, strict=True):
            parameter.requires_grad_(wanted)


Answer = Callable[[Tensor, Tensor], tuple[Tensor | None, dict[str, Tensor]]]


@contextmanager
def _answering(
    teacher: nn.Module | TeacherCache | None, split: Split, method: Method
) -> Iterator[tuple[nn.Module | None, Answer, Tensor | OnDisk | None]]:
    """The teacher's model; what gives its logits and features for a batch: (images, index) -> (logits, features); and its
    logits for the whole split (N, C), where they are known before."""
    names = [theirs for _, theirs in method.features]
    model = teacher.teacher if isinstance(teacher, TeacherCache) else teacher
    if not method.needs_teacher:
        yield None, lambda images, index: (None, {}), None
    elif isinstance(teacher, TeacherCache) and not method.needs_gradients:
        known = teacher.outputs(split, [LOGITS, *names])

        def look_up(images: Tensor, index: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
            return known[LOGITS][index], {name: known[name][index] for name in names}

        yield model, look_up, known[LOGITS]
    else:
        with frozen(model):
            tapped = Tapped(model.to(split.device), names, role="teacher").eval()

            def ask(images: Tensor, index: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
                with torch.set_grad_enabled(method.needs_gradients):
                    return tapped(images)

            yield model, ask, None


def _bar(steps: Iterable[Tensor], total: int, shown: bool) -> Iterator[Tensor]:
    from tqdm.auto import tqdm

    # `None` lets tqdm stay silent where there is no terminal to draw on.
    return tqdm(steps, total=total, desc="training", unit="step", leave=False, disable=None if shown else True)


def _check(split, method, teacher, steps, batch_size, learning_rate, augment) -> None:
    for name, value in (("steps", steps), ("batch_size", batch_size)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1, got {value!r}")
    if not learning_rate > 0:
        raise ValueError(f"learning_rate must be above 0, got {learning_rate}")
    if len(split) == 0:
        raise ValueError("split is empty: there is nothing to learn from")
    if method.needs_labels and split.labels is None:
        raise ValueError(f"method {type(method).__name__} needs labels, but this split has none")
    if method.needs_teacher and teacher is None:
        raise ValueError(f"method {type(method).__name__} needs a teacher: pass teacher=, a model or a TeacherCache")
    if augment is not None and isinstance(teacher, TeacherCache):
        raise ValueError(
            "augment changes the pictures at every step, so cached teacher logits would be out of step with them; "
            "train on data.augmented(split), whose views stay, or pass the teacher itself instead of a TeacherCache"
        )


def refuse_divergence(losses: list[float]) -> None:
    """Raise `FloatingPointError` with the first step whose loss is no number."""
    for step, loss in enumerate(losses, start=1):
        if loss != loss or loss in (float("inf"), float("-inf")):
            raise FloatingPointError(f"training diverged: the loss is {loss} at step {step}; lower learning_rate")
