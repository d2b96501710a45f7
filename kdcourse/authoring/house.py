"""The house that the imports of a package draw. A room is a folder or a file directly in it; its `__init__` is the face."""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kdcourse.system.runtime import need

if TYPE_CHECKING:
    from grimp import ImportGraph


class Room(NamedTuple):
    """floor: one above the highest room that it imports, the ground is 1. below: all that it imports, directly or not."""

    name: str
    floor: int
    python: int  # lines
    javascript: int
    imports: list[str]
    below: list[str]


def survey(package: Path) -> tuple[list[Room], list[str]]:
    """The rooms of the package in this folder, the top floor first; and its circles, between files or rooms, a line for each.

    Nothing in it is run. Imports in functions and under TYPE_CHECKING count. Raises `ValueError` for a folder that is no
    package, `ModuleNotFoundError` where grimp is missing.
    """
    need("grimp")
    from grimp import build_graph

    if not (package / "__init__.py").is_file():
        raise ValueError(f"package must be a folder that holds __init__.py, got {package}")
    with _found_first(package):
        files = build_graph(package.name, cache_dir=None)
    rooms = deepcopy(files)
    for room in files.find_children(package.name):
        rooms.squash_module(room)
        rooms.remove_import(importer=package.name, imported=room)
        rooms.remove_import(importer=room, imported=package.name)
    between_files = _circles(files)
    circles = [" → ".join(circle) for circle in between_files]
    for circle in _circles(rooms):
        if circle not in between_files:
            steps = [min(sorted(files.find_shortest_chains(*step)), key=len) for step in pairwise(circle)]
            circles.append(f"{' → '.join(circle)}: {', '.join(' → '.join(step) for step in steps)}")
    return _rooms(rooms, package), circles


def diagram(rooms: list[Room]) -> str:
    """A mermaid flowchart. An arrow is left out where a longer way says the same."""
    named = {room.name: room for room in rooms}
    lines = []
    for room in rooms:
        lower = [other for other in room.imports if named[other].floor < room.floor]
        implied = {one for other in lower for one in named[other].below if named[one].floor < named[other].floor}
        drawn = [one for one in room.imports if one not in implied]
        lines.append(f"    {room.name} --> {' & '.join(drawn)}" if drawn else f"    {room.name}")
    return "\n".join(["```mermaid", "flowchart TD", *lines, "```"])


def _rooms(graph: "ImportGraph", package: Path) -> list[Room]:
    def plain(modules: Iterable[str]) -> list[str]:
        return sorted(module.split(".")[1] for module in modules)

    def lines(name: str, suffix: str) -> int:
        paths = [*package.glob(f"{name}{suffix}"), *(package / name).rglob(f"*{suffix}")]
        return sum(len(path.read_text(encoding="utf-8").splitlines()) for path in paths)

    found, below = {}, {room: graph.find_upstream_modules(room) for room in graph.find_children(package.name)}
    for room in sorted(below, key=lambda room: len(below[room])):
        # Rooms in a circle stand on one floor.
        floor = 1 + max((found[other].floor for other in below[room] if room not in below[other]), default=0)
        name, imports = room.split(".")[1], plain(graph.find_modules_directly_imported_by(room) - {room})
        found[room] = Room(name, floor, lines(name, ".py"), lines(name, ".js"), imports, plain(below[room]))
    return sorted(found.values(), key=lambda room: (-room.floor, room.name))


def _circles(graph: "ImportGraph") -> list[tuple[str, ...]]:
    """For each import that has a way back, the shortest: (a, b, a) where a imports b, and b imports a."""
    found = set()
    for importer in graph.modules:
        for imported in graph.find_modules_directly_imported_by(importer) - {importer}:
            if way := graph.find_shortest_chain(importer=imported, imported=importer):
                first = way.index(min(way))
                found.add((*way[first:], *way[: first + 1]))
    return sorted(found)


@contextmanager
def _found_first(package: Path) -> Iterator[None]:
    """grimp asks Python where a package lies: here, while this lasts, although another of its name may be loaded."""
    loaded = sys.modules.pop(package.name, None)
    sys.path.insert(0, str(package.parent))
    try:
        yield
    finally:
        sys.path.remove(str(package.parent))
        if loaded is not None:
            sys.modules[package.name] = loaded
