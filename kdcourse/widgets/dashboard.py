"""The training dashboard: loss curves that grow while recipes train in the background, and a hand on the run at work."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import ipywidgets
import numpy as np
from torch import nn

from kdcourse import plots
from kdcourse.experiments.background import Background, Run
from kdcourse.experiments.experiment import Recipe
from kdcourse.plots.palette import COLOURS, log_ticks, plain
from kdcourse.widgets.linked import WIDE, browser_view
from kdcourse.widgets.live import set_control
from kdcourse.widgets.page import Page
from kdcourse.widgets.temperature import COLDEST, DEGREES, HOTTEST
from kdcourse.widgets.wording import fixed, short

POINTS = 80  # of one curve
DASHES = ((), (7, 3), (2, 2), (9, 3, 2, 3))  # a line's second signal beside its colour; dashboard.js has the same
DEPTH = 1e4  # the largest loss / the least that a logarithmic scale shows; dashboard.js has the same
RANGES = {"temperature": (COLDEST, HOTTEST), "alpha": (0.0, 1.0)}


def smoothed(losses: Sequence[float], width: int) -> list[list[float]]:
    """The mean of each whole block of `width` steps that is finite, at the block's last step: [[step, loss], …]."""
    blocks = np.asarray(losses[: len(losses) // width * width], dtype=float).reshape(-1, width).mean(axis=1)
    return [[width * number, float(mean)] for number, mean in enumerate(blocks, start=1) if math.isfinite(mean)]


def describe(runs: Sequence[Mapping]) -> str:
    """How far each run is, and which of them are no measurements. runs: as `progress` gives them."""
    parts = []
    for run in runs:
        far = f" {math.floor(100 * run['step'] / run['steps'])} %" if run["state"] not in ("waiting", "done") else ""
        loss = f", loss {fixed(run['points'][-1][1], 3)}" if run["points"] else ""
        parts.append(f"{run['name']}: {run['state']}{far}{loss}")
    touched = [run["name"] for run in runs if run["touched"]]
    honest = f" Changed or stopped by hand, so no measurement: {', '.join(touched)}." if touched else ""
    return "; ".join(parts) + "." + honest


def progress(run: Run) -> dict:
    """What is drawn of a run: name, state, step, steps, points (see `smoothed`), changes ([step, words]), touched."""
    losses, steps = run.losses, run.recipe.steps
    changes = [
        [step, ", ".join(f"{name} {short(number)}" for name, number in numbers.items())]
        for step, numbers in run.changes
    ]
    return {
        "name": run.name,
        "state": run.state,
        "step": len(losses),
        "steps": steps,
        "points": smoothed(losses, math.ceil(steps / POINTS)),
        "changes": changes,
        "touched": run.touched,
    }


def logarithmic(losses: Sequence[float]) -> bool:
    """Whether losses are drawn on a logarithmic scale: a jump at a high temperature then leaves the other curves readable.

    A loss that falls below zero, as that of `VariationalInformation` may, needs a linear one; rounding below zero does not.
    """
    return len(losses) > 0 and min(losses) > -max(losses) / DEPTH


def draw(runs: Sequence[Mapping]) -> plots.Figure:
    """The curves as a still figure. runs: as `progress` gives them."""
    figure = plots.Figure(7.4, 3.2)
    axes = figure.subplots()
    shown = [loss for run in runs for _, loss in run["points"]]
    log = logarithmic(shown)
    least = max(shown) / DEPTH if log else -math.inf
    for number, run in enumerate(runs):
        look = {"color": COLOURS[number % len(COLOURS)], "linestyle": (0, DASHES[number % len(DASHES)])}
        steps, losses = zip(*run["points"], strict=True) if run["points"] else ((), ())
        axes.plot(steps, np.maximum(losses, least), label=run["name"], **look)
        for step, words in run["changes"]:
            axes.axvline(step, color=look["color"], linestyle=":", linewidth=1)
            axes.annotate(
                words, (step, 1), (2, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
                rotation=90, va="top", fontsize=8,
            )  # fmt: skip
    axes.set(xlabel="step", ylabel="training loss", xlim=(0, max(run["steps"] for run in runs)))
    if log:
        axes.set(yscale="log", ylabel="training loss, log scale")
        log_ticks(axes.yaxis)
    plain(axes)
    figure.legend(loc="outside upper center", ncols=min(len(runs), 4), frameon=False)
    figure.description = describe(runs)
    return figure


class Dashboard:
    """The curves, two buttons and two sliders for the run at work.

    controls: "pause" (and go on), "stop", "temperature", "alpha". runs: name -> `background.Run`, its record. An untouched run
    is `Recipe.run`; one that a hand has changed or stopped is marked and is no measurement.
    """

    def __init__(self, background: Background):
        self.background, self.runs = background, background.runs
        self.controls = _controls()
        self.view, self._picture = browser_view("dashboard", {}, runs=[]), ipywidgets.HTML()
        self._page = Page([_rows(self.controls), self._picture if self.view is None else self.view])
        self.controls["pause"].on_click(lambda _: self._pause())
        self.controls["stop"].on_click(lambda _: background.control.stop())
        for name in RANGES:
            self.controls[name].observe(lambda change, name=name: self._turn(name, change["new"]), names="value")
        self._following: Run | None = None
        self._told: set[str] = set()
        background.report = self.refresh
        self.refresh()

    def start(self) -> None:
        """Train, in the background. Raises `RuntimeError` where this or another dashboard has begun."""
        self.background.start()

    def wait(self, patience: float = 20.0) -> dict[str, nn.Module]:
        """As `Background.wait`: the students by name; says, once, where stopped runs have left their weights."""
        students = self.background.wait(patience)
        for run in self.runs.values():
            if run.state == "stopped" and run.name not in self._told:
                self._told.add(run.name)
                home, where = Path.home(), run.checkpoint
                where = "~" / where.relative_to(home) if where.is_relative_to(home) else where
                print(f"{run.name} was stopped after {len(run.losses)} of {run.recipe.steps} steps: {where}")
        return students

    @property
    def running(self) -> bool:
        return self.background.running

    @property
    def progress(self) -> list[dict]:
        return [progress(run) for run in self.runs.values()]

    @property
    def figure(self) -> plots.Figure:
        return draw(self.progress)

    @property
    def description(self) -> str:
        return describe(self.progress)

    def press(self, name: str) -> None:
        """Press "pause", "go on" or "stop", as a hand would; a button that is greyed out does nothing."""
        buttons = {"pause": self.controls["pause"], "go on": self.controls["pause"], "stop": self.controls["stop"]}
        if name not in buttons:
            raise ValueError(f"name must be one of {', '.join(buttons)}, got {name!r}")
        if not buttons[name].disabled and buttons[name].description == name:
            buttons[name].click()

    def move(self, **values: float) -> None:
        """Set temperature or alpha of the run at work, as a hand would. Raises `ValueError` for what no hand could do."""
        for name, value in values.items():
            if name in RANGES and self.controls[name].disabled:
                raise ValueError(
                    f"{name} cannot be moved: {self.background.current.method!r} is at work, or nothing is"
                )
            set_control({name: self.controls[name] for name in RANGES}, name, value)

    def refresh(self) -> None:
        """Send what there is to the page; the training's thread calls it a few times a second."""
        self._follow(self.background.current)
        over = all(run.state not in ("waiting", "training", "paused") for run in self.runs.values())
        if self.view is not None:
            self.view.runs = self.progress
        else:
            self._picture.value = self.figure.as_html()
        if over:
            self._page.update(self.figure)

    def _follow(self, run: Run) -> None:
        """Controls show the run at work: its numbers where it is another one than before, and what can be done with it."""
        active = run.state in ("waiting", "training", "paused")
        for name, (least, most) in RANGES.items():
            number = run.method.hyperparameters.get(name, math.nan)
            self.controls[name].disabled = not (active and least <= number <= most)
            if run is not self._following and least <= number <= most:
                self.controls[name].value = number
        self._following = run
        self.controls["pause"].disabled = self.controls["stop"].disabled = not active
        self._name_pause()

    def _pause(self) -> None:
        control = self.background.control
        if control.paused_at is None:
            control.pause()
        else:
            control.resume()
        self._name_pause()

    def _name_pause(self) -> None:
        self.controls["pause"].description = "pause" if self.background.control.paused_at is None else "go on"

    def _turn(self, name: str, value: float) -> None:
        self.background.control.set_hyperparameters(**{name: value})

    def _ipython_display_(self) -> None:
        self._page.show(self.figure)


def dashboard(recipes: Mapping[str, Recipe], *, seed: int = 0, folder: str | Path | None = None) -> Dashboard:
    """Train recipes in a background thread, one after the other, and watch their loss curves. Starts at once and returns.

    recipes: name -> `Recipe`. seed: as in `Recipe.run`, default 0. folder: where each run leaves its weights, default
    "dashboard" in the cache folder. Raises `ValueError` for recipes that are none, `RuntimeError` while another dashboard
    trains.
    """
    made = Dashboard(Background(recipes, seed=seed, folder=folder))
    made.start()
    return made


def _controls() -> dict[str, ipywidgets.Widget]:
    # Only where a slider comes to rest is a change: one for each move of the hand.
    at_rest = {**WIDE, "continuous_update": False}
    return {
        "pause": ipywidgets.Button(description="pause"),
        "stop": ipywidgets.Button(description="stop"),
        "temperature": ipywidgets.FloatLogSlider(value=1.0, description="temperature", **DEGREES, **at_rest),
        "alpha": ipywidgets.FloatSlider(value=0.5, min=0.0, max=1.0, step=0.05, description="alpha", **at_rest),
    }


def _rows(controls: Mapping[str, ipywidgets.Widget]) -> ipywidgets.VBox:
    buttons = ipywidgets.HBox([controls["pause"], controls["stop"]])
    return ipywidgets.VBox([buttons, *(controls[name] for name in RANGES)])
