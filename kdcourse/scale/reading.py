"""From YAML to a recipe, checked key by key: an error names the key, what came and what is accepted."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from kdcourse.scale.keys import RecipeError
from kdcourse.scale.recipe import PLAYS, SENTENCES, Data, Recipe, Run, Training, is_probe

SHIPPED = Path(__file__).parent / "recipes"
SECTIONS = {"data": Data, "training": Training}  # what all runs have in common; a run may have its own


def shipped() -> list[str]:
    """The names of the recipes that come with the course."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read_recipe(where: str | Path, changes: Mapping[str, Any] | None = None) -> Recipe:
    """A shipped recipe by name, or one from a file. changes: "data.folder" -> value, put into every run.

    Files of weights are looked for beside the recipe's own. Raises `RecipeError` for what is no recipe, naming the key.
    """
    path = Path(where) if str(where).endswith((".yaml", ".yml")) else SHIPPED / f"{where}.yaml"
    if not path.is_file():
        raise RecipeError(f"recipe must be a YAML file or one of {', '.join(shipped())}, got {str(where)!r}")
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path.name} is no YAML: {' '.join(str(error).split())}") from error
    return recipe_of(path.stem, _beside(content, path.parent.resolve()), changes or {})


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice, of which YAML would silently keep the last."""

    def compose_mapping_node(self, anchor: str | None) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        lines: dict[str, int] = {}
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            line = key.start_mark.line + 1
            if key.tag == "tag:yaml.org,2002:bool":
                raise yaml.YAMLError(f"the key {key.value!r} in line {line} reads as yes or no; put it in quotes")
            if key.value in lines:
                raise yaml.YAMLError(f"the key {key.value!r} stands twice, in lines {lines[key.value]} and {line}")
            lines[key.value] = line
        return node


def _beside(content: Any, folder: Path) -> Any:
    """The same content, in which each model's `file` is a path from the root."""
    if isinstance(content, list):
        return [_beside(one, folder) for one in content]
    if not isinstance(content, dict):
        return content
    found = {key: _beside(value, folder) for key, value in content.items()}
    if isinstance(found.get("file"), str):
        found["file"] = str(folder / Path(found["file"]).expanduser())
    return found


def recipe_of(name: str, content: Any, changes: Mapping[str, Any]) -> Recipe:
    """A recipe from what its YAML says. Raises `RecipeError` as `read_recipe`."""
    _check_keys(name, "", content, ("title", "source", "note", *SECTIONS, "runs"))
    for section, kind in SECTIONS.items():
        _check_keys(name, section, content.get(section) or {}, _names(kind))
    if not isinstance(content.get("runs"), dict) or not content["runs"]:
        raise RecipeError(f"{name}: runs must name at least one run, got {content.get('runs')!r}")
    _check_changes(name, changes)
    taken = ("", ".", "..", "results.json")  # the last is what all runs write together
    if paths := [label for label in map(str, content["runs"]) if Path(label).name != label or label in taken]:
        raise RecipeError(f"{name}: runs must have names that a folder can have, got {paths[0]!r}")
    runs = {
        str(label): _run(name, f"runs.{label}", given, content, changes) for label, given in content["runs"].items()
    }
    recipe = Recipe(name, *(str(content.get(key, "")).strip() for key in ("title", "source", "note")), runs)
    recipe.order(list(runs))
    for label, run in runs.items():
        _check_run(f"{name}: runs.{label}", run)
    if len({run.training.precision for run in runs.values()}) > 1:
        raise RecipeError(f"{name}: training.precision must be the same in all runs")
    return recipe


def _run(name: str, where: str, given: Any, content: dict, changes: Mapping[str, Any]) -> Run:
    """One run: its own keys go before those common to all runs, and changes before both."""
    _check_keys(name, where, given, _names(Run))
    sections = {}
    for section, kind in SECTIONS.items():
        own = given.get(section) or {}
        _check_keys(name, f"{where}.{section}", own, _names(kind))
        changed = {key.split(".", 1)[1]: value for key, value in changes.items() if key.startswith(f"{section}.")}
        merged = {**(content.get(section) or {}), **own, **changed}
        sections[section] = _build(kind, merged, name, f"{where}.{section}" if own else section)
    rest = {key: value for key, value in given.items() if key not in sections}
    return replace(_build(Run, rest, name, where), **sections)


def _build(kind: type, given: Mapping[str, Any], name: str, where: str) -> Any:
    """A dataclass from its keys. A null is taken where that is the default. Raises `RecipeError` with what a key accepts."""
    values = {}
    for key in fields(kind):
        if key.name not in given:
            continue
        value = given[key.name]
        try:
            values[key.name] = None if value is None and key.default is None else key.metadata["read"](value)
        except (TypeError, ValueError) as error:
            accepted = key.metadata["accepted"]
            raise RecipeError(f"{name}: {where}.{key.name} must be {accepted}, got {value!r}") from error
    return kind(**values)


def _check_run(where: str, run: Run) -> None:
    data = run.data
    if run.student is None:
        raise RecipeError(f"{where}.student must be a model's name, got nothing")
    if (data.name is None) == (data.folder is None):
        raise RecipeError(f"{where}.data must have either name or folder, got {data.name!r} and {data.folder!r}")
    if data.shift and data.folder is not None:
        raise RecipeError(f"{where}.data.shift must be 0 for a folder, got {data.shift}; crop moves its pictures")
    if run.training.nesterov and run.training.optimizer == "sgd" and not run.training.momentum:
        raise RecipeError(f"{where}.training.nesterov must be false where momentum is 0, got true")
    if data.crop and data.folder is None:
        raise RecipeError(f"{where}.data.crop must be false for data in memory, got true; shift moves those")
    if data.name in (*PLAYS, *SENTENCES) and (data.augmented or data.only or data.without):
        raise RecipeError(
            f"{where}.data must neither move text as if it were pictures nor choose classes of it, got {data!r}"
        )
    if data.tokenizer and data.name not in SENTENCES:
        raise RecipeError(
            f"{where}.data.tokenizer is for {', '.join(SENTENCES)}, got {data.tokenizer!r} for {data.name!r}"
        )
    if is_probe(run.teacher) or (isinstance(run.teacher, dict) and "new_head" in run.teacher):
        raise RecipeError(
            f"{where}.teacher must have learnt the classes: name a run whose student it is, got {run.teacher!r}"
        )
    if run.cached and run.teacher is not None and data.augmented and not data.views:
        raise RecipeError(
            f"{where}.cached must be false where pictures are augmented without end, got true; fix their number by data.views"
        )
    if run.cached and run.teacher is None and not is_probe(run.student):
        raise RecipeError(f"{where}.cached must be false without a teacher, got true; or the student be a probe")


def _check_changes(name: str, changes: Mapping[str, Any]) -> None:
    known = [f"{section}.{key}" for section, kind in SECTIONS.items() for key in _names(kind)]
    for key in changes:
        if key not in known:
            raise RecipeError(f"{name}: {_unknown(key, known)}")


def _check_keys(name: str, where: str, given: Any, known: Sequence[str]) -> None:
    if not isinstance(given, dict):
        raise RecipeError(f"{name}: {where or 'a recipe'} must be a mapping of {', '.join(known)}, got {given!r}")
    for key in given:
        if key not in known:
            raise RecipeError(f"{name}: {_unknown(f'{where}.{key}' if where else str(key), known)}")


def _unknown(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, 1) or difflib.get_close_matches(key.split(".")[-1], known, 1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"{key} is no key of a recipe{hint} (accepted: {', '.join(known)})"


def _names(kind: type) -> list[str]:
    return [key.name for key in fields(kind)]
