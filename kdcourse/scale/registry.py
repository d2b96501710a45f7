"""What the names in a recipe stand for: the course's models and torchvision's, the course's methods."""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from kdcourse import methods, models
from kdcourse.experiments import schemes
from kdcourse.methods import Method, WeightedSum
from kdcourse.models.transfer import (
    Moments,
    Probe,
    hub_classifier,
    restandardised,
    timm_model,
    torchvision_model,
    with_new_head,
)
from kdcourse.scale.keys import RecipeError, component_error, listed, name_and_arguments
from kdcourse.system.generators import seeded_rng
from kdcourse.zoo import trained_body

METHODS: dict[str, type[Method]] = {
    name: kind
    for name, kind in vars(methods).items()
    if isinstance(kind, type) and issubclass(kind, Method) and kind not in (Method, WeightedSum)
} | {kind.__name__: kind for kind in (schemes.MutualLearning, schemes.CoTraining)}
MODELS = {name: build for name, build in vars(models).items() if hasattr(build, "__wrapped__")}
MODELS.pop("with_new_head")  # builds no model, but changes one
SPECIAL = {"sentences": models.SentimentClassifier, "characters": models.LanguageModel}  # all others are for pictures


@dataclass(frozen=True)
class DataSpec:
    """What a model must know of the data.

    classes: how many there are, or characters of an alphabet. channels: of a picture, 1 for text. inputs: numbers that an example
    has, pixels × channels. vocabulary: of sentences, token -> its number. kind: pictures, characters or sentences. names: of the
    classes. moments: mean and deviation of each channel, by which pictures are standardised.
    """

    classes: int
    channels: int
    inputs: int
    vocabulary: dict[str, int] | None = None
    kind: str = "pictures"
    names: tuple[str, ...] = ()
    moments: Moments | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.kind} of {self.inputs:,} numbers, {self.classes} classes ({_few(self.names)})"


def build_method(given: Any, where: str) -> Method:
    """A method, or the sum of a list of them, each `times` its weight. Raises `RecipeError` that names `where`."""
    total = None
    for one in listed(given):
        name, arguments = name_and_arguments(one, where)
        if name not in METHODS:
            raise RecipeError(f"{where} must be one of {', '.join(sorted(METHODS))}, got {name!r}")
        times = arguments.pop("times", 1.0)
        if isinstance(times, bool) or not isinstance(times, int | float) or not 0 < times < math.inf:
            raise RecipeError(f"{where}.{name}.times must be a number above 0, got {times!r}")
        try:
            method = METHODS[name](**arguments)
        except (TypeError, ValueError) as error:
            raise component_error(f"{where}.{name}", arguments, error) from error
        if times != 1:
            method = method * times
        total = method if total is None else total + method
    return total


def build_model(given: Any, where: str, spec: DataSpec, seed: int) -> nn.Module:
    """A model that fits the data, its first weights by `seed`; a list gives `schemes.Peers`.

    Raises `RecipeError` that names `where`.
    """
    if isinstance(given, list):
        if len(given) < 2:
            raise RecipeError(f"{where} must be one model or at least two peers, got {given!r}")
        return schemes.Peers([build_model(one, where, spec, seed + 1000 * number) for number, one in enumerate(given)])
    if isinstance(given, dict) and "file" in given:
        return _from_file(given, where, spec, seed)
    name, arguments = name_and_arguments(given, where)
    try:
        source, sign, rest = name.partition(":")
        if sign and source in SOURCES:
            with seeded_rng(seed):
                return SOURCES[source](rest, arguments, spec)
        if name in ON_BODIES:
            return _on_a_body(ON_BODIES[name], arguments, spec, seed)
        if name in MODELS:
            return _from_course(MODELS[name], arguments, spec, seed)
    except (TypeError, ValueError, OSError, ImportError) as error:  # of arguments, a download, a missing package
        raise component_error(f"{where}.{name}", arguments, error) from error
    known = ", ".join([*sorted(MODELS), *(f"{source}:<name>" for source in SOURCES), *ON_BODIES])
    own = "{file: path, model: what they belong to}"
    raise RecipeError(f"{where} must be one of {known}, or weights of your own, {own}, got {name!r}")


def _from_file(given: dict, where: str, spec: DataSpec, seed: int) -> nn.Module:
    """A model filled with weights of one's own: {file: path, model: its architecture}."""
    if given.keys() != {"file", "model"} or not isinstance(given["file"], str):
        raise RecipeError(f"{where} must be {{file: path, model: what the weights belong to}}, got {given!r}")
    model = build_model(given["model"], f"{where}.model", spec, seed)
    try:
        return models.load(given["file"], model)
    except (ValueError, OSError) as error:
        raise RecipeError(f"{where}.file: {error}") from error


def _from_course(build: Callable[..., nn.Module], arguments: dict, spec: DataSpec, seed: int) -> nn.Module:
    known = {
        "classes": spec.classes,
        "characters": spec.classes,
        "channels": spec.channels,
        "inputs": spec.inputs,
        "seed": seed,
    }
    accepted = inspect.signature(build).parameters
    fitting = {key: value for key, value in known.items() if key in accepted or key == "seed"}
    model = build(**fitting | arguments)
    _check_kind(model, spec)
    return model


def _check_kind(model: nn.Module, spec: DataSpec) -> None:
    """Raises `ValueError` for a model of another kind of data, and where a model and sentences have other tokens."""
    kind = next((kind for kind, known in SPECIAL.items() if isinstance(model, known)), "pictures")
    if kind != spec.kind:
        raise ValueError(f"must be a model of {spec.kind} as the data are, got one of {kind}")
    if kind == "sentences" and model.tokenizer.get_vocab() != spec.vocabulary:
        raise ValueError(
            f"must know the {len(spec.vocabulary):,} tokens of data.tokenizer, got a model with its own {len(model.tokenizer):,}"
        )


def _on_a_body(kind: Callable[..., nn.Module], arguments: dict, spec: DataSpec, seed: int) -> nn.Module:
    """{body: its name, weights: or file: as `zoo.trained_body` takes them}, with a head for the classes of the data."""
    if spec.kind != "pictures":
        raise ValueError(f"body must be one for pictures, and the data are {spec.kind}")
    with seeded_rng(seed):
        body, moments = trained_body(arguments.pop("body", None), channels=spec.channels, **arguments)
    return kind(restandardised(body, spec.moments, moments), spec.classes, seed=seed)


def _from_torchvision(name: str, arguments: dict, spec: DataSpec) -> nn.Module:
    _check_colours("torchvision", spec)
    model = torchvision_model(name, **{"num_classes": spec.classes, **arguments})
    model.label = name
    return model.to(memory_format=torch.channels_last)


def _from_timm(name: str, arguments: dict, spec: DataSpec) -> nn.Module:
    _check_colours("timm", spec)
    # Pretrained ones keep the classes that they have learnt: to fewer of them they would answer by a head without training.
    classes = {} if arguments.get("pretrained") else {"num_classes": spec.classes}
    model, moments = timm_model(name, **{**classes, **arguments})
    model.label = name
    model = model.to(memory_format=torch.channels_last)
    return model if classes else restandardised(model, spec.moments, moments)


def _from_hub(name: str, arguments: dict, spec: DataSpec) -> nn.Module:
    _check_colours("the hub", spec)
    model, moments = hub_classifier(name, **arguments)
    model.label = name
    if model.classes != list(spec.names) and sorted(model.classes) == sorted(spec.names):
        raise ValueError(f"must have its classes in the data's order, {_few(spec.names)}; got {_few(model.classes)}")
    return restandardised(model, spec.moments, moments)


def _check_colours(source: str, spec: DataSpec) -> None:
    if spec.kind != "pictures" or spec.channels != 3:
        raise ValueError(f"{source}'s models are for pictures of 3 channels, these have {spec.channels}")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + ", …"


# A network that others have trained, made to answer for the data's classes: by its head alone, or by all of it.
ON_BODIES = {"probe": Probe, "new_head": with_new_head}
SOURCES = {"torchvision": _from_torchvision, "timm": _from_timm, "hub": _from_hub}
