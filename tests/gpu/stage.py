"""What `tests/gpu/run` starts, each in a process of its own, on the GPU or on the second device in its place.

python -m tests.gpu.stage lab 04 FILE      a lab's cells; what they did goes to FILE
python -m tests.gpu.stage bench FILE       `kdcourse bench`, fewer turns; what it measured goes to FILE
python -m tests.gpu.stage kdcourse …       any command of the course
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path

from tests.gpu.place import gpu, pretended

TURNS = 3


def lab(number: str, path: str) -> int:
    from tests.second_device.lab import run_lab, run_whole

    outcome = run_lab(number) if pretended() else run_whole(number)
    found = asdict(outcome) | {"failures": list(map(str, outcome.failures)), "seconds": round(outcome.seconds, 1)}
    Path(path).write_text(json.dumps(found), encoding="utf-8")
    print(f"{outcome.steps} steps; the host waits in them at {dict(outcome.waits) or 'no line'}")
    return 0


def bench(path: str) -> int:
    from kdcourse.bench import report
    from kdcourse.system import runtime

    place = runtime.device()
    found = report.measured(place, quick=pretended(), turns=TURNS)
    report.keep(found, place, Path(path))
    print(report.as_markdown([found]))
    return 0


def kdcourse(*arguments: str) -> int:
    from kdcourse.cli import app

    return app(arguments, standalone_mode=False) or 0


if __name__ == "__main__":
    name, *arguments = sys.argv[1:]
    if name == "lab" and pretended():  # it puts the device in place itself
        sys.exit(lab(*arguments))
    with gpu():
        sys.exit({"lab": lab, "bench": bench, "kdcourse": kdcourse}[name](*arguments))
