"""The house of a small package whose floors, arrows and circles are known; and the course's own, as the plan draws it."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from kdcourse.authoring.house import Room, diagram, survey
from kdcourse.cli import app

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "kdcourse"


def built(folder: Path, files: dict[str, str]) -> Path:
    """A package called `tiny` of these files, and an empty __init__.py for each folder that has none."""
    package = folder / "tiny"
    for name, text in {"__init__.py": "", **files}.items():
        path = package / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        (path.parent / "__init__.py").touch()
    return package


@pytest.fixture
def tiny(tmp_path):
    late = "def late():\n    from tiny import ground\n\n    return ground\n"
    types = "from typing import TYPE_CHECKING\n\nif TYPE_CHECKING:\n    from tiny import ground, tools\n"
    return built(
        tmp_path,
        {
            "__init__.py": "from tiny.roof import view\n",
            "ground/stone.py": "A = 1\nB = 2\n",
            "tools.py": "HAMMER = '''\nimport tiny.roof\n'''\n",
            "walls/beam.py": late,
            "roof/view.py": f"import tiny.walls.beam\n{types}",
            "roof/view.js": "const x = 1;\n",
            "roof/pictures/readme.txt": "no code\n",
        },
    )


def test_rooms_stand_on_what_they_import(tiny):
    assert survey(tiny) == (
        [
            Room("roof", 3, 5, 1, ["ground", "tools", "walls"], ["ground", "tools", "walls"]),
            Room("walls", 2, 4, 0, ["ground"], ["ground"]),
            Room("ground", 1, 2, 0, [], []),
            Room("tools", 1, 3, 0, [], []),
        ],
        [],
    )


def test_the_diagram_leaves_out_what_a_longer_way_says(tiny):
    rooms, _ = survey(tiny)
    assert diagram(rooms).splitlines() == [
        *("```mermaid", "flowchart TD"),
        "    roof --> tools & walls",  # and ground, but through walls
        *("    walls --> ground", "    ground", "    tools", "```"),
    ]


def test_a_circle_is_seen_in_a_function_and_behind_the_first_name(tmp_path):
    package = built(
        tmp_path,
        {
            "shelf/first.py": "def late():\n    from tiny import cup, plate\n",
            "plate.py": "from tiny.shelf import first\n",
            "cup.py": "",
        },
    )
    rooms, circles = survey(package)
    assert [(room.name, room.floor) for room in rooms] == [("plate", 2), ("shelf", 2), ("cup", 1)]
    assert circles == [
        "tiny.plate → tiny.shelf.first → tiny.plate",
        "tiny.plate → tiny.shelf → tiny.plate: tiny.plate → tiny.shelf.first, tiny.shelf.first → tiny.plate",
    ]
    assert "    plate --> shelf\n    shelf --> cup & plate\n" in diagram(rooms)  # neither arrow stands for the other


def test_a_circle_of_rooms_needs_no_circle_of_files(tmp_path):
    files = {"east/a.py": "import tiny.west.a\n", "west/a.py": "", "west/b.py": "import tiny.east.b\n", "east/b.py": ""}
    _, circles = survey(built(tmp_path, files))
    assert circles == [
        "tiny.east → tiny.west → tiny.east: tiny.east.a → tiny.west.a, tiny.west.b → tiny.east.b",
    ]


def test_a_room_may_not_go_through_the_face(tmp_path):
    _, circles = survey(built(tmp_path, {"__init__.py": "from tiny import desk\n", "desk.py": "import tiny\n"}))
    assert circles == ["tiny → tiny.desk → tiny"]


def test_the_command_reads_another_checkout(tmp_path):
    """A package of the same name, although this one is loaded."""
    other = built(tmp_path, {"old/loose.py": "import kdcourse.new\n", "new.py": ""}).rename(tmp_path / "kdcourse")
    said = CliRunner().invoke(app, ["house", "--package", str(other)]).output
    assert "rooms: 2, floors: 2, arrows: 1, circles: 0" in said
    assert CliRunner().invoke(app, ["house", "--package", str(other), "--mermaid"]).output.splitlines() == [
        *("```mermaid", "flowchart TD", "    old --> new", "    new", "```")
    ]
    refused = CliRunner().invoke(app, ["house", "--package", str(tmp_path)])
    assert refused.exit_code == 2 and f"must be a folder that holds __init__.py, got {tmp_path}" in refused.output


def test_the_command_says_what_is_missing(monkeypatch):
    monkeypatch.setattr("kdcourse.system.runtime.find_spec", lambda name: None)
    refused = CliRunner().invoke(app, ["house"])
    assert refused.exit_code == 2 and "this needs grimp; run: pip install grimp" in refused.output


def test_the_plan_shows_the_house_as_it_is():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    _, rest = text.split("<!-- rooms -->\n", 1)
    drawn, _ = rest.split("\n<!-- end of rooms -->", 1)
    rooms, _ = survey(PACKAGE)
    assert drawn == diagram(rooms), "put what `kdcourse house --mermaid` prints into docs/architecture.md"
