"""The kinds of keys that a recipe has: each reads a value from YAML, or says what it accepts."""

import math
from collections.abc import Callable
from dataclasses import field
from typing import Any


class RecipeError(ValueError):
    """A recipe that cannot be run: the message names the key, what came and what is accepted."""


def setting(default: Any, accepted: str, read: Callable[[Any], Any]) -> Any:
    """A key of a recipe: `read` gives its value or raises; `accepted` says in words what it takes."""
    return field(default=default, metadata={"accepted": accepted, "read": read})


def whole(default: int | None, least: int) -> Any:
    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ValueError
        return value

    return setting(default, f"a whole number of at least {least}", read)


def number(default: float | None, least: float = 0.0, *, above: bool = False) -> Any:
    def read(value: Any) -> float:
        if isinstance(value, bool):
            raise ValueError
        found = float(value)  # YAML reads 5e-4, which has no point, as text
        if not math.isfinite(found) or found < least or (above and found == least):
            raise ValueError
        return found

    return setting(default, f"a number {'above' if above else 'of at least'} {least:g}", read)


def switch(default: bool) -> Any:
    return setting(default, "true or false", lambda value: _among(value, (True, False), bool))


def choice(default: str, *names: str) -> Any:
    return setting(default, " or ".join(names), lambda value: _among(value, names, str))


def text(default: str | None, accepted: str = "text") -> Any:
    return setting(default, accepted, lambda value: _among(value, None, str))


def numbers(accepted: str, kind: type) -> Any:
    def read(value: Any) -> tuple:
        return tuple(_among(one, None, kind) for one in (value if isinstance(value, list | tuple) else [value]))

    return setting((), accepted, read)


def calls(default: Any, accepted: str) -> Any:
    """A name, a name with arguments, or a list: what `scale.names` builds models and methods from."""
    return setting(default, accepted, _given)


def _among(value: Any, accepted: tuple | None, kind: type) -> Any:
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)) or (accepted and value not in accepted):
        raise ValueError
    return value


def _given(value: Any) -> Any:
    if not isinstance(value, str | dict | list) or not value:
        raise ValueError
    return value
