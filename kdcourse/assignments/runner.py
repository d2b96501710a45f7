"""The process that runs one submission's answers: jobs come as JSON on standard input, replies go out as lines of JSON.

It judges nothing, and holds no reference. Whatever an answer does to it, the marker sees a line that is no reply, or none.
This file is lent to the answer's process, as all that it imports of the course: see `sandbox.LENT`.
"""

import json
import os
import sys
import traceback

import torch
from torch.nn import functional as F

from kdcourse.assignments.confinement import confine
from kdcourse.exercises import probing

MOST = 1_000  # numbers in one value
ENDS = {  # of an answer that is no error of Python's -> what the marker says
    "blank": "not attempted",
    "undefined": "the cell does not define what is asked for",
    "no numbers": f"something else than at most {MOST} numbers came back",
}


def main() -> None:
    torch.set_num_threads(1)  # an answer may start no threads
    request = json.load(sys.stdin)
    replies = os.dup(1)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):  # whatever an answer prints, it prints to nobody
        os.dup2(nothing, stream)
    confine(request["hidden"])
    _forget_the_course()
    os.write(replies, b"ready\n")
    for job in request["jobs"]:
        os.write(replies, json.dumps(run(job)).encode() + b"\n")
    os._exit(0)  # what an answer left to be done at the end is not done


def _forget_the_course() -> None:
    """An answer imports nothing of it, not even what is lent."""
    del sys.path[0]
    for name in [name for name in sys.modules if name.partition(".")[0] == "kdcourse"]:
        del sys.modules[name]
    sys.modules["kdcourse"] = None  # Python's own way to say that there is no such module


def run(job: dict) -> dict:
    """Run the code and probe what it defines: {"found": name -> value}, or {"error": its kind, "line": its line}."""
    try:
        scope = {"__name__": "answer", "torch": torch, "F": F}
        exec(compile(job["code"], "answer", "exec"), scope)
        if not set(job["names"]) <= set(scope):
            return {"error": "undefined"}
        found = probe(job, scope)
    except probing.NothingReturned:
        return {"error": "blank"}
    except BaseException as error:  # SystemExit and the like are a student's too
        kind = next(kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins")
        return {"error": kind, "line": _line(error)}
    try:
        return {"found": {name: encode(value) for name, value in found.items()}}
    except BaseException:
        return {"error": "no numbers"}


def _line(error: BaseException) -> int | None:
    """The line of the answer in which it was raised, counted from 1."""
    if isinstance(error, SyntaxError):
        return error.lineno
    lines = [number for frame, number in traceback.walk_tb(error.__traceback__) if frame.f_code.co_filename == "answer"]
    return lines[-1] if lines else None


def probe(job: dict, scope: dict) -> dict[str, object]:
    if job["probe"] == "numbers":
        return {name: probing.filled(scope[name]) for name in job["names"]}
    function = scope[job["names"][0]]
    cases = [tuple(torch.tensor(argument) for argument in case) for case in job["cases"]]
    return {"values": probing.values, "gradients": probing.gradients}[job["probe"]](function, cases)


def encode(value: object) -> object:
    """None, a truth value, or nested lists of numbers. Raises what PyTorch raises for what is no tensor."""
    if value is None or isinstance(value, bool):
        return value
    tensor = torch.as_tensor(value).detach()
    if tensor.numel() > MOST:
        raise ValueError(f"at most {MOST} numbers are wanted, got {tensor.numel()}")
    return tensor.tolist()
