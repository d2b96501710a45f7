"""Checks of what a run is given, before anything trains: an error names the argument, what came, and what is accepted."""

import inspect
import math
from collections.abc import Mapping, Sequence
from numbers import Real

import torch
from torch import Tensor, nn

from kdcourse.data.splits import check_split
from kdcourse.data.texts import Sentences
from kdcourse.losses.checks import check_classes, check_finite, check_no_nan
from kdcourse.methods import HardTarget, Method
from kdcourse.models.sentiment import SentimentClassifier
from kdcourse.system.arguments import check_model, whole_number
from kdcourse.training.cache import TeacherCache

NO_ANSWERS = "teacher must be given, or each example must bring teacher_logits, got neither"


def check_run(
    student,
    split,
    method,
    teacher,
    steps,
    batch_size,
    learning_rate,
    weight_decay,
    order_seed=0,
    augment=None,
    callbacks=(),
) -> tuple[Method, int, int, int]:
    """Method, steps, batch size and seed, numbers as Python's own. Raises `ValueError` for bad arguments of `train`."""
    check_student(student)
    check_split(split)
    if method is None and teacher is not None:
        raise ValueError("method must be given beside a teacher, such as Distillation(): the default asks labels alone")
    method = HardTarget() if method is None else method
    _check_method(method)
    steps, batch_size = check_schedule(steps, batch_size, learning_rate, least=1 + method.relates_examples)
    if not isinstance(weight_decay, Real) or not 0 <= weight_decay < math.inf:
        raise ValueError(f"weight_decay must be a finite number of at least 0, got {weight_decay!r}")
    if method.needs_labels and split.labels is None:
        raise ValueError(f"method {type(method).__name__} needs labels, but this split has none")
    if method.needs_teacher:
        _check_teacher(student, method, teacher)
    if augment is not None and isinstance(teacher, TeacherCache):
        raise ValueError(
            "augment changes the inputs at every step, so cached teacher logits would be out of step with them; "
            "train on data.augmented(split), whose views stay, or pass the teacher itself instead of a TeacherCache"
        )
    _check_callbacks(callbacks)
    return method, steps, batch_size, whole_number("order_seed", order_seed, least=None)


def check_finetuning(student, split, teacher, steps, batch_size, learning_rate) -> tuple[int, int]:
    """Steps and batch size, as Python's own numbers. Raises `ValueError` for bad arguments of `finetune`."""
    check_kind("student", student, SentimentClassifier, ", such as kd.models.bert()")
    if teacher is not None:
        check_kind("teacher", teacher, SentimentClassifier, ", such as kd.zoo.sentiment_teacher()")
    check_kind("split", split, Sentences, ", such as data.train")
    if len(split) == 0:
        raise ValueError("split is empty: there is nothing to learn from")
    return check_schedule(steps, batch_size, learning_rate)


def check_examples(name: str, split: object, classes: int | None) -> None:
    """Raise `ValueError` for examples on which no student can be judged: inputs with NaN or infinity, labels of no class.

    name: what the message calls them. classes: how many there are, default None: labels are not looked at.
    """
    inputs = getattr(split, "inputs", None)
    try:
        if isinstance(inputs, Tensor):
            check_no_nan("inputs", inputs)
            check_finite("inputs", inputs)
        if classes is not None and split.labels is not None and len(split.labels):
            check_classes(split.labels, classes)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None


def check_pair(student: nn.Module, teacher: nn.Module | None) -> None:
    """Raise `ValueError` for models of `transformers` whose answers are not of the same classes."""
    _check_classifier("model", student)
    if teacher is None:
        return
    _check_classifier("teacher", teacher)
    _check_apart(student, teacher)
    advice = "; cache its answers as teacher_logits instead, which its own tokenizer gives"
    for name, what, more in (("num_labels", "classes", ""), ("vocab_size", "tokens in the vocabulary", advice)):
        ours, theirs = (getattr(model.config, name, None) for model in (student, teacher))
        if ours != theirs:
            raise ValueError(f"teacher must have the student's {ours} {what}, got {theirs}{more}")
    ours, theirs = ([*model.config.id2label.values()] for model in (student, teacher))
    if ours != theirs and sorted(ours) == sorted(theirs):
        raise ValueError(f"teacher must have the student's classes in one order with it, {ours}, got {theirs}")
    if is_multi_label(student) != is_multi_label(teacher):
        ours, theirs = student.config.problem_type, teacher.config.problem_type
        raise ValueError(f"teacher must have the student's problem_type {ours!r} in its config, got {theirs!r}")


def is_multi_label(model: nn.Module) -> bool:
    """Whether each class of a model of `transformers` is a question of its own, so that several may hold."""
    return getattr(model.config, "problem_type", None) == "multi_label_classification"


def _check_classifier(name: str, model: object) -> None:
    check_model(name, model)
    config = getattr(model, "config", None)
    if not hasattr(config, "num_labels"):
        advice = "; give its .bert" if isinstance(model, SentimentClassifier) else ""
        raise ValueError(f"{name} must be a model of transformers, got {type(model).__name__}{advice}")
    kind = getattr(config, "problem_type", None)
    if config.num_labels == 1 or kind == "regression":
        raise ValueError(
            f"{name} must have logits of at least 2 classes, for soft targets are their probabilities; got num_labels "
            f"{config.num_labels} and problem_type {kind!r}, a regression"
        )


def check_answers(examples: object, alpha: float, *, taught: bool) -> None:
    """Raise `ValueError` for a first example whose label is a word, or that brings no answer where no teacher is asked.

    examples: a data set, a dictionary of several, or None; only where it can be indexed there is a look. alpha: the teacher's
    share; 0 for examples to be judged on, whose labels are enough. taught: whether a teacher is asked.
    """
    for part in examples.values() if isinstance(examples, Mapping) else [examples]:
        first = part[0] if hasattr(part, "__getitem__") and hasattr(part, "__len__") and len(part) else None
        if not isinstance(first, Mapping):
            continue
        labels = [first[name] for name in ("labels", "label", "label_ids") if name in first]
        if any(isinstance(label, str) for label in labels):
            raise ValueError(f"labels must be numbers of classes, got {labels[0]!r}; config.label2id has them")
        if not taught and "teacher_logits" not in first and (alpha > 0 or not labels):
            raise ValueError(NO_ANSWERS)


def check_schedule(steps, batch_size, learning_rate, least: int = 1) -> tuple[int, int]:
    """Steps and batch size, as Python's own numbers. least: how few examples a batch may have."""
    steps, batch_size = whole_number("steps", steps), whole_number("batch_size", batch_size, least=least)
    if not isinstance(learning_rate, Real) or not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be a finite number above 0, got {learning_rate!r}")
    return steps, batch_size


def check_kind(name: str, value: object, kind: type, hint: str = "") -> None:
    """Raise `ValueError` unless `value` is of this kind. name: of the argument. hint: an example, for the message."""
    if not isinstance(value, kind):
        raise ValueError(f"{name} must be {kind.__name__}{hint}, got {type(value).__name__}")


def check_student(student: object) -> None:
    """Raise `ValueError` for a student that cannot learn: it has no free weight, or gradients are switched off here."""
    check_model("student", student)
    if not any(parameter.requires_grad for parameter in student.parameters()):
        raise ValueError(
            "student has no weight that can learn: it has none, or all are frozen (requires_grad is False)"
        )
    if torch.is_inference_mode_enabled() or not torch.is_grad_enabled():
        raise ValueError("student cannot learn here: train was called within torch.no_grad() or torch.inference_mode()")


def _check_callbacks(callbacks: object) -> None:
    """Raise `ValueError` unless there are functions in a list or tuple."""
    if callable(callbacks):
        raise ValueError(
            f"callbacks must be a list of functions, got {type(callbacks).__name__} alone; put it in brackets"
        )
    if not isinstance(callbacks, Sequence) or not all(callable(one) for one in callbacks):
        raise ValueError(f"callbacks must be a list of functions, called after each step, got {callbacks!r}")


def _check_method(method: object) -> None:
    if inspect.isclass(method) and issubclass(method, Method):
        raise ValueError(f"method must be a Method, got the class {method.__name__}; write {method.__name__}()")
    if isinstance(method, nn.Module) and not isinstance(method, Method):
        raise ValueError(f"method must be a Method, got {type(method).__name__}; a teacher is given as teacher=")
    if not isinstance(method, Method):
        raise ValueError(f"method must be a Method, such as SoftTarget(), got {method!r}")


def _check_teacher(student: nn.Module, method: Method, teacher: object) -> None:
    if teacher is None:
        raise ValueError(f"method {type(method).__name__} needs a teacher: pass teacher=, a model or a TeacherCache")
    if isinstance(teacher, TeacherCache):
        teacher = teacher.teacher
    check_model("teacher", teacher, "a model or a TeacherCache")
    _check_apart(student, teacher)


def _check_apart(student: nn.Module, teacher: nn.Module) -> None:
    shared = {id(parameter) for parameter in student.parameters()} & {
        id(parameter) for parameter in teacher.parameters()
    }
    if shared:
        raise ValueError(
            f"student and teacher share {len(shared)} weights, and a frozen teacher's cannot learn: copy.deepcopy the one"
        )
