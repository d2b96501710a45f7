"""The browser's half of a live view: called by Node, drawn in a page, and its controls moved as by a hand."""

import base64
import json
import shutil
import subprocess

import pytest

from kdcourse.widgets import views

NODE = shutil.which("node")
needed = pytest.mark.skipif(
    NODE is None, reason="node is not installed: the browser's half is not held against Python's"
)


def call(script: str, function: str, arguments: list) -> list:
    """`function`, in JavaScript, of each of the arguments; it may use `kd`, what the view's script exports."""
    module = base64.b64encode(views.source(script).encode()).decode()
    code = (
        f'const kd = await import("data:text/javascript;base64,{module}");'
        'const arguments_ = JSON.parse(await new Response(process.stdin).text());'
        f"console.log(JSON.stringify(arguments_.map({function})));"
    )  # fmt: skip
    done = subprocess.run(
        [NODE, "--input-type=module", "-e", code],
        input=json.dumps(arguments),
        text=True,
        capture_output=True,
        check=True,
    )
    return json.loads(done.stdout)


# A model as anywidget gives one to a view: values by name, and calls for those that want to know of a change.
MODEL = """([source, values]) => import("data:text/javascript;base64," + source).then(view => {
    const calls = {};
    window.saved = 0;
    window.model = {
        get: name => values[name],
        set: (name, value) => { values[name] = value; for (const call of calls[`change:${name}`] ?? []) call(); },
        save_changes: () => { window.saved += 1; },
        on: (event, call) => { (calls[event] ??= []).push(call); },
        off: (event, call) => { calls[event] = calls[event].filter(other => other !== call); },
    };
    document.body.replaceChildren(document.createElement("div"));
    const end = view.default.render({ model, el: document.body.firstChild });
    window.listeners = () => Object.values(calls).flat().length;
    window.end = () => end();
})"""


def mount(tab, script: str, view) -> None:
    """Draw a view in a browser's page, with `window.model` in place of the kernel's: its values are those of `view` now."""
    source = base64.b64encode(views.source(script).encode()).decode()
    own = [name for name in view.keys if not name.startswith("_")]
    values = {name: value for name in own if isinstance(value := getattr(view, name), int | float | dict)}
    tab.evaluate(MODEL, [source, values])


def moved(tab, control) -> None:
    """As a hand on the keyboard does: some steps of a slider, the last option of a list, or the first."""
    if control.evaluate("node => node.tagName") == "SELECT":
        last = control.locator("option").count() - 1
        control.select_option(index=0 if control.input_value() == str(last) else last)
        return
    at_its_end = float(control.input_value()) == float(control.get_attribute("max"))
    control.focus()
    for _ in range(3):
        tab.keyboard.press("ArrowLeft" if at_its_end else "ArrowRight")
