"""What an arm looks at, computes and begins with: known beforehand, without training it.

Two arms may differ in more than their method. `Comparison.differs()` says in what, so that a gain has no second cause that
nobody has named.

A builder of models, called as builder(seed=...), or a function of the seed that gives a teacher, may carry three
attributes: `pretrained`, true where its models have learnt before; `work(seed)`, what that learning took; `untrained`, which
is called as it is and gives a model of the same shape without that learning. `schemes.WarmStart` has all three. A function of
the seed that gives examples may carry `work(seed)`: what it took to choose or to make them.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from kdcourse.data.splits import Examples
from kdcourse.data.texts import Sentences
from kdcourse.methods import Method, WeightedSum
from kdcourse.models.common import evaluating
from kdcourse.training.cache import TeacherCache
from kdcourse.training.loop import batches

Builder = TypeVar("Builder", bound=Callable)
SENTENCES = 256  # whose mean length stands for a split's


@dataclass(frozen=True)
class Facts:
    """What is known of an arm without training it.

    inputs: how many different ones training looks at. labels: how many of them it looks at with their label; 0 for a method that
    needs none. steps: of gradient descent, earlier links, members and warm starts included. multiply_adds: of the whole run,
    see `multiply_adds` and `Work`. temperature: the method's, None where it has none. pretrained: whether the student starts
    from weights that were trained before.
    """

    inputs: int
    labels: int
    steps: int
    multiply_adds: int
    temperature: float | None = None
    pretrained: bool = False


@dataclass(frozen=True)
class Work:
    """What training looks at and computes. Runs add up, and what two of them share counts once.

    inputs, labelled: one value for each different input. steps: of gradient descent. multiply_adds: three forward passes of
    the student for each example of each step (a backward pass takes two), and the teacher's passes.
    """

    inputs: frozenset[Hashable] = frozenset()
    labelled: frozenset[Hashable] = frozenset()
    steps: int = 0
    multiply_adds: int = 0

    def __add__(self, other: "Work") -> "Work":
        return Work(
            self.inputs | other.inputs,
            self.labelled | other.labelled,
            self.steps + other.steps,
            self.multiply_adds + other.multiply_adds,
        )

    def facts(self, temperature: float | None = None, pretrained: bool = False) -> Facts:
        return Facts(len(self.inputs), len(self.labelled), self.steps, self.multiply_adds, temperature, pretrained)


def starts_trained(builder: Builder) -> Builder:
    """Mark a builder, or a function of the seed, whose models have learnt before: `Facts.pretrained` is then true."""
    builder.pretrained = True
    return builder


def untrained(builder: Callable[..., nn.Module], seed: int) -> nn.Module:
    """A model as a builder gives it, by the builder's `untrained` where it has one: the shape counts here, not the weights."""
    return getattr(builder, "untrained", builder)(seed=seed)


def multiply_adds(model: nn.Module, split: Examples | Sentences) -> int:
    """Multiplications with their additions for one example, counted on two: matrix products, convolutions, attention.

    Sentences count as long as those of the split are on average. 0 for a model that runs outside PyTorch or in 8 bits.
    """
    from torch.utils.flop_counter import FlopCounterMode

    few = _tokens(model, split) if isinstance(split, Sentences) else split.inputs[:2]
    with torch.no_grad(), evaluating(model, few.device), FlopCounterMode(display=False) as counter:
        model(few)
    return counter.get_total_flops() // (2 * len(few))


def _tokens(model: nn.Module, split: Sentences) -> torch.Tensor:
    """Two sentences of the split's mean length, (2, L) int64, on the model's device; which words they have costs nothing."""
    lengths = [len(one["input_ids"]) for one in model.encode(split.texts[:SENTENCES], truncate=True)]
    padding = model.tokenizer.pad_token_id
    return torch.full((2, round(sum(lengths) / len(lengths))), 0 if padding else 1, device=model.bert.device)


def seen(split: Examples, steps: int, batch_size: int, *, balanced: bool = False, seed: int = 0) -> frozenset[Hashable]:
    """The different inputs among those that the steps of `training.train` look at, each as a number of its own."""
    if not balanced and steps * batch_size >= len(split):
        return frozenset(split.rows.tolist())
    index = batches(split, steps, batch_size, seed, balanced=balanced).flatten().unique().cpu()
    return frozenset(split.rows[index].tolist())


def of_run(
    student: nn.Module,
    split: Examples,
    method: Method,
    teacher: nn.Module | TeacherCache | None,
    *,
    steps: int,
    batch_size: int,
    balanced: bool = False,
    seed: int = 0,
) -> Work:
    """What one call of `training.train` looks at and computes; the arguments are its own.

    A `TeacherCache` is asked once about each input, a model at every step.
    """
    if not len(split):
        return Work()  # training says that there is nothing to learn from
    inputs = seen(split, steps, batch_size, balanced=balanced, seed=seed)
    own, its = method.extra_passes
    examples = steps * batch_size
    work = (3 + own) * examples * multiply_adds(student, split)
    if method.needs_teacher and teacher is not None:
        cached = isinstance(teacher, TeacherCache)
        once = cached and not method.needs_gradients
        passes = (len(inputs) if once else examples) + its * examples
        work += passes * multiply_adds(teacher.teacher if cached else teacher, split)
    labelled = inputs if method.needs_labels and split.labels is not None else frozenset()
    return Work(inputs, labelled, steps, work)


def temperature_of(method: Method) -> float | None:
    """The method's softmax temperature, of a sum the first that there is; None where there is none."""
    for one in method.methods if isinstance(method, WeightedSum) else [method]:
        found = one.hyperparameters.get("temperature", getattr(one, "temperature", None))
        if found is not None:
            return float(found)
    return None
