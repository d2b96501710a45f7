"""The commands that train at full size: a published comparison, and a folder of photographs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from kdcourse.cli.common import insist, print_table


def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe, such as cifar100-mutual, or a YAML file.")],
    runs: Annotated[list[str] | None, typer.Option("--run", help="This run and its teachers only.")] = None,
    output: Annotated[Path | None, typer.Option(help="Checkpoints and students; default runs/RECIPE/seed-N.")] = None,
    seed: Annotated[int, typer.Option(help="First weights, batches and pictures.")] = 0,
    changes: Annotated[list[str] | None, typer.Option("--set", help="As in data.folder=/data/imagenet.")] = None,
    small: Annotated[bool, typer.Option(help="Two steps of each run on a few built-in pictures.")] = False,
) -> None:
    """Repeat a published comparison at full size, on one process or many (`accelerate launch`); goes on where it stopped."""
    insist("accelerate", "transformers")
    from kdcourse import scale

    with _ended_in_a_line():
        read = scale.read_recipe(recipe, _changes(changes or []))
        folder = output or Path("runs") / f"{read.name}{'-small' if small else ''}" / f"seed-{seed}"
        outcomes = scale.train_recipe(read, folder, runs=runs or [], seed=seed, small=small)
    if _is_main_process():
        shown = [(one.name, _scores(one.score), _scores(one.published), f"{one.steps:,}") for one in outcomes]
        print_table(("run", "measured", "published", "steps"), shown)


def photographs(
    folder: Annotated[Path | None, typer.Argument(help="<class>/<picture>; default 2,000 built-in signs.")] = None,
    teacher: Annotated[
        str, typer.Option(help="A body: torchvision's name, timm:…, hub:…, open_clip:…, zoo:….")
    ] = "resnet50",
    tuned: Annotated[
        bool, typer.Option(help="All of the teacher learns as a student does, not its head alone.")
    ] = False,
    weights: Annotated[Path | None, typer.Option(help="The teacher's, in a file; default downloaded once.")] = None,
    student: Annotated[str, typer.Option(help="A body likewise, or a network of the course's.")] = "mobilenet_v2",
    size: Annotated[int, typer.Option(help="Pixels a side that the networks see.")] = 224,
    views: Annotated[int, typer.Option(help="Fixed windows of each picture.")] = 4,
    epochs: Annotated[int, typer.Option(help="Of each student, and of a tuned teacher.")] = 20,
    learning_rate: Annotated[float, typer.Option(help="Likewise.")] = 1e-3,
    mirror: Annotated[bool, typer.Option(help="A mirror changes no meaning.")] = True,
    fresh: Annotated[bool, typer.Option(help="Without weights of others, to try the command alone.")] = False,
    output: Annotated[
        Path | None, typer.Option(help="Files, card and checkpoints; default runs/photographs/….")
    ] = None,
    seed: Annotated[int, typer.Option(help="First weights, batches and windows.")] = 0,
    small: Annotated[bool, typer.Option(help="A trial: one epoch on a few built-in signs.")] = False,
) -> None:
    """Distil a classifier of your photographs: teacher, students, ONNX in 32 and 8 bits, model card; goes on where it stopped."""
    insist("accelerate", "transformers", "onnx", "onnxscript", "onnxruntime")
    from kdcourse import scale

    with _ended_in_a_line():
        options = {"teacher": teacher, "tuned": tuned, "teacher_file": weights, "student": student, "fresh": fresh}
        options |= {"size": size, "mirror": mirror, "views": views, "epochs": epochs, "learning_rate": learning_rate}
        rows = scale.train_photographs(folder, output, seed=seed, small=small, **options)
    if _is_main_process():
        shown = [(one.name, f"{one.accuracy:.1f}", f"{one.size / 1000:,.0f}") for one in rows]
        print_table(("model", "test accuracy, %", "kB"), shown)


@contextmanager
def _ended_in_a_line() -> Iterator[None]:
    """What stops a run within the block ends the command with a line that says why."""
    from kdcourse import scale

    try:
        yield
    except (scale.RecipeError, scale.ProcessLost, scale.Stopped, FloatingPointError) as error:
        resumable = isinstance(error, scale.ProcessLost | scale.Stopped)
        if _is_main_process() or isinstance(error, scale.ProcessLost):
            typer.echo(f"kdcourse: {error}.{' The same command goes on from there.' if resumable else ''}", err=True)
        # 143 is what a process ended by SIGTERM returns, which tells a scheduler to start it again.
        codes = {scale.RecipeError: 2, scale.Stopped: 143}
        raise typer.Exit(codes.get(type(error), 1)) from error


def _changes(given: list[str]) -> dict:
    """["data.size=64"] -> {"data.size": 64}, values as YAML reads them."""
    import yaml

    pairs = [one.partition("=") for one in given]
    if wrong := [key for key, sign, _ in pairs if not sign]:
        raise typer.BadParameter(f"--set must be key=value, got {wrong[0]!r}")
    return {key: yaml.safe_load(value) for key, _, value in pairs}


def _is_main_process() -> bool:
    """Whether this process speaks for all that the launcher has started."""
    return os.environ.get("RANK", "0") == "0"


def _scores(values: list[float]) -> str:
    return " / ".join(f"{one:.2f}" for one in values)
