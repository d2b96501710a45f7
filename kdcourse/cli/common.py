"""What several commands share: a lab by its number, a table on the screen."""

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


def print_table(names: tuple[str, ...], rows: list[tuple]) -> None:
    """names: of the columns. rows: a cell for each column."""
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(*(Column(name, overflow="fold") for name in names))
    for row in rows:
        table.add_row(*map(str, row))
    Console(emoji=False).print(table)  # :100: is a part of a name
