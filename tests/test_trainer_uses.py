"""The distillation trainer as Trainers are used: metrics, lines of the log, a second run, adapters, replicas, shards."""

import numpy as np
import pytest
import safetensors.torch
import torch
import transformers
from torch import nn
from torch.nn import functional as F
from transformers.modeling_outputs import SequenceClassifierOutput

from kdcourse import losses
from kdcourse.models import sentiment
from kdcourse.training.inner import ADAPTERS
from tests.test_trainer import LABELS, TEXTS, batch, launched, trainer

SAVING = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}


def small(dropout=0.0):
    return sentiment.bert(16, 2, heads=2, dropout=dropout, seed=1)


@pytest.fixture
def student():
    return small()


@pytest.fixture
def teacher():
    return sentiment.bert(32, 4, heads=2, seed=2)


def history(one, name):
    return [entry[name] for entry in one.state.log_history if name in entry]


def same(one, other):
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_metrics_are_computed_of_the_students_logits(student, teacher, tmp_path):
    def right(prediction):
        assert isinstance(prediction.predictions, np.ndarray)
        return {"accuracy": float((prediction.predictions.argmax(1) == prediction.label_ids).mean())}

    one = trainer(student, teacher, tmp_path, hidden=1.0, eval_strategy="steps", eval_steps=1, metrics=right)
    one.train()
    found = (student.predict(TEXTS).argmax(1) == LABELS).float().mean().item()
    assert len(history(one, "eval_accuracy")) == 3 and history(one, "eval_accuracy")[-1] == pytest.approx(found)


def test_the_best_checkpoint_comes_back_at_the_end(student, teacher, tmp_path):
    settings = {"eval_strategy": "steps", "eval_steps": 2, "load_best_model_at_end": True, "learning_rate": 1.0}
    one = trainer(student, teacher, tmp_path, hidden=1.0, **SAVING, **settings)
    one.train()
    assert one.evaluate()["eval_loss"] == pytest.approx(min(history(one, "eval_loss")))


def test_the_parts_of_the_loss_are_logged_each_by_itself(student, teacher, tmp_path):
    """With their weights they add up to the loss; the first step's soft part is the package's, whatever way batches are cut."""
    weights = {"alpha": 0.75, "hidden": 2.0, "attention": 5.0}
    settings = {
        "per_device_train_batch_size": 6,
        "gradient_accumulation_steps": 3,
        "logging_steps": 1,
        "temperature": 3.0,
    }
    soft = losses.soft_target(student(TEXTS), teacher.eval()(TEXTS), temperature=3.0).item()
    one = trainer(student, teacher, tmp_path, **settings, **weights)
    one.train()
    assert history(one, "soft_loss")[0] == pytest.approx(soft, rel=1e-5)
    parts = [history(one, f"{name}_loss") for name in ("soft", "hard", "hidden", "attention")]
    added = 0.75 * np.array(parts[0]) + 0.25 * np.array(parts[1]) + 2 * np.array(parts[2]) + 5 * np.array(parts[3])
    assert history(one, "loss") == pytest.approx(added.tolist(), rel=1e-4) and len(added) == 3
    alone = trainer(small(), teacher, tmp_path, labels=None, logging_steps=2, max_steps=4)
    alone.train()
    assert history(alone, "soft_loss") == pytest.approx(history(alone, "loss"), rel=1e-5)
    assert not history(alone, "hard_loss") and not history(alone, "hidden_loss")
    mixed = trainer(small(), teacher, tmp_path, alpha=0.25, temperature=3.0)
    student.bert.train()
    mixed.model = student.bert
    for labels in (None, LABELS):  # the labels come in when something has been counted
        mixed.compute_loss(student.bert, batch(student, labels))
    mixed.log({"loss": 0.0})
    own = losses.soft_target(student(TEXTS), teacher.eval()(TEXTS), temperature=3.0).item()
    assert history(mixed, "soft_loss") == pytest.approx([own], rel=1e-5)
    assert history(mixed, "hard_loss") == pytest.approx([F.cross_entropy(student(TEXTS), LABELS).item()], rel=1e-5)


def test_a_second_run_goes_on_with_what_was_learnt_beside_the_student(student, teacher, tmp_path):
    one = trainer(student, teacher, tmp_path, hidden=1.0)
    one.train()
    assert not hasattr(student.bert, ADAPTERS)
    first = one.inner.adapters["layer0"].weight.detach().clone()
    one.train()
    assert not torch.equal(one.inner.adapters["layer0"].weight, first), "the second run left them behind"
    learnt = [id(part) for group in one.optimizer.param_groups for part in group["params"]]
    mine = [id(part) for part in (*student.bert.parameters(), *one.inner.adapters.parameters())]
    assert sorted(learnt) == sorted(mine), "each weight is in the optimizer once"


def test_checkpoints_hold_the_student_and_the_maps_apart(student, teacher, tmp_path):
    one = trainer(student, teacher, tmp_path, hidden=1.0, **SAVING)
    one.train()
    folder = tmp_path / "checkpoint-4"
    assert set(safetensors.torch.load_file(folder / "model.safetensors")) == set(student.bert.state_dict())
    assert same(safetensors.torch.load_file(folder / f"{ADAPTERS}.safetensors"), one.inner.adapters.state_dict())
    again = trainer(small(), teacher, tmp_path / "again", hidden=1.0, **SAVING)
    again.train(resume_from_checkpoint=str(folder))
    assert same(again.inner.adapters.state_dict(), one.inner.adapters.state_dict())
    wider = trainer(small(), sentiment.bert(64, 4, heads=2), tmp_path / "wider", hidden=1.0, **SAVING)
    with pytest.raises(ValueError, match=r"must have maps \{'layer0.weight': \(64, 16\), .* got .*\(32, 16\)"):
        wider.train(resume_from_checkpoint=str(folder))
    (folder / f"{ADAPTERS}.safetensors").unlink()
    with pytest.raises(ValueError, match=r"must hold distillation_adapters\.safetensors, .* got none"):
        again.train(resume_from_checkpoint=str(folder))


def test_an_optimizer_of_ones_own_would_leave_the_maps_as_they_are(student, teacher, tmp_path):
    build = type(trainer(student, teacher, tmp_path))
    own = torch.optim.SGD(student.bert.parameters(), lr=0.1)
    arguments = trainer(student, teacher, tmp_path, hidden=1.0).args
    with pytest.raises(
        ValueError, match="optimizers must be left to the trainer: layer0, layer1 of student and teacher"
    ):
        build(student.bert, teacher.bert, arguments, optimizers=(own, None))
    build(student.bert, sentiment.bert(16, 4, heads=2).bert, arguments, optimizers=(own, None))


def test_activations_that_are_computed_anew_change_nothing(teacher, tmp_path):
    def trained(**settings):
        pupil = small()
        trainer(pupil, teacher, tmp_path, hidden=1.0, max_steps=2, **settings).train()
        return pupil.state_dict()

    plain, anew = trained(), trained(gradient_checkpointing=True)
    for name, value in anew.items():
        torch.testing.assert_close(value, plain[name], rtol=1e-4, atol=1e-6)


class Replicas(nn.DataParallel):
    """As `DataParallel` on two devices: each half of a batch by itself, and the answers together on one."""

    def forward(self, **inputs):
        names = [name for name, value in inputs.items() if isinstance(value, torch.Tensor)]
        halves = [
            dict(zip(names, values, strict=True)) for values in zip(*(inputs[n].chunk(2) for n in names), strict=True)
        ]
        one, other = (self.module(**{**inputs, **half}) for half in halves)
        states = tuple(map(torch.cat, zip(one.hidden_states, other.hidden_states, strict=True)))
        return SequenceClassifierOutput(logits=torch.cat([one.logits, other.logits]), hidden_states=states)


@pytest.mark.parametrize("average", [True, False])
def test_replicas_on_two_devices_train_as_one_device_does(average, teacher, tmp_path, monkeypatch):
    texts = [
        f"the {thing} is {word} ."
        for thing in ("film", "book", "pan", "plot")
        for word in ("good", "bad", "great", "dull")
    ]

    def trained(devices):
        pupil, size = small(), 8 // devices
        settings = {
            "per_device_train_batch_size": size,
            "average_tokens_across_devices": average,
            "optim": "sgd",
            "max_steps": 2,
        }
        one = trainer(pupil, teacher, tmp_path, texts=texts, hidden=1.0, logging_steps=1, max_grad_norm=0.0, **settings)
        one.args._n_gpu = devices
        one._train_batch_size = 8
        one.train()
        return pupil.state_dict(), history(one, "loss"), isinstance(one.model_wrapped, Replicas)

    whole, its_losses, _ = trained(1)
    monkeypatch.setattr(nn, "DataParallel", Replicas)
    parts, their_losses, wrapped = trained(2)
    assert wrapped and their_losses == pytest.approx(its_losses, rel=1e-4)
    for name, value in parts.items():
        torch.testing.assert_close(value, whole[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("hidden", [0.0, 1.0])
def test_a_student_with_lora_learns_its_few_weights_and_resumes(hidden, teacher, tmp_path):
    peft = pytest.importorskip("peft")

    def fresh(folder):
        pupil, lora = small(dropout=0.1), {"target_modules": ["query", "value"], "modules_to_save": ["classifier"]}
        torch.manual_seed(0)
        pupil.bert = peft.get_peft_model(pupil.bert, peft.LoraConfig(task_type="SEQ_CLS", r=2, **lora))
        return pupil.bert, trainer(pupil, teacher, folder, hidden=hidden, **SAVING)

    pupil, one = fresh(tmp_path / "through")
    start = {name: value.clone() for name, value in pupil.state_dict().items()}
    one.train()
    moved = {name for name, value in pupil.state_dict().items() if not torch.equal(value, start[name])}
    assert moved and all("lora_" in name or "modules_to_save" in name for name in moved), "what is frozen stays"
    resumed, other = fresh(tmp_path / "again")
    other.train(resume_from_checkpoint=str(tmp_path / "through" / "checkpoint-2"))
    assert other.state.global_step == 4 and same(resumed.state_dict(), pupil.state_dict())


def test_a_student_that_is_cut_for_many_processes_has_the_loss_of_a_whole_one(teacher, tmp_path):
    """FSDP of one process, and states of one width: the teacher is whole, and nothing is learnt beside the student."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    student, wide = small(), sentiment.bert(16, 4, heads=2, seed=3)
    one = trainer(student, wide, tmp_path, hidden=1.0, attention=1.0)
    student.bert.train()
    whole = one.compute_loss(student.bert, batch(student))
    store = torch.distributed.FileStore(str(tmp_path / "store"), 1)
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        one.model = fully_shard(student.bert, mesh=init_device_mesh("cpu", (1,)))
        parts = one.compute_loss(one.model, batch(student))
        torch.testing.assert_close(parts, whole)
        parts.backward()
        assert all(
            torch.isfinite(part.grad.full_tensor()).all() for part in one.model.parameters() if part.grad is not None
        )
    finally:
        torch.distributed.destroy_process_group()


# Texts of one length, so that the means of both halves are the mean over all, of inner losses too.
CUT = """
import copy, sys, torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from tests.test_trainer_uses import LABELS, small, trainer, sentiment
texts = [f"the {thing} is {word} ." for thing in ("film", "book", "pan", "plot") for word in ("good", "bad", "great", "dull")]
student, teacher = small(), sentiment.bert(16, 4, heads=2, seed=3)
one = trainer(student, teacher, sys.argv[1], hidden=1.0, attention=1.0, alpha=0.5, ddp_backend="gloo")
def batch(rows):
    return {**student.padded(student.encode(texts[rows])), "labels": LABELS[rows]}
whole = copy.deepcopy(student.bert.train())
expected = one.compute_loss(whole, batch(slice(None)))
expected.backward()
rank, processes = torch.distributed.get_rank(), torch.distributed.get_world_size()
for layer in student.bert.bert.encoder.layer:
    fully_shard(layer, mesh=init_device_mesh("cpu", (processes,)))
one.model = fully_shard(student.bert, mesh=init_device_mesh("cpu", (processes,)))
loss = one.compute_loss(one.model, batch(slice(rank, None, processes)))
loss.backward()
mean = loss.detach().clone()
torch.distributed.all_reduce(mean)
torch.testing.assert_close(mean / processes, expected.detach(), rtol=1e-4, atol=1e-6)
for (name, ours), theirs in zip(one.model.named_parameters(), whole.parameters(), strict=True):
    assert processes == 1 or ours.to_local().numel() < theirs.numel(), f"{name} is whole"
    torch.testing.assert_close(ours.grad.full_tensor(), theirs.grad, rtol=1e-3, atol=1e-6, msg=name)
torch.distributed.destroy_process_group()
"""


def test_a_student_that_two_processes_share_has_the_loss_and_gradients_of_a_whole_one(tmp_path):
    done = launched(CUT, tmp_path, 2, tmp_path / "out")
    assert done.returncode == 0, done.stderr[-2000:]


# Its own exchange between processes on a CPU is compiled for minutes; torch's does the same.
SHARDED = """
import sys, deepspeed, torch
deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
from tests.test_trainer_uses import history, sentiment, small, trainer
def trained(**settings):
    student, teacher = small(), sentiment.bert(16, 4, heads=2, seed=3)
    settings |= {"ddp_backend": "gloo", "logging_steps": 1, "max_steps": 2}
    one = trainer(student, teacher, sys.argv[1], hidden=1.0, alpha=0.5, **settings)
    one.train()
    weights = list(student.bert.parameters())
    with deepspeed.zero.GatheredParameters(weights):
        return [value.detach().clone() for value in weights], history(one, "loss"), one.is_deepspeed_enabled
whole, its_losses, _ = trained()
sizes = dict.fromkeys(("train_micro_batch_size_per_gpu", "train_batch_size", "gradient_accumulation_steps"), "auto")
settings = {**sizes, "gradient_clipping": "auto", "zero_force_ds_cpu_optimizer": False, "zero_allow_untested_optimizer": True}
cut, their_losses, by_deepspeed = trained(deepspeed={**settings, "zero_optimization": {"stage": int(sys.argv[2])}})
assert by_deepspeed and len(their_losses) == 2
torch.testing.assert_close(their_losses, its_losses, rtol=1e-5, atol=0)
for ours, theirs in zip(cut, whole, strict=True):
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize("stage", [2, 3])
def test_a_student_that_deepspeed_cuts_learns_what_a_whole_one_does(stage, tmp_path, monkeypatch):
    pytest.importorskip("deepspeed")
    monkeypatch.setenv("DS_ACCELERATOR", "cpu")
    done = launched(SHARDED, tmp_path, 2, tmp_path / "out", stage)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("which", ["fsdp", "deepspeed"])
def test_maps_beside_a_student_that_is_cut_are_refused(which, student, teacher, tmp_path, monkeypatch):
    made = transformers.Trainer.create_accelerator_and_postprocess

    def cut(self):
        made(self)
        setattr(self, f"is_{which}_enabled", True)

    monkeypatch.setattr(transformers.Trainer, "create_accelerator_and_postprocess", cut)
    with pytest.raises(
        ValueError, match=f"{which} must not cut a model whose inner losses need maps: layer0, layer1 of"
    ):
        trainer(student, teacher, tmp_path, hidden=1.0)
    trainer(student, teacher, tmp_path)


transformers.utils.logging.disable_progress_bar()
