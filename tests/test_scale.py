"""Recipes, tried small: every shipped one runs, processes agree, runs go on where they stopped, errors name the key."""

import copy
import os
import re
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from torch import distributed, nn
from typer.testing import CliRunner

from kdcourse import cli, scale
from kdcourse.data.pictures import open_picture
from kdcourse.methods import Distillation
from kdcourse.models import bert, convnet
from kdcourse.scale import datasets, loop, runs, teacher
from kdcourse.scale.checkpoints import Checkpoints
from kdcourse.scale.distributed import SyncBatchNorm, build_accelerator, convert_sync_batchnorm
from kdcourse.scale.keys import RecipeError
from kdcourse.scale.recipe import Data, Run, Training
from kdcourse.scale.registry import DataSpec, build_model
from kdcourse.system.storage import load_tensors, save_tensors

ROOT = Path(__file__).parent.parent
SMALL = {"convnet": {"widths": [4, 8]}}
PAIR = {"stage2": "stage2"}
WRITER = {"gpt": {"width": 8, "depth": 1, "heads": 2}}
TEXT = {"name": "plays", "pictures": 24, "shift": 0, "mirror": False, "views": 0}
TINY = {
    "title": "Everything, tiny",
    "data": {"name": "glyphs", "pictures": 24, "shift": 1, "mirror": True, "views": 2},
    "training": {"steps": 20, "batch_size": 8, "learning_rate": 0.02, "momentum": 0.9, "checkpoint_minutes": 0.0001},
    "runs": {
        "teacher": {"student": {"convnet": {"widths": [6, 12]}}},
        "hint": {
            "student": SMALL,
            "teacher": "teacher",
            "method": ["HardTarget", {"Hint": {"layers": PAIR, "times": 2}}],
        },
    },
}
TAUGHT = {"student": SMALL, "teacher": "teacher"}
MOVED = {"WeightTransfer": {"weights": {"classifier.weight": "classifier.weight"}}}
GLYPHS = datasets.glyphs
FIVE = {"convnet": {"widths": [4, 8], "classes": 5}}
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


def stopping(monkeypatch, at: int) -> None:
    """Let every run be told to end while it computes this step."""
    rate = loop.learning_rate

    def told(training, step, per_epoch, steps):
        if step == at:
            signal.raise_signal(signal.SIGTERM)
        return rate(training, step, per_epoch, steps)

    monkeypatch.setattr(loop, "learning_rate", told)


def test_a_run_that_is_stopped_goes_on_to_the_same_bits(tmp_path, monkeypatch, capsys):
    on_policy = {"OnPolicy": {"prompt": 60}}
    read = recipe(tmp_path, writer={"student": WRITER, "teacher": WRITER, "method": on_policy, "data": TEXT})
    scale.train_recipe(read, tmp_path / "whole")
    stopping(monkeypatch, 3)
    before = signal.getsignal(signal.SIGTERM)
    for run in ("teacher", "hint", "writer"):
        with pytest.raises(scale.Stopped, match=f"{run} was asked to stop and is saved after step 10 of 20"):
            scale.train_recipe(read, tmp_path / "parts", runs=[run])
        assert signal.getsignal(signal.SIGTERM) is before
        scale.train_recipe(read, tmp_path / "parts", runs=[run])
        assert f"{run} goes on from step 10 of 20" in capsys.readouterr().out
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
    said = capsys.readouterr().out
    assert f"with it; it is kept as damaged-{paths[2].name}, and the one before is taken" in said
    paths[1].write_bytes(b"cut short")
    assert kept.newest() == (0, {})
    assert "the run begins anew" in capsys.readouterr().out
    again = kept.save(
        1, {"x": torch.ones(4)}
    )  # of the run that begins anew: older by its name, and not dropped for that
    assert again.exists() and kept.newest()[0] == 1


def test_a_full_disk_costs_a_line_and_no_checkpoint(tmp_path, capsys, monkeypatch):
    kept = Checkpoints(tmp_path, '{"a": 1}')
    kept.save(1, {"x": torch.ones(4)})

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kdcourse.scale.checkpoints.save_tensors", full)
    kept.save(2, {"x": torch.ones(4)})
    assert "No space left on device" in capsys.readouterr().out and kept.newest()[0] == 1
    with pytest.raises(RecipeError, match=r"the trained student cannot be written .*No space left.*; make room"):
        kept.finish(torch.nn.Linear(1, 1), {})
    assert kept.newest()[0] == 1


def test_checkpoints_of_another_recipe_are_refused_by_key(tmp_path):
    scale.train_recipe(recipe(tmp_path), tmp_path / "out", runs=["teacher"])
    with pytest.raises(
        RecipeError, match=r"teacher: training.learning_rate must be 0.02 as in the checkpoints .*, got 0.5"
    ):
        scale.train_recipe(recipe(tmp_path, {"training.learning_rate": 0.5}), tmp_path / "out", runs=["teacher"])


def test_cached_answers_come_in_files_that_are_disjoint_and_complete(tmp_path, capsys):
    data = recipe(tmp_path).runs["teacher"].data
    dataset, _, spec = datasets.open_data(data, 0, torch.device("cpu"))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(spec.inputs, 3)).requires_grad_(False)

    def made(rank: int) -> teacher.DistributedTeacherCache:
        accelerator = SimpleNamespace(
            num_processes=2, process_index=rank, device=torch.device("cpu"), wait_for_everyone=lambda: None
        )
        return teacher.DistributedTeacherCache(
            dataset, range(2), lambda inputs: (model(inputs), {}), tmp_path, "key", accelerator, chunk_size=5
        )

    with pytest.raises(RecipeError, match="output must be a folder that all processes see, but no checkpoint"):
        made(0)
    alone = {path.name for path in tmp_path.glob("key*")}
    second = made(1)
    assert len(second.paths) == 10 and not alone & {second.paths[chunk].name for chunk in second.computed}
    assert len(alone) + len(second.computed) == 10, "together they are complete"
    assert made(0).computed == [], "what is there is not asked again"
    index = torch.tensor([23, 0, 7])
    for view in (0, 1):
        batch = next(dataset.batches([(view, index)]))
        torch.testing.assert_close(second.outputs(view, index)[0], model(batch.inputs))
    if (mapped := Path("/proc/self/maps")).exists():
        held = mapped.read_text(encoding="utf-8")
        assert all(str(path) in held for path in second.paths.values()), "what is not looked at need not lie in memory"
    for path, place in (
        (second.paths[0, 0], 40),
        (second.paths[0, 2], -1),
    ):  # a bit of the header, one of the last answer
        content = bytearray(path.read_bytes())
        content[place] ^= 1
        path.write_bytes(content)
    capsys.readouterr()
    assert made(0).computed == [(0, 0), (0, 2)] and second.paths[0, 2].name in capsys.readouterr().out


def test_cached_and_asked_teachers_give_the_same_losses(tmp_path, monkeypatch):
    """Shuffled over several epochs, in two fixed views, logits and features."""
    train, losses = runs.train, {}
    monkeypatch.setattr(runs, "train", lambda job, accelerator: losses.setdefault(job.name, train(job, accelerator)))
    taught = {**TINY["runs"]["hint"], "method": ["Distillation", {"Hint": {"layers": PAIR}}]}
    read = recipe(tmp_path, cached={**taught, "cached": True}, asked=taught)
    scale.train_recipe(read, tmp_path / "out", runs=["cached", "asked"])
    torch.testing.assert_close(*(torch.tensor(losses[name]) for name in ("cached", "asked")), rtol=1e-4, atol=1e-6)
    assert len(set(losses["asked"])) == 20 and list((tmp_path / "out" / "answers").glob("*-view-1-*"))


def test_a_changed_teacher_data_set_or_preprocessing_is_noticed(tmp_path):
    accelerator, cpu = build_accelerator(Training()), torch.device("cpu")

    def notices(
        data: dict, *, seed: int = 0, tint: float = 0.0, shade: float = 0.0, layer: bool = False, **run
    ) -> bool:
        """Whether the teacher is asked anew: no file that was there before is taken."""
        run = Run(cached=True, data=Data(**{"pictures": 24, "views": 1, **data}), **run)
        dataset, _, spec = datasets.open_data(run.data, seed, cpu)
        if shade:
            dataset.examples.inputs.add_(shade)
        model = build_model(SMALL, "teacher", spec, 1)
        model.classifier.bias.data.add_(tint)
        method = Distillation() + runs.build_method({"Hint": {"layers": PAIR}}, "method") if layer else Distillation()
        before = set(tmp_path.glob("*.safetensors"))
        teacher.prepare_teacher(run, model, method, dataset, tmp_path, accelerator)
        return set(tmp_path.glob("*.safetensors")) > before

    memory = {"name": "glyphs", "shift": 1}
    assert notices(memory) and not notices(memory)
    assert notices(memory, tint=1e-3) and notices(memory, layer=True), "another teacher, other layers"
    assert notices(memory, training=Training(precision="bf16"))
    assert notices(memory, shade=1e-3) and notices({**memory, "pictures": 23}), "other pictures"
    assert notices({**memory, "shift": 2}) and notices({**memory, "mirror": True}) and notices(memory, seed=1)
    assert not notices(memory)
    folder = {"folder": str(datasets.draw_folder(tmp_path / "pictures")), "size": 32, "workers": 0, "crop": True}
    assert notices(folder) and not notices(folder)
    assert (
        notices({**folder, "size": 16}) and notices({**folder, "crop": False}) and notices({**folder, "mirror": True})
    )
    one, *_, other = sorted((tmp_path / "pictures" / "train").glob("*/*.png"))
    os.utime(one, (0, 0))
    assert notices(folder), "a picture that was written again"
    other.rename(one.with_name("moved.png"))
    assert notices(folder), "a picture of another class"


def test_a_run_does_not_go_on_with_another_teacher_or_other_pictures(tmp_path, monkeypatch):
    stopping(monkeypatch, 3)
    with pytest.raises(scale.Stopped, match="teacher was asked"):
        scale.train_recipe(recipe(tmp_path), tmp_path / "out")
    with pytest.raises(scale.Stopped, match="hint was asked"):
        scale.train_recipe(recipe(tmp_path), tmp_path / "out")
    path = tmp_path / "out" / "teacher" / "final.safetensors"
    found, metadata = load_tensors(path)
    save_tensors(path, {name: value + 1 for name, value in found.items()}, metadata)
    with pytest.raises(RecipeError, match=r"hint: weights of the teacher must be '.*' as in the checkpoints"):
        scale.train_recipe(recipe(tmp_path), tmp_path / "out")
    save_tensors(path, found, metadata)
    monkeypatch.setattr(datasets, "glyphs", lambda count, seed: GLYPHS(count, seed + 2))
    with pytest.raises(RecipeError, match=r"teacher: pictures must be '.*' as in the checkpoints"):
        scale.train_recipe(recipe(tmp_path), tmp_path / "out")


def test_a_teacher_that_answers_on_all_processes_at_once_is_asked_equally_often(tmp_path, monkeypatch):
    monkeypatch.setattr(teacher, "BATCH_SIZE", 4)
    dataset, _, spec = datasets.open_data(Data(name="glyphs", pictures=24), 0, torch.device("cpu"))
    model = build_model(SMALL, "teacher", spec, 1).eval()

    def asked(rank: int) -> list[int]:
        """The questions of a process, by their number of pictures, while the other one lacks all its files."""
        accelerator = SimpleNamespace(
            num_processes=2,
            process_index=rank,
            device=torch.device("cpu"),
            wait_for_everyone=lambda: None,
            reduce=lambda mine, how: mine + 1,
        )
        questions = []

        def ask(inputs: torch.Tensor) -> tuple[torch.Tensor, dict]:
            questions.append(len(inputs))
            return model(inputs), {}

        with suppress(RecipeError):  # the first process looks for what the second has not yet made
            made = teacher.DistributedTeacherCache(
                dataset, range(1), ask, tmp_path, "key", accelerator, chunk_size=10, lockstep=True
            )
            torch.testing.assert_close(made.outputs(0, torch.arange(24))[0], model(dataset.examples.inputs).detach())
        return questions

    # Files of 10, 10 and 4: three questions in the first turn, one in the second, in which the second process has no file.
    assert asked(0) == [4, 4, 2, 4] and asked(1) == [4, 4, 2, 4]
    assert asked(0) == [4, 4, 2, 4], "it has all its files, and asks for the other's sake"


@pytest.fixture
def one_process():
    """A group of processes that this one has to itself."""
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (nn.BatchNorm1d, (6, 3)),
        (nn.BatchNorm1d, (6, 3, 4)),
        (nn.BatchNorm2d, (6, 3, 4, 5)),
        (nn.BatchNorm3d, (6, 3, 2, 4, 5)),
    ],
)
def test_shared_batch_norm_alone_is_torchs(one_process, layer, shape):
    """Outputs, running statistics, first and second derivatives, and in evaluation mode."""
    generator = torch.Generator().manual_seed(0)
    inputs, direction = (torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2))
    plain = layer(3, eps=1e-3, momentum=0.3).double()
    plain.weight.data.uniform_(0.5, 2, generator=generator)
    synced = convert_sync_batchnorm(nn.Sequential(copy.deepcopy(plain)))[0]
    assert type(synced) is SyncBatchNorm

    def derivatives(norm: nn.Module) -> list[torch.Tensor]:
        given = inputs.clone().requires_grad_()
        outputs = norm(given)
        (slope,) = torch.autograd.grad((outputs.sin() * direction).sum(), given, create_graph=True)
        return [outputs, slope, *torch.autograd.grad(slope.square().sum(), [given, norm.weight])]

    torch.testing.assert_close(derivatives(synced), derivatives(plain))
    torch.testing.assert_close(synced.state_dict(), plain.state_dict())
    torch.testing.assert_close(synced.eval()(inputs), plain.eval()(inputs))
    half = synced.float().train()(inputs.bfloat16())
    assert half.dtype == torch.bfloat16, "the next layer gets what it would get from torch's"
    torch.testing.assert_close(half.double(), plain.train()(inputs), rtol=0.02, atol=0.02)


SCRIPT = """
import os, signal, socket, sys
from pathlib import Path

import torch._dynamo, torch.distributed.fsdp, torchvision.models  # once, for the processes are forks of this one
from torch import distributed
from torch.multiprocessing import start_processes

from kdcourse import scale
from kdcourse.scale import loop, teacher

recipe, output, mark = sys.argv[1:]
rate, shard = loop.learning_rate, teacher.shard


def killing(training, step, per_epoch, steps):
    if step == 15 and distributed.get_rank() == 1 and not Path(mark).exists():
        Path(mark).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return rate(training, step, per_epoch, steps)


def weighed(tapped, device):
    whole = sum(one.numel() for one in tapped.parameters())
    mine = sum(one.to_local().numel() for one in shard(tapped, device).parameters())
    print(f"{mine / whole:.0%} of the teacher lies here", flush=True)
    return tapped


def process(rank, port):
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in place.items()}
    try:
        scale.train_recipe(scale.read_recipe(recipe), output)
    except scale.ProcessLost as error:
        sys.exit(f"kdcourse: {error}")


def launch():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    start_processes(process, (port,), nprocs=2, start_method="fork")


loop.learning_rate, teacher.shard = killing, weighed
try:
    launch()
except Exception as error:
    print(f"ended: {error}", flush=True)
launch()
"""


def test_two_processes_train_as_one_and_outlive_a_killed_one(tmp_path):
    """All kinds of methods, batch norm, cached and sharded teachers; one process is killed, the rest stops, and goes on."""
    taught = {"student": SMALL, "teacher": "teacher", "training": {"steps": 4}}
    matched = [{"VariationalInformation": {"layers": PAIR}}, {"AttentionTransfer": {"layers": PAIR}}]
    soft = {**taught, "method": ["Distillation", *matched]}
    read = recipe(
        tmp_path,
        related={**taught, "method": RELATED},
        peers={"student": [SMALL, SMALL], "method": "MutualLearning", "training": {"steps": 4}},
        jacobian={**taught, "method": "JacobianMatching", "sharded": True},
        asked=soft,
        cached={**soft, "cached": True},
        sharded={**soft, "sharded": True},
        both={**soft, "sharded": True, "cached": True},
    )
    scale.train_recipe(read, tmp_path / "one")
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, *(str(tmp_path / name) for name in ("script.py", "tiny.yaml", "two", "killed"))],
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    lost = "kdcourse: another process of this run is gone, so teacher stops; its last checkpoint is of step 10"
    assert lost in done.stderr and "ended: process 1 terminated with signal SIGKILL" in done.stdout
    assert "teacher goes on from step 10 of 20" in done.stdout
    shares = re.findall(r"(\d+)% of the teacher lies here", done.stdout)
    assert len(shares) == 6 and all(45 <= int(share) <= 55 for share in shares), shares
    for run in read.runs:
        ours, theirs = weights(tmp_path / "two", run), weights(tmp_path / "one", run)
        for name, value in theirs.items():
            torch.testing.assert_close(
                ours[name], value, rtol=2e-3, atol=2e-5, msg=lambda text, run=run: f"{run}: {text}"
            )
    for processes in ("one", "two"):
        asked, *others = (weights(tmp_path / processes, run) for run in ("asked", "cached", "sharded", "both"))
        for other in others:
            for name, value in asked.items():
                torch.testing.assert_close(other[name], value, rtol=1e-4, atol=1e-6)


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
            "runs.hint.teacher must be one of .*resnet8x4.*, torchvision:<name>, .*, got 'nobody'",
        ),
        ("runs.hint.teacher", "hint", "runs.hint.teacher goes round in a circle: hint → hint"),
        ("runs.hint.teacher", None, "runs.hint.teacher must be given for HardTarget"),
        ("runs.hint.method", "Distilation", "runs.hint.method must be one of .*Distillation.*, got 'Distilation'"),
        ("runs.hint.method", "Target", "runs.hint.method must be one of .*TokenDivergence.*, got 'Target'"),
        ("runs.hint.method", {"Distillation": {"heat": 4}}, "runs.hint.method.Distillation: .*heat"),
        (
            "runs.hint.student",
            {"convnet": {"widths": [0]}},
            "runs.hint.student.convnet: widths, classes and channels must be",
        ),
        ("runs.hint.cached", "yes", "runs.hint.cached must be true or false, got 'yes'"),
        (
            "runs.hint",
            TAUGHT | {"method": "JacobianMatching", "cached": True},
            "runs.hint.cached must be false for Jac",
        ),
        (
            "runs.hint",
            TAUGHT | {"method": MOVED, "sharded": True},
            "runs.hint.sharded must be false for WeightTransfer",
        ),
        ("training.batch_size", 25, "training.batch_size must be at most 24, the pictures there are, got 25"),
        ("data", {"name": "reviews", "shift": 1}, "data must neither move text as if it were pictures"),
        ("data", {"name": "plays", "only": [1]}, "nor choose classes of it, got .*only=.1"),
        (
            "data.tokenizer",
            "bert-base-uncased",
            "data.tokenizer is for sst2, reviews.*'bert-base-uncased' for 'glyphs'",
        ),
        (
            "data",
            {"name": "reviews", "tokenizer": "/no/where"},
            "data.tokenizer: name_or_folder must be a folder that save_pretrained wrote or a model on the hub, got '/no/where'",
        ),
        (
            "data",
            {"name": "reviews", "pictures": 24},
            "teacher.student.convnet: must be a model of sentences as the data",
        ),
        (
            "data",
            {"name": "plays", "pictures": 24},
            "teacher.student.convnet: must be a model of characters as the data",
        ),
        ("runs.teacher.student", "bert", "runs.teacher.student.bert: must be a model of pictures as the data are"),
        ("runs.teacher.student", WRITER, "runs.teacher.student.gpt: must be a model of pictures as the data are"),
        ("data.only", [3, 10], r"data.only must be classes from 0 to 9, got \[10\]"),
        ("data.without", list(range(10)), "data.without must leave a class to learn from, got .0, 1, 2"),
        (
            "runs.hint.training",
            {"momentum": 0, "nesterov": True},
            "runs.hint.training.nesterov must be false where momentum is 0, got true",
        ),
        (
            "runs.hint",
            TAUGHT | {"method": "SoftTarget", "training": {"batch_size": 25}},
            "runs.hint: training.batch_size must be at most 24, the pictures there are, got 25",
        ),
        (
            "runs.hint.method",
            {"Distillation": {"alpha": 1.5}},
            r"runs.hint.method.Distillation.alpha must be within \[0, 1\], got 1.5",
        ),
        (
            "runs.hint.method",
            ["SoftTarget", {"Distillation": {"temperature": 0}}],
            "runs.hint.method.Distillation.temperature must be above 0, got 0",
        ),
        (
            "runs.hint.method",
            {"Distillation": {"alpha": "half"}},
            r"runs.hint.method.Distillation.alpha must be a number within \[0, 1\], got 'half'",
        ),
        (
            "runs.hint.method",
            {"Hint": {"layers": {"stage7": "stage2"}}},
            "runs.hint.method.Hint: the student has no layer 'stage7'; its layers are stage1.0",
        ),
        (
            "runs.hint.method",
            {"Hint": {"layers": {"stage2": "stage7"}}},
            "runs.hint.method.Hint: the teacher has no layer 'stage7'",
        ),
        (
            "runs.hint.method",
            {"RelationalDistance": {"layers": PAIR, "times": "all"}},
            "runs.hint.method.RelationalDistance.times must be a number above 0, got 'all'",
        ),
        ("runs.hint", TAUGHT, r"runs.hint.method must be one that asks a teacher, .*, got HardTarget\(\)"),
        (
            "runs.hint.method",
            {"SoftTarget": {"times": float("nan")}},
            "runs.hint.method.SoftTarget.times must be a number above 0, got nan",
        ),
        ("runs.hint.method", {"SoftTarget": {"times": -1}}, "SoftTarget.times must be a number above 0, got -1"),
        ("runs.hint.student", [SMALL], "runs.hint.student must be one model or at least two peers, got"),
        (
            "runs.hint.student",
            {"convnet": {"widths": "wide"}},
            "runs.hint.student.convnet: .*, given {'widths': 'wide'}",
        ),
        ("training.milestones", [10, -1], "training.milestones must be a list of epochs, got .10, -1"),
        ("runs.a/b", TAUGHT, "runs must have names that a folder can have, got 'a/b'"),
        ("runs.hint.teacher", FIVE, "runs.hint.teacher must have the 10 classes of the data, got 5"),
        ("runs.hint.student", FIVE, "runs.hint.student must have the 10 classes of the data, got 5"),
        ("runs.hint.student", [SMALL, SMALL], "runs.hint.method.HardTarget: "),
        (
            "runs.hint.student",
            {"convnet": {"widths": [4] * 5}},
            r"runs.hint.student cannot take pictures of shape \(8, 1, 28, 28\): .*too small",
        ),
        (
            "runs.hint.teacher",
            "./teacher.pt",
            r"runs.hint.teacher must be one of .*\{file: path, model: what they belong to\}, got './teacher.pt'",
        ),
        ("runs.hint.teacher", {"file": "teacher.pt"}, "runs.hint.teacher must be {file: path, model: what the weights"),
        (
            "runs.hint.teacher",
            {"file": "nobody.pt", "model": SMALL},
            "runs.hint.teacher.file: no file of weights at .*nobody.pt",
        ),
    ],
)
def test_what_is_wrong_is_named_by_its_key_before_anything_trains(key, value, message, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("a run has trained before the mistake was found"))
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


def test_a_model_with_other_tokens_is_refused():
    with pytest.raises(
        RecipeError, match=r"here.bert: must know the 1 tokens of data.tokenizer, got a model with its own"
    ):
        build_model("bert", "here", DataSpec(2, 1, 8, {"word": 0}, kind="sentences"), 0)


@pytest.mark.parametrize(
    ("run", "message"),
    [
        ("on", "the key 'on' in line 4 reads as yes or no; put it in quotes"),
        ("results.json", "runs must have names that a folder can have, got 'results.json'"),
        ("'..'", "runs must have names that a folder can have, got '..'"),
        ("''", "runs must have names that a folder can have, got ''"),
    ],
)
def test_a_run_is_not_named_like_a_switch_or_what_the_runs_write(tmp_path, run, message):
    path = tmp_path / "mine.yaml"
    path.write_text(f"title: t\nsource: s\nruns:\n  {run}: {{student: {{convnet: {{widths: [8]}}}}}}\n")
    with pytest.raises(RecipeError, match=re.escape(message)):
        scale.read_recipe(path)


def test_a_key_that_stands_twice_is_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("runs:\n  kd: {student: convnet}\n  other: {student: convnet, student: perceptron}\n")
    with pytest.raises(RecipeError, match=r"twice.yaml is no YAML: the key 'student' stands twice, in lines 3 and 3"):
        scale.read_recipe(path)
    path.write_text(
        "data: {name: glyphs}\nruns:\n  kd: &kd {student: convnet}\n  other: {<<: *kd, student: perceptron}\n"
    )
    found = scale.read_recipe(path).runs
    assert [run.student for run in found.values()] == ["convnet", "perceptron"], "a merged key may be overridden"


def test_a_teacher_of_other_data_is_refused_before_anything_trains(tmp_path, monkeypatch):
    """Ten classes and pictures as large, of which it knows nothing; and larger pictures of the same classes."""
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("a run has trained before the mistake was found"))
    found = datasets.open_data(Data(name="glyphs", pictures=24), 0, torch.device("cpu"))
    own = {"student": SMALL, "teacher": "teacher", "method": "SoftTarget"}
    read = recipe(tmp_path, {"data.pictures": 24}, kd=own | {"data": {"name": "mnist"}})

    def opened(data: Data, seed: int, device: torch.device) -> tuple:
        other = replace(found[2], names=tuple("0123456789")) if data.name == "mnist" else found[2]
        return *found[:2], other

    monkeypatch.setattr(runs, "open_data", opened)
    with pytest.raises(
        RecipeError,
        match=r"runs.kd.teacher must have learnt from what its student learns from, pictures of 784 numbers, 10 classes "
        r"\(0, 1, 2, …\); got teacher, which learns from .*\(O, Q, C, …\)",
    ):
        scale.train_recipe(read, tmp_path / "out", runs=["kd"])


def test_a_student_whose_answers_in_training_are_no_logits_is_refused(tmp_path):
    folder = {"folder": str(datasets.draw_folder(tmp_path / "pictures")), "name": None, "size": 96, "workers": 0}
    nets = {"student": "torchvision:googlenet", "data": folder | {"shift": 0}}
    with pytest.raises(
        RecipeError, match=r"runs.kd.student must answer with logits alone, in training too, got GoogLeNet"
    ):
        scale.train_recipe(recipe(tmp_path, kd=nets), tmp_path / "out", runs=["kd"])


def test_a_folder_is_learnt_from_by_class_and_never_shifted(tmp_path):
    root = str(datasets.draw_folder(tmp_path / "pictures"))
    train, *_ = datasets.open_data(Data(folder=root, size=32, only=(1, 3), without=(3,)), 0, torch.device("cpu"))
    assert {label for _, label in train.samples} == {1} and len(train) < 24
    with pytest.raises(RecipeError, match=r"data.only must be classes from 0 to 9, got .12."):
        datasets.open_data(Data(folder=root, size=32, only=(12,)), 0, torch.device("cpu"))
    with pytest.raises(RecipeError, match=r"runs.kd.data.shift must be 0 for a folder, got 1; crop moves its pictures"):
        recipe(tmp_path, kd={"student": SMALL, "data": {"name": None, "folder": root}})


def test_a_trials_folder_is_written_by_what_will_stay(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # torchvision gives up its own files of pictures
        train, *_ = datasets.open_data(
            Data(folder=str(datasets.draw_folder(tmp_path)), size=32, workers=0), 0, torch.device("cpu")
        )
    drawn, labels = GLYPHS(24, 0)
    one = next(path for path, _ in train.samples if path.stem == "7")
    assert one.parent.name == datasets.CHARACTERS[labels[7]]
    assert torch.equal(torch.from_numpy(np.array(open_picture(one))), drawn[7, 0].unsqueeze(2).expand(-1, -1, 3))


def test_a_few_glyphs_are_glyphs():
    """As large, and standardised as all of them, so that who learnt from these teaches a few."""
    few, _, spec = datasets.open_data(Data(name="glyphs", pictures=400), 0, torch.device("cpu"))
    assert few.examples.inputs.shape == (400, 1, 28, 28) and spec.inputs == 784
    assert abs(few.examples.inputs.mean()) < 0.02 and abs(few.examples.inputs.std() - 1) < 0.02


def test_weights_of_ones_own_teach(tmp_path):
    own = {"file": "mine/teacher.pt", "model": {"convnet": {"widths": [6, 12]}}}
    (tmp_path / "mine").mkdir()

    def written(seed: int) -> nn.Module:
        model = convnet((6, 12), seed=seed)
        torch.save({"state_dict": {f"module.{key}": value for key, value in model.state_dict().items()}}, file)
        return model

    file = tmp_path / "mine" / "teacher.pt"
    model = written(7)
    read = recipe(tmp_path, {"training.steps": 2}, kd={"student": SMALL, "teacher": own, "method": "SoftTarget"})
    spec = DataSpec(10, 1, 784)
    for name, value in build_model(read.runs["kd"].teacher, "kd", spec, 0).state_dict().items():
        assert torch.equal(value, model.state_dict()[name])
    scale.train_recipe(read, tmp_path / "out", runs=["kd"])
    moved = recipe(tmp_path, {"training.steps": 2}, kd={"student": SMALL, "teacher": own, "method": "SoftTarget"})
    assert scale.train_recipe(moved, tmp_path / "out", runs=["kd"])[0].steps == 2, "what is trained already is read"
    written(8)
    with pytest.raises(RecipeError, match=r"kd: teacher.file must be '\w+' as in the checkpoints .*, got '\w+'"):
        scale.train_recipe(read, tmp_path / "out", runs=["kd"])
    torch.save(convnet((6, 13)).state_dict(), file)
    with pytest.raises(RecipeError, match=r"runs.kd.teacher.file: teacher.pt does not hold the model's 14 weights: "):
        scale.train_recipe(read, tmp_path / "other", runs=["kd"])
    assert scale.train_recipe(read, tmp_path / "small", runs=["kd"], small=True)[0].steps == 2, "a trial needs no file"


def test_pretrained_berts_learn_from_sentences(tmp_path):
    own = bert(8, 1, heads=2, seed=5)
    own.bert.save_pretrained(tmp_path / "own")
    own.tokenizer.save_pretrained(tmp_path / "own")
    sentences = {**TEXT, "name": "reviews", "tokenizer": str(tmp_path / "own")}
    common = {
        "student": {"pretrained": {"name_or_folder": str(tmp_path / "own")}},
        "data": sentences,
        "training": {"steps": 3, "optimizer": "adamw", "learning_rate": 1e-4},
    }
    taught = common | {"teacher": "large", "cached": True, "method": "Distillation"}
    found = scale.train_recipe(recipe(tmp_path, large=common, kd=taught), tmp_path / "out", runs=["kd"])
    assert [one.name for one in found] == ["large", "kd"] and all(0 <= one.score[0] <= 100 for one in found)
    before = own.bert.bert.embeddings.word_embeddings.weight
    for run in ("large", "kd"):
        after = weights(tmp_path / "out", run)["bert.bert.embeddings.word_embeddings.weight"]
        assert 0 < (after - before).abs().max() < 1e-3  # three steps from the folder's weights


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


def test_the_command_that_is_told_to_end_saves_and_goes_on(tmp_path, monkeypatch):
    recipe(tmp_path)
    stopping(monkeypatch, 3)
    command = ["train", str(tmp_path / "tiny.yaml"), "--run", "teacher", "--output", str(tmp_path / "out")]
    stopped = CliRunner().invoke(cli.app, command)
    assert stopped.exit_code == 143, "what a process ended by SIGTERM returns"
    assert "saved after step 10 of 20. The same command goes on from there" in stopped.output
    again = CliRunner().invoke(cli.app, command)
    assert again.exit_code == 0 and "teacher goes on from step 10 of 20" in again.output
