"""Commands of who takes the course: open a lab, run it, check the machine, get help with an exercise, see what is solved."""

import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

import kdcourse
from kdcourse.cli.common import insist, lab_of, print_table

STATUS = {"green": "[green]✓ green", "amber": "[yellow]! amber", "red": "[red]✗ red"}  # in rich's markup


def lab(
    which: Annotated[
        str | None,
        typer.Argument(
            metavar="[NUMBER | FOLDER]",
            help="A lab to open, such as 03; or the folder that the labs are in, or are written to.",
        ),
    ] = None,
    update: Annotated[
        bool, typer.Option("--update", help="Bring newer versions of the labs, beside those that you have changed.")
    ] = False,
    port: Annotated[int, typer.Option(help="Where JupyterLab answers.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open JupyterLab on the labs: a checkout's own, else those in a folder of yours, by default ./kdcourse-labs.

    Labs that are missing in the folder are written there; what is there stays as it is.
    """
    insist("jupyterlab", "jupytext")
    from kdcourse.authoring import handout, notebooks

    number = which if which and which.isdigit() else None
    opened = [lab_of(number).notebook.name] if number else []
    folder = handout.choose_folder(None if number else which)
    if folder != notebooks.NOTEBOOKS:
        _write_labs(folder, update)
    # Not by way of `jupyter lab`, which would start another environment's JupyterLab, where that stands on the PATH.
    command = [sys.executable, "-m", "jupyterlab", f"--ServerApp.root_dir={folder}", f"--port={port}"]
    # Settings of the course's own, without the news pop-up that would cover the first lab.
    command.append(f"--LabApp.app_settings_dir={Path(notebooks.__file__).parent / 'lab_settings'}")
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # in a container there is often nobody else
    raise typer.Exit(subprocess.call([*command, *opened], cwd=folder))


def _write_labs(folder: Path, update: bool) -> None:
    """And say what was written, what could be, and which labs lack a package."""
    from kdcourse.authoring.handout import hand_out
    from kdcourse.system.runtime import what_labs_lack

    try:
        done = hand_out(folder, update=update)
    except OSError as error:
        typer.echo(
            f"The labs cannot be written to {folder} ({error}). Name another folder: kdcourse lab FOLDER", err=True
        )
        raise typer.Exit(1) from error
    said = {
        "The labs are written to {folder}.": done.written,
        "Newer versions, brought by `kdcourse lab --update`; what you have changed stays: {names}": done.newer,
        "Renewed: {names}": done.renewed,
        "New, beside those that you have changed: {names}": done.beside,
    }
    for line, names in said.items():
        if names:
            typer.echo(line.format(folder=folder, names=", ".join(names)))
    if lacking := what_labs_lack():
        typer.echo(lacking)


def version() -> None:
    """Say the course's version."""
    typer.echo(f"kdcourse {kdcourse.__version__}")


def run(
    number: Annotated[str, typer.Argument(help="The lab, such as 03.")],
    solutions: Annotated[bool, typer.Option(help="Run the instructor's edition.")] = False,
    slides: Annotated[bool, typer.Option(help="One section at a time; arrow keys go on and back.")] = False,
    html: Annotated[Path | None, typer.Option(help="Where the page goes; default build/NN_name.html.")] = None,
) -> None:
    """Execute one lab without a browser and write it as a page of HTML, whose views move without a kernel; or as slides."""
    insist("jupytext", "nbclient", "nbconvert", "latex2mathml")
    from kdcourse.authoring import notebooks, pages
    from kdcourse.system.storage import write_safely

    one = lab_of(number)
    notebook = notebooks.compose(one, solutions=solutions)
    seconds = notebooks.execute(notebook, notebooks.NOTEBOOKS)
    target = html or notebooks.output_folder() / f"{one.source.stem}{'-slides' if slides else ''}.html"
    text = (pages.slides if slides else pages.page)(notebook, one.title)
    write_safely(target, lambda path: path.write_text(text, encoding="utf-8"))
    typer.echo(f"Lab {one.number} ran in {seconds:.0f} s: {target}")


def doctor(as_json: Annotated[bool, typer.Option("--json", help="For a classroom's scripts.")] = False) -> None:
    """Check this machine: every line is green, amber or red, with what to do. Exits with 1 on red."""
    from kdcourse.doctor import examine

    with redirect_stdout(sys.stderr):  # what is said on the way is no part of the table, and would break the JSON
        checks = examine()
    if as_json:
        typer.echo(json.dumps([check.as_dict() for check in checks], indent=1))
    else:
        rows = [(check.name, STATUS[check.status], check.detail, check.advice) for check in checks]
        print_table(("check", "status", "found", "what to do"), rows)
    raise typer.Exit(1 if any(check.status == "red" for check in checks) else 0)


def hint(
    identity: Annotated[str, typer.Argument(metavar="EXERCISE", help="Such as 02.entropy.")],
    again: Annotated[bool, typer.Option("--again", help="From the first hint.")] = False,
) -> None:
    """Show an exercise's next hint: the one behind those that you have seen, here or in the lab."""
    from kdcourse.exercises.engine import exercise

    try:
        card = exercise(identity)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    card.resume_hints(again)
    card.hint()


def check(file: Annotated[Path, typer.Argument(help="A Python file; torch, nn and F are known in it.")]) -> None:
    """Check a file's functions that have the names of exercises' answers. Exits with 1 unless all are right."""
    from kdcourse.exercises.cards import Message, show
    from kdcourse.exercises.engine import SIGNS, exercise
    from kdcourse.exercises.files import answers_in

    try:
        answers = answers_in(file)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    outcomes = []
    for identity, answer in answers.items():
        outcome, text = exercise(identity).attempt(answer)
        outcomes.append(outcome)
        text = "There is nothing in the function yet." if outcome == "not attempted" else text
        help_here = "" if outcome == "right" else f" `kdcourse hint {identity}` shows the next hint."
        show(Message(f"{SIGNS[outcome]}: {identity}.", text + help_here))
    raise typer.Exit(0 if set(outcomes) == {"right"} else 1)


def progress() -> None:
    """Show what you have solved, and how well you know what you know. It is kept on this machine alone."""
    from kdcourse.exercises import predictions
    from kdcourse.exercises.engine import SIGNS, summary
    from kdcourse.exercises.quiz import results

    rows = [(row["lab"], row["exercise"], SIGNS[row["outcome"]], row["attempts"], row["hints"]) for row in summary()]
    print_table(("lab", "exercise", "outcome", "attempts", "hints"), rows)
    if quizzes := results():
        print_table(("quiz of lab", "answered", "right at first"), quizzes)
    if bands := predictions.calibration():
        drawn = [
            (band, count, f"{sure:.0f}", f"{right:3.0f} {'█' * round(right / 5)}") for band, count, sure, right in bands
        ]
        print_table(("guesses, how sure", "made", "mean sureness, %", "right, %"), drawn)
