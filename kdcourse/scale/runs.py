"""All runs of a recipe, teachers before those they teach; what is trained already is read, what was stopped goes on."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from accelerate import Accelerator
from torch import nn

from kdcourse.experiments import schemes
from kdcourse.methods import Method, WeightTransfer
from kdcourse.scale.answers import teaching
from kdcourse.scale.checkpoints import Checkpoints
from kdcourse.scale.judge import score
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.loop import Job, learn
from kdcourse.scale.names import Look, build_method, build_model
from kdcourse.scale.recipe import Recipe, Run, settings_of
from kdcourse.scale.sources import draw_folder, open_data
from kdcourse.scale.together import engine
from kdcourse.system.storage import fingerprint, write_safely


@dataclass(frozen=True)
class Outcome:
    """One run: its score on the test examples after the last step (percent right, or bits a character), one for each peer, beside
    what was published; seconds and steps of this run."""

    name: str
    score: list[float]
    published: list[float]
    seconds: float
    steps: int


def train_recipe(
    recipe: Recipe, output: str | Path, *, runs: Sequence[str] = (), seed: int = 0, small: bool = False
) -> list[Outcome]:
    """Train these runs of a recipe, default all, and the teachers they need; what `kdcourse train` calls.

    output: a folder that all processes see; holds checkpoints, trained students and `results.json`. seed: fixes first weights,
    batches and pictures. small: two steps of each on a few built-in pictures.
    Raises `RecipeError`, `Stopped`, `ProcessLost`, `FloatingPointError` as `scale.loop.learn` does.
    """
    output = Path(output)
    recipe = recipe.small(output / "pictures") if small else recipe
    accelerator = engine(next(iter(recipe.runs.values())).training)
    if small and accelerator.is_main_process and any(run.data.folder for run in recipe.runs.values()):
        draw_folder(output / "pictures")
    accelerator.wait_for_everyone()
    students: dict[str, nn.Module] = {}
    outcomes = []
    order = recipe.order(list(runs or recipe.runs))
    for name in order:  # before the first of them trains for a day
        _method(recipe, name)
    for name in order:
        outcomes.append(_train(recipe, name, students, output, seed, accelerator))
    if accelerator.is_main_process:
        table = {"recipe": recipe.name, "seed": seed, "runs": [asdict(one) for one in outcomes]}
        write_safely(
            output / "results.json", lambda path: path.write_text(json.dumps(table, indent=1), encoding="utf-8")
        )
    return outcomes


def _train(
    recipe: Recipe, name: str, students: dict[str, nn.Module], output: Path, seed: int, accelerator: Accelerator
) -> Outcome:
    run, where = recipe.runs[name], f"{recipe.name}: runs.{name}"
    # Teachers have first weights of their own, so that none begins as its student's twin.
    teachers = list(dict.fromkeys(one for other in recipe.runs for one in recipe.taught_by(other)))
    own = seed + 1000 * (teachers.index(name) + 1) if name in teachers else seed
    with accelerator.local_main_process_first():  # one downloads, the others find it there
        train, test, look = open_data(run.data, seed, accelerator.device)
    method = _method(recipe, name)
    student = students[name] = build_model(run.student, f"{where}.student", look, own)
    with accelerator.local_main_process_first():
        teacher = _teacher(run, where, students, look, seed)
    prints = {"pictures": train.fingerprint, "weights of the teacher": fingerprint(teacher)}
    checkpoints = Checkpoints(output / name, settings_of(run, seed, **prints))
    known = checkpoints.final()
    if known is not None:
        student.load_state_dict(known[0])
        student.to(accelerator.device).eval()
        return Outcome(**known[1])
    teach, teacher = teaching(run, teacher, method, train, output / "answers", accelerator)
    started = time.monotonic()
    job = Job(name, student, method, train, run.data, run.training, checkpoints, seed, teach, teacher)
    losses = learn(job, accelerator)
    if accelerator.num_processes > 1:
        # As it was built, without the batch norm that the processes share: it may be a teacher now, whose layers are tapped.
        trained, student = student, build_model(run.student, f"{where}.student", look, own).to(accelerator.device)
        student.load_state_dict(trained.state_dict())
    students[name] = student.eval()
    found = score(student, test, accelerator)
    outcome = Outcome(name, found, list(run.published), round(time.monotonic() - started, 1), len(losses))
    if accelerator.is_main_process:
        checkpoints.finish(student, asdict(outcome))
    accelerator.wait_for_everyone()
    accelerator.print(f"{name}: {', '.join(f'{one:.2f}' for one in found)} after {len(losses):,} steps.")
    return outcome


def _method(recipe: Recipe, name: str) -> Method:
    where, run = f"{recipe.name}: runs.{name}", recipe.runs[name]
    method = build_method(run.method, f"{where}.method")
    if method.needs_teacher and run.teacher is None:
        raise RecipeError(f"{where}.teacher must be given for {method!r}, got nothing")
    if run.cached and method.needs_gradients:
        raise RecipeError(
            f"{where}.cached must be false for {method!r}, which differentiates what the teacher says, got true"
        )
    if run.sharded and any(isinstance(one, WeightTransfer) for one in method.modules()):
        raise RecipeError(f"{where}.sharded must be false for {method!r}, which reads the teacher's weights, got true")
    return method


def _teacher(run: Run, where: str, students: dict[str, nn.Module], look: Look, seed: int) -> nn.Module | None:
    """An earlier run's student, several as an ensemble, or a model by name."""
    if run.teacher is None:
        return None
    if isinstance(run.teacher, list):
        return schemes.Ensemble([_one_teacher(one, where, students, look, seed) for one in run.teacher])
    return _one_teacher(run.teacher, where, students, look, seed)


def _one_teacher(given: object, where: str, students: dict[str, nn.Module], look: Look, seed: int) -> nn.Module:
    if isinstance(given, str) and given in students:
        return students[given]
    return build_model(given, f"{where}.teacher", look, seed + 1000)
