"""Recipes, tried small: every shipped one runs, processes agree, runs go on where they stopped, errors name the key."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from typer.testing import CliRunner

from kdcourse import cli, scale
from kdcourse.scale import answers, loop, sources
from kdcourse.scale.checkpoints import Checkpoints
from kdcourse.scale.keys import RecipeError
from kdcourse.storage import load_tensors

ROOT = Path(__file__).parent.parent
SMALL = {"convnet": {"widths": [4, 8]}}
PAIR = {"stage2": "stage2"}
TINY = {
    "title": "Everything, tiny",
    "data": {"name": "glyphs", "pictures": 24, "shift": 1, "mirror": True, "views": 2},
    "training": {"steps": 30, "batch_size": 8, "learning_rate": 0.02, "momentum": 0.9, "checkpoint_minutes": 0.0001},
    "runs": {
        "teacher": {"student": {"convnet": {"widths": [6, 12]}}},
        "hint": {
            "student": SMALL,
            "teacher": "teacher",
            "method": ["HardTarget", {"Hint": {"layers": PAIR, "times": 2}}],
        },
    },
}
RELATED = [
    "Correlation",
    {"RelationalDistance": {"layers": PAIR, "times": 5}},
    {"RelationalAngle": {"layers": PAIR, "times": 5}},
    {"SimilarityPreserving": {"layers": PAIR, "times": 5}},
    {"Contrastive": {"layers": {"pool": "pool"}}},
    {"Hint": {"layers": PAIR}},
]


def recipe(folder: Path, changes: dict | None = None, **runs: dict) -> scale.Recipe:
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump({**TINY, "runs": {**TINY["runs"], **runs}}))
    return scale.read_recipe(path, changes)


def weights(folder: Path, run: str) -> dict[str, torch.Tensor]:
    return load_tensors(folder / run / "final.safetensors")[0]


@pytest.mark.parametrize("name", scale.shipped())
def test_every_shipped_recipe_runs_small(name, tmp_path):
    read = scale.read_recipe(name)
    assert read.title and read.source and all(run.published for label, run in read.runs.items() if label == "student")
    outcomes = scale.train_recipe(read, tmp_path, small=True)
    assert {one.name for one in outcomes} == set(read.runs)
    for one in outcomes:
        assert all(0 <= value <= 100 for value in one.score) and one.steps == 2
        assert len(one.published) in (0, len(one.score))


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(tmp_path, monkeypatch, capsys):
    read = recipe(tmp_path)
    scale.train_recipe(read, tmp_path / "whole")
    rate = loop.learning_rate

    def stopping(training, step, per_epoch, steps):
        if step == 13:
            signal.raise_signal(signal.SIGTERM)
        return rate(training, step, per_epoch, steps)

    monkeypatch.setattr(loop, "learning_rate", stopping)
    before = signal.getsignal(signal.SIGTERM)
    for run in ("teacher", "hint"):
        with pytest.raises(scale.Stopped, match=f"{run} was asked to stop and is saved after step 20 of 30"):
            scale.train_recipe(read, tmp_path / "parts", runs=[run])
        assert signal.getsignal(signal.SIGTERM) is before
        scale.train_recipe(read, tmp_path / "parts", runs=[run])
        assert f"{run} goes on from step 20 of 30" in capsys.readouterr().out
        for name, value in weights(tmp_path / "whole", run).items():
            assert torch.equal(value, weights(tmp_path / "parts", run)[name]), f"{run}: {name}"


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, capsys):
    kept = Checkpoints(tmp_path, '{"a": 1}')
    paths = [kept.save(step, {"x": torch.full((4,), float(step))}) for step in (1, 2, 3)]
    assert [path.exists() for path in paths] == [False, True, True]
    assert kept.newest()[0] == 3
    content = bytearray(paths[2].read_bytes())
    content[-1] ^= 1
    paths[2].write_bytes(content)
    step, state = kept.newest()
    assert step == 2 and state["x"].tolist() == [2] * 4
    assert "does not match the hash stored with it; the one before is taken" in capsys.readouterr().out
    paths[1].write_bytes(b"cut short")
    assert kept.newest() == (0, {})
    assert "the run begins anew" in capsys.readouterr().out


def test_checkpoints_of_another_recipe_are_refused_by_key(tmp_path):
    scale.train_recipe(recipe(tmp_path), tmp_path / "out", runs=["teacher"])
    with pytest.raises(
        RecipeError, match=r"teacher: training.learning_rate must be 0.02 as in the checkpoints .*, got 0.5"
    ):
        scale.train_recipe(recipe(tmp_path, {"training.learning_rate": 0.5}), tmp_path / "out", runs=["teacher"])


def test_cached_answers_come_in_parts_that_are_disjoint_and_complete(tmp_path):
    data = recipe(tmp_path).runs["teacher"].data
    source, _, look = sources.open_data(data, 0, torch.device("cpu"))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(look.inputs, 3)).requires_grad_(False)

    def made(rank: int) -> answers.Answers:
        engine = SimpleNamespace(
            num_processes=2, process_index=rank, device=torch.device("cpu"), wait_for_everyone=lambda: None
        )
        return answers.Answers(source, 2, lambda images: (model(images), {}), tmp_path, "key", engine, size=5)

    with pytest.raises(RecipeError, match="output must be a folder that all processes see, but no checkpoint"):
        made(0)
    alone = {path.name for path in tmp_path.glob("key*")}
    second = made(1)
    assert len(second.paths) == 10 and not alone & {second.paths[place].name for place in second.made}
    assert len(alone) + len(second.made) == 10, "together they are complete"
    assert made(0).made == [], "what is there is not asked again"
    index = torch.tensor([23, 0, 7])
    for view in (0, 1):
        part = next(source.stream([(view, index)]))
        torch.testing.assert_close(second.at(view, index)[0], model(part.images))
    second.paths[0, 0].write_bytes(b"damaged")
    assert made(0).made == [(0, 0)]


SCRIPT = """
import os, signal, sys
from pathlib import Path
from kdcourse import scale
from kdcourse.scale import loop
rate, mark = loop.learning_rate, Path(sys.argv[3])
def killing(training, step, per_epoch, steps):
    if step == 15 and os.environ["RANK"] == "1" and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return rate(training, step, per_epoch, steps)
loop.learning_rate = killing
try:
    scale.train_recipe(scale.read_recipe(sys.argv[1]), sys.argv[2])
except scale.ProcessLost as error:
    sys.exit(f"kdcourse: {error}")
"""


def test_two_processes_train_as_one_and_outlive_a_killed_one(tmp_path):
    """All kinds of methods, batch norm and cached answers; one process is killed, the rest stops, the same command goes on."""
    taught = {"student": SMALL, "teacher": "teacher", "training": {"steps": 4}}
    recipe(
        tmp_path,
        related={**taught, "method": RELATED},
        soft={**taught, "method": "Distillation", "cached": True},
        variational={
            **taught,
            "method": [{"VariationalInformation": {"layers": PAIR}}, {"AttentionTransfer": {"layers": PAIR}}],
        },
        peers={"student": [SMALL, SMALL], "method": "MutualLearning", "training": {"steps": 4}},
        jacobian={**taught, "method": "JacobianMatching", "student": {"perceptron": {"hidden": [8]}}},
    )
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}

    def launched(processes: int) -> subprocess.CompletedProcess:
        launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        given = [tmp_path / "script.py", tmp_path / "tiny.yaml", tmp_path / str(processes), tmp_path / "killed"]
        return subprocess.run(
            [*launch, *map(str, given)], env=environment, cwd=ROOT, capture_output=True, text=True, timeout=240
        )

    alone, killed = launched(1), launched(2)
    assert alone.returncode == 0, alone.stderr[-3000:]
    assert killed.returncode != 0 and (tmp_path / "killed").exists()
    assert (
        "another process of this run is gone, so teacher stops; its last checkpoint is of step 10 of 30"
        in killed.stderr
    )
    resumed = launched(2)
    assert resumed.returncode == 0, resumed.stderr[-3000:]
    assert "teacher goes on from step 10 of 30" in resumed.stdout
    for run in ("teacher", "hint", "related", "soft", "variational", "peers", "jacobian"):
        ours, theirs = weights(tmp_path / "2", run), weights(tmp_path / "1", run)
        for name, value in theirs.items():
            torch.testing.assert_close(
                ours[name], value, rtol=2e-3, atol=2e-5, msg=lambda text, run=run: f"{run}: {text}"
            )


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.batch_size", 0, "training.batch_size must be a whole number of at least 1, got 0"),
        ("training.learning_rate", "fast", "training.learning_rate must be a number above 0, got 'fast'"),
        ("training.optimizer", "adam", "training.optimizer must be sgd or adamw, got 'adam'"),
        ("training.epoch", 3, r"training.epoch is no key of a recipe; did you mean epochs\? .*accepted: epochs, steps"),
        ("data.mirror", "perhaps", "data.mirror must be true or false, got 'perhaps'"),
        ("data.folder", "/pictures", "data must have either name or folder, got 'glyphs' and '/pictures'"),
        ("data.crop", True, "data.crop must be false for data in memory"),
        (
            "runs.hint.teacher",
            "nobody",
            "runs.hint.teacher must be one of .*resnet8x4.* or torchvision:<name>, got 'nobody'",
        ),
        ("runs.hint.teacher", "hint", "runs.hint.teacher goes round in a circle: hint → hint"),
        ("runs.hint.teacher", None, "runs.hint.teacher must be given for HardTarget"),
        ("runs.hint.method", "Distilation", "runs.hint.method must be one of .*Distillation.*, got 'Distilation'"),
        ("runs.hint.method", {"Distillation": {"heat": 4}}, "runs.hint.method.Distillation: .*heat"),
        (
            "runs.hint.student",
            {"convnet": {"widths": [0]}},
            "runs.hint.student.convnet: widths, classes and channels must be",
        ),
        ("runs.hint.cached", "yes", "runs.hint.cached must be true or false, got 'yes'"),
        ("training.batch_size", 25, "training.batch_size must be at most 24, the pictures there are, got 25"),
    ],
)
def test_what_is_wrong_is_named_by_its_key(key, value, message, tmp_path):
    content = yaml.safe_load(yaml.safe_dump(TINY))
    *way, last = key.split(".")
    place = content
    for step in way:
        place = place[step]
    place[last] = value
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(content))
    with pytest.raises(RecipeError, match=message):
        scale.train_recipe(scale.read_recipe(path, {"training.steps": 2}), tmp_path / "out")


def test_cached_answers_want_fixed_views(tmp_path):
    with pytest.raises(RecipeError, match=r"runs.soft.cached must be false where pictures are augmented without end"):
        recipe(tmp_path, {"data.views": 0}, soft={"student": SMALL, "teacher": "teacher", "cached": True})


def test_the_command_says_what_is_wrong_and_what_was_measured(tmp_path):
    def told(*arguments: str):
        return CliRunner().invoke(cli.app, ["train", *arguments, "--output", str(tmp_path / "out")])

    wrong = told("cifar-100")
    assert wrong.exit_code == 2 and "recipe must be a YAML file or one of cifar10-temperature" in wrong.output
    (tmp_path / "broken.yaml").write_text("runs: [")
    assert "broken.yaml is no YAML" in told(str(tmp_path / "broken.yaml")).output
    right = told("mnist-soft-targets", "--small", "--run", "student")
    assert right.exit_code == 0 and "98.54" in right.output and (tmp_path / "out" / "results.json").is_file()
