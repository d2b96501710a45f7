"""A figure that follows its controls: drawn by Python, sent as one picture."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import ipywidgets
from traitlets import TraitError

from kdcourse.plots import Figure
from kdcourse.system.markup import in_html
from kdcourse.widgets.page import Page


class HasControls:
    """What every view with controls can do. controls: name -> widget. figure: what it shows now."""

    controls: dict[str, ipywidgets.Widget]
    figure: Figure

    @property
    def description(self) -> str:
        """What is shown now, in words."""
        return self.figure.description

    def move(self, **values) -> None:
        """Set controls by name, as a hand would. Raises `ValueError` for a name that is none and a value out of range."""
        for name, value in values.items():
            set_control(self.controls, name, value)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Controls moved within it are put back when it is left: a test must not change what a reader sees."""
        before = {name: control.value for name, control in self.controls.items()}
        try:
            yield
        finally:
            self.move(**before)


class LiveFigure(HasControls):
    """Controls above a picture, and below it the sentence that describes it and changes with it.

    controls: name -> widget. figure: the one shown now. description: its sentence.
    """

    def __init__(self, draw: Callable[..., Figure], controls: dict[str, ipywidgets.Widget]):
        self.draw, self.controls = draw, controls
        # Some kernels run callbacks on a second thread while a cell is running. The same thread may come back: a drawing
        # may itself move a control.
        self._lock = threading.RLock()
        self._picture, self._sentence = ipywidgets.HTML(), ipywidgets.HTML()
        self._page = Page([*controls.values(), self._picture, self._sentence])
        self.redraw()
        for control in controls.values():
            style = getattr(control, "style", None)
            if getattr(style, "description_width", None) == "":  # nobody has chosen one
                style.description_width = "initial"  # as wide as its words, so that a label is never cut
            control.observe(lambda _: self.redraw(), names="value")

    def redraw(self) -> None:
        """Draw for the values that the controls have now. What `draw` raises is raised."""
        with self._lock:
            self.figure = self.draw(**{name: control.value for name, control in self.controls.items()})
            picture = self._picture.value = self.figure.picture_html()
            self._sentence.value = f'<p aria-live="polite" style="margin:0">{in_html(self.description)}</p>'
            self._page.update(self.figure, picture)

    def _ipython_display_(self) -> None:
        self._page.show(self.figure)


def live(draw: Callable[..., Figure], **controls: ipywidgets.Widget) -> LiveFigure:
    """A live view: a figure that is drawn anew whenever one of its controls changes.

    draw: a function that takes the value of every control under its name and returns a `plots.Figure`. controls: name -> an
    ipywidgets control with a value, such as `IntSlider`; at least one.
    Raises `ValueError` where there is no control or one of them has no value.
    """
    if not controls:
        raise ValueError("live() needs at least one control, such as temperature=ipywidgets.FloatSlider()")
    for name, control in controls.items():
        if not hasattr(control, "value"):
            raise ValueError(f"{name} must be a widget with a value, got {type(control).__name__}")
    return LiveFigure(draw, controls)


def set_control(controls: dict[str, ipywidgets.Widget], name: str, value) -> None:
    """Set one control; a slider that stops at its end is an error here, not a silence."""
    if name not in controls:
        raise ValueError(f"move() takes {', '.join(controls)}, got {name!r}")
    control = controls[name]
    try:
        control.value = value
    except TraitError as error:
        raise ValueError(f"{name} must be a value that its control can take, got {value!r}") from error
    if control.value != value:
        raise ValueError(f"{name} must be within the range of its control, got {value}: it went to {control.value}")
