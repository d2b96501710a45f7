"""The distillation trainer: its loss by hand, its teacher left alone, several processes, resuming, and its errors."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from transformers import DataCollatorWithPadding, TrainingArguments

from kdcourse import losses
from kdcourse.models import sentiment
from kdcourse.training.inner import ADAPTERS
from kdcourse.training.trainer import DistillationTrainer, DistillationTrainingArguments, Examples

TEXTS = ["a good film", "the plot is not gripping .", "what a lovely pan , but the lid is rusty .", "I regret it ."] * 4
LABELS = torch.tensor([1, 0, 0, 0] * 4)


@pytest.fixture
def student():
    return sentiment.bert(16, 2, heads=2, dropout=0.0, seed=1)


@pytest.fixture
def teacher():
    return sentiment.bert(32, 4, heads=2, seed=2)


def trainer(
    student,
    teacher,
    folder,
    labels=LABELS,
    cached=None,
    texts=TEXTS,
    states=None,
    build=None,
    function=None,
    metrics=None,
    **settings,
):
    defaults = {
        "per_device_train_batch_size": 4,
        "max_steps": 3,
        "learning_rate": 1e-2,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
    }
    return (build or DistillationTrainer)(
        student.bert,
        teacher.bert if teacher is not None else None,
        args=DistillationTrainingArguments(str(folder), **{**defaults, **settings}),
        train_dataset=Examples(student.encode(texts), labels, cached, states),
        eval_dataset=Examples(student.encode(texts), labels) if "eval_strategy" in settings else None,
        compute_metrics=metrics,
        data_collator=DataCollatorWithPadding(student.tokenizer),
        compute_loss_func=function,
    )


def batch(student, labels=LABELS):
    inputs = dict(student.padded(student.encode(TEXTS)))
    return inputs if labels is None else {**inputs, "labels": labels}


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_the_loss_is_the_formula(student, teacher, tmp_path, alpha):
    one = trainer(student, teacher, tmp_path, alpha=alpha, temperature=3.0)
    logits, answers = student(TEXTS), teacher.eval()(TEXTS)
    hard, soft = F.cross_entropy(logits, LABELS), losses.soft_target(logits, answers, temperature=3.0)
    loss, outputs = one.compute_loss(student.bert, batch(student), return_outputs=True)
    torch.testing.assert_close(loss, alpha * soft + (1 - alpha) * hard)
    torch.testing.assert_close(outputs["logits"], logits)
    if alpha == 1:
        torch.testing.assert_close(loss, soft)
    if alpha == 0:
        torch.testing.assert_close(loss, hard)


def test_sentences_without_labels_are_learnt_from_the_teacher_alone(student, teacher, tmp_path):
    one = trainer(student, teacher, tmp_path, alpha=0.3, temperature=3.0)
    expected = losses.soft_target(student(TEXTS), teacher.eval()(TEXTS), temperature=3.0)
    torch.testing.assert_close(one.compute_loss(student.bert, batch(student, None)), expected)


def test_inner_losses_are_the_packages(student, teacher, tmp_path):
    one = trainer(student, teacher, tmp_path, alpha=0.0, hidden=2.0, attention=5.0, layers={0: 1, 1: 3})
    inputs = batch(student, None)
    more = {"output_hidden_states": True, "output_attentions": True}
    ours, theirs, mask = (
        student.bert.train()(**inputs, **more),
        teacher.bert.eval()(**inputs, **more),
        inputs["attention_mask"],
    )
    adapters = one.inner.adapters
    expected = F.cross_entropy(ours.logits, LABELS)
    for own, other in ((0, 1), (1, 3)):
        state = adapters[f"layer{own}"](ours.hidden_states[own + 1])
        expected = expected + 0.5 * 2 * losses.hidden_cosine(state, theirs.hidden_states[other + 1], mask)
        expected = expected + 0.5 * 5 * losses.attention_mse(ours.attentions[own], theirs.attentions[other], mask)
    torch.testing.assert_close(one.compute_loss(student.bert, batch(student)), expected)


def test_a_sentence_state_of_another_tokenizers_teacher_is_matched(student, tmp_path):
    states = torch.randn(16, 24, generator=torch.Generator().manual_seed(0))
    settings = {"alpha": 0.0, "sentence": 2.0}
    one = trainer(student, None, tmp_path, states=states, **settings)
    inputs = batch(student, None)
    ours = student.bert.train()(**inputs, output_hidden_states=True)
    mapped = one.inner.adapters["sentence"](ours.hidden_states[-1][:, 0])
    expected = F.cross_entropy(ours.logits, LABELS) + 2 * (1 - F.cosine_similarity(mapped, states, dim=1)).mean()
    torch.testing.assert_close(one.compute_loss(student.bert, {**batch(student), "teacher_states": states}), expected)
    one.train()
    with pytest.raises(ValueError, match="train_dataset must be Examples with teacher_states for the sentence loss"):
        trainer(student, None, tmp_path, **settings)


def test_layers_are_spread_evenly_by_default(student, teacher, tmp_path):
    assert trainer(student, teacher, tmp_path, hidden=1.0).inner.layers == {0: 1, 1: 3}
    assert trainer(student, teacher, tmp_path).inner.layers == {}


def test_training_moves_the_student_and_its_adapters_and_leaves_the_teacher(student, teacher, tmp_path):
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    start = {name: value.clone() for name, value in student.state_dict().items()}
    one = trainer(student, teacher, tmp_path, hidden=1.0, attention=1.0)
    adapters = one.inner.adapters
    first = adapters["layer0"].weight.detach().clone()
    one.train()
    assert not torch.equal(adapters["layer0"].weight, first), "the optimiser never saw the adapters"
    assert not hasattr(student.bert, ADAPTERS) and set(student.state_dict()) == set(start)
    assert any(not torch.equal(value, start[name]) for name, value in student.state_dict().items())
    assert teacher.bert.training and all(one.requires_grad for one in teacher.parameters()), "given back as it came"
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())


def test_cached_answers_train_the_same_student(teacher, tmp_path):
    def trained(cached):
        student = sentiment.bert(16, 2, heads=2, dropout=0.0, seed=1)
        one = trainer(student, None if cached else teacher, tmp_path, cached=teacher.predict(TEXTS) if cached else None)
        one.train()
        return student

    cached, fresh = trained(True).state_dict(), trained(False).state_dict()
    for name in cached:
        torch.testing.assert_close(cached[name], fresh[name], rtol=1e-4, atol=1e-5)


def test_accumulated_batches_count_by_their_examples(teacher, tmp_path):
    """Sixteen sentences as one batch, or as four, or as 6 + 6 + 4: one step comes out the same."""

    def trained(size, times):
        student = sentiment.bert(16, 2, heads=2, dropout=0.0, seed=1)
        settings = {"per_device_train_batch_size": size, "gradient_accumulation_steps": times, "max_steps": 1}
        trainer(student, teacher, tmp_path, learning_rate=1e-3, optim="sgd", max_grad_norm=0.0, **settings).train()
        return student.state_dict()

    whole = trained(16, 1)
    for size, times in ((4, 4), (6, 3)):
        for name, value in trained(size, times).items():
            torch.testing.assert_close(value, whole[name], rtol=1e-4, atol=1e-6)


def test_bf16_runs(student, teacher, tmp_path):
    one = trainer(student, teacher, tmp_path, bf16=True, hidden=1.0)
    assert torch.isfinite(torch.tensor(one.train().training_loss))


def test_a_run_that_stops_and_resumes_ends_with_the_same_weights(teacher, tmp_path):
    def fresh(folder, **settings):
        student = sentiment.bert(16, 2, heads=2, dropout=0.1, seed=1)
        saving = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4}
        return student, trainer(student, teacher, folder, hidden=1.0, **saving, **settings)

    student, one = fresh(tmp_path / "through")
    one.train()
    # The other run is killed after its first checkpoint: a new process would find just this folder.
    resumed, other = fresh(tmp_path / "again")
    (tmp_path / "through" / "checkpoint-2").rename(tmp_path / "checkpoint-2")
    other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert other.state.global_step == 4
    for name, value in resumed.state_dict().items():
        torch.testing.assert_close(value, student.state_dict()[name], rtol=0, atol=0)


# Sixteen texts of one length: inner losses are means over the tokens of each process's own batch.
TWO = """
import sys, torch
from pathlib import Path
from tests.test_trainer import trainer, sentiment
texts = [f"the {thing} is {word} ." for thing in ("film", "book", "pan", "plot") for word in ("good", "bad", "great", "dull")]
student = sentiment.bert(16, 2, heads=2, dropout=0.0, seed=1)
teacher = sentiment.bert(32, 4, heads=2, seed=2)
size, out = int(sys.argv[1]), sys.argv[2]
one = trainer(student, teacher, out, texts=texts, per_device_train_batch_size=size, hidden=1.0, optim="sgd", learning_rate=1e-2,
              max_grad_norm=0.0, max_steps=2, ddp_backend="gloo")
one.train()
if one.is_world_process_zero():
    torch.save(student.state_dict(), Path(out) / "weights.pt")
"""


def launched(script: str, folder: Path, processes: int, *arguments) -> subprocess.CompletedProcess:
    """A script in so many processes on the CPU, which find each other; folder: where it is written."""
    (folder / "script.py").write_text(script)
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*launch, str(folder / "script.py"), *map(str, arguments)]
    return subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, timeout=240)


def test_two_processes_train_as_one_with_twice_the_batch(tmp_path):
    weights = []
    for processes, size in ((1, 8), (2, 4)):
        folder = tmp_path / str(processes)
        folder.mkdir()
        done = launched(TWO, tmp_path, processes, size, folder)
        assert done.returncode == 0, done.stderr[-2000:]
        weights.append(torch.load(folder / "weights.pt"))
    start = sentiment.bert(16, 2, heads=2, dropout=0.0, seed=1).state_dict()
    assert any(not torch.equal(value, start[name]) for name, value in weights[0].items())
    for name, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][name], rtol=1e-4, atol=1e-6)


def test_a_student_that_is_built_for_each_run_is_joined_each_time(teacher, tmp_path):
    made = []

    def build():
        made.append(sentiment.bert(16, 2, heads=2, dropout=0.0, seed=1).bert)
        return made[-1]

    encoder = sentiment.bert(16, 2, heads=2)
    one = DistillationTrainer(
        None,
        teacher.bert,
        DistillationTrainingArguments(str(tmp_path), hidden=1.0, max_steps=2, report_to="none", use_cpu=True),
        model_init=build,
        train_dataset=Examples(encoder.encode(TEXTS), LABELS),
        data_collator=DataCollatorWithPadding(encoder.tokenizer),
    )
    assert one.train().training_loss == one.train().training_loss
    assert len(made) == 3 and one.model is made[-1] and not hasattr(one.model, ADAPTERS)


def test_the_trainers_own_options_of_the_loss_are_heard(student, teacher, tmp_path):
    one = trainer(student, teacher, tmp_path, alpha=0.25, temperature=2.0, label_smoothing_factor=0.3)
    soft = losses.soft_target(student(TEXTS), teacher.eval()(TEXTS), temperature=2.0)
    smooth = losses.label_smoothing(student(TEXTS), LABELS, smoothing=0.3)
    torch.testing.assert_close(one.compute_loss(student.bert, batch(student)), 0.25 * soft + 0.75 * smooth)

    def own(outputs, labels, num_items_in_batch=None):
        seen.append((outputs.logits.shape, labels.tolist(), num_items_in_batch))
        return F.cross_entropy(outputs.logits, labels, reduction="sum") / num_items_in_batch

    seen, plain, ours = [], [], []
    for function, found in ((None, plain), (own, ours)):
        settings = {"alpha": 0.25, "gradient_accumulation_steps": 2, "logging_steps": 1}
        pupil = sentiment.bert(16, 2, heads=2, dropout=0.0, seed=1)
        one = trainer(pupil, teacher, tmp_path, function=function, **settings)
        one.train()
        found += [entry["loss"] for entry in one.state.log_history if "loss" in entry]
    assert seen[0][0] == (4, 2) and len(seen[0][1]) == 4 and seen[0][2] == 8
    assert ours == pytest.approx(plain, rel=1e-4), "the same loss, written by hand"


@pytest.mark.parametrize(("bad", "message"), [("nan", "NaN"), ("inf", r"\+infinity")])
def test_answers_that_are_no_numbers_are_refused_by_name(student, tmp_path, bad, message):
    answers = torch.zeros(16, 2)
    answers[3, 1] = float(bad)
    with pytest.raises(ValueError, match=f"teacher_logits must not hold {message}, got 1 of 32 values"):
        Examples(student.encode(TEXTS), LABELS, answers)
    one = trainer(student, None, tmp_path, cached=torch.zeros(16, 2))
    one.train_dataset = [{**example, "teacher_logits": answers[3].tolist()} for example in one.train_dataset]
    with pytest.raises(ValueError, match=f"teacher_logits must not hold {message}, got 4 of 8 values"):
        one.train()


def test_a_class_that_the_teacher_rules_out_can_be_learnt(student, tmp_path):
    answers = torch.tensor([[0.0, float("-inf")]] * 16)
    one = trainer(student, None, tmp_path, cached=answers, alpha=1.0, temperature=2.0)
    loss = one.compute_loss(student.bert, {**batch(student), "teacher_logits": answers})
    torch.testing.assert_close(loss, -4 * (student(TEXTS) / 2).log_softmax(dim=1)[:, 0].mean())


def test_examples_to_judge_by_need_no_answers(student, teacher, tmp_path):
    """The loss is then that of their labels, and a warning says so; with answers, or with a teacher, it is of both."""
    encoded, answers = student.encode(TEXTS), teacher.predict(TEXTS)
    with_answers, labelled, bare = Examples(encoded, LABELS, answers), Examples(encoded, LABELS), Examples(encoded)
    settings = {"alpha": 0.75, "temperature": 2.0}
    alone, beside = (
        trainer(student, None, tmp_path, cached=answers, **settings),
        trainer(student, teacher, tmp_path, **settings),
    )
    hard = F.cross_entropy(student.predict(TEXTS), LABELS).item()
    soft = losses.soft_target(student.predict(TEXTS), answers, temperature=2.0).item()
    with pytest.warns(
        UserWarning, match="bring no teacher_logits, and there is no teacher: their loss is that of the labels"
    ):
        assert alone.evaluate(labelled)["eval_loss"] == pytest.approx(hard, rel=1e-5)
    assert alone.evaluate(with_answers)["eval_loss"] == pytest.approx(0.75 * soft + 0.25 * hard, rel=1e-5)
    assert beside.evaluate(labelled)["eval_loss"] == pytest.approx(0.75 * soft + 0.25 * hard, rel=1e-5)
    arguments = DistillationTrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    DistillationTrainer(student.bert, None, arguments, train_dataset=with_answers, eval_dataset={"known": labelled})
    for part in ({"eval_dataset": bare}, {"train_dataset": labelled}):
        with pytest.raises(ValueError, match="or each example must bring teacher_logits, got neither"):
            DistillationTrainer(student.bert, None, arguments, **{"train_dataset": with_answers, **part})


class Breaks(DistillationTrainer):
    """Its third loss is no number."""

    def compute_loss(self, *args, **kwargs):
        return super().compute_loss(*args, **kwargs) * (float("nan") if self.state.global_step == 2 else 1.0)


def test_a_loss_that_is_no_number_ends_training_before_its_weights_are_kept(student, teacher, tmp_path):
    saving = {"save_strategy": "steps", "save_steps": 1, "max_steps": 6, "logging_steps": 2, "hidden": 1.0}
    one = trainer(student, teacher, tmp_path, build=Breaks, **saving)
    with pytest.raises(FloatingPointError, match="training diverged: the loss is nan at step 3; lower learning_rate"):
        one.train()
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == ["checkpoint-1", "checkpoint-2"]
    assert [entry["loss"] > 0 for entry in one.state.log_history] == [True]
    assert not hasattr(student.bert, ADAPTERS)


def test_a_frozen_student_and_plain_arguments_are_named(student, teacher, tmp_path):
    with pytest.raises(ValueError, match="args must be DistillationTrainingArguments, got TrainingArguments"):
        DistillationTrainer(student.bert, teacher.bert, TrainingArguments(str(tmp_path)))
    with pytest.raises(
        ValueError, match=r"model must be a model of transformers, got SentimentClassifier; give its \.bert"
    ):
        DistillationTrainer(student, teacher.bert)
    student.requires_grad_(False)
    with pytest.raises(ValueError, match="student has no weight that can learn"):
        trainer(student, teacher, tmp_path).train()


def test_arguments_survive_a_checkpoint(tmp_path):
    arguments = DistillationTrainingArguments(str(tmp_path), layers={0: 1}, alpha=0.2)
    assert json.loads(arguments.to_json_string())["alpha"] == 0.2


def test_bad_settings_are_named(student, teacher, tmp_path):
    for settings, message in (
        ({"alpha": 1.2}, r"alpha must be within \[0, 1\], got 1.2"),
        ({"temperature": 0.0}, "temperature must be above 0, got 0.0"),
        ({"hidden": -1.0}, "hidden must be 0 or more, got -1.0"),
        ({"hidden": 1.0, "layers": {0: 9}}, "layers must be within 0–1 -> 0–3, got 0 -> 9"),
    ):
        with pytest.raises(ValueError, match=message):
            trainer(student, teacher, tmp_path, **settings)


def test_a_teacher_that_does_not_fit_is_refused(student, tmp_path):
    from transformers import BertConfig, BertForSequenceClassification

    def other(**settings):
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
        return sentiment.SentimentClassifier(
            BertForSequenceClassification(BertConfig(**{"vocab_size": 8000, **small, **settings})), student.tokenizer
        )

    with pytest.raises(ValueError, match="teacher must have the student's 2 classes, got 3"):
        trainer(student, other(num_labels=3), tmp_path)
    with pytest.raises(ValueError, match="8000 tokens in the vocabulary, got 99; cache its answers"):
        trainer(student, other(vocab_size=99), tmp_path)
    with pytest.raises(ValueError, match="as many attention heads as the student for the attention loss, got 1 and 2"):
        trainer(student, other(), tmp_path, attention=1.0)
    with pytest.raises(ValueError, match="teacher must be given for hidden-state and attention losses, got None"):
        trainer(student, None, tmp_path, hidden=1.0)
    with pytest.raises(ValueError, match="or each example must bring teacher_logits, got neither"):
        trainer(student, None, tmp_path)
    with pytest.raises(ValueError, match="or each example must bring teacher_logits, got neither"):
        trainer(student, None, tmp_path, alpha=0.0).compute_loss(student.bert, batch(student, None))
    with pytest.raises(ValueError, match="labels must hold one entry for each of 16 texts, got 3"):
        Examples(student.encode(TEXTS), LABELS[:3])


def test_classes_in_another_order_and_labels_in_words_are_refused(student, teacher, tmp_path):
    student.bert.config.id2label = {0: "bad", 1: "good"}
    teacher.bert.config.id2label = {0: "good", 1: "bad"}
    with pytest.raises(ValueError, match=r"classes in one order with it, \['bad', 'good'\], got \['good', 'bad'\]"):
        trainer(student, teacher, tmp_path)
    teacher.bert.config.id2label = student.bert.config.id2label
    assert trainer(student, teacher, tmp_path).train().training_loss > 0
    examples = [{**one, "labels": "good"} for one in student.encode(TEXTS)]
    arguments = DistillationTrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    with pytest.raises(ValueError, match=r"labels must be numbers of classes, got 'good'; config.label2id has them"):
        DistillationTrainer(student.bert, teacher.bert, arguments, train_dataset=examples)
