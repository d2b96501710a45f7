"""The places where the course runs, by the files that they read; and what the first page names, which has to exist."""

import ast
import json
import os
import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
import yaml

import kdcourse

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
ADDRESS = PROJECT["urls"]["Repository"]


def packages(environment: Path) -> dict[str, str]:
    """Name -> bound, of conda's and of pip's packages, but for the project itself."""
    *specs, last = yaml.safe_load(environment.read_text(encoding="utf-8"))["dependencies"]
    parts = [re.match(r"([\w-]+)(.*)", one) for one in [*specs, *last["pip"]] if one != "-e ."]
    return {part[1]: part[2] for part in parts}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, with their lines joined: (instruction, what it is given)."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line and not line.startswith("#")]


def anchors(page: Path) -> set[str]:
    """What links into a page of Markdown may name, as GitHub makes it of headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_binders_environment_is_condas_without_tests_and_without_cuda():
    all_of_it, here = packages(ROOT / "environment.yml"), packages(ROOT / ".binder" / "environment.yml")
    assert here.pop("pytorch-cpu") == all_of_it.pop("pytorch")
    extras = [*PROJECT["optional-dependencies"]["test"], *PROJECT["optional-dependencies"]["install"]]
    not_here = {re.match(r"[\w-]+", one)[0] for one in extras}
    assert here == {name: bound for name, bound in all_of_it.items() if name not in not_here}


def test_binder_installs_this_checkout():
    after = ROOT / ".binder" / "postBuild"
    assert "pip install --no-deps --editable ." in after.read_text(encoding="utf-8")
    assert os.name == "nt" or os.access(after, os.X_OK), "Binder runs it as a program"


def test_nobody_in_the_image_is_root():
    lines = instructions()
    (made,) = [given for name, given in lines if name == "RUN" and given.startswith("useradd ")]
    (user,) = [given for name, given in lines if name == "USER"]
    assert user == "student" and made.split()[-1] == user
    assert [name for name, _ in lines][-3:] == ["USER", "EXPOSE", "CMD"], "nothing is done as root behind USER"
    base = dict(lines)["FROM"]
    assert re.fullmatch(r"\w+/\w+:[\w.-]+", base) and "latest" not in base
    for copied in (given.split()[-2] for name, given in lines if name == "COPY"):
        assert (ROOT / copied).exists(), copied


def test_the_image_starts_jupyterlab_where_it_can_be_reached():
    lines = dict(instructions())
    command = json.loads(lines["CMD"])
    assert command[:2] == ["jupyter", "lab"] and f"--port={lines['EXPOSE']}" in command and "--ip=0.0.0.0" in command
    (folder,) = [part.split("=")[1] for part in command if part.startswith("--ServerApp.root_dir=")]
    assert list((ROOT / folder).glob("00_*.ipynb"))
    left_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {".git", ".venv*", "build"} <= set(left_out) and not {"notebooks", "results", "kdcourse"} & set(left_out)


def test_a_codespace_is_the_same_image():
    place = ROOT / ".devcontainer" / "devcontainer.json"
    container = json.loads(place.read_text(encoding="utf-8"))
    assert (place.parent / container["build"]["dockerfile"]).resolve() == ROOT / "Dockerfile"
    assert (place.parent / container["build"]["context"]).resolve() == ROOT
    lines = dict(instructions())
    assert container["remoteUser"] == lines["USER"] and container["forwardPorts"] == [int(lines["EXPOSE"])]
    assert container["remoteEnv"] == {"PYTHONPATH": "${containerWorkspaceFolder}"}  # its checkout, not the image's copy
    assert all((ROOT / name).is_file() for name in container["customizations"]["codespaces"]["openFiles"])
    asked = json.loads((ROOT / ".vscode" / "extensions.json").read_text(encoding="utf-8"))["recommendations"]
    assert container["customizations"]["vscode"]["extensions"] == asked
    known = {"name", "build", "remoteUser", "remoteEnv", "hostRequirements", "postCreateCommand", "forwardPorts"}
    assert set(container) == {*known, "customizations"}


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "AGENTS.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "CODE_OF_CONDUCT.md",
        "docs/where_it_runs.md",
        "docs/releasing.md",
    ],
)
def test_a_page_links_to_what_exists(page):
    place = ROOT / page
    text = place.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if link.startswith("https://"):
            continue
        name, _, part = link.partition("#")
        target = (place.parent / name).resolve() if name else place
        assert target.exists(), link
        assert not part or part in anchors(target), link
    for name in re.findall(rf"{re.escape(ADDRESS)}/blob/main/([\w./-]+)|lab/tree/([\w./-]+)", text):
        assert (ROOT / "".join(name)).exists(), name
    assert set(re.findall(rf"{re.escape(ADDRESS)}@v([\d.]+\d)", text)) <= {kdcourse.__version__}


def test_every_file_that_the_first_page_names_exists():
    made = {"build/site", "build/solutions", "train/", "val/", "Training/"}  # by commands, and by who brings pictures
    named = {
        name
        for name in re.findall(r"`([\w./-]+)`", README)
        if "/" in name or re.search(r"\.(py|txt|lock|yml|md)$", name)
    }
    assert len(named) > 8
    missing = [name for name in named - made if not (ROOT / name).exists()]
    assert missing == []


def test_whoever_opens_an_issue_is_asked_for_a_wrong_number_first():
    folder = ROOT / ".github" / "ISSUE_TEMPLATE"
    forms = {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("[0-9]-*.yml"))}
    assert "wrong number" in next(iter(forms.values()))["name"].lower()  # GitHub lists them by their files' names
    kinds = {"input", "textarea", "dropdown"}
    for form in forms.values():
        assert set(form) == {"name", "description", "labels", "body"}
        names = [part["id"] for part in form["body"]]
        assert len(set(names)) == len(names) and {part["type"] for part in form["body"]} <= kinds
        assert all(part["attributes"]["label"] for part in form["body"])
        assert any(part["validations"]["required"] for part in form["body"])
    links = yaml.safe_load((folder / "config.yml").read_text(encoding="utf-8"))["contact_links"]
    assert links[0]["url"].startswith(f"{ADDRESS}/security/")


def test_a_release_begins_with_one_version():
    said = {
        "kdcourse/__init__.py": r'__version__ = "([\d.]+)"',
        "CITATION.cff": r"^version: ([\d.]+)",
        "README.md": r"git\+[\w:/.]+@v([\d.]+\d)",
    }
    for name, pattern in said.items():
        if found := re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE):
            assert found[1] == kdcourse.__version__, name
    assert "release.yml" in (ROOT / "docs" / "releasing.md").read_text(encoding="utf-8")


def of_the_systems_encoding(path: Path) -> list[str]:
    """Calls that read or write text in whatever encoding the system has: on Windows often none of UTF-8's."""
    found = []
    for call in (node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)):
        name = ast.unparse(call.func)
        given = {one.arg: one.value for one in call.keywords}
        modes = [one.value for one in (*call.args, given.get("mode")) if isinstance(one, ast.Constant)]
        opens = re.search(r"(^|\.)(open|fdopen|NamedTemporaryFile)$", name) and not re.match(
            r"(Image|os|tarfile)\.", name
        )
        is_text = name.endswith((".read_text", ".write_text")) or "text" in given or opens
        binary = any(isinstance(mode, str) and re.fullmatch(r"[rwax+]*b[rwax+]*", mode) for mode in modes)
        if is_text and not binary and "encoding" not in given:
            found.append(f"{path.name}:{call.lineno}: {ast.unparse(call)}")
    return found


def test_text_is_read_and_written_as_utf_8_whatever_the_system_has(tmp_path):
    sources = [ROOT / "start.py", *(ROOT / "kdcourse").rglob("*.py")]
    assert [line for path in sources for line in of_the_systems_encoding(path)] == []
    lines = [
        "open(a)",
        "p.open('w')",
        "p.write_text(a)",
        "run(a, text=True)",
        "p.open('rb')",
        "open(a, encoding='ascii')",
    ]
    (tmp_path / "a.py").write_text("\n".join([*lines, "os.open(a)"]), encoding="utf-8")
    assert len(of_the_systems_encoding(tmp_path / "a.py")) == 4


def test_paths_stay_short_enough_for_windows():
    """It cuts them at 260: what docs/where_it_runs.md says of the course, of its environment, and so of the folder above."""
    own = [
        path.relative_to(ROOT).as_posix()
        for folder in ("kdcourse", "notebooks", "results", "docs", "tests")
        for path in (ROOT / folder).rglob("*")
        if not {"__pycache__", ".ipynb_checkpoints"} & set(path.parts)
    ]
    compiled = [re.sub(r"([^/]+)\.py$", r"__pycache__/\1.cpython-311.pyc.140737488355327", name) for name in own]
    being_written = [re.sub(r"([^/]+)$", r".\1.abcd1234.part", name) for name in own]  # as `storage.being_written` does
    checkout = max(map(len, [*own, *compiled, *being_written]))
    installed = max(len(f".venv/Lib/site-packages/kdcourse/{name.removeprefix('kdcourse/')}") for name in compiled)
    cached = len("pictures/0123456789abcdef/cifar10-pictures/train/automobile/.0000.jpg.abcd1234.part")
    assert max(checkout, installed, cached) <= 130
    packages = [str(file) for one in distributions() for file in one.files or () if ".." not in str(file)]
    assert len(".venv/Lib/site-packages/") + max(map(len, packages)) <= 180
    shared = [str(file).replace("../", "") for one in distributions() for file in one.files or () if ".." in str(file)]
    assert len(".venv/") + max(map(len, shared)) <= 180
    said = (ROOT / "docs" / "where_it_runs.md").read_text(encoding="utf-8")
    assert "at most 130 characters" in said and "at most 180" in said
