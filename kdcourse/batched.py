"""Several runs of one small student as one batched model: error bars for little more than the cost of one run.

A step of a small student is mostly overhead: a call of each layer, of the loss, of the optimiser. Stacked, the runs share
those calls, and every weight gets the gradient and the update of its own run. Only rounding differs from one after another.
"""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate, pairwise

import torch
from torch import Tensor, nn
from torch.func import stack_module_state
from torch.optim.adamw import adamw

from kdcourse.cache import TeacherCache
from kdcourse.data.splits import Split
from kdcourse.methods import Batch, FixedTargets, Method
from kdcourse.models import Perceptron
from kdcourse.training import History, batches, one_cycle, refuse_divergence

WARM_UP, TRIED = 5, 25  # steps
WORTH_TRYING = 10 * (WARM_UP + TRIED)  # a shorter run is over before it is known which way is faster


def why_not(students: Sequence[nn.Module], method: Method, teachers: Sequence[nn.Module | TeacherCache | None]) -> str:
    """What keeps these runs from being one batched model, in words; "" where nothing does."""
    layers = [layer for student in students for layer in student.modules()]
    if not all(isinstance(student, Perceptron) for student in students):
        return f"students must be perceptrons, whose layers are matrices, got {type(students[0]).__name__}"
    if len({repr(student) for student in students}) > 1:
        return "students must be of one architecture"
    if any(isinstance(layer, nn.modules.dropout._DropoutNd) and layer.p > 0 for layer in layers):
        return "students must be without dropout, whose draws are each run's own"
    if not method.averages:
        return f"method must be a mean over examples that needs their logits alone, which {method!r} is not"
    if method.needs_teacher and not all(isinstance(teacher, TeacherCache) for teacher in teachers):
        return "teachers must be TeacherCaches"
    return ""


def train_together(
    students: Sequence[nn.Module],
    splits: Sequence[Split],
    method: Method,
    *,
    teachers: Sequence[TeacherCache | None],
    order_seeds: Sequence[int],
    steps: int,
    batch_size: int = 128,
    learning_rate: float = 3e-3,
    weight_decay: float = 1e-2,
    balanced: bool = False,
    control: Callable[[int, list[Tensor], Method], Method | None] | None = None,
) -> History:
    """Train S students in place, each as `training.train` would with its own split, teacher and order of batches.

    students, splits, teachers, order_seeds: S of each. The rest: as in `train`.
    Returns a `History` whose losses are the mean over the runs. Raises `ValueError` with what `why_not` says, and
    `FloatingPointError` on divergence.
    """
    if reason := why_not(students, method, teachers):
        raise ValueError(reason)
    started, device = time.perf_counter(), splits[0].device
    pool, starts = _pooled(splits, teachers, method)
    # (steps, S · batch_size), the runs' batches end to end.
    order = torch.cat(
        [
            batches(split, steps, batch_size, seed, balanced=balanced) + start
            for split, seed, start in zip(splits, order_seeds, starts, strict=True)
        ],
        dim=1,
    )

    @lru_cache(maxsize=1)  # worked out anew only where `control` changes the method
    def objective(method: Method) -> Callable[[Tensor, int], Tensor]:
        """Logits of a step's batches and its number, from 0 -> the loss."""
        known = {"teacher_logits": None, "labels": None} | pool.answers
        if fixed := FixedTargets.of(method, **known, order=order):
            return fixed
        return lambda logits, number: method(
            Batch(logits, **{name: rows[order[number]] for name, rows in pool.answers.items()})
        )

    weights = _stacked([student.to(device) for student in students])
    tensors = list(weights.values())
    update = _updating(tensors, _settings(steps, learning_rate, weight_decay))
    # One piece of memory for all batches: a fresh one at each step takes as long to be had as to be filled.
    images = pool.images.new_empty(len(students) * batch_size, pool.images.shape[1])
    times = torch.tensor(float(len(students)), device=device)
    losses: list[Tensor] = []
    for step, index in enumerate(order, start=1):
        torch.index_select(pool.images, 0, index, out=images)
        with torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext():
            logits = _answers(weights, images.view(len(students), batch_size, -1))  # (C, S, batch_size)
        loss = objective(method)(logits.flatten(1).t().float(), step - 1)  # the mean over all runs' examples
        update(torch.autograd.grad(loss, tensors, times))  # each run's gradient is that of its own mean
        losses.append(loss.detach())
        if control is not None and (method := control(step, losses, method)) is None:
            break
    for number, student in enumerate(students):
        student.load_state_dict({name: stacked[number].detach() for name, stacked in weights.items()})
        student.eval()
    history = History(torch.stack(losses).tolist(), seconds=time.perf_counter() - started)
    history.examples, history.interrupted = len(losses) * batch_size * len(students), len(losses) < steps
    refuse_divergence(history.losses)
    return history


def _stacked(students: Sequence[nn.Module]) -> dict[str, Tensor]:
    """Name -> the students' weights (S, out, in) or biases (S, out)."""
    found, _ = stack_module_state(students)
    return {name: stacked.detach().requires_grad_() for name, stacked in found.items()}


def _updating(tensors: list[Tensor], settings: Iterable[dict[str, float]]) -> Callable[[Sequence[Tensor]], None]:
    """What moves `tensors` by a step's gradients: the function inside `torch.optim.AdamW`, without the object around it,
    whose bookkeeping takes longer than the arithmetic. settings: of each step."""
    moments = [[torch.zeros_like(tensor) for tensor in tensors] for _ in range(2)]
    counts, settings = [torch.zeros((), device=tensor.device) for tensor in tensors], iter(settings)

    @torch.no_grad()
    def update(gradients: Sequence[Tensor]) -> None:
        adamw(tensors, list(gradients), *moments, [], counts, fused=True, **next(settings))

    return update


@lru_cache(maxsize=8)  # a comparison trains arm after arm with the same
def _settings(steps: int, learning_rate: float, weight_decay: float) -> list[dict[str, float]]:
    """AdamW's at each step, under the one-cycle schedule of `training.train`: its optimiser, with nothing to move."""
    optimizer, schedule = one_cycle([torch.zeros(0)], steps, learning_rate, weight_decay)
    found = []
    for _ in range(steps):
        group = optimizer.param_groups[0]
        common = {name: group[name] for name in ("lr", "weight_decay", "eps", "amsgrad", "maximize")}
        found.append(common | dict(zip(("beta1", "beta2"), group["betas"], strict=True)))
        optimizer.step()
        schedule.step()
    return found


def _answers(weights: dict[str, Tensor], images: Tensor) -> Tensor:
    """S perceptrons at once, each its own pictures: weights by name and images (S, N, inputs) -> logits (C, S, N).

    `torch.vmap` would do it for any model; for these its bookkeeping takes longer than the products. Examples are columns, for a
    product with as few columns as there are classes takes a CPU three times as long.
    """
    values = images.mT
    layers = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
    for layer in layers:
        values = torch.baddbmm(weights[f"{layer}.bias"].unsqueeze(2), weights[f"{layer}.weight"], values)
        if layer != layers[-1]:
            values = values.relu()
    return values.transpose(0, 1)


def seconds_of_a_step(run: Callable[..., object]) -> float:
    """The median over a few steps of a training, started as run(control=...) and ended after them."""
    ends: list[float] = []

    def control(step: int, losses: list[Tensor], method: Method) -> Method | None:
        ends.append(time.perf_counter())
        return method if step < WARM_UP + TRIED else None

    run(control=control)
    return statistics.median(later - sooner for sooner, later in pairwise(ends[WARM_UP:]))


@dataclass(frozen=True)
class _Pool:
    """images: (N, inputs), those of all runs end to end. answers: what `Batch` calls labels and teacher's logits -> (N, …)."""

    images: Tensor
    answers: dict[str, Tensor]


def _pooled(
    splits: Sequence[Split], teachers: Sequence[TeacherCache | None], method: Method
) -> tuple[_Pool, list[int]]:
    """The pool and where in it each run's examples begin; runs that share split and teacher share them there too."""
    pairs = {(id(split), id(teacher)): (split, teacher) for split, teacher in zip(splits, teachers, strict=True)}
    ends = accumulate(len(split) for split, _ in pairs.values())
    start_of = dict(zip(pairs, (0, *ends), strict=False))
    answers = {}
    if method.needs_labels:
        answers["labels"] = _joined([split.labelled("train_together") for split, _ in pairs.values()])
    if method.needs_teacher:
        answers["teacher_logits"] = _joined([teacher.logits(split) for split, teacher in pairs.values()])
    pool = _Pool(_joined([split.images.flatten(1) for split, _ in pairs.values()]), answers)
    return pool, [start_of[id(split), id(teacher)] for split, teacher in zip(splits, teachers, strict=True)]


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
