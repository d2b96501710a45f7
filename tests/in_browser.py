"""The browser's half of a live view, called by Node: its arithmetic and its sentences are held against Python's."""

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
    module = base64.b64encode(views.source(script, "js").encode()).decode()
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
