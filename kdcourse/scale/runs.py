"""All runs of a recipe, teachers before those they teach; what is trained already is read, what was stopped goes on."""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from torch import nn

from kdcourse.experiments import schemes
from kdcourse.methods import Method, WeightTransfer
from kdcourse.models.transfer import Probe
from kdcourse.scale.checkpoints import Checkpoints
from kdcourse.scale.datasets import draw_folder, open_data
from kdcourse.scale.distributed import build_accelerator
from kdcourse.scale.evaluate import evaluate
from kdcourse.scale.gate import check_batches, check_run
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.loop import Job, train
from kdcourse.scale.recipe import Data, Recipe, settings_of
from kdcourse.scale.registry import DataSpec, build_method, build_model
from kdcourse.scale.teacher import EmbeddedDataset, prepare_teacher
from kdcourse.system.generators import fork_rng
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
    Raises `RecipeError`, `Stopped`, `ProcessLost`, `FloatingPointError` as `scale.loop.train` does.
    """
    output = Path(output)
    recipe = recipe.small(output / "pictures") if small else recipe
    accelerator = build_accelerator(next(iter(recipe.runs.values())).training)
    if small and accelerator.is_main_process and any(run.data.folder for run in recipe.runs.values()):
        draw_folder(output / "pictures")
    accelerator.wait_for_everyone()
    return RecipeTrainer(recipe, output, seed, accelerator).run(runs)


@dataclass
class RecipeTrainer:
    """Trains run after run. students: those of the runs so far, ready to teach. opened: what `open_data` gave, by its `Data`."""

    recipe: Recipe
    output: Path
    seed: int
    accelerator: Accelerator
    students: dict[str, nn.Module] = field(default_factory=dict)
    opened: dict[Data, tuple] = field(default_factory=dict)

    def run(self, runs: Sequence[str] = ()) -> list[Outcome]:
        """These runs, default all, and those that they need, each tried before the first one trains; and `results.json`."""
        order = self.recipe.order(list(runs or self.recipe.runs))
        for name in order:  # before any data are looked for
            self.method(name)
        with fork_rng(self.accelerator.device):
            for name in order:  # before the first of them trains for a day
                self.check(name)
        self.students.clear()  # those were tried, and have learnt nothing
        outcomes = [self.train(name) for name in order]
        if self.accelerator.is_main_process:
            found = {"recipe": self.recipe.name, "seed": self.seed, "runs": [asdict(one) for one in outcomes]}
            table = json.dumps(found, indent=1)
            write_safely(self.output / "results.json", lambda path: path.write_text(table, encoding="utf-8"))
        return outcomes

    def check(self, name: str) -> None:
        """Try this run's parts, untrained, on a few examples. Raises `RecipeError` for what would stop it later."""
        run, where, method = self.recipe.runs[name], self.where(name), self.method(name)
        dataset, _, spec = self.data(run.data)
        check_batches(where, run, method, len(dataset), self.accelerator.num_processes)
        for one in self.recipe.teachers_of(name):
            *_, theirs = self.data(self.recipe.runs[one].data)
            if theirs != spec:
                raise RecipeError(
                    f"{where}.teacher must have learnt from what its student learns from, {spec}; got {one}, which learns "
                    f"from {theirs}"
                )
        student = self.students[name] = self.student(name, spec)
        with self.accelerator.local_main_process_first():
            teacher = self.teacher(name, spec)
        check_run(where, run, student, teacher, dataset, spec)

    def train(self, name: str) -> Outcome:
        """Train the student of this run, or read it where that was done before."""
        run, accelerator = self.recipe.runs[name], self.accelerator
        dataset, test, spec = self.data(run.data)
        method, student = self.method(name), self.student(name, spec)
        with accelerator.local_main_process_first():
            teacher = self.teacher(name, spec)
        fingerprints = {"pictures": dataset.fingerprint, "weights of the teacher": fingerprint(teacher)}
        checkpoints = Checkpoints(self.output / name, settings_of(run, self.seed, fingerprints))
        if (final := checkpoints.final()) is not None:
            weights, card = final
            student.load_state_dict(weights)
            self.students[name] = student.to(accelerator.device).eval()
            return Outcome(**card)
        answers, started = self.output / "answers", time.monotonic()
        teacher = prepare_teacher(run, teacher, method, dataset, answers, accelerator)
        learner = student
        if run.cached and isinstance(student, Probe):
            dataset, learner = EmbeddedDataset(dataset, student.body, answers, accelerator), student.head
        job = Job(name, learner, method, dataset, run.data, run.training, checkpoints, self.seed, teacher)
        losses = train(job, accelerator)
        weights = student.state_dict()
        student = self.students[name] = self.student(name, spec).to(accelerator.device).eval()
        # Into one without the batch norm that processes share: it may teach now, layer by layer.
        student.load_state_dict(weights)
        score = evaluate(student, test, accelerator)
        outcome = Outcome(name, score, list(run.published), round(time.monotonic() - started, 1), len(losses))
        if accelerator.is_main_process:
            checkpoints.finish(student, asdict(outcome))
        accelerator.wait_for_everyone()
        accelerator.print(f"{name}: {', '.join(f'{one:.2f}' for one in score)} after {len(losses):,} steps.")
        return outcome

    def data(self, data: Data) -> tuple:
        """What `open_data` gives, opened once: a folder is decoded to see that all of it can be read."""
        if data not in self.opened:
            with self.accelerator.local_main_process_first():  # one downloads, the others find it there
                self.opened[data] = open_data(data, self.seed, self.accelerator.device)
        return self.opened[data]

    def method(self, name: str) -> Method:
        run, where = self.recipe.runs[name], self.where(name)
        method = build_method(run.method, f"{where}.method")
        if method.needs_teacher and run.teacher is None:
            raise RecipeError(f"{where}.teacher must be given for {method!r}, got nothing")
        if run.teacher is not None and not method.needs_teacher:
            raise RecipeError(f"{where}.method must be one that asks a teacher, or teacher be left out, got {method!r}")
        if run.cached and method.needs_gradients:
            raise RecipeError(
                f"{where}.cached must be false for {method!r}, which differentiates what the teacher says, got true"
            )
        if run.sharded and any(isinstance(one, WeightTransfer) for one in method.modules()):
            raise RecipeError(
                f"{where}.sharded must be false for {method!r}, which reads the teacher's weights, got true"
            )
        return method

    def student(self, name: str, spec: DataSpec) -> nn.Module:
        """Untrained. Those that teach have first weights of their own, so that none begins as its student's twin."""
        teachers = list(dict.fromkeys(one for other in self.recipe.runs for one in self.recipe.teachers_of(other)))
        own = 1000 * (teachers.index(name) + 1) if name in teachers else 0
        return build_model(self.recipe.runs[name].student, f"{self.where(name)}.student", spec, self.seed + own)

    def teacher(self, name: str, spec: DataSpec) -> nn.Module | None:
        """An earlier run's student, several as an ensemble, or a model by name."""

        def build(given: Any) -> nn.Module:
            if isinstance(given, str) and given in self.students:
                return self.students[given]
            return build_model(given, f"{self.where(name)}.teacher", spec, self.seed + 1000)

        teacher = self.recipe.runs[name].teacher
        if isinstance(teacher, list):
            return schemes.Ensemble([build(one) for one in teacher])
        return None if teacher is None else build(teacher)

    def where(self, name: str) -> str:
        """What errors call this run."""
        return f"{self.recipe.name}: runs.{name}"
