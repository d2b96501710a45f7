"""How a card and what it says are shown: HTML with buttons in a notebook, plain lines elsewhere."""

import html
import re
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kdcourse.system.markup import in_html

BACKTICK = "\ue000"  # what stands for a backtick that is one; no script of this world has the sign


@dataclass(frozen=True)
class Message:
    """A title, a text, and code or what is folded below them. Borders and words carry the meaning, colour none of it."""

    title: str
    text: str = ""
    code: str = ""
    folded: str = ""  # HTML

    def as_html(self) -> str:
        block = f"<pre>{html.escape(self.code)}</pre>" if self.code else ""
        return (
            '<div style="border-left: 3px solid currentColor; padding: 0.2em 0.8em; margin: 0.3em 0">'
            f"<b>{as_html(self.title)}</b> {as_html(self.text)}{block}{self.folded}</div>"
        )

    def __str__(self) -> str:
        text = "\n".join(part for part in (self.title, self.text, textwrap.indent(self.code, "    ")) if part)
        return text.replace(BACKTICK, "`")


def show(message: Message) -> None:
    """Display it in a notebook, print it elsewhere."""
    from IPython import get_ipython

    if get_ipython() is None:
        print(message)
        return
    from IPython.display import display

    display({"text/html": message.as_html(), "text/plain": str(message)}, raw=True)


def show_buttons(actions: Mapping[str, Callable[[], Message]]) -> None:
    """A row of buttons, name -> what it does; what the last one says stands below them, and screen readers read it out.

    Says nothing where there are no widgets: whatever a button does can be called in a cell, too.
    """
    try:
        import ipywidgets
    except ImportError:
        return
    from kdcourse.widgets.page import show_widget

    said = ipywidgets.HTML()

    def press(action: Callable[[], Message]) -> None:
        said.value = f'<div aria-live="polite">{action().as_html()}</div>'

    buttons = [ipywidgets.Button(description=name) for name in actions]
    for button, action in zip(buttons, actions.values(), strict=True):
        button.on_click(lambda _, action=action: press(action))
    show_widget(ipywidgets.VBox([ipywidgets.HBox(buttons), said]))


def as_html(text: str) -> str:
    """Safe on a page; what stands between backticks is code."""
    return re.sub("`(.+?)`", r"<code>\1</code>", in_html(text)).replace(BACKTICK, "`")


def verbatim(text: str) -> str:
    """A name for a message: no backtick in it begins code."""
    return str(text).replace("`", BACKTICK)
