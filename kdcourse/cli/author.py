"""Commands of who writes the course: notebooks, results, the shipped teachers, its speed, the rooms of its package."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdcourse.cli.common import checkout, lab_of, print_table

if TYPE_CHECKING:
    from kdcourse.authoring.notebooks import Lab

Numbers = Annotated[list[str] | None, typer.Argument(help="Numbers of labs, such as 03; all of them by default.")]


def build(
    numbers: Numbers = None,
    solutions: Annotated[bool, typer.Option(help="Build the instructor's edition into build/solutions.")] = False,
    force: Annotated[bool, typer.Option(help="Rebuild what is fresh, too.")] = False,
    execute: Annotated[bool, typer.Option(help="Run the notebooks, so that they carry outputs.")] = True,
) -> None:
    """Build notebooks from their sources, with outputs; only those that changed. Renews README's table of runtimes."""
    from kdcourse.authoring import notebooks

    if not solutions:
        checkout()
    for one in _labs(numbers):
        target = notebooks.output_folder() / "solutions" / one.notebook.name if solutions else one.notebook
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
        renew_readme()


def site(
    target: Annotated[Path | None, typer.Option(help="The folder; default build/site.")] = None,
) -> None:
    """Write the course as a site: built labs as pages, guides, glossary, reference and search. It asks no host for anything."""
    from kdcourse.authoring import notebooks
    from kdcourse.authoring import site as pages_of_site

    checkout()
    files = pages_of_site.build(target or notebooks.output_folder() / "site")
    typer.echo(f"{len(files)} files written; open {files[0]}")


def results(
    numbers: Numbers = None,
    data: Annotated[list[str] | None, typer.Option(help="Data sets; by default a public and the built-in one.")] = None,
    study: Annotated[list[str] | None, typer.Option(help="These studies only.")] = None,
) -> None:
    """Run labs and their studies, on a public data set and on the built-in one, and keep the comparisons in results/."""
    from kdcourse import studies
    from kdcourse.authoring import notebooks

    folder = checkout() / "results"
    for one in _labs(numbers):
        names = studies.of_lab(one.number)
        family = studies.family_of(names[0] if names else one.number)
        others = [dataset for name in names for dataset in studies.family_of(name).sets if dataset not in family.sets]
        for dataset in data or [*family.sets, *dict.fromkeys(others)]:
            for name in names:
                if (study is None or name in study) and dataset in studies.family_of(name).sets:
                    _store_study(name, dataset, folder)
            if study is None and dataset not in others:
                environment = {family.variable: dataset, "KDCOURSE_RESULTS": str(folder)}
                seconds = notebooks.execute(notebooks.compose(one), notebooks.NOTEBOOKS, environment=environment)
                typer.echo(f"Lab {one.number} on {dataset}: {seconds:.0f} s")


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

    checkout()
    if names and "sentiment" in names and not pretrained:
        raise typer.BadParameter("the sentiment teacher is itself taught: --pretrained names the folder of a BERT")
    for_pictures = [name for name in names or list(zoo.RECIPES) if name not in ("gpt", "sentiment")]
    if for_pictures:
        zoo.retrain(for_pictures, data)
    if names and "gpt" in names:
        zoo.retrain_language()
    if names and "sentiment" in names:
        zoo.retrain_sentiment(pretrained)


def bench(
    what: Annotated[
        str,
        typer.Argument(
            help="training: a student alone, and taught in four ways. widgets: from a key on a slider to the picture. "
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


def _bench_training(quick: bool) -> None:
    from kdcourse.authoring import notebooks
    from kdcourse.bench import report
    from kdcourse.system import runtime

    device = runtime.device()
    found = report.measured(device, quick=quick, say=typer.echo)
    print_table(report.HEADER, report.rows(found))
    typer.echo(report.in_words(found))
    if not quick and notebooks.in_checkout():
        report.keep(found, device)
        renew_readme()


def _bench_widgets() -> None:
    from kdcourse.bench.widgets import measure_latency

    found = measure_latency()
    rows = [(one.name, f"{one.median:.1f}", f"{one.p95:.1f}", f"{found[0].median / one.median:.1f}") for one in found]
    print_table(("from key to picture", "median, ms", "95 %, ms", "times as fast"), rows)


def _bench_dashboard() -> None:
    from kdcourse.bench.dashboard import measure_cost

    cost = measure_cost()
    row = (f"{cost.alone:.2f}", f"{cost.watched:.2f}", f"{cost.ratio:.3f}", str(cost.pairs))
    print_table(("a run alone, s", "under the dashboard, s", "ratio", "pairs"), [row])


def _labs(numbers: list[str] | None) -> "list[Lab]":
    """The labs of these numbers, or all of them."""
    from kdcourse.authoring import notebooks

    return [lab_of(number) for number in numbers] if numbers else notebooks.labs()


def _store_study(name: str, dataset: str, folder: Path) -> None:
    from kdcourse import data, studies

    load = getattr(data, studies.family_of(name).loader)
    paths = studies.study(name, load(dataset, fallback=False)).store(folder=folder)
    typer.echo(f"{', '.join(path.name for path in paths)} kept")


def _is_fresh(one: "Lab") -> bool:
    from kdcourse.authoring import notebooks

    try:
        notebooks.check_fresh(one)
    except notebooks.StaleNotebook:
        return False
    return True


def renew_readme() -> None:
    """Bring README's tables up to what results/ holds: of the labs' runtimes, and of the course's speed."""
    from kdcourse.authoring import notebooks
    from kdcourse.bench import report
    from kdcourse.system.storage import write_safely

    readme = notebooks.ROOT / "README.md"
    text = readme.read_text(encoding="utf-8")
    for part, measured in (("runtimes", notebooks.runtime_table()), ("bench", report.as_markdown(report.known()))):
        before, rest = text.split(f"<!-- {part} -->\n", 1)
        _, after = rest.split(f"<!-- end of {part} -->", 1)
        text = f"{before}<!-- {part} -->\n{measured}\n<!-- end of {part} -->{after}"
    write_safely(readme, lambda path: path.write_text(text, encoding="utf-8"))
