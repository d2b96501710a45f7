"""Recipes that train in a background thread, one after the other, while somebody steers the one at work.

The loop asks between two steps what is wanted. It reads plain numbers behind a lock and never a widget, so the
kernel stays free, and a run that nobody touches is `Recipe.run`, number by number.
"""

import atexit
import json
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from kdcourse.experiments.experiment import Recipe
from kdcourse.methods import Method
from kdcourse.system import runtime
from kdcourse.system.storage import cache_folder, load_tensors, save_tensors
from kdcourse.training import randomness
from kdcourse.training.loop import TrainingState

INTERVAL = 0.25  # seconds between two reports
SHARE = 0.02  # the most of a run's time that reports may take
LEAVING = 10.0  # seconds that Python, on its way out, waits for the step at work
LONGEST = 60  # letters of a run's name that its file bears: Windows cuts paths at 260

_AT_WORK = threading.Lock()  # held by the one background that trains


@dataclass
class Run:
    """One recipe's run and its record.

    state: "waiting", "training", "paused", "done", "stopped", "failed" or "skipped". method: as it is now. losses: those read
    so far, one for each step. changes: (the step after which hyperparameters changed, the new ones). checkpoint: where the
    weights of a run that has ended lie; a later run of this name writes over it.
    """

    name: str
    recipe: Recipe
    seed: int
    method: Method
    state: str = "waiting"
    losses: list[float] = field(default_factory=list)
    changes: list[tuple[int, dict[str, float]]] = field(default_factory=list)
    student: nn.Module | None = None
    checkpoint: Path | None = None

    @property
    def touched(self) -> bool:
        """Changed or stopped by hand, and so no measurement."""
        return bool(self.changes) or self.state == "stopped"

    def save(self, path: Path) -> None:
        record = {"method": repr(self.method), "steps": len(self.losses), "state": self.state, "changes": self.changes}
        self.checkpoint = save_tensors(path, self.student.state_dict(), {"record": json.dumps(record)})

    def load(self) -> nn.Module:
        """The student with the checkpoint's weights, in evaluation mode and on the run's device.

        Raises `FileNotFoundError` before the run has ended.
        """
        if self.checkpoint is None:
            raise FileNotFoundError(f"{self.name} has no checkpoint yet: it is {self.state}")
        student = self.recipe.student(seed=self.seed).to(next(self.student.parameters()).device)
        student.load_state_dict(load_tensors(self.checkpoint)[0])
        return student.eval()


class Control:
    """What somebody asks of the run that trains: to pause, go on, stop, or take other numbers. Any thread may ask."""

    def __init__(self):
        self._changed = threading.Condition()
        self.ending = False
        self.reset()

    def reset(self) -> None:
        """Forget what was asked, before the next run."""
        with self._changed:
            self._numbers: dict[str, float] = {}
            self.stopping = self.ending
            self.paused_at: float | None = None

    def set_hyperparameters(self, **numbers: float) -> None:
        with self._changed:
            self._numbers |= numbers

    def pause(self) -> None:
        with self._changed:
            self.paused_at = time.monotonic()

    def resume(self) -> None:
        with self._changed:
            self.paused_at = None
            self._changed.notify_all()

    def stop(self, everything: bool = False) -> None:
        with self._changed:
            self.stopping, self.ending = True, self.ending or everything
            self.resume()

    def wait_while_paused(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.paused_at is None)

    def pending(self, method: Method) -> dict[str, float]:
        """The hyperparameters set since the last call, without those that the method has already or does not know."""
        with self._changed:
            numbers, self._numbers = self._numbers, {}
        known = method.hyperparameters
        return {name: number for name, number in numbers.items() if name in known and number != known[name]}


class Background:
    """Trains recipes in a thread of its own, one after the other, each with the same seed.

    recipes: name -> `Recipe`. seed: default 0. folder: for the checkpoints, default "dashboard" in the cache folder.
    Its attribute `report` is called on the training's thread when there is news, about four times a second; what it raises
    ends the training. Raises `ValueError` for no recipe, and for recipes that are none.
    """

    def __init__(self, recipes: Mapping[str, Recipe], *, seed: int = 0, folder: str | Path | None = None):
        if not recipes:
            raise ValueError("recipes must name at least one Recipe, got none")
        for name, recipe in recipes.items():
            if not isinstance(recipe, Recipe):
                raise ValueError(f"recipes must hold Recipes, but {name!r} is a {type(recipe).__name__}")
        self.runs = {name: Run(name, recipe, seed, recipe.method) for name, recipe in recipes.items()}
        self.current = next(iter(self.runs.values()))  # the run at work, or about to be
        self.folder = cache_folder() / "dashboard" if folder is None else Path(folder)
        self.report: Callable[[], None] = lambda: None
        self.control = Control()
        self._due = 0.0
        self._error: BaseException | None = None
        self._thread: threading.Thread | None = None
        # Not the thread's own join: interrupted once, it takes a thread for ended that is still at work (Python 3.11).
        self._over = threading.Event()

    @property
    def running(self) -> bool:
        return self._thread is not None and not self._over.is_set()

    def start(self) -> None:
        """Begin, and return at once. Raises `RuntimeError` where this or another background has begun."""
        if self._thread is not None:
            raise RuntimeError("these runs have been started already; make a new dashboard to train again")
        if not _AT_WORK.acquire(blocking=False):
            raise RuntimeError(
                "another dashboard is training: stop its runs, or wait() for them, before this one starts"
            )
        try:
            # Built on this thread: first weights are drawn from the generators that the page shares.
            started = [(run, *run.recipe.begin(run.seed)) for run in self.runs.values()]
        except BaseException:
            _AT_WORK.release()
            raise
        # A daemon, because Python would wait for any other thread before `_leave` could end it.
        self._thread = threading.Thread(target=self._work, args=(started,), name="kdcourse-training", daemon=True)
        atexit.register(self._leave)
        runtime.release_cores()
        self._thread.start()

    def wait(self, patience: float = 20.0) -> dict[str, nn.Module]:
        """Wait until all runs have ended: name -> student, without runs that never began. What a run raised is raised here.

        A paused run goes on, with a line that says so; one that is paused while this waits, after `patience` seconds. An
        interrupt from the keyboard stops all runs, which leave their checkpoints.
        """
        if self._thread is None:
            raise RuntimeError("nothing has been started: start() comes before wait()")
        try:
            self._go_on_after(0.0)
            while not self._over.wait(0.05):
                self._go_on_after(patience)
        except KeyboardInterrupt:
            self.control.stop(everything=True)
            self._over.wait()
            print("Interrupted: the runs were stopped and keep what they have learnt.")
        if self._error is not None:
            raise self._error
        return {name: run.student for name, run in self.runs.items() if run.student is not None}

    def _go_on_after(self, patience: float) -> None:
        since = self.control.paused_at
        if since is not None and self.running and (patience == 0 or time.monotonic() - since > patience):
            print(f"{self.current.name} was paused; it goes on, because a cell waits for it.")
            self.control.resume()

    def _work(self, started: list[tuple[Run, nn.Module, Callable]]) -> None:
        try:
            self._train_all(started)
        except BaseException as error:  # what a thread raises is heard by nobody: wait() raises it again
            self._error = error
        finally:
            atexit.unregister(self._leave)
            _AT_WORK.release()
            self._over.set()

    def _train_all(self, started: list[tuple[Run, nn.Module, Callable]]) -> None:
        try:
            for number, (run, student, training) in enumerate(started, start=1):
                if self.control.ending:
                    break
                self._train(run, student, training, self.folder / f"{number}-{_plain(run.name)}.safetensors")
        finally:
            for run in self.runs.values():
                run.state = "skipped" if run.state == "waiting" else run.state
            self.report()

    def _train(self, run: Run, student: nn.Module, training: Callable, path: Path) -> None:
        self.current, run.state, run.student = run, "training", student
        self.report()
        try:
            history = training(callbacks=[partial(self._between_steps, run)], draws=randomness.own, progress=False)
        except BaseException:
            run.state = "failed"
            raise
        finally:
            self.control.reset()
        run.losses, run.state = history.losses, "stopped" if history.interrupted else "done"
        run.save(path)

    def _between_steps(self, run: Run, state: TrainingState) -> None:
        if self.control.paused_at is not None:
            self._tell(run, "paused", state.losses)
            self.control.wait_while_paused()
            self._tell(run, "training", state.losses)
        if self.control.stopping:
            state.stopped = True
        elif numbers := self.control.pending(state.method):
            run.method = state.method = state.method.with_hyperparameters(**numbers)
            run.changes.append((state.step, numbers))
        if not state.stopped and time.monotonic() >= self._due:
            self._tell(run, "training", state.losses)

    def _tell(self, run: Run, state: str, losses: list[Tensor]) -> None:
        began = time.monotonic()
        if fresh := losses[len(run.losses) :]:
            run.losses.extend(torch.stack(fresh).float().tolist())  # here a GPU waits, a few times a second
        run.state = state  # last, so that who sees a paused run sees all its losses
        self.report()
        now = time.monotonic()
        self._due = now + max(INTERVAL, (now - began) / SHARE)

    def _leave(self) -> None:
        """Python ends: so do the runs, paused or not, after the step at work."""
        self.report = lambda: None  # there may be no page any more
        self.control.stop(everything=True)
        self._over.wait(LEAVING)


def _plain(name: str) -> str:
    return re.sub(r"[^\w.-]+", "-", name).strip("-")[:LONGEST]
