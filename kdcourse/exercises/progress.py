"""What a student has done: one SQLite file on their own machine. Nothing leaves it."""

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType

OUTCOMES = ("not attempted", "wrong", "right")  # from worst to best
TIMEOUT = 10.0  # seconds that one kernel waits while another records

_warned: set[Path] = set()
_recording = True


def path() -> Path:
    """`KDCOURSE_PROGRESS`, else `progress.sqlite` in the system's place for a program's data."""
    from platformdirs import user_data_path

    return Path(os.environ.get("KDCOURSE_PROGRESS") or user_data_path("kdcourse") / "progress.sqlite")


def load() -> dict[str, dict]:
    """Everything recorded so far, by exercise or question. A damaged file is moved aside with a message."""
    return _access(_select_all) or {}


def record(
    identity: str, *, outcome: str | None = None, first: Mapping[str, object] = MappingProxyType({}), **facts
) -> None:
    """Record something about one exercise or question. Counts attempts; an outcome that was "right" once stays so.

    identity: of the exercise or question. outcome: one of `OUTCOMES`, or None. first: facts of which the first value is kept.
    facts: such as hints, of which the last value is kept.
    Kernels may record at once: each waits for the other, and nothing is lost.
    """
    if _recording:
        _access(lambda database: _update(database, identity, outcome, first, facts))


@contextmanager
def paused() -> Iterator[None]:
    """Within this context nothing is recorded: for tests and for code that tries answers which no student gave."""
    global _recording
    before, _recording = _recording, False
    try:
        yield
    finally:
        _recording = before


def _access(action: Callable[[sqlite3.Connection], object]) -> object:
    """What `action` returns for the open database; None, with a message, where the file cannot be used."""
    for _ in range(2):  # the second time with a new file, where the first is damaged
        try:
            return _transact(action)
        except (sqlite3.OperationalError, OSError) as error:
            _warn(error)
            return None
        except (sqlite3.DatabaseError, json.JSONDecodeError) as error:
            _move_aside(error)
    return None


def _transact(action: Callable[[sqlite3.Connection], object]) -> object:
    path().parent.mkdir(parents=True, exist_ok=True)
    # isolation_level=None: transactions begin where they are written below, not where the module guesses.
    with closing(sqlite3.connect(path(), timeout=TIMEOUT, isolation_level=None)) as database:
        if not _has_table(database):
            with database:
                _create_table(database)
        with database:
            return action(database)


def _has_table(database: sqlite3.Connection) -> bool:
    return bool(database.execute("SELECT 1 FROM sqlite_master WHERE name = 'progress'").fetchall())


def _create_table(database: sqlite3.Connection) -> None:
    database.execute("BEGIN IMMEDIATE")
    if _has_table(database):  # another kernel was faster
        return
    database.execute("CREATE TABLE progress (identity TEXT PRIMARY KEY, entry TEXT NOT NULL)")
    for identity, entry in _read_json().items():
        _write(database, identity, entry)


def _select_all(database: sqlite3.Connection) -> dict[str, dict]:
    rows = database.execute("SELECT identity, entry FROM progress").fetchall()
    return {identity: _entry(json.loads(entry)) for identity, entry in rows}


def _update(database: sqlite3.Connection, identity: str, outcome: str | None, first: Mapping, facts: Mapping) -> None:
    database.execute("BEGIN IMMEDIATE")  # other kernels wait from before the entry is read until it is written
    row = database.execute("SELECT entry FROM progress WHERE identity = ?", (identity,)).fetchone()
    entry = _entry({} if row is None else json.loads(row[0]))
    if outcome is not None:
        entry["outcome"] = max(outcome, entry.get("outcome", outcome), key=OUTCOMES.index)
        if outcome != "not attempted":
            entry["attempts"] += 1
    _write(database, identity, {**first, **entry, **facts, "when": datetime.now(UTC).isoformat(timespec="seconds")})


def _entry(known: object) -> dict:
    """What is known of one exercise, without what no course has written: a hand or another program was at the file."""
    entry = dict(known) if isinstance(known, dict) else {}
    if entry.get("outcome", OUTCOMES[0]) not in OUTCOMES:
        del entry["outcome"]
    attempts = entry.get("attempts")
    return {**entry, "attempts": attempts if isinstance(attempts, int) and attempts >= 0 else 0}


def _write(database: sqlite3.Connection, identity: str, entry: dict) -> None:
    text = json.dumps(entry, ensure_ascii=False)
    database.execute("INSERT OR REPLACE INTO progress VALUES (?, ?)", (identity, text))


def _read_json() -> dict[str, dict]:
    """What an older course kept in JSON beside this file: taken over once, when the table is made, and left as it is."""
    old = path().with_suffix(".json")
    if old == path():  # KDCOURSE_PROGRESS names the older file itself, which SQLite has refused: it was moved aside
        old = _aside(last=True)
    if not old.is_file():
        return {}
    try:
        found = json.loads(old.read_text(encoding="utf-8"))
        entries = {identity: _entry({**entry}) for identity, entry in found.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        print(f"{old.name} cannot be read, so nothing is taken over from it.")
        return {}
    print(f"Your progress is taken over from {old.name}: {len(entries)} exercises and questions.")
    return entries


def _aside(last: bool = False) -> Path:
    """The first name for a damaged file that is free; or, of those before it, the last."""
    names = [path().with_suffix(f".damaged{path().suffix}")]
    while names[-1].exists():
        names.append(path().with_suffix(f".damaged-{len(names) + 1}{path().suffix}"))
    return names[-2:][0] if last else names[-1]


def _move_aside(error: Exception) -> None:
    try:
        kept = path().replace(_aside())
    except OSError as refused:
        _warn(refused)
    else:
        print(f"The progress file is damaged ({error}); it is kept as {kept.name} and a new one is started.")


def _warn(error: Exception) -> None:
    """Say it once for each file: a lab must not drown in it."""
    if path() not in _warned:
        _warned.add(path())
        reason = getattr(error, "strerror", None) or error
        print(f"Your progress cannot be kept ({reason}); the lab goes on without.")
