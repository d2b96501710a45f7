"""One declaration, several installers: pyproject.toml, the lock and conda's file agree; the import is light, the plan kept."""

import ast
import re
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.version import Version

import kdcourse
from kdcourse.authoring.house import Room, survey
from kdcourse.authoring.notebooks import compose, labs
from kdcourse.system.runtime import LABS_OF_EXTRA

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "kdcourse"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CONDA_NAMES = {"huggingface-hub": "huggingface_hub", "torch": "pytorch", "matplotlib": "matplotlib-base"}
# Names put together here, so that this file does not name them either.
REGISTRIES = [
    ".".join(parts) for parts in (("pypi", "org"), ("files", "pythonhosted", "org"), ("registry", "npmjs", "org"))
]


def declared() -> dict[str, Requirement]:
    """Every dependency of the project and its extras; where two name one package, the stricter bound."""
    lines = chain(PROJECT["dependencies"], *PROJECT["optional-dependencies"].values())
    found: dict[str, Requirement] = {}
    for requirement in map(Requirement, lines):
        if requirement.name == "kdcourse":  # an extra of several others
            continue
        known = found.get(requirement.name)
        if known is None or lower_bound(requirement) > lower_bound(known):
            found[requirement.name] = requirement
    return found


def lower_bound(requirement: Requirement) -> Version:
    (bound,) = requirement.specifier
    assert bound.operator == ">=", f"{requirement} must be a lower bound and nothing else, or Colab breaks"
    return Version(bound.version)


def test_every_dependency_has_a_lower_bound_only_and_a_reason():
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    for requirement in declared().values():
        lower_bound(requirement)
        assert any(re.search(rf'"{requirement.name}>=[^"]+", +# \w', line) for line in lines), requirement


def test_the_lock_pins_what_is_declared_by_hash_and_names_no_address():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    pins: dict[str, list[Requirement]] = {}
    for line in text.replace("\\\n", "").splitlines():
        if line and not line.startswith("#"):
            pinned, *hashes = re.split(r"\s+--hash=", line)
            pin = Requirement(pinned)
            assert [one.operator for one in pin.specifier] == ["=="], pinned
            assert hashes and all(re.fullmatch(r"sha256:[0-9a-f]{64}", one.strip()) for one in hashes), pinned
            pins.setdefault(pin.name, []).append(pin)
    for name, requirement in declared().items():
        assert name in pins, f"{name} is not in requirements.lock; its first lines say how to make it anew"
        for pin in pins[name]:
            assert requirement.specifier.contains(next(iter(pin.specifier)).version, prereleases=True), pin


def test_condas_file_holds_the_same():
    from rattler import MatchSpec

    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    assert environment["channels"] == ["conda-forge", "nodefaults"]
    *specs, last = environment["dependencies"]
    *from_pip, project = last["pip"]
    assert project == "-e ."
    found = {}
    for spec in [MatchSpec(spec) for spec in specs]:
        found[spec.name.normalized] = str(spec.version) if spec.version else None
    for requirement in map(Requirement, from_pip):
        found[requirement.name] = str(requirement.specifier)
    assert found.pop("python") == PROJECT["requires-python"] and found.pop("pip") is None
    wanted = {CONDA_NAMES.get(name, name): str(one.specifier) for name, one in declared().items()}
    assert found == wanted


def test_no_file_names_a_registry():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not a git checkout, so there are no tracked files to look through")
    for name in filter(None, listed.stdout.split("\0")):
        path = ROOT / name
        if path.suffix != ".safetensors" and path.is_file():
            text = path.read_text(encoding="utf-8", errors="ignore")
            assert not any(registry in text for registry in REGISTRIES), f"{name} names a package registry's host"
    assert "uv.lock" in (ROOT / ".gitignore").read_text(encoding="utf-8")


def test_the_import_loads_nothing_heavy():
    heavy = [
        "torch",
        "torchvision",
        "matplotlib",
        "pandas",
        "accelerate",
        "transformers",
        "ipywidgets",
        "scipy",
        "anywidget",
        "pooch",
    ]
    script = f"import sys, kdcourse; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]", "import kdcourse loads these, which it need not"


def test_every_public_name_is_there():
    for name in kdcourse.__all__:
        assert getattr(kdcourse, name) is not None
    assert set(dir(kdcourse)) == set(kdcourse.__all__)
    with pytest.raises(AttributeError, match="kdcourse has no 'nothing'"):
        kdcourse.nothing  # noqa: B018


def test_a_tagged_commit_has_the_version_of_its_tag():
    """Where there are tags: a clone may have none, and Colab takes the tag that the labs' first cells name."""
    listed = subprocess.run(["git", "tag", "--points-at", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    tags = [tag.removeprefix("v") for tag in listed.stdout.split() if tag.startswith("v")]
    assert PROJECT["dynamic"] == ["version"] and tags in ([], [kdcourse.__version__])
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.search(r"^## (\S+)", changes, re.MULTILINE)[1] == kdcourse.__version__


USES = {
    "text": r"kd\.load_texts|kd\.load_characters",
    "tuning": r"kd\.tuning\.search",
    "export": r"kd\.(compression\.quantize|export)\b",
}


def test_all_is_what_every_lab_needs_and_each_extra_knows_its_labs():
    extras = PROJECT["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.extras == {"lab", *LABS_OF_EXTRA} == set(extras) - {"all", "test", "install"}
    for extra, numbers in LABS_OF_EXTRA.items():
        using = [lab.number for lab in labs() if re.search(USES[extra], lab.source.read_text(encoding="utf-8"))]
        assert using == list(numbers), extra


# As after `pip install "kdcourse[lab]"`: nothing finds what the other extras bring.
HIDDEN = {
    Requirement(line).name.replace("-", "_")
    for extra in LABS_OF_EXTRA
    for line in PROJECT["optional-dependencies"][extra]
}
SMALL = f"""
import importlib.util, sys
hidden = {HIDDEN}
class Hiding:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hiding())
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name: None if name in hidden else find_spec(name)
import kdcourse as kd
from kdcourse.system import runtime
runtime.requires = lambda _: ['transformers>=5.0; extra == "text"', 'optuna>=4; extra == "tuning"']
"""


def test_without_the_extras_only_the_trainer_is_missing_and_it_says_what_to_install():
    script = f"""{SMALL}
for use in (*kd.__all__, "models.gpt()", "models.bert()", "tuning.search(None, 1, name='a')"):
    try:
        eval(f"kd.{{use}}")
    except ModuleNotFoundError as error:
        print(f"{{use}}: {{error}}")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    needs = "this needs {}; run: pip install 'kdcourse[{}]'"
    users = ("DistillationTrainer", "DistillationTrainingArguments", "models.gpt()", "models.bert()")
    wanted = [f"{user}: {needs.format('transformers', 'text')}" for user in users]
    wanted.append(f"tuning.search(None, 1, name='a'): {needs.format('optuna', 'tuning')}")
    assert done.stdout.splitlines() == wanted


def test_a_lab_that_imports_an_extras_package_asks_for_it_first():
    asked = {}
    for lab in labs():
        for cell in (cell.source for cell in compose(lab).cells if cell.cell_type == "code"):
            for name in HIDDEN.intersection(re.findall(r"^(?:import|from) (\w+)", cell, re.MULTILINE)):
                assert cell.startswith(f'kd.need("{name}")'), f"lab {lab.number} imports {name}"
                asked[lab.number] = subprocess.run([sys.executable, "-c", SMALL + cell], capture_output=True, text=True)
    assert [done.stderr.splitlines()[-1].partition(": ")[2] for done in asked.values()] == [
        "this needs transformers; run: pip install 'kdcourse[text]'",
        "this needs optuna; run: pip install 'kdcourse[tuning]'",
    ]


def planned() -> dict[str, set[str]]:
    """The rooms of docs/architecture.md's table, ground floor first, and the files that each row names."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `kdcourse/(\w+)(?:\.py|/)` \| (.*)", text, re.MULTILINE)
    return {room: set(re.findall(r"`(\w+\.py)`", row)) for room, row in rows}


def standing() -> dict[str, set[str]]:
    """The rooms on the disk, and their files; those of labs under one name."""
    rooms = {path.stem: set() for path in PACKAGE.glob("*.py") if path.stem != "__init__"}
    for folder in (path.parent for path in PACKAGE.glob("*/__init__.py")):
        rooms[folder.name] = {re.sub(r"_\d\d\b", "_NN", path.name) for path in folder.glob("*.py")}
        rooms[folder.name] -= {"__init__.py", "__main__.py"}
    return rooms


def misplaced(rooms: list[Room], order: list[str]) -> list[str]:
    """Imports of a room that does not stand above the importing one in the list. None are left out: an import in a function
    or under TYPE_CHECKING is a thing that the room knows of another, and is where circles hide."""
    return [
        f"{room.name} imports {other}"
        for room in rooms
        for other in room.imports
        if order.index(other) >= order.index(room.name)
    ]


def test_the_plan_names_every_room_and_every_file():
    assert planned() == standing()


def test_the_house_is_built_from_the_ground_up():
    rooms, circles = survey(PACKAGE)
    assert {room.name for room in rooms} == set(planned())
    assert misplaced(rooms, list(planned())) == []
    assert circles == []
    # What is imported by a name in a string, no syntax tree shows: the face may, and rooms that look for their labs.
    finding = [path for path in PACKAGE.rglob("*.py") if "import_module(" in path.read_text(encoding="utf-8")]
    assert {path.relative_to(PACKAGE).parts[0] for path in finding} <= {"__init__.py", "exercises", "studies"}


def test_a_house_that_hangs_in_the_air_is_seen(tmp_path):
    package = tmp_path / "tiny"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "cellar.py").write_text("def late():\n    from tiny import hall, attic\n", encoding="utf-8")
    (package / "hall.py").touch()
    (package / "attic.py").write_text("from tiny import hall, cellar\n", encoding="utf-8")
    rooms, circles = survey(package)
    assert misplaced(rooms, ["hall", "cellar", "attic"]) == ["cellar imports attic"]
    assert misplaced(rooms, ["cellar", "attic", "hall"]) == [
        "attic imports hall",
        "cellar imports attic",
        "cellar imports hall",
    ]
    assert circles == ["tiny.attic → tiny.cellar → tiny.attic"]


def longer_than(most: int, source: str) -> list[str]:
    """Functions of more lines than that, from `def` to the end, docstring included."""
    functions = (
        node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    return [node.name for node in functions if node.end_lineno - node.lineno + 1 > most]


def test_functions_fit_a_screen():
    for path in PACKAGE.rglob("*.py"):
        most = 40 if path.is_relative_to(PACKAGE / "training") else 50
        assert longer_than(most, path.read_text(encoding="utf-8")) == [], path
    body = "@cache\ndef long():\n" + "    pass\n" * 49
    assert longer_than(50, body) == [] and longer_than(49, body) == ["long"]
    assert longer_than(2, "class A:\n    async def f(self):\n        def g():\n            pass\n") == ["f"]
