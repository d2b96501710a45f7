"""A real browser on a real JupyterLab. `python -m kdcourse.bench.browser LAB.ipynb FOLDER` keeps screenshots of a lab."""

import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import kdcourse

# Debian's Chromium behind a closed network: without these it looks for its maker's hosts at every start.
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
LAB_SETTINGS = Path(kdcourse.__file__).parent / "authoring" / "lab_settings"  # as `kdcourse lab` uses them
NOISE = ("favicon", "translation", "extensions", "DevTools", "net::ERR")


def chromium() -> str | None:
    return next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )


@contextmanager
def jupyter(folder: Path, *, dark: bool = False) -> Iterator[str]:
    """JupyterLab on a free port, its root at `folder`; the address to open. dark: its dark theme."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "jupyterlab",
        "--no-browser",
        "--allow-root",
        f"--port={port}",
        "--ip=127.0.0.1",
    ]
    command += [f"--ServerApp.root_dir={folder}", "--IdentityProvider.token=course"]
    command += [f"--LabApp.app_settings_dir={LAB_SETTINGS}"]
    # A workspace of its own: what an earlier run left open must not come back.
    with tempfile.TemporaryDirectory() as state:
        command += [f"--LabApp.workspaces_dir={state}", f"--LabApp.user_settings_dir={state}/settings"]
        themes = Path(state, "settings", "@jupyterlab", "apputils-extension", "themes.jupyterlab-settings")
        themes.parent.mkdir(parents=True)
        themes.write_text(json.dumps({"theme": "JupyterLab Dark" if dark else "JupyterLab Light"}), encoding="utf-8")
        server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            yield answering(server, port)
        finally:
            server.terminate()
            server.wait(20)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answering(server: subprocess.Popen, port: int, seconds: float = 60) -> str:
    """Wait until a JupyterLab that was started with the token `course` answers: its address."""
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + seconds
    while time.monotonic() < deadline and server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/api?token=course", timeout=2).close()
            return address
        except OSError:
            time.sleep(0.2)  # the server is still starting
    raise RuntimeError(f"JupyterLab did not answer within {seconds:.0f} s")


SECONDS = 240  # how long a page may take over anything: a busy machine is slow, not broken
IS_RUNNING = "() => [...document.querySelectorAll('.jp-InputPrompt')].some(prompt => prompt.innerText.includes('*'))"


@contextmanager
def page(width: int = 1100, height: int = 900, dark: bool = False) -> Iterator:
    """A fresh page; its console's errors are collected in `page.problems`."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        tab = browser.new_page(viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light")
        tab.set_default_timeout(1000 * SECONDS)
        tab.problems = []
        tab.on("pageerror", lambda error: tab.problems.append(str(error)))
        tab.on("console", lambda message: tab.problems.append(message.text) if message.type == "error" else None)
        try:
            yield tab
        finally:
            browser.close()


def problems(tab) -> list[str]:
    """Errors of the page itself, without those of the closed network around it."""
    return [problem for problem in tab.problems if not any(word in problem for word in NOISE)]


def open_notebook(tab, address: str, name: str) -> None:
    """Open a notebook and wait until its kernel is idle: before that, Run All would be lost."""
    tab.goto(f"{address}/lab/workspaces/course/tree/{name}?token=course&reset")
    tab.wait_for_selector(".jp-Notebook .jp-Cell")
    tab.wait_for_function("() => document.body.innerText.includes('| Idle')")


def run_all(tab, seconds: int = SECONDS, *, wait: bool = True) -> None:
    """Run every cell and wait until the last has run; wait=False: until the first one runs."""
    tab.get_by_role("menuitem", name="Run", exact=True).click()
    tab.get_by_text("Run All Cells", exact=True).click()
    tab.wait_for_function(IS_RUNNING)
    if not wait:
        return
    # Between two cells nothing runs for a moment; the end is where nothing has run for two seconds.
    tab.wait_for_function(
        f"""() => {{
        if (({IS_RUNNING})() || !document.body.innerText.includes("| Idle")) window.idleSince = undefined;
        else window.idleSince ??= Date.now();
        return Date.now() - window.idleSince > 2000;
    }}""",
        timeout=1000 * seconds,
    )


def screenshots(tab, folder: Path) -> list[Path]:
    """The whole notebook, a screenful at a time."""
    folder.mkdir(parents=True, exist_ok=True)
    panel = tab.locator(".jp-WindowedPanel-outer").first
    shots, bottom = [], False
    panel.evaluate("node => node.scrollTo(0, 0)")
    while not bottom and len(shots) < 60:
        tab.wait_for_timeout(400)
        shots.append(folder / f"{len(shots):02d}.png")
        panel.screenshot(path=shots[-1])
        bottom = panel.evaluate(
            "node => { const was = node.scrollTop; node.scrollBy(0, node.clientHeight - 40); return node.scrollTop - was < 5 }"
        )
    return shots


if __name__ == "__main__":
    notebook, target = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    in_the_dark = "--dark" in sys.argv
    with jupyter(notebook.parent, dark=in_the_dark) as server_address, page(dark=in_the_dark) as shown:
        open_notebook(shown, server_address, notebook.name)
        if "--run" in sys.argv:
            run_all(shown)
        print("\n".join(map(str, screenshots(shown, target))))
        print("problems:", problems(shown))
