"""What a diagnosis looks at: copies of both models, a few hundred examples, and what the models say of them."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn

from kdcourse.data.splits import Examples, ImageData, Split
from kdcourse.methods import Method
from kdcourse.system.arguments import whole_number
from kdcourse.training.cache import TeacherCache

Prepare = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Told:
    """What `diagnose` was told beside models, data and method; None where it was not."""

    loss: object | None = None
    temperature: float | None = None
    alpha: float | None = None
    step: Callable[..., Tensor] | None = None
    optimizer: torch.optim.Optimizer | None = None
    history: object | None = None
    teacher_logits: Tensor | None = None
    augment: Callable[..., Tensor] | None = None
    preprocess: Prepare | None = None
    teacher_preprocess: Prepare | None = None
    baseline: nn.Module | None = None


@dataclass
class Look:
    """A set-up under review. The models are copies in evaluation mode; `as_given` are copies in the mode they came in.

    train, validation: the first `count` examples of each, in their order. whole: the training split. given: the models
    themselves. told: the rest.
    """

    student: nn.Module
    teacher: nn.Module
    as_given: dict[str, nn.Module]
    given: dict[str, nn.Module]
    whole: Split
    train: Split
    validation: Split
    data: ImageData | None = None
    method: Method | None = None
    told: Told = Told()
    seed: int = 0

    def prepared(self, who: str, images: Tensor) -> Tensor:
        """The pictures as they are prepared for the student or the teacher."""
        prepare = self.told.preprocess if who == "student" else self.told.teacher_preprocess
        return images if prepare is None else prepare(images.clone())

    @cached_property
    def logits(self) -> dict[tuple[str, str], Tensor]:
        """(who, split) -> logits (N, C), in evaluation mode."""
        return {
            (who, part): answers(getattr(self, who), self.prepared(who, getattr(self, part).inputs))
            for who in ("student", "teacher")
            for part in ("train", "validation")
        }

    def accuracy(self, who: str, part: str) -> float | None:
        """Right answers in percent; None for a split without labels."""
        labels = getattr(self, part).labels
        return None if labels is None else share(self.logits[who, part].argmax(1) == labels)

    @property
    def classes(self) -> int:
        return self.logits["teacher", "train"].shape[1]

    @property
    def temperature(self) -> float | None:
        """The one that was told, or the method's."""
        known = self.method.hyperparameters.get("temperature") if self.method is not None else None
        return self.told.temperature or known


def look_at(
    student: nn.Module,
    teacher: nn.Module | TeacherCache,
    data: ImageData | Examples,
    method,
    told: Told,
    count: int,
    seed: int,
) -> Look:
    """Copies, and the first `count` examples. Raises `ValueError` for what is no model and no data."""
    teacher = teacher.teacher if isinstance(teacher, TeacherCache) else teacher
    for name, model in (("student", student), ("teacher", teacher)):
        if not isinstance(model, nn.Module):
            raise ValueError(f"{name} must be a model (nn.Module), got {type(model).__name__}")
    if not isinstance(data, ImageData | Examples):
        raise ValueError(f"data must be ImageData or a Split, got {type(data).__name__}")
    if method is not None and not isinstance(method, Method):
        raise ValueError(
            f"method must be a Method, as kd.Distillation(), got {type(method).__name__}; a function is loss="
        )
    count = whole_number("count", count, least=50)
    whole = data.train if isinstance(data, ImageData) else data
    validation = data.validation if isinstance(data, ImageData) else data
    parts = [split.take(torch.arange(min(count, len(split)))) for split in (whole, validation)]
    pair = {"student": student, "teacher": teacher}
    as_given = copy.deepcopy(pair)
    working = {name: copy.deepcopy(model).eval() for name, model in pair.items()}
    known = data if isinstance(data, ImageData) else None
    return Look(
        **working,
        as_given=as_given,
        given=pair,
        whole=whole,
        train=parts[0],
        validation=parts[1],
        data=known,
        method=method,
        told=told,
        seed=seed,
    )


@torch.no_grad()
def answers(model: nn.Module, images: Tensor) -> Tensor:
    """Logits (N, C) in the model's own mode, and on the pictures' device."""
    model.to(images.device)
    return torch.cat([model(part).float() for part in images.split(256)])


def share(right: Tensor) -> float:
    """How many are true, in percent."""
    return 100 * right.float().mean().item()


def restless(model: nn.Module, kind: type | tuple[type, ...]) -> list[str]:
    """Names of layers of a kind that are in training mode."""
    return [name for name, module in model.named_modules() if isinstance(module, kind) and module.training]


DROPOUT = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout, nn.FeatureAlphaDropout)
NORM = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
