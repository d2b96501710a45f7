"""Assignments: drawn from a seed, handed out without solutions, and marked without trust in what is handed in."""

import csv
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import nbformat
import pytest
import torch
from typer.testing import CliRunner

import kdcourse as kd
from kdcourse.assignments import (
    confinement,
    likeness,
    marking,
    measurement,
    nbgrader,
    processes,
    runner,
    sandbox,
    sheet,
    submissions,
    tasks,
)
from kdcourse.assignments.measurement import pictures
from kdcourse.assignments.tasks import FunctionTask, ReportTask, WrittenTask
from kdcourse.assignments.variants import GRADED, TASKS, assignment
from kdcourse.cli import app
from kdcourse.exercises import engine, verdicts

ATTACKS = tomllib.loads((Path(__file__).parent / "attacks.toml").read_text(encoding="utf-8"))
SEED = 7
PATIENT = 300.0  # seconds, where nothing should run out of time however busy the machine is
KNOWN = {"labels_accuracy": 70.0, "gain": 21.3, "mean_entropy": 1.2, "hardest_picture": 12.0}
CONFINED = pytest.mark.skipif(not sandbox.works("bwrap"), reason="bubblewrap is not here, or this system forbids it")


def task(name: str, seed: int = SEED):
    return assignment(seed, [name])[0]


def solution(asked: FunctionTask) -> str:
    """The exercise's published solution with this task's settings, as an answer that needs nothing else."""
    needed = [engine.exercise("03.soft_target").source()] if asked.id == "03-mixture" else []
    source = engine.exercise(asked.exercise).source()
    head = ", ".join(inspect.signature(engine.exercise(asked.exercise).reference).parameters)
    settings = zip(head.split(", ")[len(asked.arguments) :], asked.settings, strict=True)
    filled = ", ".join([*asked.arguments, *(f"{name}={value!r}" for name, value in settings)])
    return "\n\n".join([*needed, source.replace(head, filled, 1)])


def right() -> dict[str, str]:
    """Right answers to every task that is marked, where the experiment gives `KNOWN`."""
    found = {asked.id: solution(asked) for asked in assignment(SEED) if isinstance(asked, FunctionTask)}
    return found | {"03-experiment": "\n".join(f"{name} = {value}" for name, value in KNOWN.items())}


def hand_in(path: Path, answers: dict[str, str]) -> Path:
    """A sheet with these cells filled, the others as they were."""
    notebook = sheet.compose(SEED, assignment(SEED))
    for cell in notebook.cells:
        if named := re.match(r"# Answer to (\S+)\n", cell.source):
            cell.source = named[0] + answers[named[1]] if named[1] in answers else cell.source
    path.write_text(nbformat.writes(notebook), encoding="utf-8")
    return path


def call(*arguments: str):
    """The command's outcome, and what it said without its frame."""
    done = CliRunner().invoke(app, list(arguments))
    return done, re.sub(r"[\s│]+", " ", done.output)


@pytest.fixture
def known_outcome(monkeypatch):
    """Marking is what is looked at; what the experiment gives has a test of its own."""
    monkeypatch.setattr(tasks, "outcome", lambda setting: KNOWN)


def test_a_seed_draws_the_same_tasks_each_time_and_other_seeds_others():
    assert assignment(SEED) == assignment(SEED)
    assert sheet.compose(SEED, assignment(SEED)) == sheet.compose(SEED, assignment(SEED))
    drawn = [assignment(seed) for seed in range(20)]
    assert all(len(set(variants)) > 3 for variants in zip(*drawn, strict=True))
    assert [task(name) for name in GRADED] == list(assignment(SEED))  # leaving tasks out changes no other


def test_the_sheet_holds_every_task_and_no_solution(tmp_path):
    done, said = call("assign", "--seed", "7", "--out", str(tmp_path))
    path = tmp_path / "assignment-7.ipynb"
    assert done.exit_code == 0 and path.name in said
    text = path.read_text(encoding="utf-8")
    assert all(json.dumps(asked.text)[1:-1] in text or asked.text in text for asked in assignment(SEED))
    assert "settings" not in text and "reference" not in text
    stubs, named = sheet.read(path)
    assert named == SEED
    assert list(stubs) == [asked.id for asked in assignment(SEED) if not isinstance(asked, WrittenTask)]
    for name, source in stubs.items():
        assert source == f"# Answer to {name}\n{task(name).stub}"
    done, said = call("assign", "--seed", "7", "--out", str(tmp_path))
    assert done.exit_code == 2 and "without assignment-7.ipynb" in said


def test_a_class_is_marked_and_who_breaks_out_or_forges_loses_marks_alone(tmp_path, known_outcome):
    hand_in(tmp_path / "ada.ipynb", right())
    line = json.dumps({"found": {"values": True, "passed": True, "marks": 99}, "passed": True}).encode() + b"\n"
    forged = f"import os\nfor handle in range(3, 20):\n    try:\n        os.write(handle, {line!r})\n"
    forged += "    except OSError:\n        pass\nos._exit(0)"
    patched = "torch.isclose = torch.equal = torch.allclose = lambda *_, **__: torch.tensor(True)\n"
    patched += "def softmax_with_temperature(logits):\n    return logits.softmax(1)"
    hand_in(tmp_path / "bob.ipynb", right() | {"02-softmax": patched, "03-mixture": forged})
    (tmp_path / "cy").mkdir()
    (tmp_path / "cy" / "torn.ipynb").write_text('{"cells": [')
    (tmp_path / ".hidden").mkdir()
    hand_in(tmp_path / ".hidden" / "ada-checkpoint.ipynb", right())
    rows = {row["submission"]: row for row in marking.mark(tmp_path, SEED, seconds=PATIENT)}
    assert list(rows) == ["ada.ipynb", "bob.ipynb", "cy/torn.ipynb"]
    assert rows["ada.ipynb"]["marks"] == rows["ada.ipynb"]["out_of"] == 12, rows["ada.ipynb"]
    # The forged line is taken for the mixture's reply, the end of the process for the experiment's: both are Bob's.
    assert rows["bob.ipynb"]["marks"] == 12 - 2 - 2 - 4, rows["bob.ipynb"]
    failed = {one["id"]: one["checks"] for one in rows["bob.ipynb"]["tasks"] if not one["checks"][-1]["passed"]}
    assert failed.keys() == {"02-softmax", "03-mixture", "03-experiment"}
    assert failed["02-softmax"][0]["note"] == "the temperature is ignored"
    assert rows["cy/torn.ipynb"]["marks"] == 0 and "cannot be read" in rows["cy/torn.ipynb"]["error"]


HOSTILE = {
    "raises": "1 / 0",
    "exits": "import sys\nsys.exit()",
    "prints": "import os\nfor _ in range(2_000):\n    print('x' * 500_000)\n    os.write(2, b'x' * 500_000)\nx = 1",
    "memory": "hoard = bytearray(1 << 34)",
    "edits": "open(torch.__file__, 'a')",
    "vandalises": "import os\nos.chmod(torch.__file__, 0o600)",
    "vandalises devices": "import os\nos.utime('/dev/null')",
    "vandalises an open device": "import os\nos.fchmod(os.open('/dev/null', os.O_RDONLY), 0o666)",
    "network": "import _socket\n_socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM).connect(('192.0.2.1', 80))",
    "sockets": "import _socket\n_socket.socket(_socket.AF_UNIX)",
    "memory in files": "import os\nos.write(os.memfd_create('hoard'), bytes(1 << 20))",
    "shared memory": "import ctypes\nlibc = ctypes.CDLL(None)\nx = 1 + (libc.shmget(0, 1 << 20, 0o1600) >= 0)",
    "tells": "\nclass PermissionError(PermissionError): ...\nPermissionError.__name__ = 'a private key'\n"
    "raise PermissionError('a key')",
    "frees itself": "import ctypes, struct\nlibc = ctypes.CDLL(None)\nlibc.unshare(0x10020000)\n"
    "libc.syscall(442, -100, b'/', 0x8000, struct.pack('=4Q', 0, 1, 0, 0), 32)\nopen(torch.__file__, 'a')",
    "children": "import os, sys\nif os.fork() == 0:\n    os.setsid()\n"
    "    os.execv(sys.executable, [{orphan!r}, '-I', '-S', '-c', 'import time; time.sleep(600)'])\nx = 1",
    "kills": "import os\ntry:\n    os.kill({marker}, 9)\nfinally:\n    os._exit(0)",
    "loops": "import ctypes, os, sys\nctypes.CDLL(None).prctl(1, 0)\nos.setsid()\n"
    "os.execv(sys.executable, [{orphan!r}, '-I', '-S', '-c', 'while True: pass'])",
    "floods": "import os\nfor handle in range(3, 40):\n    try:\n        os.write(handle, b'[' * 100_000 + b'\\n')\n"
    "    except OSError:\n        pass\nos._exit(0)",
    "honest": "x = 2.5",
}
# A file system that cannot be written, or, to an ordinary user, a file that is another's.
DENIED = "OSError" if os.access(torch.__file__, os.W_OK) else "PermissionError"
SAID = {
    "raises": "ZeroDivisionError",
    "exits": "SystemExit",
    "memory": "MemoryError",
    "edits": f"{DENIED} in line 1",
    "vandalises": "PermissionError in line 2",
    "vandalises devices": "PermissionError in line 2",
    "vandalises an open device": "PermissionError in line 2",
    "network": "PermissionError in line 2",
    "frees itself": f"{DENIED} in line 5",
    "sockets": "PermissionError in line 2",
    "memory in files": "PermissionError in line 2",
    "tells": "PermissionError in line 4",
    "kills": "it ended the process",
    "loops": "out of time",
    "floods": "unreadable reply",
}


@pytest.fixture(params=["bwrap", "unshare"])
def kept_apart(request, monkeypatch) -> str:
    if not sandbox.works(request.param):
        pytest.skip(f"{request.param} is not here, or this system forbids it")
    monkeypatch.setattr(sandbox, "means", lambda: request.param)
    return request.param


def test_hostile_answers_harm_nobody(kept_apart):
    checker, orphan = Path(torch.__file__), f"kdcourse-orphan-{os.getpid()}"
    before = checker.read_bytes(), checker.stat().st_mode
    names = {"orphan": orphan, "marker": os.getpid()}
    jobs = {name: {"names": ["x"], "probe": "numbers", "code": code.format(**names)} for name, code in HOSTILE.items()}
    loops = jobs.pop("loops")
    replies = dict(zip(jobs, processes.run_answers(list(jobs.values()), PATIENT), strict=True))
    (replies["loops"],) = processes.run_answers([loops], 5.0)
    for name, words in SAID.items():
        assert words in replies[name]["error"], (name, replies[name])
    assert (
        replies["prints"]["found"]["x"] == replies["shared memory"]["found"]["x"] == 1
        and replies["honest"]["found"]["x"] == 2.5
    )
    assert (checker.read_bytes(), checker.stat().st_mode) == before
    running = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not any(orphan.encode() in line for line in running)


def test_what_an_answer_can_do_is_found_by_trying(kept_apart):
    in_sight = [processes.LIBERTIES["reading"]] if kept_apart == "unshare" else []
    assert processes.liberties() == in_sight


FINDING = """
import importlib, importlib.util, os, sys, types
LENT = ("assignments.runner", "assignments.confinement", "exercises.probing", "system.generators")
def found(look):
    try:
        return bool(look())
    except Exception:
        return False
def is_the_courses(one):
    if isinstance(one, types.CodeType):
        module = one.co_filename.removesuffix(".py").replace("/", ".")
    else:
        module = getattr(one if isinstance(one, (type, types.FunctionType)) else type(one), "__module__", "")
    return isinstance(module, str) and "kdcourse" in module and not module.endswith(LENT)
"""


def search(folder: Path) -> dict[str, float]:
    """What each of the searches finds, once told where to look; what one leaves behind is there for the next."""
    lab = sandbox.PACKAGE / "exercises" / "lab_02.py"
    places = {"home": sandbox.PACKAGE.parent, "lab": lab, "folder": folder, "hidden": sandbox.PACKAGE}
    told = "".join(f"{place} = {str(path)!r}\n" for place, path in places.items()) + f"marker = {os.getpid()}\n"
    codes = [f"{FINDING}{told}{code}\nx = float(x)" for code in ATTACKS["searches"].values()]
    jobs = [{"names": ["x"], "probe": "numbers", "code": code} for code in codes]
    replies = dict(zip(ATTACKS["searches"], processes.run_answers(jobs, PATIENT), strict=True))
    assert all(reply.keys() == {"found"} for reply in replies.values()), replies
    return {name: reply["found"]["x"].item() for name, reply in replies.items()}


@CONFINED
def test_no_search_finds_the_course_in_an_answers_process(tmp_path):
    hand_in(tmp_path / "other.ipynb", {})
    assert {name: count for name, count in search(tmp_path).items() if count} == {}


def test_the_searches_do_find_where_nothing_keeps_answers_apart(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "means", lambda: "")
    monkeypatch.setitem(
        ATTACKS, "searches", {name: ATTACKS["searches"][name] for name in ("read", "import anew", "submissions")}
    )
    hand_in(tmp_path / "other.ipynb", {})
    assert all(search(tmp_path).values())


@pytest.mark.parametrize("name", ATTACKS["forged"])
def test_a_forged_answer_passes_nothing(name, tmp_path):
    marks = tmp_path / "marks.json"
    marks.write_text("0")
    path = hand_in(tmp_path / "a.ipynb", {"02-softmax": f"marks = {str(marks)!r}\n{ATTACKS['forged'][name]}"})
    (row,) = marking.mark(path, SEED, ["02-softmax"], seconds=10)
    assert row["marks"] == 0 and row["out_of"] == 2 and not row["tasks"][0]["published"]
    assert marks.read_text() == "0" or not sandbox.means()


# Writes every answer from the course's own references, however the variant was drawn.
UNIVERSAL = """
import sys
if {stubborn}:
    sys.modules.pop("kdcourse", None)
    sys.path += [{home!r}]
from kdcourse.exercises import engine
def {name}(*given):
    return engine.exercise({exercise!r}).reference(*given, *{settings})
"""
EXPERIMENT = "from kdcourse.assignments import measurement\nvars().update(measurement.outcome(measurement.Setting{}))"


def universal(seed: int, stubborn: bool) -> dict[str, str]:
    home, given = str(sandbox.PACKAGE.parent), {}
    for asked in assignment(seed):
        if isinstance(asked, FunctionTask):
            names = {"name": asked.name, "exercise": asked.exercise, "settings": asked.settings}
            given[asked.id] = UNIVERSAL.format(stubborn=stubborn, home=home, **names)
    return given | {"03-experiment": EXPERIMENT.format((0, "OQCGDB", 60, 2.0))}


@pytest.mark.parametrize("seed", [0, SEED, 2026])
@pytest.mark.parametrize("stubborn", [False, pytest.param(True, marks=CONFINED)])
def test_a_submission_that_asks_the_course_passes_nothing_in_any_variant(seed, stubborn, tmp_path, known_outcome):
    answers = universal(seed, stubborn)
    (row,) = marking.mark(hand_in(tmp_path / "a.ipynb", answers), seed, seconds=PATIENT)
    assert row["marks"] == 0 and row["out_of"] == 12
    assert all("ModuleNotFoundError" in check["note"] for one in row["tasks"] for check in one["checks"])


def test_without_anything_to_keep_it_apart_the_course_is_refused_all_the_same(tmp_path, known_outcome, monkeypatch):
    monkeypatch.setattr(sandbox, "means", lambda: "")
    (row,) = marking.mark(hand_in(tmp_path / "a.ipynb", universal(SEED, False)), SEED, seconds=PATIENT)
    assert row["marks"] == 0
    (row,) = marking.mark(hand_in(tmp_path / "b.ipynb", right()), SEED, seconds=PATIENT)
    assert row["marks"] == 12


def test_the_view_of_bubblewrap_holds_python_and_packages_alone(tmp_path, monkeypatch):
    """As a list, for machines without it: what is bound, read-only, and the course's folders emptied after it."""
    packages = tmp_path / "lib" / "python3.11" / "site-packages"
    for folder in ("torch", "kdcourse", "kdcourse-0.1.0.dist-info", "numpy"):
        (packages / folder).mkdir(parents=True)
    monkeypatch.setattr(sandbox, "_packages", lambda: [packages])
    monkeypatch.setattr(sandbox, "means", lambda: "bwrap")
    line = sandbox.command(Path("/lent"))
    assert line[0] == "bwrap" and {"--unshare-all", "--unshare-user", "--die-with-parent", "--new-session"} <= set(line)
    assert line[line.index("--cap-drop") + 1] == "ALL" and "--bind" not in line and "--dev-bind" not in line
    bound = {line[place + 1] for place, word in enumerate(line) if word.startswith("--ro-bind")}
    assert {str(packages), "/lent", "/usr/lib"} <= bound
    assert not bound & {"/", "/home", "/root", "/tmp", "/etc", "/proc", str(Path.home()), str(sandbox.PACKAGE.parent)}
    emptied = [line[place + 1] for place, word in enumerate(line) if word == "--tmpfs"]
    assert [str(packages / "kdcourse"), str(packages / "kdcourse-0.1.0.dist-info")] == emptied[-2:]
    assert all(line[line.index(path) + 1 :].count("--remount-ro") for path in emptied)
    assert line.index("--tmpfs") > line.index(str(packages)) and line[-2:] == ["/answers", str(packages)]


def test_an_answers_process_is_lent_no_file_that_knows_a_reference(tmp_path):
    sandbox.lend(tmp_path)
    copied = {path.relative_to(tmp_path / "kdcourse").as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert copied == set(sandbox.LENT)
    text = "\n".join(path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.py"))
    imported = set(re.findall(r"(?:from|import) kdcourse\.([\w.]+)(?: import (\w+))?", text))
    known = {name.removesuffix(".py").replace("/", ".") for name in sandbox.LENT}
    assert all(module in known or f"{module}.{name}" in known for module, name in imported)


@pytest.mark.parametrize("name", [name for name in TASKS if isinstance(task(name), FunctionTask)])
def test_the_published_solution_is_recognised_in_other_words(name):
    asked = task(name)
    card = engine.exercise(asked.exercise)
    rest = list(inspect.signature(card.reference).parameters)[len(asked.arguments) :]
    numbers = "\n".join(f"{one} = {value!r}" for one, value in zip(rest, asked.settings, strict=True))
    source = card.source().replace(", ".join([*asked.arguments, *rest]), ", ".join(asked.arguments))
    reworded = re.sub(r"\b(q|p|log_q|scaled|powers|soft|hard|student_logits)\b", r"\1_of_mine", source) + "  # mine"
    typed = source.replace("):", ') -> "Tensor":\n    """Mine."""', 1)
    for same in (source, reworded, typed):
        assert asked.is_published(f"import torch\n{numbers}\n\n\n{same}"), same
    assert not asked.is_published(asked.stub) and not asked.is_published(
        f"{numbers}\n{source.replace('(', '(1 * ', 1)}"
    )
    if numbers:
        assert not asked.is_published(f"{numbers.replace('= ', '= 1')}\n{source}")  # another number
    for mistake in card.mistakes:
        assert not asked.is_published(inspect.getsource(mistake.function)), mistake.name


def test_a_source_that_no_parser_takes_is_no_published_solution():
    for text in (
        "-" * 4_900 + "1",
        "(" * 199,
        "x" + "()" * 2_400,
        "\0",
        "def f():\n  return " + "9" * 4_800,
        "1+" * 2_400,
    ):
        assert likeness.normal_form(text, "f") is None
    assert likeness.normal_form("def f():\n  return 9**9**9**9**9", "f") is None
    assert likeness.normal_form("def f():\n  return (-1) ** 0.5 + 1 / 0", "f") is None
    assert likeness.normal_form("def f(): return 1" + " " * likeness.LONGEST, "f") is None


def test_two_sources_that_no_parser_takes_are_not_each_other(monkeypatch):
    def reference(logits):
        return logits

    monkeypatch.setattr(likeness, "LONGEST", 10)  # of the published solution too
    assert not likeness.equals("def reference(", reference, ("logits",), ())
    assert not likeness.equals("", lambda logits: logits, ("logits",), ())  # whose line is no function of that name


def test_the_parser_says_nothing_about_a_students_code():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        assert likeness.normal_form("def f():\n    return '\\q'", "f")
    assert not heard


def test_there_is_a_row_for_everything_that_was_handed_in(tmp_path, known_outcome):
    path = hand_in(tmp_path / "Ada.IPYNB", right())
    notebook = json.loads(path.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if (source := "".join(cell["source"])).startswith("# Answer to"):
            cell["source"] = f"\n\n{source}"
    path.write_text(json.dumps(notebook), encoding="utf-8-sig")
    (tmp_path / "bob.zip").write_bytes(b"PK")
    (tmp_path / "cy.py").write_text("x = 1")
    (tmp_path / "dee.ipynb").symlink_to(path)
    (tmp_path / ".DS_Store").touch()
    rows = {row["submission"]: row for row in marking.mark(tmp_path, SEED, ["02-softmax"], seconds=PATIENT)}
    assert {name: (row["marks"], row["error"]) for name, row in rows.items()} == {
        "Ada.IPYNB": (2, ""),
        "bob.zip": (0, "an archive: unpack it first"),
        "cy.py": (0, "no notebook"),
        "dee.ipynb": (0, "a link, which is not followed"),
    }
    _, said = call("mark", str(tmp_path), "--seed", "7", "--task", "02-softmax", "--yes")
    assert said.count("not marked") == 3


CLOSED = "neither a plain file nor a folder that opens"


@pytest.mark.skipif(os.name == "nt", reason="pipes have no names there")
def test_folders_nested_without_end_links_and_pipes_are_rows_and_stop_nobody(tmp_path, monkeypatch):
    hand_in(tmp_path / "ada.ipynb", {})
    for letter, count in (("x", 1_200), ("y" * 200, 30)):
        with monkeypatch.context() as where:
            where.chdir(tmp_path)
            for _ in range(count):
                os.mkdir(letter)
                os.chdir(letter)
    os.mkfifo(tmp_path / "bob.ipynb")
    (tmp_path / "cy").mkdir()
    (tmp_path / "cy" / "all").symlink_to(tmp_path)
    (tmp_path / "dee.ipynb").symlink_to("dee.ipynb")
    try:
        errors = {one.name: one.error for one in submissions.handed_in(tmp_path)}
    finally:
        subprocess.run(["rm", "-r", tmp_path / "x", tmp_path / ("y" * 200)], check=True)  # too deep for shutil
    (long,) = [name for name in errors if name.startswith("yy")]
    assert errors == {
        "ada.ipynb": "",
        "bob.ipynb": CLOSED,
        "cy/all": "a link, which is not followed",
        "dee.ipynb": "a link, which is not followed",
        long: CLOSED,
    }


def test_a_folder_that_its_student_has_closed_is_a_row(tmp_path, monkeypatch):
    """As root nothing is closed; so the system's refusals are played."""
    (tmp_path / "closed").mkdir()
    hand_in(tmp_path / "ada.ipynb", {})
    hand_in(tmp_path / "bob.ipynb", {})
    scandir, isfile = os.scandir, os.path.isfile

    def refuse(path):
        if Path(path).name == "closed":
            raise PermissionError(path)
        return scandir(path)

    monkeypatch.setattr(submissions.os, "scandir", refuse)
    monkeypatch.setattr(submissions.os.path, "isfile", lambda path: Path(path).name != "bob.ipynb" and isfile(path))
    errors = [one.error for one in submissions.handed_in(tmp_path)]
    assert errors == ["", CLOSED, CLOSED]


def flagged(folder: Path, seed: int = SEED) -> dict[str, list[str]]:
    return submissions.flags(submissions.handed_in(folder), seed, assignment(seed))


def test_what_to_look_at_beside_the_marks(tmp_path):
    own = "def {name}(*given):\n    answer = {number}\n    return answer  # as I see it"
    names = ("02-softmax", "02-gradient", "03-mixture")
    mine = {one: own.format(name=task(one).name, number=number) for number, one in enumerate(names)}
    hand_in(tmp_path / "ada.ipynb", mine)
    hand_in(tmp_path / "bob - Copy (2).ipynb", {name: f"{text}  \n" for name, text in mine.items()})
    hand_in(tmp_path / "bob.ipynb", right())
    hand_in(tmp_path / "cy.ipynb", right() | {"02-softmax": "import kdcourse as kd"})
    hand_in(tmp_path / "dee.ipynb", {})
    hand_in(tmp_path / "eve.ipynb", {})
    assert flagged(tmp_path) == {
        "ada.ipynb": ["3 answers are word for word those of bob - Copy (2).ipynb"],
        "bob - Copy (2).ipynb": [
            "3 answers are word for word those of ada.ipynb",
            "perhaps of the same student as bob.ipynb",
        ],
        "bob.ipynb": ["perhaps of the same student as bob - Copy (2).ipynb"],  # the published solutions are said apart
        "cy.ipynb": ["02-softmax: asks for the course"],
        "dee.ipynb": [],
        "eve.ipynb": [],
    }
    assert flagged(tmp_path, seed=8)["dee.ipynb"] == ["it is assignment 7, marked as 8"]


def test_many_equal_files_take_no_time_and_few_words(tmp_path):
    mine = {name: f"def {task(name).name}(*given):\n    return 1" for name in ("02-softmax", "02-gradient")}
    path = hand_in(tmp_path / "ada.ipynb", mine)
    for number in range(300):
        shutil.copy(path, tmp_path / f"ada ({number}).ipynb")
    found = submissions.flags(submissions.handed_in(tmp_path), SEED, assignment(SEED))
    assert len(found["ada.ipynb"]) == 2 and all(note.endswith(" and 295 more") for note in found["ada.ipynb"])


def test_a_flag_holds_no_words_of_a_students(tmp_path):
    sheet_of_own = {"cells": [{"cell_type": "code", "source": "# Answer to 12-of-12-seen-by-your-teacher\nkd."}]}
    (tmp_path / "a.ipynb").write_text(json.dumps(sheet_of_own))
    assert flagged(tmp_path) == {"a.ipynb": []}


def test_a_class_is_one_table_for_a_spreadsheet(tmp_path, known_outcome):
    hand_in(tmp_path / "ada é.ipynb", {"03-experiment": right()["03-experiment"]})
    (tmp_path / "=1+1.ipynb").write_text("{")
    (tmp_path / "notes.txt").touch()
    target = tmp_path / "results" / "class.csv"
    done, said = call(*("mark", str(tmp_path), "--seed", "7", "--yes", "--csv", str(target), "--task", "03-experiment"))
    assert done.exit_code == 0 and "class.csv" in said, said
    assert target.read_bytes().startswith(b"\xef\xbb\xbf"), "without the mark Excel takes letters for others"
    with target.open(encoding="utf-8-sig", newline="") as file:
        rows = {row["submission"]: row for row in csv.DictReader(file)}
    assert list(rows) == ["'=1+1.ipynb", "ada é.ipynb", "notes.txt"], "a name must not become a formula"
    ada, torn = rows["ada é.ipynb"], rows["'=1+1.ipynb"]
    assert (ada["marks"], ada["out of"], ada["03-experiment: gain"], ada["not marked because"]) == ("4", "4", "1", "")
    assert (torn["marks"], torn["03-experiment: gain"]) == ("", "") and "cannot be read" in torn["not marked because"]
    assert all("\n" not in value for row in rows.values() for value in row.values())
    refused, said = call("mark", str(tmp_path), "--seed", "7", "--yes", "--csv", str(tmp_path))
    assert refused.exit_code == 2 and "csv must be a file" in said


def test_names_that_are_markup_together_do_not_stop_the_table(tmp_path, monkeypatch):
    """`a[/b.ipynb` opens a tag of which `c].ipynb`, on the next line, is the end."""
    row = {"marks": 0, "out_of": 12, "error": "", "tasks": []}
    flags = {"z.ipynb": ["as a[/b.ipynb", "as c].ipynb"], ":100:.ipynb": []}
    rows = [row | {"submission": name, "flags": notes} for name, notes in flags.items()]
    monkeypatch.setattr(marking, "mark", lambda *_, **__: rows)
    monkeypatch.setattr(processes, "liberties", lambda: [])
    done, said = call("mark", str(hand_in(tmp_path / "a.ipynb", {})), "--seed", "7")
    assert done.exit_code == 0 and "as a[/b.ipynb as c].ipynb" in said and ":100:.ipynb" in said


def test_published_solutions_are_listed_and_keep_their_marks(tmp_path, known_outcome):
    path = hand_in(tmp_path / "a.ipynb", right())
    (row,) = marking.mark(path, SEED, ["02-softmax", "03-experiment"], seconds=PATIENT)
    assert row["marks"] == row["out_of"] == 6
    assert [one["published"] for one in row["tasks"]] == [True, False]
    _, said = call("mark", str(path), "--seed", "7", "--task", "02-softmax", "--yes")
    assert "2 of 2" in said and "equals the published" in said


def test_a_machine_without_bubblewrap_is_told_before_anything_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(sandbox, "means", lambda: "")
    monkeypatch.setattr(processes, "liberties", lambda: 1 / 0)
    done, said = call("mark", str(hand_in(tmp_path / "a.ipynb", {})), "--seed", "7")
    assert isinstance(done.exception, ZeroDivisionError) and "install the package `bubblewrap`" in said


@pytest.mark.parametrize("platform", ["darwin", "win32", "linux"])
def test_what_a_system_lacks_is_said_by_name_before_anything_runs(platform, tmp_path, monkeypatch):
    monkeypatch.setattr(confinement.sys, "platform", platform)
    monkeypatch.setattr(confinement, "_landlock", lambda _: -1)  # a kernel that has it switched off
    monkeypatch.setattr(sandbox, "means", lambda: "")
    monkeypatch.setattr(processes, "run_answers", lambda *_: pytest.fail("it ran something"))
    monkeypatch.setattr(processes, "liberties", lambda: 1 / 0)
    done, said = call("mark", str(hand_in(tmp_path / "a.ipynb", {})), "--seed", "7")
    assert isinstance(done.exception, ZeroDivisionError)
    if platform == "linux":
        assert "this system has no Landlock, which would" in said
    else:
        assert "this system has no namespaces and no Landlock and no seccomp, which would" in said


def test_a_trial_signals_nobody_on_windows(monkeypatch):
    """There os.kill(marker, 0) would send the marker an interrupt; and what it has not, such as fork, holds nobody back."""
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("it sent a signal"))
    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.delattr(os, "fork")
    names = {"marker": os.getpid(), "file": "none", "references": "none", "cmdline": b""}
    job = {"names": list(processes.LIBERTIES), "probe": "numbers", "code": processes.TRIALS.format(**names)}
    found = runner.run(job)["found"]
    assert found["processes"] and found["children"] and found["sight"] and not found["files"]


def test_liberties_are_told_and_a_machine_that_runs_no_answer_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(processes, "run_answers", lambda jobs: [runner.run(job) for job in jobs])
    assert {"signal other processes", "remove files"} <= set(processes.liberties())
    monkeypatch.setattr(processes, "run_answers", lambda _: [{"error": "out of time"}])
    with pytest.raises(RuntimeError, match="out of time"):
        processes.liberties()
    monkeypatch.undo()
    monkeypatch.setattr(sandbox, "command", lambda _: ["/bin/false"])
    done, said = call("mark", str(hand_in(tmp_path / "a.ipynb", {})), "--seed", "7")
    assert done.exit_code == 1 and "does not start" in said


RELEASED = {  # what nbgrader does to a source: region -> what students see
    r"(?ms)^( *)### BEGIN SOLUTION.*?### END SOLUTION$": r"\1# YOUR CODE HERE\n\1raise NotImplementedError()",
    r"(?ms)^### BEGIN HIDDEN TESTS.*?### END HIDDEN TESTS$": "",
}


def test_a_sheet_for_nbgrader_has_its_metadata_and_no_solution(tmp_path):
    done, said = call("assign", "--seed", "7", "--nbgrader", "--out", str(tmp_path))
    assert done.exit_code == 0 and "assignment-7.ipynb" in said
    cells = nbformat.read(tmp_path / "assignment-7.ipynb", as_version=4).cells
    tagged = {cell.metadata.nbgrader.grade_id: cell for cell in cells if "nbgrader" in cell.metadata}
    assert [cell.source for cell in cells if "nbgrader" not in cell.metadata] == [sheet.WORK]
    for name, cell in tagged.items():
        kinds = dict(cell.metadata.nbgrader)
        points = kinds.pop("points", None)
        assert set(kinds) == {"grade", "grade_id", "locked", "schema_version", "solution", "task"}
        assert re.fullmatch(r"[\w-]+", name) and kinds["schema_version"] == 3 and kinds["task"] is False
        assert kinds["grade"] == (points is not None) and kinds["locked"] != kinds["solution"]
    for asked in assignment(SEED):
        answer = tagged[asked.id]
        assert answer.metadata.nbgrader.solution and answer.metadata.nbgrader.grade == isinstance(asked, WrittenTask)
        if not isinstance(asked, WrittenTask):
            grading = tagged[f"{asked.id}-marks"]
            assert cells[cells.index(answer) + 1] is grading and grading.cell_type == "code"
            assert grading.metadata.nbgrader.grade and grading.metadata.nbgrader.points == len(asked.checks)
    assert len(cells) == len(sheet.compose(SEED, assignment(SEED)).cells) + len(GRADED) - 1
    text = "\n".join(cell.source for cell in cells)
    for region, seen in RELEASED.items():
        text = re.sub(region, seen, text)
    assert "BEGIN" not in text and "marks(" not in text
    for asked in assignment(SEED):
        if not isinstance(asked, WrittenTask):  # the stub is what it was
            assert f"# Answer to {asked.id}\n{asked.stub.removesuffix('...')}" in text


def test_nbgraders_grading_cell_marks_the_answer_that_the_notebook_ran(known_outcome, capsys):
    (source,) = [
        cell.source for cell in nbgrader.compose(SEED, assignment(SEED)).cells if 'marks(7, "02-softmax"' in cell.source
    ]
    *steps, last = [line for line in source.splitlines() if not line.startswith("#")]
    answer = "# Answer to 02-softmax\n"
    keeps_no_argument = "def softmax_with_temperature(logits):\n    logits /= 6.0\n    return logits.softmax(1)"
    assert task("02-softmax").settings == (6.0,)
    for code, points, said in (
        (right()["02-softmax"], 2, ""),
        (keeps_no_argument, 1, "02-softmax, arguments unchanged: "),
        ("import kdcourse", 0, "ModuleNotFoundError"),
    ):
        scope = {"In": ["", "import torch", f"{answer}def softmax_with_temperature(logits): ...", answer + code]}
        exec("\n".join(steps), scope)
        assert eval(last, scope) == points, code
        assert said in capsys.readouterr().out
    assert nbgrader.marks(SEED, "02-softmax", [""]) == 0 and "no answer cell" in capsys.readouterr().out
    numbers = "# Answer to 03-experiment\n" + right()["03-experiment"]
    assert nbgrader.marks(SEED, "03-experiment", [numbers]) == 4


def test_nbgrader_itself_takes_the_sheet_and_makes_the_students_copy():
    formats = pytest.importorskip("nbgrader.nbgraderformat", reason="nbgrader is not installed here")
    from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions

    notebook = nbgrader.compose(SEED, assignment(SEED, TASKS))
    formats.MetadataValidator().validate_nb(notebook)
    assert formats.SCHEMA_VERSION == nbgrader.SCHEMA
    for clearing in (ClearSolutions(), ClearHiddenTests()):
        notebook, _ = clearing.preprocess(notebook, {})
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "marks(" not in text and "SOLUTION" not in text and "    raise NotImplementedError()" in text
    assert list(sheet.answers(cell.source for cell in notebook.cells)) == [
        asked.id for asked in assignment(SEED, TASKS) if not isinstance(asked, WrittenTask)
    ]


FUNCTIONS = {
    f"{name} {asked.exercise}": asked
    for name in TASKS
    for seed in range(20)
    if isinstance(asked := task(name, seed), FunctionTask)
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_task_is_right_with_the_reference_and_names_mistakes(name):
    asked, named, told = FUNCTIONS[name], 0, 0
    card = engine.exercise(asked.exercise)

    def judge(function):
        answer = {asked.name: lambda *given: asked._asked(function(*given, *asked.settings))}
        probe = runner.probe(asked.job(1), answer)
        line = json.dumps({"found": {key: runner.encode(value) for key, value in probe.items()}})
        return asked.judge(processes._decode(line.encode())["found"], 1)

    assert [check.passed for check in judge(card.reference)] == [True, True]
    for mistake in card.mistakes:
        lost = [check for check in judge(mistake.function) if not check.passed]
        assert lost or asked.part is not None, mistake.name  # it may lie in the part that is not asked for
        told += bool(lost)
        named += any(check.note == mistake.name for check in lost)
    assert named >= told - 1 and told >= len(card.mistakes) - 1
    assert not any(check.passed for check in asked.judge({}, 1))


def test_published_solutions_pass_in_the_process_that_runs_answers():
    """What is sent there and back keeps its kind: masks, whole numbers, tables of three dimensions."""
    asked = [one for one in FUNCTIONS.values() if one.kinds and one.part is None]
    jobs = [one.job(3) | {"code": solution(one)} for one in asked]
    for one, reply in zip(asked, processes.run_answers(jobs, PATIENT), strict=True):
        assert "found" in reply, (one.exercise, reply)
        assert all(check.passed for check in one.judge(reply["found"], 3)), one.exercise


def test_there_is_a_task_from_every_lab_and_its_text_says_what_is_drawn():
    labs = {identity[:2] for identity in engine.all_exercises()}
    assert {name[:2] for name in TASKS} == labs and len(labs) == 17
    for asked in FUNCTIONS.values():
        assert asked.exercise.startswith(asked.id[:2])
        assert all(f"`{name}`" in asked.text for name in (asked.arguments if asked.kinds else ()))
        assert all(str(value) in asked.text for value in asked.settings[:1])
    drawn = {task(name, seed).text for name in TASKS if name.endswith("-function") for seed in range(30)}
    assert len(drawn) > 40
    assert len({task("05-function", seed).exercise for seed in range(20)}) == 2


def test_reported_numbers_are_right_within_the_tolerance(known_outcome):
    def passed(**reported) -> list[bool]:
        found = {name: torch.tensor(value) for name, value in (KNOWN | reported).items()}
        return [check.passed for check in task("03-experiment").judge(found, 0)]

    assert passed(labels_accuracy=71.4, mean_entropy=1.195) == [True, True, True, True]
    assert passed(labels_accuracy=0.7, mean_entropy=1.22, hardest_picture=13) == [False, True, False, False]
    assert passed(gain=float("nan"), mean_entropy=[1.2, 1.2]) == [True, False, False, True]
    assert [check.passed for check in task("03-experiment").judge({"mean_entropy": True}, 0)] == [False] * 4


def test_one_students_numbers_are_not_anothers(monkeypatch):
    """Without the training: the place of the hardest picture is the teacher's alone, and no two variants share it."""
    scores = type("Scores", (), {"mean": lambda self: {"labels": 0.0, "distilled": 0.0}})
    monkeypatch.setattr(measurement, "compare", lambda *_, **__: type("Done", (), {"scores": scores()}))
    found = [measurement.outcome.__wrapped__(task("03-experiment", seed).setting) for seed in range(6)]
    assert len({one["hardest_picture"] for one in found}) == len(found)


def test_the_marker_runs_the_experiment_that_the_text_asks_for():
    """As a student would write it; the teacher is worth ten points, far more than the tolerance."""
    asked = task("03-experiment")
    assert isinstance(asked, ReportTask)
    setting, known = asked.setting, measurement.outcome(asked.setting)
    data = pictures(setting.data_seed, setting.classes)
    teacher = kd.zoo.teacher("convnet", data, announce=False)
    few, cached = data.train.sample(setting.labelled), kd.TeacherCache(teacher)
    accuracy = {"labels": 0.0, "distilled": 0.0}
    for seed in range(3):
        for name in accuracy:
            student = kd.models.perceptron((64,), seed=seed)
            method = kd.SoftTarget(temperature=setting.temperature) if name == "distilled" else None
            split = few if method is None else data.train
            kd.train(student, split, method, teacher=method and cached, steps=300, order_seed=seed, progress=False)
            accuracy[name] += kd.measure.accuracy(student, data.test) / 3
    logits = kd.measure.predict(teacher, data.test) / setting.temperature
    entropies = engine.exercise("02.entropy")(logits.softmax(dim=1))
    assert accuracy["labels"] == pytest.approx(known["labels_accuracy"], abs=0.3)
    assert accuracy["distilled"] - accuracy["labels"] == pytest.approx(known["gain"], abs=0.3)
    assert entropies.mean().item() == pytest.approx(known["mean_entropy"], abs=1e-4)
    assert entropies.argmax().item() == known["hardest_picture"] and known["gain"] > 10


def test_pictures_of_an_assignment():
    data = pictures(3, "OQ8")
    assert all(set(split.labels.tolist()) == {0, 1, 6} for split in (data.train, data.validation, data.test))
    assert not data.train.images[:100].equal(pictures(4, "OQ8").train.images[:100])
    for seed, classes, named in ((-1, "OQ", "seed"), (1, "O", "classes"), (1, "OO", "classes"), (1, "OX", "classes")):
        with pytest.raises(ValueError, match=named):
            pictures(seed, classes)


def test_only_bounded_numbers_are_taken_from_a_reply(monkeypatch):
    for value in (None, True, 2.5, 3, [1.0, float("nan")], torch.zeros(2, 3, requires_grad=True)):
        line = json.dumps({"found": {"a": runner.encode(value)}}).encode()
        assert verdicts.all_close(processes._decode(line)["found"], {"a": value})
    for value in ("text", object(), [0.0] * 20_000):
        with pytest.raises((TypeError, ValueError, RuntimeError)):
            runner.encode(value)
    bad = (
        "[" * 100_000,
        "[]",
        "",
        "1" * 10_000,
        "{",
        "{}x",
        *(json.dumps({"found": found}) for found in ("ab", [1], {"a": "b"}, {"a": {}}, {"a": [[1], 2]})),
    )
    for text in bad:
        monkeypatch.setattr(processes, "_run", lambda *_, text=text: ([text.encode()], True))
        assert processes.run_answers([{}]) == [{"error": "unreadable reply"}], text


def test_bad_arguments_are_named(tmp_path):
    for seed in (-1, 1.5, True, "7"):
        with pytest.raises(ValueError, match="seed must be"):
            assignment(seed)
    with pytest.raises(ValueError, match=r"task must be one of 02-softmax, .*, got '04-x'"):
        assignment(1, ["04-x"])
    for arguments, words in (
        (("assign", "--seed", "-1"), "seed must be a whole number of at least 0, got -1"),
        (("assign", "--seed", "1", "--task", "04-x"), "task must be one of"),
        (("mark", str(tmp_path), "--seed", "7"), "place must be a notebook"),
        (("mark", str(tmp_path / "none.ipynb"), "--seed", "7"), "place must be a notebook"),
        (("mark", __file__, "--seed", "7"), "place must be a notebook"),
    ):
        done, said = call(*arguments)
        assert done.exit_code == 2 and words in said, said
    for seconds in (0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="seconds must be more than 0"):
            marking.mark(tmp_path, SEED, seconds=seconds)
    large = tmp_path / "large.ipynb"
    large.write_bytes(b" " * (sheet.LARGEST + 1))
    for text in (None, "[1]", '{"cells": 1}', '{"cells": [1]}', "[" * 100_000):
        if text is not None:
            large.write_text(text)
        with pytest.raises(
            ValueError, match="cannot be read: it is larger than 10 MB" if text is None else "cannot be read"
        ):
            sheet.read(large)


def test_the_table_and_the_json_show_a_submission(tmp_path, monkeypatch):
    check = {"name": "values", "passed": False, "note": "[red]T² left out\x1b[2J[/nothing]"}
    row = {
        "submission": "a[b].ipynb",
        "marks": 1,
        "out_of": 2,
        "error": "",
        "tasks": [{"id": "03-mixture", "checks": [check], "published": False}],
        "flags": ["[blue]as b.ipynb"],
    }
    monkeypatch.setattr(marking, "mark", lambda *_, **__: [row])
    monkeypatch.setattr(processes, "liberties", lambda: ["fly"])
    path = str(hand_in(tmp_path / "a.ipynb", {}))
    done, said = call("mark", path, "--seed", "7")
    assert done.exit_code == 1 and "an answer can fly" in said and "all the same?" in said and "1 of 2" not in said
    _, said = call("mark", path, "--seed", "7", "--yes")
    assert (
        "a[b].ipynb" in said
        and "1 of 2" in said
        and "[red]T²" in said
        and "[blue]as b.ipynb" in said
        and "\x1b" not in said
    )
    assert "an answer can fly" in said
    assert json.loads(CliRunner().invoke(app, ["mark", path, "--seed", "7", "--json", "--yes"]).stdout) == [row]
