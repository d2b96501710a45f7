"""From `notebooks/source/NN_name.py` to `notebooks/NN_name.ipynb`: build, execute, and hold the two against each other.

The source is what people edit. Two editions are built from it: the student's, with stubs, and the instructor's, with each
exercise's reference in the stub's place.
"""

import json
import os
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import metadata
from pathlib import Path

import jupytext
import nbformat
from nbformat import NotebookNode

import kdcourse
from kdcourse.authoring.folding import fold_plumbing
from kdcourse.exercises import exercise
from kdcourse.system.storage import shipped, write_safely

ROOT = Path(__file__).parents[2]  # of a checkout
NOTEBOOKS = shipped("notebooks")
SOURCES = NOTEBOOKS / "source"
RUNTIMES = shipped("results") / "runtimes.json"
RUNTIMES_ON_GPU = RUNTIMES.with_name("runtimes-gpu.json")
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
CELL_SECONDS = 300
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
COLAB = "https://colab.research.google.com"
BADGE = "open_in_colab.svg"  # beside the notebooks: a picture that asks no host
# What must happen before the course can be imported, in front of each lab's `kd.setup()`: Colab and Kaggle install it, once.
BOOTSTRAP = """\
import os
import sys
from importlib.metadata import distributions

hosted = "google.colab" in sys.modules or "KAGGLE_KERNEL_RUN_TYPE" in os.environ
installed = {{course.version for course in distributions(name="kdcourse")}}
if hosted and "{version}" not in installed:
    %pip install --quiet --no-deps "git+{repository}@v{version}"
"""


class StaleNotebook(AssertionError):
    """A notebook that is not what its source builds, or whose outputs are not fit to be shown."""


@dataclass(frozen=True)
class Lab:
    """One lab: its number, its title and where its source is."""

    number: str
    source: Path

    @property
    def title(self) -> str:
        return re.search(r"^# # (.+)$", self.source.read_text(encoding="utf-8"), re.MULTILINE)[1]

    @property
    def notebook(self) -> Path:
        return self.source.parent.parent / f"{self.source.stem}.ipynb"


def labs(sources: Path = SOURCES) -> list[Lab]:
    """Every lab, in the order of their numbers."""
    return [Lab(path.stem[:2], path) for path in sorted(sources.glob("[0-9][0-9]_*.py"))]


def lab(number: str | int, sources: Path = SOURCES) -> Lab:
    """The lab with this number. Raises `ValueError` with the known ones for another."""
    wanted = str(number).zfill(2)
    known = {one.number: one for one in labs(sources)}
    if wanted not in known:
        raise ValueError(f"lab must be one of {', '.join(known)}, got {number!r}")
    return known[wanted]


def project() -> tuple[str, str]:
    """The project's version and the address of its repository, from the package and its declaration: nothing else spells them."""
    addresses = dict(line.split(", ", 1) for line in metadata("kdcourse").get_all("Project-URL"))
    return kdcourse.__version__, addresses["Repository"]


def in_checkout() -> bool:
    """Whether this package is a checkout's, and not an installed one."""
    return NOTEBOOKS == ROOT / "notebooks"


def output_folder() -> Path:
    """Where what is built goes: build/ of a checkout; of an installed course, build/ here."""
    return (ROOT if in_checkout() else Path.cwd()) / "build"


def compose(lab: Lab, *, solutions: bool = False) -> NotebookNode:
    """The notebook that a source stands for, not executed: with the badge and the way onto Colab, which no source holds."""
    notebook = jupytext.read(lab.source, fmt="py:percent")
    notebook.metadata = NotebookNode(kernelspec=KERNEL, language_info={"name": "python"})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell.id = f"{lab.number}-{number:03d}"  # the same in every build, so that differences are real ones
        if solutions and "exercise" in cell.metadata:
            cell.source = exercise(cell.metadata["exercise"]).source()
        if "setup" in cell.metadata.get("tags", ()):
            version, repository = project()
            cell.source = BOOTSTRAP.format(version=version, repository=repository) + cell.source
    fold_plumbing(notebook.cells)
    _add_badge(notebook.cells[0], lab)
    return notebook


def _add_badge(cell: NotebookNode, lab: Lab) -> None:
    """Below the title, the badge that opens this lab on Colab."""
    address = project()[1].replace("https://github.com", f"{COLAB}/github")
    badge = f"[![Open in Colab]({BADGE})]({address}/blob/main/notebooks/{lab.notebook.name})"
    title, _, rest = cell.source.partition("\n")
    cell.source = f"{title}\n\n{badge}\n{rest}"


def execute(notebook: NotebookNode, folder: Path, *, environment: Mapping[str, str] | None = None) -> float:
    """Run every cell in place, in `folder`; the seconds it took. An error in a cell is raised with its text.

    environment: variables that the kernel gets besides those of this process, or in their place.
    """
    from nbclient import NotebookClient

    started = time.perf_counter()
    client = NotebookClient(
        notebook,
        timeout=CELL_SECONDS,
        kernel_name="python3",
        record_timing=False,
        extra_arguments=["--IPKernelApp.log_level=40"],  # errors only: the kernel's own notices are not the lab's
    )
    client.execute(cwd=str(folder), env={**os.environ, **(environment or {})})
    return time.perf_counter() - started


def build(lab: Lab, target: Path | None = None, *, solutions: bool = False) -> float:
    """Compose, execute, check and write one notebook; the seconds that its execution took."""
    target = target or lab.notebook
    notebook = compose(lab, solutions=solutions)
    seconds = execute(notebook, lab.source.parent.parent)
    _tidy_outputs(notebook)
    check_outputs(notebook)
    write(notebook, target)
    return seconds


def write(notebook: NotebookNode, target: Path) -> None:
    """Write a notebook, and beside it the picture of its badge."""
    text = nbformat.writes(notebook) + "\n"
    write_safely(target, lambda path: path.write_text(text, encoding="utf-8"))
    if not (beside := target.with_name(BADGE)).exists():
        write_safely(beside, lambda path: shutil.copyfile(NOTEBOOKS / BADGE, path))


def check_fresh(lab: Lab, notebook: Path | None = None) -> None:
    """Raise `StaleNotebook`, naming the first cell that differs, unless the notebook is what its source builds."""
    path = notebook or lab.notebook
    if not path.is_file():
        raise StaleNotebook(f"{path.name} has not been built; run: kdcourse build {lab.number}")
    built, wanted = nbformat.read(path, as_version=4), compose(lab)
    again = f"run: kdcourse build {lab.number}"
    for number, (have, want) in enumerate(zip(built.cells, wanted.cells, strict=False)):
        for part in ("cell_type", "source", "metadata"):
            if have[part] != want[part]:
                raise StaleNotebook(f"{path.name}, cell {number}: {part} differs from {lab.source.name}; {again}")
    if len(built.cells) != len(wanted.cells):
        raise StaleNotebook(f"{path.name} has {len(built.cells)} cells, its source {len(wanted.cells)}; {again}")


def check_outputs(notebook: NotebookNode) -> None:
    """Raise `StaleNotebook` for an error, text on stderr, a picture without alternative text or a path of this machine."""
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            where = f"cell {number}"
            if output.output_type == "error":
                raise StaleNotebook(f"{where} ends in an error: {output.ename}: {output.evalue}")
            if output.get("name") == "stderr":
                raise StaleNotebook(f"{where} writes to stderr: {output.text.strip()[:200]}")
            _check_pictures(where, output)
            if str(ROOT) in json.dumps(output) or str(Path.home()) + "/" in json.dumps(output):
                raise StaleNotebook(f"{where} shows a path of this machine")


def _check_pictures(where: str, output: NotebookNode) -> None:
    data, metadata = output.get("data", {}), output.get("metadata", {})
    for kind in data:
        if kind.startswith("image/") and not metadata.get(kind, {}).get("alt"):
            raise StaleNotebook(f"{where} shows a picture without alternative text")
    for tag in re.findall(r"<img\b[^>]*>", "".join(data.get("text/html", ""))):
        if not re.search(r'\balt="[^"]+"', tag):
            raise StaleNotebook(f"{where} shows a picture without alternative text")


def _tidy_outputs(notebook: NotebookNode) -> None:
    """Drop progress bars that have run their course; join lines that arrived in pieces, whose number depends on timing."""
    for cell in notebook.cells:
        tidied: list[NotebookNode] = []
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if WIDGET_VIEW in data and "%|" in data.get("text/plain", ""):  # how tqdm writes a bar as text
                continue
            if tidied and output.output_type == tidied[-1].output_type == "stream" and output.name == tidied[-1].name:
                tidied[-1].text += output.text
            else:
                tidied.append(output)
        if "outputs" in cell:
            cell.outputs = tidied


def runtimes() -> dict[str, float]:
    """Seconds that each lab took when it was last built, by number."""
    return json.loads(RUNTIMES.read_text(encoding="utf-8")) if RUNTIMES.is_file() else {}


def record_runtime(lab: Lab, seconds: float) -> None:
    known = {**runtimes(), lab.number: round(seconds, 1)}
    text = json.dumps(dict(sorted(known.items())), indent=1) + "\n"
    write_safely(RUNTIMES, lambda path: path.write_text(text, encoding="utf-8"))


def runtime_table() -> str:
    """README's table: each lab and its measured seconds; on a GPU too, where `tests/gpu/run` has had one."""
    columns = {"seconds on two CPU cores": runtimes()}
    if RUNTIMES_ON_GPU.is_file():
        found = json.loads(RUNTIMES_ON_GPU.read_text(encoding="utf-8"))
        columns[f"seconds on a GPU, {found['machine']}"] = found["seconds"]
    rows = [f"| lab | what you do | {' | '.join(columns)} |", "|---" * (2 + len(columns)) + "|"]
    for one in labs():
        cells = [f"{known[one.number]:.0f}" if one.number in known else "not measured" for known in columns.values()]
        rows.append(f"| [{one.number}](notebooks/{one.notebook.name}) | {one.title} | {' | '.join(cells)} |")
    return "\n".join(rows)
