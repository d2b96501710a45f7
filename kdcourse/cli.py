"""The `kdcourse` command."""

import json
import os
import subprocess
import sys
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="An interactive course on knowledge distillation.", no_args_is_help=True, add_completion=False)
Numbers = Annotated[list[str] | None, typer.Argument(help="Numbers of labs, such as 03; all of them by default.")]


@app.command()
def lab(
    number: Annotated[str | None, typer.Argument(help="Open this lab, such as 03.")] = None,
    port: Annotated[int, typer.Option(help="Where JupyterLab answers.")] = 8888,
    browser: Annotated[bool, typer.Option(help="Open a browser.")] = True,
) -> None:
    """Open JupyterLab on the labs."""
    from kdcourse import notebooks

    folder = notebooks.NOTEBOOKS
    opened = [str(_lab(number).notebook.relative_to(folder))] if number else []
    command = [sys.executable, "-m", "jupyter", "lab", f"--ServerApp.root_dir={folder}", f"--port={port}"]
    # Settings of the course's own, without the news pop-up that would cover the first lab.
    command.append(f"--LabApp.app_settings_dir={Path(notebooks.__file__).parent / 'lab_settings'}")
    if not browser:
        command.append("--no-browser")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        command.append("--allow-root")  # in a container there is often nobody else
    raise typer.Exit(subprocess.call([*command, *opened], cwd=folder))


@app.command()
def run(
    number: Annotated[str, typer.Argument(help="The lab, such as 03.")],
    solutions: Annotated[bool, typer.Option(help="Run the instructor's edition.")] = False,
    slides: Annotated[bool, typer.Option(help="One section at a time; arrow keys go on and back.")] = False,
    html: Annotated[Path | None, typer.Option(help="Where the page goes; default build/NN_name.html.")] = None,
) -> None:
    """Execute one lab without a browser and write it as a page of HTML, whose views move without a kernel; or as slides."""
    from kdcourse import notebooks, pages
    from kdcourse.storage import write_safely

    one = _lab(number)
    notebook = notebooks.compose(one, solutions=solutions)
    seconds = notebooks.execute(notebook, notebooks.NOTEBOOKS)
    target = html or notebooks.ROOT / "build" / f"{one.source.stem}{'-slides' if slides else ''}.html"
    text = pages.slides(notebook) if slides else pages.page(notebook)
    write_safely(target, lambda path: path.write_text(text, encoding="utf-8"))
    typer.echo(f"Lab {one.number} ran in {seconds:.0f} s: {target}")


@app.command()
def build(
    numbers: Numbers = None,
    solutions: Annotated[bool, typer.Option(help="Build the instructor's edition into build/solutions.")] = False,
    force: Annotated[bool, typer.Option(help="Rebuild what is fresh, too.")] = False,
    execute: Annotated[bool, typer.Option(help="Run the notebooks, so that they carry outputs.")] = True,
) -> None:
    """Build notebooks from their sources, with outputs; only those that changed. Renews README's table of runtimes."""
    from kdcourse import notebooks

    for one in [_lab(number) for number in numbers] if numbers else notebooks.labs():
        target = notebooks.ROOT / "build" / "solutions" / one.notebook.name if solutions else one.notebook
        if not execute:
            notebooks.write(notebooks.compose(one, solutions=solutions), target)
            typer.echo(f"{target.name} written, not executed")
            continue
        if not (solutions or force) and _is_fresh(one):
            typer.echo(f"{target.name} is fresh")
            continue
        seconds = notebooks.build(one, target, solutions=solutions)
        typer.echo(f"{target.name} built, executed in {seconds:.0f} s")
        if not solutions:
            notebooks.record_runtime(one, seconds)
    if execute and not solutions:
        _renew_readme("runtimes", notebooks.runtime_table())


@app.command()
def results(
    numbers: Numbers = None,
    data: Annotated[list[str] | None, typer.Option(help="Data sets; by default a public and the built-in one.")] = None,
    study: Annotated[list[str] | None, typer.Option(help="These studies only.")] = None,
) -> None:
    """Run labs and their studies, on a public data set and on the built-in one, and keep the comparisons in results/."""
    from kdcourse import data as loaders
    from kdcourse import notebooks, studies

    os.environ["KDCOURSE_RESULTS"] = str(notebooks.ROOT / "results")
    for one in [_lab(number) for number in numbers] if numbers else notebooks.labs():
        names = studies.of_lab(one.number)
        family = studies.family_of(names[0] if names else one.number)
        for dataset in data or family.sets:
            os.environ[family.variable] = dataset
            for name in names:
                if (study is None or name in study) and dataset in studies.family_of(name).sets:
                    load = getattr(loaders, studies.family_of(name).loader)
                    paths = studies.study(name, load(dataset, fallback=False)).store()
                    typer.echo(f"{', '.join(path.name for path in paths)} kept")
            if study is None:
                seconds = notebooks.execute(notebooks.compose(one), notebooks.NOTEBOOKS)
                typer.echo(f"Lab {one.number} on {dataset}: {seconds:.0f} s")


@app.command()
def teachers(
    names: Annotated[
        list[str] | None, typer.Argument(help="perceptron, convnet, body, gpt, sentiment; the first two by default.")
    ] = None,
    data: Annotated[
        list[str] | None, typer.Option(help="Data sets of pictures; Fashion-MNIST and glyphs by default.")
    ] = None,
    pretrained: Annotated[
        str | None, typer.Option(help="Folder of the BERT that teaches the sentiment teacher.")
    ] = None,
) -> None:
    """Train the shipped teachers anew."""
    from kdcourse import zoo

    if names and "sentiment" in names and not pretrained:
        raise typer.BadParameter("the sentiment teacher is itself taught: --pretrained names the folder of a BERT")
    for_pictures = [name for name in names or zoo.RECIPES if name not in ("gpt", "sentiment")]
    if for_pictures:
        zoo.retrain(for_pictures, data)
    if names and "gpt" in names:
        zoo.retrain_language()
    if names and "sentiment" in names:
        zoo.retrain_sentiment(pretrained)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe, such as cifar100-mutual, or a YAML file.")],
    runs: Annotated[list[str] | None, typer.Option("--run", help="This run and its teachers only.")] = None,
    output: Annotated[Path | None, typer.Option(help="Checkpoints and students; default runs/RECIPE/seed-N.")] = None,
    seed: Annotated[int, typer.Option(help="First weights, batches and pictures.")] = 0,
    changes: Annotated[list[str] | None, typer.Option("--set", help="As in data.folder=/data/imagenet.")] = None,
    small: Annotated[bool, typer.Option(help="Two steps of each run on a few built-in pictures.")] = False,
) -> None:
    """Repeat a published comparison at full size, on one process or many (`accelerate launch`); goes on where it stopped."""
    from kdcourse import scale

    try:
        read = scale.read_recipe(recipe, _changes(changes or []))
        folder = output or Path("runs") / f"{read.name}{'-small' if small else ''}" / f"seed-{seed}"
        outcomes = scale.train_recipe(read, folder, runs=runs or [], seed=seed, small=small)
    except (scale.RecipeError, scale.ProcessLost, scale.Stopped, FloatingPointError) as error:
        goes_on = isinstance(error, scale.ProcessLost | scale.Stopped)
        if _is_first() or isinstance(error, scale.ProcessLost):
            typer.echo(f"kdcourse: {error}.{' The same command goes on from there.' if goes_on else ''}", err=True)
        # 143 is what a process ended by SIGTERM returns, which tells a scheduler to start it again.
        raise typer.Exit(
            143 if isinstance(error, scale.Stopped) else 2 if isinstance(error, scale.RecipeError) else 1
        ) from error
    if _is_first():
        shown = [(one.name, _scores(one.score), _scores(one.published), f"{one.steps:,}") for one in outcomes]
        _print_table(("run", "measured", "published", "steps"), shown)


@app.command()
def bench(
    what: Annotated[
        str,
        typer.Argument(
            help="training: a student alone, and taught in three ways. widgets: from a key on a slider to the picture. "
            "dashboard: what it costs."
        ),
    ] = "training",
    quick: Annotated[bool, typer.Option(help="training: a few steps, nothing kept.")] = False,
) -> None:
    """Measure the course's own speed, beside a plain baseline in the same run."""
    benches = {"training": partial(_bench_training, quick), "widgets": _bench_widgets, "dashboard": _bench_dashboard}
    if what not in benches:
        raise typer.BadParameter(f"what must be one of {', '.join(benches)}, got {what!r}")
    benches[what]()


@app.command()
def doctor(as_json: Annotated[bool, typer.Option("--json", help="For a classroom's scripts.")] = False) -> None:
    """Check this machine: every line is green, amber or red, with what to do. Exits with 1 on red."""
    from kdcourse.doctor import examine

    with redirect_stdout(sys.stderr):  # what is said on the way is no part of the table, and would break the JSON
        checks = examine()
    if as_json:
        typer.echo(json.dumps([check.as_dict() for check in checks], indent=1))
    else:
        signs = {"green": "✓ green", "amber": "! amber", "red": "✗ red"}
        painted = {status: f"[{_paint(status)}]{sign}" for status, sign in signs.items()}
        rows = [(check.name, painted[check.status], check.detail, check.advice) for check in checks]
        _print_table(("check", "status", "found", "what to do"), rows)
    raise typer.Exit(any(check.status == "red" for check in checks))


@app.command()
def progress() -> None:
    """Show what you have solved. It is kept on this machine alone."""
    from kdcourse.exercises.engine import SIGNS, summary

    rows = [(row["lab"], row["exercise"], SIGNS[row["outcome"]], row["attempts"], row["hints"]) for row in summary()]
    _print_table(("lab", "exercise", "outcome", "attempts", "hints"), rows)


def _bench_training(quick: bool) -> None:
    from kdcourse import notebooks, runtime
    from kdcourse.bench import report

    device = runtime.device()
    found = report.measured(device, quick=quick, say=typer.echo)
    _print_table(report.HEADER, report.rows(found))
    typer.echo(report.in_words(found))
    if not quick and (notebooks.ROOT / "README.md").is_file():  # in a checkout
        _renew_readme("bench", report.as_markdown(report.keep(found, device)))


def _bench_widgets() -> None:
    from kdcourse.bench.widgets import measure_latency

    found = measure_latency()
    rows = [(one.name, f"{one.median:.1f}", f"{one.p95:.1f}", f"{found[0].median / one.median:.1f}") for one in found]
    _print_table(("from key to picture", "median, ms", "95 %, ms", "times as fast"), rows)


def _bench_dashboard() -> None:
    from kdcourse.bench.dashboard import measure_cost

    cost = measure_cost()
    row = (f"{cost.alone:.2f}", f"{cost.watched:.2f}", f"{cost.ratio:.3f}", str(cost.pairs))
    _print_table(("a run alone, s", "under the dashboard, s", "ratio", "pairs"), [row])


def _print_table(names: tuple[str, ...], rows: list[tuple]) -> None:
    from rich.console import Console
    from rich.table import Column, Table

    table = Table(*(Column(name, overflow="fold") for name in names))
    for row in rows:
        table.add_row(*map(str, row))
    Console().print(table)


Seed = Annotated[int, typer.Option(help="Draws the variant, at least 0; the same seed, the same tasks.")]
Tasks = Annotated[
    list[str] | None,
    typer.Option("--task", help="This task only, such as 03-experiment; may be repeated. Default: all."),
]


@app.command()
def assign(
    seed: Seed,
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path(),
    task: Tasks = None,
) -> None:
    """Write a graded variant of tasks from labs 02 and 03 as assignment-SEED.ipynb: for students to fill, without solutions."""
    from kdcourse.assignments import sheet, variants

    try:
        typer.echo(sheet.hand_out(seed, variants.assignment(seed, task), out))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


@app.command()
def mark(
    place: Annotated[Path, typer.Argument(help="A notebook that was handed in, or a folder of them.")],
    seed: Seed,
    task: Tasks = None,
    seconds: Annotated[float, typer.Option(min=1, help="For all answers of one notebook.")] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="A row for each notebook, with all its checks.")] = False,
) -> None:
    """Mark what was handed in: which checks each notebook passes. Answers run in a process of their own, with limits."""
    from kdcourse.assignments import marking, processes, variants

    try:
        variants.assignment(seed, task), marking.submissions(place)  # a slip is told before anything is run
        for liberty in processes.liberties():
            typer.echo(f"Note: on this machine an answer can {liberty}.", err=True)
        rows = marking.mark(place, seed, task, seconds=seconds)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error
    except RuntimeError as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps(rows, indent=1))
    else:
        _print_table(("submission", "marks", "what was missed"), [_missed(row) for row in rows])


def _missed(row: dict) -> tuple[str, str, str]:
    """A row of the table of marks. What a student wrote must neither colour the table nor move the cursor."""
    from rich.markup import escape

    failed = [(task["id"], check) for task in row["tasks"] for check in task["checks"] if not check["passed"]]
    notes = [row["error"]] if row["error"] else [f"{name}, {one['name']}: {one['note']}" for name, one in failed]
    plain = ["".join(sign if sign.isprintable() else " " for sign in text) for text in (row["submission"], *notes)]
    return escape(plain[0]), f"{row['marks']} of {row['out_of']}", escape("\n".join(plain[1:]))


def _changes(given: list[str]) -> dict:
    """["data.size=64"] -> {"data.size": 64}, values as YAML reads them."""
    import yaml

    pairs = [one.partition("=") for one in given]
    if wrong := [key for key, sign, _ in pairs if not sign]:
        raise typer.BadParameter(f"--set must be key=value, got {wrong[0]!r}")
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def _is_first() -> bool:
    """Whether this process speaks for all that the launcher has started."""
    return os.environ.get("RANK", "0") == "0"


def _scores(values: list[float]) -> str:
    return " / ".join(f"{one:.2f}" for one in values)


def _lab(number: str):
    from kdcourse import notebooks

    try:
        return notebooks.lab(number)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


def _is_fresh(one) -> bool:
    from kdcourse import notebooks

    try:
        notebooks.check_fresh(one)
    except notebooks.StaleNotebook:
        return False
    return True


def _paint(status: str) -> str:
    return {"green": "green", "amber": "yellow", "red": "red"}[status]


def _renew_readme(part: str, measured: str) -> None:
    """Put what was measured between README's two markers of this part."""
    from kdcourse import notebooks
    from kdcourse.storage import write_safely

    readme = notebooks.ROOT / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(f"<!-- {part} -->\n", 1)
    _, after = rest.split(f"<!-- end of {part} -->", 1)
    text = f"{before}<!-- {part} -->\n{measured}\n<!-- end of {part} -->{after}"
    write_safely(readme, lambda path: path.write_text(text, encoding="utf-8"))


if __name__ == "__main__":
    app()
