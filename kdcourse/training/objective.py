"""Student and method as one module, and beside them the teacher's answers to each batch."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kdcourse.data.splits import Examples
from kdcourse.losses.checks import at_least_float32
from kdcourse.methods import Batch, Method
from kdcourse.models.common import evaluating
from kdcourse.models.tapping import LOGITS, Tapped
from kdcourse.training.cache import TeacherCache

Answers = tuple[Tensor | None, dict[str, Tensor]]  # a teacher's logits (N, C) and its features, by layer


class Objective(nn.Module):
    """What is minimised: inputs (N, …), labels (N,) and the teacher's answers of a batch -> the loss, a scalar.

    Where the method `needs_gradients`, the inputs must require a gradient before the teacher is asked about them.
    gather: what is done to every tensor before the method compares examples, default nothing; where a batch is spread over
    several processes it brings the parts together. Raises `ValueError` for a method that names a layer which the student has not.
    """

    def __init__(self, student: nn.Module, method: Method, gather: Callable[[Tensor], Tensor] = lambda part: part):
        super().__init__()
        self.tapped = Tapped(student, [ours for ours, _ in method.features], role="student")
        self.method, self.gather = method, gather

    def forward(self, inputs: Tensor, labels: Tensor | None, answers: Answers, teacher: nn.Module | None) -> Tensor:
        batch = self.batch(inputs, labels, answers, teacher)
        with torch.autocast(inputs.device.type, enabled=False):  # layers may be computed in half the bits, losses never
            return self.method(batch)

    def batch(self, inputs: Tensor, labels: Tensor | None, answers: Answers, teacher: nn.Module | None) -> Batch:
        logits, features = self._whole(self.tapped(inputs))
        teacher_logits, teacher_features = self._whole(answers)
        labels = self.gather(labels) if self.method.needs_labels else None
        return Batch(logits, teacher_logits, labels, inputs, features, teacher_features, self.tapped.model, teacher)

    def prepare(self, inputs: Tensor, labels: Tensor | None, answers: Answers, teacher: nn.Module | None) -> Batch:
        """Let the method make what it learns beside the student, from a few examples; returns the `Batch` that it saw."""
        with evaluating(self.tapped), torch.no_grad():
            batch = self.batch(inputs, labels, answers, teacher)
            self.method.prepare(batch)
        self.method.to(inputs.device)
        return batch

    def _whole(self, answers: Answers) -> Answers:
        logits, features = answers
        features = {name: self.gather(at_least_float32(part)) for name, part in features.items()}
        return None if logits is None else self.gather(at_least_float32(logits)), features


@dataclass(frozen=True)
class Teaching:
    """The teacher's side of a run.

    ask: inputs (N, …) and positions (N,) of a batch -> logits (N, C) and features by layer. model: the teacher itself, or None.
    """

    ask: Callable[..., Answers] = lambda *batch: (None, {})
    model: nn.Module | None = None


@contextmanager
def teaching(teacher: nn.Module | TeacherCache | None, split: Examples, method: Method) -> Iterator[Teaching]:
    """A teacher for the examples of `split`, within a block: a cache's answers are looked up, a model is frozen and asked."""
    if not method.needs_teacher:
        yield Teaching()
        return
    names = [theirs for _, theirs in method.features]
    model = teacher.teacher if isinstance(teacher, TeacherCache) else teacher
    if isinstance(teacher, TeacherCache) and not method.needs_gradients:
        known = teacher.outputs(split, [LOGITS, *names])

        def look_up(inputs: Tensor, index: Tensor) -> Answers:
            return known[LOGITS].index_select(0, index), {name: known[name].index_select(0, index) for name in names}

        yield Teaching(look_up, model)
        return
    with frozen(model):
        tapped = Tapped(model.to(split.device), names, role="teacher").eval()

        def ask(inputs: Tensor, index: Tensor) -> Answers:
            with torch.set_grad_enabled(method.needs_gradients):
                return tapped(inputs)

        yield Teaching(ask, model)


@contextmanager
def frozen(model: nn.Module) -> Iterator[nn.Module]:
    """A teacher in evaluation mode and without gradients, within a block; its own flags are restored afterwards."""
    training, grads = model.training, [parameter.requires_grad for parameter in model.parameters()]
    model.eval().requires_grad_(False)
    try:
        yield model
    finally:
        model.train(training)
        for parameter, wanted in zip(model.parameters(), grads, strict=True):
            parameter.requires_grad_(wanted)
