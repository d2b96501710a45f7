"""How a loss that somebody brings is called: which argument is the student's, the teacher's, the labels, T, alpha, a mask."""

import copy
import dataclasses
import inspect
import math
import re
import warnings
from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kdcourse.methods import Batch, Method

# What arguments are called in the field, by what they are for. T alone is a temperature, t alone a teacher.
_NAMES = {
    "mask": r"(^|_)mask$|padding",
    "student": r"student|^stu|(^|_)s$",
    "teacher": r"teacher|^tea|(^|_)t$|dense_target|soft_(target|label)",
    "labels": r"^((hard|true|class|gt)_)?(labels?|targets?)$|^(y|y_true|gt|ground_truth)$",
    "temperature": r"^(kd_)?(temperature|temp|tau|temper)$",
    "alpha": r"^(alpha|lam|lamb|lamda|lambda_?|lambd|distill?_weight|distillation_weight|kd_weight|soft_weight)$",
}
_ATTRIBUTES = {
    "temperature": ("temperature", "_temperature", "temp", "tau", "T", "kd_temp"),
    "alpha": ("alpha", "lamda", "lam", "distil_weight", "distill_weight"),
}


class SeveralLosses(ValueError):
    """More than one number came back, and nothing says which of them is the loss."""


class Answers(dict):
    """Logits in the dress of a model's output: `answers["logits"]`, `answers.logits` and `answers[0]` are the same tensor."""

    def __init__(self, logits: Tensor):
        super().__init__(logits=logits, output=logits)
        self.logits = logits

    def __getitem__(self, key):
        return self.logits if isinstance(key, int) and key == 0 else super().__getitem__(key)


class Calling:
    """A loss, and how to call it.

    loss: a function, a module, an object with `forward` or `compute_loss`, a `Method`. takes: "logits", or
    "log-probabilities" for a loss that is given the student's log-probabilities and the teacher's probabilities.
    Raises `ValueError` for what cannot be called, and for an argument whose meaning its name does not tell.
    """

    def __init__(self, loss: object, takes: str | None = None):
        bare = loss is F.kl_div or getattr(type(loss), "forward", None) is nn.KLDivLoss.forward
        self.takes = takes or ("log-probabilities" if bare else "logits")
        if self.takes not in ("logits", "log-probabilities"):
            raise ValueError(f'takes must be "logits" or "log-probabilities", got {takes!r}')
        self.loss, self.function, self.dressed = loss, _function(loss), False
        self.log_target = bool(getattr(loss, "log_target", False))
        self.roles = {} if isinstance(loss, Method) else _roles(self.function)
        numbers = {} if bare else _numbers(loss, self.roles, self.function)
        self.temperature, self.alpha = numbers.get("temperature"), numbers.get("alpha")
        self.held, self.pinned = {}, None  # role -> attribute; the temperature of a loss that is left with its own
        if not bare and (owner := _owner(loss)) is not None and not isinstance(loss, Method):
            self._hold(owner)

    def _hold(self, owner: object) -> None:
        """Which numbers are attributes that can be set; others are the loss's own for good."""
        for role, names in _ATTRIBUTES.items():
            name = next((name for name in names if _number(owner, name) is not None), None)
            if role in self.roles or name is None:
                continue
            if _with(owner, name, _number(owner, name) / 2) is not None:
                self.held[role] = name
            elif role == "temperature":
                self.temperature, self.pinned = None, self.temperature
            else:
                self.alpha = None

    def left_alone(self) -> "Calling":
        """The same loss, whose own temperature is not set any more."""
        other = copy.copy(self)
        other.temperature, other.pinned = None, self.temperature
        other.held = {role: name for role, name in self.held.items() if role != "temperature"}
        return other

    @property
    def labelled(self) -> bool:
        """Whether it is given labels."""
        return self.loss.needs_labels if isinstance(self.loss, Method) else "labels" in self.roles

    @property
    def taught(self) -> bool:
        """Whether it is given the teacher's logits."""
        return self.loss.needs_teacher if isinstance(self.loss, Method) else "teacher" in self.roles

    @property
    def masked(self) -> bool:
        """Whether it is given a mask."""
        return "mask" in self.roles

    def swapped(self) -> "Calling | None":
        """The same loss with the teacher first; None where names say who is who."""
        names = [self.roles.get(role, "") for role in ("student", "teacher")]
        return None if any(_role(name) in ("student", "teacher") for name in names) else self.exchanged()

    def exchanged(self) -> "Calling | None":
        """The same loss with the two in each other's place, whatever they are called; None for a `Method`."""
        if isinstance(self.loss, Method):
            return None
        names = [self.roles.get(role, "") for role in ("student", "teacher")]
        other = copy.copy(self)
        if self.roles:
            other.roles = self.roles | {"student": names[1], "teacher": names[0]}
        else:
            other.function = lambda student, teacher: self.function(teacher, student)
        return other

    @property
    def mask_wanted(self) -> bool:
        """Whether it cannot do without a mask."""
        return _parameters(self.function)[self.roles["mask"]].default is inspect.Parameter.empty

    def at(self, temperature: float | None = None, alpha: float | None = None) -> "Calling":
        """The same loss with another temperature and share; without change where it has none that can be set."""
        other = copy.copy(self)
        other._settings = {"temperature": temperature, "alpha": alpha}
        if isinstance(self.loss, Method):
            known = self.loss.hyperparameters
            given = {name: value for name, value in other._settings.items() if value is not None and name in known}
            other.loss = self.loss.with_hyperparameters(**given) if given else self.loss
        elif self.held:
            changed = _owner(self.loss)
            for role, name in self.held.items():
                if other._settings[role] is not None:
                    changed = _with(changed, name, other._settings[role])
            other.function = _function(_rebound(self.loss, changed))
        return other

    def __call__(
        self, student: Tensor, teacher: Tensor, labels: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """The loss of logits (N, C) or (N, L, V): whatever tensor it returns."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of is among what is looked for
            return self._call(student, teacher, labels, mask)

    def _call(self, student: Tensor, teacher: Tensor, labels: Tensor | None, mask: Tensor | None) -> Tensor:
        if isinstance(self.loss, Method):
            return self._of_method(student, teacher, labels)
        if self.takes == "log-probabilities":
            teacher = teacher.log_softmax(-1) if self.log_target else teacher.softmax(-1)
            student = student.log_softmax(-1)
        dress = Answers if self.dressed else (lambda logits: logits)
        given = {"student": dress(student), "teacher": dress(teacher), "labels": labels, "mask": mask}
        given |= getattr(self, "_settings", {})
        if mask is None and self.masked and self.mask_wanted:
            given["mask"] = torch.ones(student.shape[:-1], dtype=torch.bool)
        if not self.roles:
            return _tensor(self.function(given["student"], given["teacher"]))
        named = {name: given[role] for role, name in self.roles.items() if given[role] is not None}
        return _tensor(self.function(**named))

    def _of_method(self, student: Tensor, teacher: Tensor, labels: Tensor | None) -> Tensor:
        maps = [part.flatten(1).repeat(1, 8)[:, :32].view(-1, 2, 4, 4) for part in (student, teacher)]
        features = (
            {ours: maps[0] for ours, _ in self.loss.features},
            {theirs: maps[1] for _, theirs in self.loss.features},
        )
        batch = Batch(student, teacher, labels, student, *features)
        self.loss.prepare(batch)
        return self.loss(batch)


def _function(loss: object) -> Callable:
    if isinstance(loss, type):
        raise ValueError(f"loss must be made before it is looked at: pass {loss.__name__}(…), got the class")
    for candidate in (loss, getattr(loss, "compute_loss", None), getattr(loss, "forward", None)):
        if callable(candidate):
            return candidate
    raise ValueError(f"loss must be a function, a module or an object with forward, got {type(loss).__name__}")


def _roles(function: Callable) -> dict[str, str]:
    """role -> argument. By name first; who is left is the student, then the teacher."""
    try:
        parameters = _parameters(function)
    except (TypeError, ValueError):
        return {}
    parameters = [one for one in parameters.values() if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD)]
    if not parameters or any(one.kind == one.POSITIONAL_ONLY for one in parameters):
        return {}
    roles: dict[str, str] = {}
    for one in parameters:
        role = _role(one.name)
        if role == "labels" and roles.get("labels") == "y":  # (y, labels, teacher): y is what the student says
            roles["labels"] = one.name
        roles.setdefault(role, one.name)
    roles.pop("", None)
    wanted = [one.name for one in parameters if one.default is one.empty]
    # (outputs, targets) are a student and its teacher; (outputs, teacher, targets) hold labels.
    if "teacher" not in roles and roles.get("labels") in ("target", "targets") and len(wanted) == 2:
        roles["teacher"] = roles.pop("labels")
    for role in ("student", "teacher"):
        left = [name for name in wanted if name not in roles.values()]
        if role not in roles and left:
            roles[role] = left[0]
    if unknown := [name for name in wanted if name not in roles.values()]:
        raise ValueError(
            f"loss wants {', '.join(unknown)}, which audit knows no meaning for; pass lambda student, teacher: loss(…) "
            "that fills it in"
        )
    return roles


def _parameters(function: Callable) -> Mapping[str, inspect.Parameter]:
    """A module's are those of its forward."""
    return inspect.signature(function.forward if isinstance(function, nn.Module) else function).parameters


def _role(name: str) -> str:
    if name == "T":
        return "temperature"
    return next((role for role, pattern in _NAMES.items() if re.search(pattern, name.lower())), "")


def _owner(loss: object) -> object | None:
    """Whose attributes hold a loss's numbers: the module itself, or what a bound method belongs to."""
    if inspect.ismethod(loss):
        return None if inspect.isclass(loss.__self__) else loss.__self__
    return None if inspect.isroutine(loss) or isinstance(loss, partial) else loss


def _rebound(loss: object, changed: object) -> object:
    return getattr(changed, loss.__name__) if inspect.ismethod(loss) else changed


def _with(owner: object, name: str, value: float) -> object | None:
    """A copy whose attribute has another value; None where it cannot be set. A dataclass is made anew, with all that follows."""
    before, new = getattr(owner, name), value
    if isinstance(before, Tensor):
        new = nn.Parameter(torch.tensor(value)) if isinstance(before, nn.Parameter) else torch.tensor(value)
    try:
        if dataclasses.is_dataclass(owner) and not isinstance(owner, nn.Module):
            changed = dataclasses.replace(owner, **{name: new})
        else:
            changed = copy.copy(owner)
            if isinstance(owner, nn.Module):  # a shallow copy would share the dictionaries that these lie in
                changed._buffers, changed._parameters = dict(owner._buffers), dict(owner._parameters)
            setattr(changed, name, new)
    except (AttributeError, TypeError, ValueError, RuntimeError):
        return None
    return changed if math.isclose(_number(changed, name), value, rel_tol=1e-6) else None


def _number(owner: object, name: str) -> float | None:
    value = getattr(owner, name, None)
    if isinstance(value, Tensor) and value.numel() == 1:
        return value.item()
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _numbers(loss: object, roles: dict[str, str], function: Callable) -> dict[str, float]:
    """The loss's own temperature and share, where they can be set: NaN for an argument without default."""
    if isinstance(loss, Method):
        return {name: value for name, value in loss.hyperparameters.items() if name in ("temperature", "alpha")}
    found = {}
    owner = _owner(loss)
    for role, names in _ATTRIBUTES.items():
        if role in roles:
            default = _parameters(function)[roles[role]].default
            found[role] = float(default) if isinstance(default, int | float) else float("nan")
        elif owner is not None:
            known = [number for name in names if (number := _number(owner, name)) is not None]
            found |= {role: known[0]} if known else {}
    return found


def _tensor(result: object) -> Tensor:
    """The loss in what was returned: a tensor, what a dict calls "loss", or the only one of several that can be it.

    That is the only entry, or the only number (beside logits, say) that has a gradient. Raises `SeveralLosses` for more.
    """
    if isinstance(result, Mapping):
        result = [result["loss"]] if "loss" in result else list(result.values())
    if isinstance(result, tuple | list):
        numbers = [part for part in result if isinstance(part, Tensor) and part.numel() == 1]
        numbers = [part for part in numbers if part.requires_grad] or numbers or list(result)
        if len(numbers) > 1:
            raise SeveralLosses(
                f"loss must return one number, got {len(result)} parts of which {len(numbers)} may be the loss; pass "
                "lambda student, teacher: sum(loss(…)), or the part that backward() is called on"
            )
        result = numbers[0] if numbers else None
    if not isinstance(result, Tensor):
        raise ValueError(f"loss must return a tensor, got {type(result).__name__}")
    return result
