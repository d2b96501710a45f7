"""What several commands share: a lab by its number, a table on the screen."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from kdcourse.authoring.notebooks import Lab


def lab_of(number: str) -> "Lab":
    """The lab of this number; for another, the command ends with the known ones."""
    from kdcourse.authoring import notebooks

    try:
        return notebooks.lab(number)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def insist(*packages: str) -> None:
    """End the command with a line that says how to get those of these packages that are missing."""
    from kdcourse.system.runtime import need

    try:
        need(*packages)
    except ModuleNotFoundError as error:
        typer.echo(f"kdcourse: {error}", err=True)
        raise typer.Exit(1) from error


def checkout() -> Path:
    """The checkout's folder, for commands that write into it; elsewhere they end with a line."""
    from kdcourse.authoring import notebooks

    if not notebooks.in_checkout():
        typer.echo(
            "kdcourse: this command changes the course itself, and needs a checkout of its repository.", err=True
        )
        raise typer.Exit(1)
    return notebooks.ROOT


def print_table(names: tuple[str, ...], rows: list[tuple]) -> None:
    """names: of the columns. rows: a cell for each column."""
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(*(Column(name, overflow="fold") for name in names))
    for row in rows:
        table.add_row(*map(str, row))
    Console(emoji=False).print(table)  # :100: is a part of a name
