"""One look at each run before the first of them trains: its models answer for a few examples, its method is tried on them."""

import torch
from torch import Tensor, nn

from kdcourse.data.splits import Split
from kdcourse.data.tokens import Tokens
from kdcourse.experiments.schemes import Peers
from kdcourse.methods import Method
from kdcourse.scale.datasets import ImageFolderDataset, InMemoryDataset, Minibatch
from kdcourse.scale.keys import RecipeError, component_error, listed, name_and_arguments
from kdcourse.scale.recipe import Run
from kdcourse.scale.registry import DataSpec, build_method
from kdcourse.training.loop import dry_run

EXAMPLES = 8


def check_run(
    where: str,
    run: Run,
    student: nn.Module,
    teacher: nn.Module | None,
    dataset: InMemoryDataset | ImageFolderDataset,
    spec: DataSpec,
) -> None:
    """Try student, teacher and each term of the method, untrained. The models are spoilt by it.

    where: what errors call the run. Raises `RecipeError` for what would stop the run later.
    """
    few = next(dataset.batches([(0, torch.arange(min(EXAMPLES, run.training.batch_size)))]))
    student = student.to(few.inputs.device).train()
    for module in student.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0  # as if it had trained: in a deep network numbers would grow beyond bounds
    _check_answers(student, few, spec, f"{where}.student")
    if teacher is not None:
        _check_answers(teacher.to(few.inputs.device).eval(), few, spec, f"{where}.teacher")
    split = (Split if few.inputs.ndim == 4 else Tokens)(few.inputs, few.labels)
    for one in listed(run.method):
        name, arguments = name_and_arguments(one, f"{where}.method")
        method = build_method(one, f"{where}.method")
        settings = {"steps": 1, "batch_size": run.training.batch_size, "learning_rate": run.training.learning_rate}
        try:
            dry_run(student, split, method, teacher, **settings)
        except Exception as error:  # a model's own code, and a layer that does not fit, may raise anything
            raise component_error(f"{where}.method.{name}", arguments, error) from error


def check_batches(where: str, run: Run, method: Method, examples: int, processes: int) -> None:
    """Raise `RecipeError` for batches that cannot be drawn from so many examples, or cut among so many processes."""
    size = run.training.batch_size
    if size % processes:
        raise RecipeError(f"{where}: training.batch_size must be a multiple of the {processes} processes, got {size}")
    if size > examples:
        raise RecipeError(
            f"{where}: training.batch_size must be at most {examples}, the pictures there are, got {size}"
        )
    if processes > 1 and method.relates_examples and method.needs_gradients:
        raise RecipeError(
            f"{where}.method must not both relate examples and differentiate by pictures on {processes} processes"
        )


def _check_answers(model: nn.Module, few: Minibatch, spec: DataSpec, where: str) -> None:
    """Raise `RecipeError` for a model that cannot take the examples, or answers with anything but a logit for each class."""
    try:
        with torch.no_grad():
            logits = model(few.inputs)
    except Exception as error:  # a model's own code may raise anything
        raise RecipeError(f"{where} cannot take {spec.kind} of shape {tuple(few.inputs.shape)}: {error}") from error
    if not isinstance(logits, Tensor):
        raise RecipeError(f"{where} must answer with logits alone, in training too, got {type(logits).__name__}")
    if logits.shape[-1] != spec.classes:
        raise RecipeError(f"{where} must have the {spec.classes} classes of the data, got {logits.shape[-1]}")
    peers = (len(model.members),) if isinstance(model, Peers) else ()
    wanted = (*few.labels.shape, *peers, spec.classes)
    if logits.shape != wanted:
        raise RecipeError(f"{where} must answer with logits of shape {wanted}, got {tuple(logits.shape)}")
