"""One declaration, several installers: pyproject.toml, the lock and conda's file agree; the import stays light."""

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

ROOT = Path(__file__).parent.parent
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


def test_the_lock_pins_what_is_declared_and_names_no_address():
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert "://" not in text
    pins: dict[str, list[Requirement]] = {}
    for line in text.splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            assert [one.operator for one in pin.specifier] == ["=="], line
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
    import kdcourse

    for name in kdcourse.__all__:
        assert getattr(kdcourse, name) is not None
    assert set(dir(kdcourse)) == set(kdcourse.__all__)
    with pytest.raises(AttributeError, match="kdcourse has no 'nothing'"):
        kdcourse.nothing  # noqa: B018
    assert kdcourse.__version__ == PROJECT["version"]


def test_the_house_is_built_from_the_ground_up():
    """Each room imports only from rooms above it in docs/architecture.md's list."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = re.findall(r"^\| `kdcourse/([\w/]+?)(?:\.py|/)`", text, re.MULTILINE)
    floor = {room.replace("/", "."): number for number, room in enumerate(rooms)}
    package = ROOT / "kdcourse"

    def room_of(module: str) -> str | None:
        return next(
            (room for room in sorted(floor, key=len, reverse=True) if f"{module}.".startswith(f"{room}.")), None
        )

    for path in package.rglob("*.py"):
        module = ".".join(path.relative_to(package).with_suffix("").parts).removesuffix(".__init__")
        if module == "__init__":
            continue
        here = room_of(module)
        assert here, f"{path.name} has no room in docs/architecture.md"
        for imported in re.findall(
            r"^from kdcourse\.?([\w.]*) import (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE
        ):
            there = room_of(imported[0] or imported[1])
            assert there and floor[there] <= floor[here], (
                f"{module} imports {'.'.join(imported)}, which stands below it"
            )
