"""The `kdcourse` command. What a command needs is imported when it is called, so that `kdcourse --help` answers at once."""

import sys

import typer

from kdcourse.cli import author, classroom, student, training

app = typer.Typer(help="An interactive course on knowledge distillation.", no_args_is_help=True, add_completion=False)


@app.callback()
def readable() -> None:
    """An interactive course on knowledge distillation."""
    # A terminal whose encoding lacks a sign, as Windows' may, shows its number instead of ending the command.
    for stream in filter(None, (sys.stdout, sys.stderr)):
        stream.reconfigure(errors="backslashreplace")


for command in (
    *(student.lab, student.run, student.doctor, student.hint, student.check, student.progress, student.version),
    *(training.train, training.photographs),
    *(classroom.guide, classroom.assign, classroom.mark),
    *(author.build, author.site, author.results, author.teachers, author.bench, author.house),
):
    app.command()(command)
