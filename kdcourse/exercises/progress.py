"""What a student has done: one JSON file on their own machine. Nothing leaves it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from kdcourse.system.storage import write_safely

_warned: set[Path] = set()
_recording = True


def path() -> Path:
    """`KDCOURSE_PROGRESS`, else `progress.json` in the system's place for a program's data."""
    from platformdirs import user_data_path

    return Path(os.environ.get("KDCOURSE_PROGRESS") or user_data_path("kdcourse") / "progress.json")


def load() -> dict[str, dict]:
    """Everything recorded so far, by exercise or question. A damaged file is moved aside with a message."""
    try:
        found = json.loads(path().read_text(encoding="utf-8"))
        if isinstance(found, dict) and all(isinstance(entry, dict) for entry in found.values()):
            return found
        reason = "it is not a table of exercises"
    except FileNotFoundError:
        return {}
    except OSError as error:
        _warn(error)
        return {}
    except ValueError as error:
        reason = str(error)
    aside = path().with_suffix(".damaged.json")
    print(f"The progress file is damaged ({reason}); it is kept as {aside.name} and a new one is started.")
    try:
        path().replace(aside)
    except OSError as error:
        _warn(error)
    return {}


def record(identity: str, **facts: object) -> None:
    """Add to what is known of one exercise or question: outcome, hints, an answer. Counts attempts; right stays right."""
    if not _recording:
        return
    everything = load()
    entry = everything.setdefault(identity, {"attempts": 0})
    outcome = facts.pop("outcome", None)
    if outcome is not None:
        entry["attempts"] = entry.get("attempts", 0) + (outcome != "not attempted")
        if entry.get("outcome") != "right" and not (outcome == "not attempted" and "outcome" in entry):
            entry["outcome"] = outcome
    entry.update(facts, when=datetime.now(UTC).isoformat(timespec="seconds"))
    text = json.dumps(everything, indent=1, ensure_ascii=False)
    try:
        write_safely(path(), lambda temporary: temporary.write_text(text, encoding="utf-8"))
    except OSError as error:
        _warn(error)


@contextmanager
def paused() -> Iterator[None]:
    """Record nothing meanwhile: for code that tries things which no student did."""
    global _recording
    before, _recording = _recording, False
    try:
        yield
    finally:
        _recording = before


def _warn(error: OSError) -> None:
    """Say it once for each file: a lab must not drown in it."""
    if path() not in _warned:
        _warned.add(path())
        print(f"Your progress cannot be kept ({error.strerror or type(error).__name__}); the lab goes on without.")
