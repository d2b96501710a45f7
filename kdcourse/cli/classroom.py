"""Commands of who teaches the course: a guide as slides, a graded variant to hand out, marks for what comes back."""

import json
from pathlib import Path
from typing import Annotated

import typer

from kdcourse.cli.common import checkout, insist, lab_of, print_table

Seed = Annotated[int, typer.Option(help="Draws the variant, at least 0; the same seed, the same tasks.")]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", help="This task, such as 05-function; may be repeated. Default: the six of labs 02 and 03."),
]


def guide(
    number: Annotated[str, typer.Argument(help="The lab, such as 03.")],
    html: Annotated[Path | None, typer.Option(help="Where they go; default build/NN_name-guide.html.")] = None,
) -> None:
    """Write a lab's guide for instructors as slides, one for each heading; arrow keys go on and back."""
    insist("jupytext", "nbconvert", "latex2mathml")
    from kdcourse.authoring import notebooks, site
    from kdcourse.system.storage import write_safely

    checkout()  # the guides are not installed with the course
    one = lab_of(number)
    target = html or notebooks.output_folder() / f"{one.source.stem}-guide.html"
    text = site.guide_as_slides(one)
    write_safely(target, lambda path: path.write_text(text, encoding="utf-8"))
    typer.echo(target)


def assign(
    seed: Seed,
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path(),
    task: Tasks = None,
    for_nbgrader: Annotated[
        bool, typer.Option("--nbgrader", help="With nbgrader's marks on its cells: a source notebook, for source/NAME.")
    ] = False,
) -> None:
    """Write a graded variant of tasks from the labs as assignment-SEED.ipynb: for students to fill, without solutions."""
    insist("jupytext")
    from kdcourse.assignments import nbgrader, sheet, variants

    form = nbgrader.compose if for_nbgrader else sheet.compose
    try:
        typer.echo(sheet.hand_out(seed, form(seed, variants.assignment(seed, task)), out))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def mark(
    place: Annotated[Path, typer.Argument(help="A notebook that was handed in, or a folder of them.")],
    seed: Seed,
    task: Tasks = None,
    seconds: Annotated[float, typer.Option(min=1, help="For all answers of one notebook.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="A row for each notebook, with all its checks.")] = False,
    table: Annotated[Path | None, typer.Option("--csv", help="The class as one table, for a spreadsheet.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask where this machine cannot hold an answer.")] = False,
) -> None:
    """Mark what was handed in: which checks each notebook passes. Answers run in a process of their own, with limits."""
    insist("jupytext")
    from kdcourse.assignments import confinement, marking, processes, sandbox, submissions, variants
    from kdcourse.system.storage import write_safely

    try:
        if table and table.is_dir():
            raise ValueError(f"csv must be a file, got the folder {str(table)!r}")
        variants.assignment(seed, task)  # a slip is told before anything is run
        submissions.handed_in(place)
        if sandbox.means() != "bwrap":
            typer.echo(f"Note: {sandbox.WITHOUT_BUBBLEWRAP}", err=True)
        if lacking := confinement.absent():
            typer.echo(
                f"Note: this system has no {' and no '.join(lacking)}, which would hold an answer back.", err=True
            )
        liberties = processes.liberties()
        for liberty in liberties:
            typer.echo(f"Note: on this machine an answer can {liberty}.", err=True)
        if liberties and not yes:
            typer.confirm("Run the answers all the same?", abort=True, err=True)
        rows = marking.mark(place, seed, task, seconds=seconds)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    except RuntimeError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    if table:
        write_safely(table, lambda path: path.write_text(marking.as_csv(rows), encoding="utf-8-sig", newline=""))
        typer.echo(f"{len(rows)} submissions: {table}", err=as_json)
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        print_table(("submission", "marks", "what was missed", "what to look at"), [_table_row(row) for row in rows])


def _table_row(row: dict) -> tuple[str, str, str, str]:
    """A row of the table of marks. What a student wrote must neither colour the table nor move the cursor."""
    from rich.markup import escape

    from kdcourse.assignments import marking

    def harmless(*lines: str) -> str:  # escaped together: what one line opens, the next could close
        return escape("\n".join("".join(sign if sign.isprintable() else " " for sign in line) for line in lines))

    missed = marking.missed(row)
    marks = f"{row['marks']} of {row['out_of']}"
    if row["error"]:
        missed, marks = [row["error"]], "not marked"
    return harmless(row["submission"]), marks, harmless(*missed), harmless(*marking.to_look_at(row))
