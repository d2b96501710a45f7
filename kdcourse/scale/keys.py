"""The kinds of keys that a recipe has: each reads a value from YAML, or says what it accepts."""

import math
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import Any


class RecipeError(ValueError):
    """A recipe that cannot be run: the message names the key, what came and what is accepted."""


def setting(default: Any, accepted: str, read: Callable[[Any], Any]) -> Any:
    """A key of a recipe: `read` gives its value or raises `ValueError`; `accepted` says in words what it takes."""
    return field(default=default, metadata={"accepted": accepted, "read": read})


def integer(default: int, *, least: int) -> Any:
    def read(value: Any) -> int:
        if _typed(value, int) < least:
            raise ValueError
        return value

    return setting(default, f"a whole number of at least {least}", read)


def number(default: float) -> Any:
    return setting(default, "a number of at least 0", _number)


def positive(default: float) -> Any:
    def read(value: Any) -> float:
        found = _number(value)
        if found == 0:
            raise ValueError
        return found

    return setting(default, "a number above 0", read)


def boolean(default: bool) -> Any:
    return setting(default, "true or false", lambda value: _typed(value, bool))


def choice(default: str, *names: str) -> Any:
    def read(value: Any) -> str:
        if value not in names:
            raise ValueError
        return value

    return setting(default, " or ".join(names), read)


def text(accepted: str) -> Any:
    return setting(None, accepted, lambda value: _typed(value, str))


def numbers(accepted: str, kind: type) -> Any:
    """One number or a list of them, all of a kind, int or float, none below 0; default none."""

    def read(value: Any) -> tuple:
        found = tuple(_typed(one, kind) for one in (value if isinstance(value, list | tuple) else [value]))
        if any(one < 0 for one in found):
            raise ValueError
        return found

    return setting((), accepted, read)


def component(default: Any, accepted: str) -> Any:
    """A name, a name with arguments, or a list: what `scale.registry` builds models and methods from."""

    def read(value: Any) -> Any:
        if not value:
            raise ValueError
        return value if isinstance(value, list | dict) else _typed(value, str)

    return setting(default, accepted, read)


def listed(given: Any) -> list:
    return given if isinstance(given, list) else [given]


def name_and_arguments(given: Any, where: str) -> tuple[str, dict[str, Any]]:
    """A name alone, or {name: {argument: value}}. Raises `RecipeError` that names `where`."""
    if isinstance(given, str):
        return given, {}
    if isinstance(given, dict) and len(given) == 1:
        name, arguments = next(iter(given.items()))
        if isinstance(name, str) and (arguments is None or isinstance(arguments, dict)):
            return name, dict(arguments or {})
    raise RecipeError(f"{where} must be a name or {{name: {{argument: value}}}}, got {given!r}")


def component_error(where: str, arguments: Mapping[str, Any], error: Exception) -> RecipeError:
    """What a model or a method says of its arguments, by the key of the one it begins with: "….Distillation.alpha must be …"."""
    begins_with_key = str(error).partition(" ")[0] in arguments
    given = f", given {dict(arguments)}" if isinstance(error, TypeError) else ""  # which says nothing of what came
    return RecipeError(f"{where}{'.' if begins_with_key else ': '}{error}{given}")


def _typed(value: Any, kind: type) -> Any:
    """The value, if it is of exactly this type: true is no whole number. A whole number is a float too."""
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise ValueError
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    found = float(value)  # YAML reads 5e-4, which has no point, as text
    if not math.isfinite(found) or found < 0:
        raise ValueError
    return found
