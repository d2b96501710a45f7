"""The command that draws the package by its imports."""

from pathlib import Path
from typing import Annotated

import typer

from kdcourse.cli.common import print_table


def house(
    package: Annotated[Path | None, typer.Option(help="Another package's folder, as in an older checkout.")] = None,
    mermaid: Annotated[bool, typer.Option("--mermaid", help="The diagram of docs/architecture.md.")] = False,
) -> None:
    """Show the rooms of the package from the top floor down: their lines, what they import, and circles."""
    from kdcourse.authoring.house import diagram, survey

    try:
        rooms, circles = survey((package or Path(__file__).parents[1]).resolve())
    except (ModuleNotFoundError, ValueError) as error:
        typer.echo(f"kdcourse: {error}", err=True)
        raise typer.Exit(2) from error
    if mermaid:
        typer.echo(diagram(rooms))
        return
    rows = [(one.name, one.floor, one.python, one.javascript, ", ".join(one.imports)) for one in rooms]
    print_table(("room", "floor", "lines of Python", "of JavaScript", "imports"), rows)
    arrows = sum(len(one.imports) for one in rooms)
    counts = f"rooms: {len(rooms)}, floors: {rooms[0].floor}, arrows: {arrows}, circles: {len(circles)}"
    typer.echo("\n".join([counts, *circles]))
