"""A widget and the figure that stands in for it where widgets do not live: an exported page, a notebook without its kernel."""

import json
import uuid
from collections.abc import Sequence

import ipywidgets

from kdcourse.plots import Figure

WIDGET = "application/vnd.jupyter.widget-view+json"
EXPORT = "application/vnd.kdcourse.view+json"  # JSON: what a page of HTML needs to make the view move, see pages.py


class Page:
    """Shows `parts` one below the other, and the figure's last state wherever they cannot be drawn."""

    def __init__(self, parts: Sequence[ipywidgets.Widget]):
        self._name = f"kd-still-{uuid.uuid4().hex[:12]}"
        # A widget that is drawn brings this rule along and so hides the still figure; one that is not leaves it in view.
        rule = ipywidgets.HTML(f"<style>.{self._name} {{ display: none }}</style>", layout={"display": "none"})
        self.box = ipywidgets.VBox([*parts, rule])
        self._still, self._export = None, {}

    def show(self, figure: Figure, export: dict | None = None) -> None:
        """Display both. export: the view as `LinkedView.export` gives it, where there is one."""
        from IPython.display import display

        show_widget(self.box)
        # As one line of text: a notebook would write each of its numbers on a line of its own.
        self._export = {} if export is None else {EXPORT: json.dumps(export)}
        self._still = display(self._bundle(figure), raw=True, display_id=True)

    def update(self, figure: Figure, picture: str = "") -> None:
        """Keep the still figure, once shown, in step with the widget. picture: as in `Figure.as_html`."""
        if self._still is not None:
            self._still.update(self._bundle(figure, picture), raw=True)

    def _bundle(self, figure: Figure, picture: str = "") -> dict[str, str]:
        still = f'<div class="{self._name}">{figure.as_html(picture)}</div>'
        return {"text/html": still, "text/plain": figure.description, **self._export}


def show_widget(widget: ipywidgets.Widget) -> None:
    """Display a widget, with a sentence in its place where widgets do not live."""
    from IPython.display import display

    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    display({WIDGET: view, "text/plain": "Run this cell in a notebook for its live controls."}, raw=True)
