"""What several commands share: a lab by its number, a table on the screen."""

import typer


def lab_of(number: str):
    from kdcourse.authoring import notebooks

    try:
        return notebooks.lab(number)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def print_table(names: tuple[str, ...], rows: list[tuple]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(*(Column(name, overflow="fold") for name in names))
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)
