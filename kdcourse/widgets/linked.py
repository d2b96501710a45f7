"""Controls linked in the browser to a view that draws there: it answers within a frame, even while the kernel is busy."""

from collections.abc import Callable, Mapping, Sequence

import ipywidgets

from kdcourse.plots import Figure
from kdcourse.widgets.live import HasControls, LiveFigure, live
from kdcourse.widgets.page import Page

WIDE = {"style": {"description_width": "140px"}, "layout": {"width": "520px"}}  # what controls above a view share


class LinkedView(HasControls):
    """Controls above a view that follows them without the kernel, which is told their values.

    view: an anywidget with a trait for each control. draw(**values): the same as a still figure, described by the sentence
    that the view says too. rests: as in `linked`.
    """

    def __init__(
        self,
        view: ipywidgets.DOMWidget,
        draw: Callable[..., Figure],
        controls: dict[str, ipywidgets.Widget],
        rests: Mapping[str, str],
    ):
        self.view, self.draw, self.controls, self.rests = view, draw, controls, rests
        self.links = [
            ipywidgets.jslink((control, _synced_trait(control)), (view, name)) for name, control in controls.items()
        ]
        self._page = Page([*controls.values(), view])

    @property
    def figure(self) -> Figure:
        return self.draw(**{name: control.value for name, control in self.controls.items()})

    def move(self, **values) -> None:
        super().move(**values)
        for name in values:
            # Without a browser nothing else moves the view. A hand's moves are left to the browser: Python, a step behind,
            # would pull the slider back.
            setattr(self.view, name, _synced_value(self.controls[name]))
        self._page.update(self.figure)

    def export(self) -> dict:
        """What `export.js` needs to bring the view to life on a page without a kernel."""
        controls = [
            {"name": name, "rests": self.rests.get(name), **_html_input(control)}
            for name, control in self.controls.items()
        ]
        return {"script": self.view.script, "content": self.view.content, "controls": controls}

    def _ipython_display_(self) -> None:
        self._page.show(self.figure, self.export())


def linked(
    script: str,
    content: Mapping,
    draw: Callable[..., Figure],
    *,
    rests: Mapping[str, str] | None = None,
    **controls: ipywidgets.Widget,
) -> LinkedView | LiveFigure:
    """The view that `script` draws from `content`; drawn by Python, as `live` does, where anywidget is missing.

    rests: a control -> the checkbox that disables it while it is on.
    """
    rests = rests or {}
    for name, switch in rests.items():
        controls[name].disabled = controls[switch].value
        ipywidgets.jsdlink((controls[switch], "value"), (controls[name], "disabled"))
    view = browser_view(script, content, **{name: _synced_value(control) for name, control in controls.items()})
    return live(draw, **controls) if view is None else LinkedView(view, draw, controls, rests)


def browser_view(script: str, content: Mapping, **values) -> ipywidgets.DOMWidget | None:
    """The half of a view that draws in the browser, with a trait for each of the values; None where anywidget is missing."""
    try:
        from kdcourse.widgets.views import View
    except ImportError:
        return None
    return View(script, dict(content), **values)


def numbered(names: Sequence[str]) -> list[tuple[str, int]]:
    """Options of a list that may hold a name twice: "1: bag" -> 0, "2: boot" -> 1, …"""
    return [(f"{number}: {name}", number - 1) for number, name in enumerate(names, start=1)]


def _synced_trait(control: ipywidgets.Widget) -> str:
    """What the browser knows of a control: of a list of options only the place, their values are Python's."""
    return "index" if hasattr(control, "index") else "value"


def _synced_value(control: ipywidgets.Widget):
    return getattr(control, _synced_trait(control))


def _html_input(control: ipywidgets.Widget) -> dict:
    """A core control as one of HTML's own."""
    described = {"description": control.description, "value": _synced_value(control)}
    if hasattr(control, "index"):
        return {**described, "kind": "select", "options": list(control._options_labels)}
    if isinstance(control.value, bool):
        return {**described, "kind": "checkbox"}
    reach = {"min": control.min, "max": control.max, "step": control.step}
    # A logarithmic slider moves over the exponents.
    return {**described, **reach, "kind": "range", "base": getattr(control, "base", None)}
