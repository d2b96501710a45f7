"""The processes that run students' code, seen from the marker: what goes in, what comes out, and their end.

`runner.py` is what runs in one of them; it sees what `sandbox.py` shows it, kept from harm as `confinement.py` says.
"""

import builtins
import json
import os
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil
import torch

from kdcourse.assignments import runner, sandbox
from kdcourse.assignments.confinement import REPLY

SECONDS = 20.0  # for one submission's answers
STARTING = 600.0  # seconds: a busy machine that never loaded PyTorch before
# What Python needs to start; nothing else of the marker's environment is shown to an answer.
KEPT = ("PATH", "SYSTEMROOT", "LD_LIBRARY_PATH", "LANG")
# An answer that tries what answers should not be able to do.
TRIALS = """
import _socket, ctypes, mmap, os, sys
def can(action, *arguments):
    try:
        action(*arguments)
        return True
    except Exception:
        return False
def start():
    if os.fork() == 0:
        os._exit(0)
network = can(lambda: _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM).connect(("192.0.2.1", 9)))  # sends nothing
processes = os.name == "nt" or can(os.kill, {marker}, 0)  # on Windows this call would be the interrupt itself
memory = can(mmap.mmap, -1, 1 << 34)  # claimed, and not touched
segments = can(lambda: os.memfd_create("x")) or can(lambda: 1 / (ctypes.CDLL(None).shmget(0, 4096, 0o1600) >= 0))
sockets = can(_socket.socketpair)
children = not hasattr(os, "fork") or can(start)
references = can(os.stat, {references!r})
reading = can(os.stat, {file!r})
sight = sys.platform != "linux" or can(lambda: 1 / (open("/proc/{marker}/cmdline", "rb").read() == {cmdline!r}))
programs = can(lambda: next(os.scandir("/run")))
permissions = can(os.chmod, {file!r}, 0o600)
files = can(os.remove, {file!r})
"""
LIBERTIES = {
    "references": "read the course's references",
    "reading": "read files of yours, other submissions among them",
    "sight": "see which other processes run",
    "files": "remove files",
    "permissions": "change files' permissions",
    "network": "reach the network",
    "programs": "reach other programs through their sockets",
    "processes": "signal other processes",
    "memory": "take any memory",
    "segments": "take memory that no limit counts",
    "sockets": "open sockets",
    "children": "start processes, each with memory of its own",
}


def run_answers(jobs: list[dict], seconds: float = SECONDS) -> list[dict]:
    """A reply for each job, {"found": name -> value} or {"error": one line}; seconds: for all of them, once PyTorch is loaded.

    Where one ends the process, or its line is no reply, the jobs after it get a new process.
    """
    replies: list[dict] = []
    while len(replies) < len(jobs):
        lines, ended = _run(jobs[len(replies) :], seconds)
        try:
            for line in lines[: len(jobs) - len(replies)]:
                replies.append(_decode(line))
            if len(replies) < len(jobs):
                replies.append({"error": "it ended the process" if ended else "out of time"})
        except (ValueError, TypeError, RuntimeError, OverflowError, RecursionError):
            replies.append({"error": "unreadable reply"})
    return replies


def _run(jobs: list[dict], seconds: float) -> tuple[list[bytes], bool]:
    """The lines that one process wrote, and whether it ended by itself in time."""
    with tempfile.TemporaryDirectory() as lent, tempfile.TemporaryFile() as asked, tempfile.TemporaryFile() as said:
        sandbox.lend(Path(lent))
        hidden = sandbox.hidden() if sandbox.means() == "unshare" else None
        asked.write(json.dumps({"jobs": jobs, "hidden": hidden}).encode())
        asked.seek(0)
        process = subprocess.Popen(
            sandbox.command(Path(lent)),
            stdin=asked,
            stdout=said,
            stderr=subprocess.DEVNULL,
            cwd=lent,
            env={name: os.environ[name] for name in KEPT if name in os.environ} | {"CUDA_VISIBLE_DEVICES": ""},
            start_new_session=True,
        )
        try:
            _await_start(process, said.fileno())
            process.wait(seconds)
            ended = True
        except subprocess.TimeoutExpired:
            ended = False
        finally:
            _end(process)
        said.seek(0)
        # Before the first piece the process was ready; the last is empty, or a line that was cut off.
        return said.read(REPLY).split(b"\n")[1:-1], ended


def _await_start(process: subprocess.Popen, said: int) -> None:
    """Wait for the line that says PyTorch is loaded, however slow the machine: the time limit is for answers."""
    deadline = time.monotonic() + STARTING
    while not os.fstat(said).st_size:
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the process that runs answers does not start; does kdcourse doctor pass?")
        time.sleep(0.05)


def _end(process: subprocess.Popen) -> None:
    """Kill the process and its own: those that left its group, too, and those that outlived it in its group."""
    own = []
    with suppress(psutil.Error):
        own = psutil.Process(process.pid).children(recursive=True)
        for child in own:
            child.kill()
    if hasattr(os, "killpg"):
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    process.wait()
    psutil.wait_procs(own, timeout=1)


def _decode(line: bytes) -> dict:
    """A reply, with tensors for numbers. Raises a `ValueError` or what PyTorch raises for anything else."""
    reply = json.loads(line)
    if not isinstance(reply, dict):
        raise ValueError("a reply is an object")
    if "error" in reply:
        return {"error": _said(reply["error"], reply.get("line"))}
    return {"found": {name: _value(value) for name, value in dict(reply.get("found", {})).items()}}


def _said(kind: object, line: object) -> str:
    """What a note says of an error: its kind and its line; no word that an answer has chosen, which may be a secret of yours."""
    if kind in runner.ENDS:
        return runner.ENDS[kind]
    known = getattr(builtins, kind, None) if isinstance(kind, str) else None
    name = kind if isinstance(known, type) and issubclass(known, BaseException) else "an error"
    return f"{name} in line {line}" if type(line) is int and 0 < line < 1000 else name


def _value(value: object) -> object:
    if value is None or isinstance(value, bool):
        return value
    return torch.as_tensor(value, dtype=torch.float64)


def liberties() -> list[str]:
    """What an answer can do on this machine and should not, found by trying each.

    Raises `RuntimeError` where no answer can be run at all.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "file"
        file.touch()
        own = Path(f"/proc/{os.getpid()}/cmdline")
        cmdline = own.read_bytes() if own.is_file() else b""
        references = str(sandbox.PACKAGE / "exercises" / "engine.py")
        code = TRIALS.format(marker=os.getpid(), file=str(file), references=references, cmdline=cmdline)
        (reply,) = run_answers([{"names": list(LIBERTIES), "probe": "numbers", "code": code}])
    if "error" in reply:
        raise RuntimeError(f"answers cannot be run here ({reply['error']}); does kdcourse doctor pass?")
    return [words for name, words in LIBERTIES.items() if reply["found"][name]]
