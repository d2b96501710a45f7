"""What the names in a recipe stand for: the course's models and torchvision's, the course's methods."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from kdcourse import methods, models
from kdcourse.experiments import schemes
from kdcourse.methods import Method, WeightedSum
from kdcourse.models.transfer import torchvision_model
from kdcourse.scale.keys import RecipeError

METHODS: dict[str, type[Method]] = {
    name: kind
    for name, kind in vars(methods).items()
    if isinstance(kind, type) and issubclass(kind, Method) and kind not in (Method, WeightedSum)
} | {kind.__name__: kind for kind in (schemes.MutualLearning, schemes.CoTraining)}
MODELS = {name: getattr(models, name) for name in models.__all__ if hasattr(getattr(models, name), "__wrapped__")}
TORCHVISION = "torchvision:"


@dataclass(frozen=True)
class Look:
    """What a model must know of the data: classes (or characters of an alphabet), channels, inputs (pixels × channels); of
    sentences, the tokens that there are, each with its number."""

    classes: int
    channels: int
    inputs: int
    vocabulary: dict[str, int] | None = None


def build_method(given: Any, where: str) -> Method:
    """A method, or the sum of a list of them, each `times` its weight. Raises `RecipeError` that names `where`."""
    total = None
    for one in given if isinstance(given, list) else [given]:
        name, arguments = _call(one, where)
        if name not in METHODS:
            raise RecipeError(f"{where} must be one of {', '.join(sorted(METHODS))}, got {name!r}")
        times = arguments.pop("times", 1.0)
        if isinstance(times, bool) or not isinstance(times, int | float):
            raise RecipeError(f"{where}.{name}.times must be a number, got {times!r}")
        try:
            method = METHODS[name](**arguments)
        except (TypeError, ValueError) as error:
            raise RecipeError(f"{where}.{name}: {error}") from error
        method = method if times == 1 else method * times
        total = method if total is None else total + method
    return total


def build_model(given: Any, where: str, look: Look, seed: int) -> nn.Module:
    """A model that fits the data, its first weights by `seed`; a list gives `schemes.Peers`. Raises `RecipeError`."""
    if isinstance(given, list):
        return schemes.Peers([build_model(one, where, look, seed + 1000 * rank) for rank, one in enumerate(given)])
    name, arguments = _call(given, where)
    try:
        if name.startswith(TORCHVISION):
            return _from_torchvision(name.removeprefix(TORCHVISION), arguments, look, seed)
        if name in MODELS:
            asked = inspect.signature(MODELS[name]).parameters
            known = {
                "classes": look.classes,
                "characters": look.classes,
                "channels": look.channels,
                "inputs": look.inputs,
            }
            fitting = {key: value for key, value in known.items() if key in asked}
            return _reading(MODELS[name](**{**fitting, "seed": seed, **arguments}), look)
    except (TypeError, ValueError, OSError) as error:  # of arguments, and of a download
        raise RecipeError(f"{where}.{name}: {error}") from error
    raise RecipeError(f"{where} must be one of {', '.join(sorted(MODELS))} or {TORCHVISION}<name>, got {name!r}")


def _reading(model: nn.Module, look: Look) -> nn.Module:
    """The model again, if it is of the data's kind. Raises `ValueError` where one is for sentences and the other is not."""
    reads = isinstance(model, models.SentimentClassifier)
    if reads != (look.vocabulary is not None):
        wanted = "of pictures or characters" if reads else "of sentences, bert or pretrained,"
        raise ValueError(f"must be a model {wanted} as the data are")
    if reads and model.tokenizer.get_vocab() != look.vocabulary:
        raise ValueError(
            f"must know the {len(look.vocabulary):,} tokens of data.tokenizer, got a model with its own {len(model.tokenizer):,}"
        )
    return model


def _from_torchvision(name: str, arguments: dict, look: Look, seed: int) -> nn.Module:
    if look.channels != 3:
        raise ValueError(f"torchvision's models are for pictures of 3 channels, these have {look.channels}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = torchvision_model(name, **{"num_classes": look.classes, **arguments})
    model.label = name
    return model.to(memory_format=torch.channels_last)


def _call(given: Any, where: str) -> tuple[str, dict[str, Any]]:
    """A name alone, or {name: {argument: value}}."""
    if isinstance(given, str):
        return given, {}
    if isinstance(given, dict) and len(given) == 1:
        name, arguments = next(iter(given.items()))
        if isinstance(name, str) and (arguments is None or isinstance(arguments, dict)):
            return name, dict(arguments or {})
    raise RecipeError(f"{where} must be a name or {{name: {{argument: value}}}}, got {given!r}")
