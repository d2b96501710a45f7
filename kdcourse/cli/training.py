"""The command that repeats a published comparison at full size."""

import os
from pathlib import Path
from typing import Annotated

import typer

from kdcourse.cli.common import print_table


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
        resumable = isinstance(error, scale.ProcessLost | scale.Stopped)
        if _is_main_process() or isinstance(error, scale.ProcessLost):
            typer.echo(f"kdcourse: {error}.{' The same command goes on from there.' if resumable else ''}", err=True)
        # 143 is what a process ended by SIGTERM returns, which tells a scheduler to start it again.
        codes = {scale.RecipeError: 2, scale.Stopped: 143}
        raise typer.Exit(codes.get(type(error), 1)) from error
    if _is_main_process():
        shown = [(one.name, _scores(one.score), _scores(one.published), f"{one.steps:,}") for one in outcomes]
        print_table(("run", "measured", "published", "steps"), shown)


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
