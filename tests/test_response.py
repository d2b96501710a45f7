"""The trainer's loss for each kind of answer: tokens, several labels at once, pictures, translations; and models of all kinds."""

import pytest
import torch
import transformers
from torch import nn
from torch.nn import functional as F
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForQuestionAnswering,
    BertForSequenceClassification,
    BertForTokenClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    ResNetConfig,
    ResNetForImageClassification,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)

from kdcourse import losses
from kdcourse.training.trainer import DistillationTrainer, DistillationTrainingArguments

WORDS = torch.tensor([[5, 6, 7, 8, 0], [9, 4, 3, 0, 0], [2, 3, 4, 5, 6], [11, 12, 0, 0, 0]])
MASK = (WORDS > 0).long()
SMALL = {"vocab_size": 40, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
STILL = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
GPT2 = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 8, "bos_token_id": 1, "eos_token_id": 1}
GPT2 |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}


def built(kind, config, seed=0):
    torch.manual_seed(seed)
    return kind(config)


def bert(kind=BertForSequenceClassification, seed=0, **settings):
    return built(kind, BertConfig(**{**SMALL, **STILL, "num_labels": 3, **settings}), seed)


def gpt2(seed=0):
    return built(GPT2LMHeadModel, GPT2Config(vocab_size=40, **GPT2), seed)


def llama(seed=0):
    return built(LlamaForCausalLM, LlamaConfig(**SMALL), seed)


def t5(seed=0):
    sizes = {"d_model": 16, "d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2, "dropout_rate": 0.0}
    return built(T5ForConditionalGeneration, T5Config(vocab_size=40, decoder_start_token_id=0, **sizes), seed)


def vit(seed=0, **settings):
    sizes = {"image_size": 8, "patch_size": 4, "num_labels": 3, **SMALL, **STILL, **settings}
    del sizes["vocab_size"]
    return built(ViTForImageClassification, ViTConfig(**sizes), seed)


def rows(columns):
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def trainer(folder, student, teacher=None, examples=None, settings=None, **more):
    defaults = {"per_device_train_batch_size": 4, "max_steps": 2, "report_to": "none", "save_strategy": "no"}
    quiet = {"disable_tqdm": True, "use_cpu": True, "logging_steps": 1}
    arguments = DistillationTrainingArguments(str(folder), **{**defaults, **quiet, **(settings or {})})
    return DistillationTrainer(student, teacher, arguments, train_dataset=examples, **more)


def logged(one):
    one.train()
    return [entry["loss"] for entry in one.state.log_history if "loss" in entry]


LABELS = torch.where(MASK > 0, WORDS, -100)


@pytest.mark.parametrize(
    ("build", "shift"), [(gpt2, 1), (llama, 1), (t5, 0), (lambda seed=0: bert(BertForMaskedLM, seed), 0)]
)
def test_tokens_are_learnt_as_the_model_itself_counts_them(build, shift, tmp_path):
    """alpha 0 is the loss that the model computes of its labels; alpha 1 has the same positions, and none that is padding."""
    student, teacher = build(), build(seed=1)
    examples = rows({"input_ids": WORDS, "attention_mask": MASK, "labels": LABELS})
    batch = {"input_ids": WORDS, "attention_mask": MASK, "labels": LABELS}
    own = student(**batch)
    first = logged(trainer(tmp_path, build(), teacher, examples, {"alpha": 0.0, "max_steps": 1}))[0]
    assert first == pytest.approx(own.loss.item(), rel=1e-4)
    theirs = teacher(**batch).logits
    end = WORDS.shape[1] - shift
    keep = LABELS[:, shift:] != -100
    expected = losses.soft_target(own.logits[:, :end][keep], theirs[:, :end][keep], temperature=2.0)
    first = logged(trainer(tmp_path, build(), teacher, examples, {"alpha": 1.0, "temperature": 2.0, "max_steps": 1}))[0]
    assert first == pytest.approx(expected.item(), rel=1e-4)


def test_padding_teaches_nothing_where_there_are_no_labels(tmp_path):
    student, teacher = gpt2(), gpt2(1)
    one = trainer(tmp_path, student, teacher)
    batch = {"input_ids": WORDS, "attention_mask": MASK}
    keep = MASK[:, 1:] > 0
    ours, theirs = (model(**batch).logits[:, :-1][keep] for model in (student, teacher))
    torch.testing.assert_close(one.compute_loss(student, batch), losses.soft_target(ours, theirs))


def test_tags_of_tokens_and_batches_without_any(tmp_path):
    student, teacher = bert(BertForTokenClassification), bert(BertForTokenClassification, 1)
    tags = torch.where(MASK > 0, WORDS % 3, -100)
    one = trainer(tmp_path, student, teacher, settings={"alpha": 0.5, "temperature": 3.0})
    batch = {"input_ids": WORDS, "attention_mask": MASK}
    ours, theirs = student(**batch).logits[MASK > 0], teacher.eval()(**batch).logits[MASK > 0]
    expected = 0.5 * F.cross_entropy(ours, tags[MASK > 0]) + 0.5 * losses.soft_target(ours, theirs, temperature=3.0)
    torch.testing.assert_close(one.compute_loss(student, {**batch, "labels": tags}), expected)
    assert one.compute_loss(student, {**batch, "labels": torch.full_like(tags, -100)}) == 0
    with pytest.raises(ValueError, match=r"labels must be \(4, 5\), one a token, got \(4, 3\)"):
        one.compute_loss(student, {**batch, "labels": tags[:, :3]})


def test_batches_cut_another_way_count_tokens_alike(tmp_path):
    """Texts of different lengths in one batch of four, or in four of one: one step comes out the same."""
    examples = rows({"input_ids": WORDS, "attention_mask": MASK, "labels": LABELS})

    def trained(size, times):
        student, teacher = gpt2(), gpt2(1)
        settings = {"per_device_train_batch_size": size, "gradient_accumulation_steps": times, "max_steps": 1}
        settings |= {"optim": "sgd", "max_grad_norm": 0.0, "learning_rate": 0.1}
        trainer(tmp_path, student, teacher, examples, settings).train()
        return student.state_dict()

    whole, parts = trained(4, 1), trained(1, 4)
    for name, value in parts.items():
        torch.testing.assert_close(value, whole[name], rtol=1e-4, atol=1e-6)


YES_OR_NO = torch.tensor([[1, 1, 0], [0, 0, 0], [1, 0, 1], [0, 1, 0]])


@pytest.mark.parametrize("dtype", [torch.float32, torch.int64])
def test_several_labels_at_once_are_questions_of_their_own(dtype, tmp_path):
    kind = {"problem_type": "multi_label_classification"}
    student, teacher = bert(**kind), bert(seed=1, **kind)
    batch = {"input_ids": WORDS, "attention_mask": MASK}
    ours, theirs = student(**batch).logits, teacher(**batch).logits
    hard = F.binary_cross_entropy_with_logits(ours, YES_OR_NO.float())
    p, q = (logits.div(2).sigmoid() for logits in (theirs, ours))
    soft = 4 * (p * (p / q).log() + (1 - p) * ((1 - p) / (1 - q)).log()).mean()
    expected = 0.75 * soft + 0.25 * hard
    settings = {"alpha": 0.75, "temperature": 2.0}
    examples = rows({**batch, "labels": YES_OR_NO.to(dtype)})
    # The Trainer counts twelve labels in these four examples, and the mean is over all twelve.
    assert logged(trainer(tmp_path, student, teacher, examples, settings))[0] == pytest.approx(
        expected.item(), rel=1e-4
    )


def test_what_cannot_be_meant_by_labels_is_said(tmp_path):
    batch = {"input_ids": WORDS, "attention_mask": MASK}
    kind = {"problem_type": "multi_label_classification"}
    one = trainer(tmp_path, bert(**kind), bert(seed=1, **kind), settings={"alpha": 0.5})
    with pytest.raises(ValueError, match="labels must be from 0 to 1 for each class, got values from 0 to 3"):
        one.compute_loss(one.model, {**batch, "labels": 3 * YES_OR_NO})
    with pytest.raises(ValueError, match=r"labels must be \(4, 3\), 0 or 1 for each class of an example, got \(4,\)"):
        one.compute_loss(one.model, {**batch, "labels": YES_OR_NO[:, 0]})
    one = trainer(tmp_path, bert(), bert(seed=1), settings={"alpha": 0.5})
    with pytest.raises(ValueError, match='give the configs of both models problem_type="multi_label_classification"'):
        one.compute_loss(one.model, {**batch, "labels": YES_OR_NO.float()})
    with pytest.raises(ValueError, match="labels must be from 0 to 2, got values from 0 to 7"):
        one.compute_loss(one.model, {**batch, "labels": torch.tensor([0, 1, 2, 7])})


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        (
            lambda: bert(num_labels=1),
            lambda: bert(num_labels=1),
            "model must have logits of at least 2 classes.*num_labels 1",
        ),
        (lambda: bert(problem_type="regression"), lambda: bert(), "problem_type 'regression', a regression"),
        (
            lambda: bert(),
            lambda: bert(problem_type="multi_label_classification"),
            "student's problem_type None in its config",
        ),
        (lambda: bert(), lambda: nn.Linear(2, 2), "teacher must be a model of transformers, got Linear"),
        (lambda: nn.Linear(2, 2), lambda: bert(), "model must be a model of transformers, got Linear"),
        (lambda: bert(), lambda: BertForSequenceClassification, r"teacher must be a model, got the class BertFor"),
        (lambda: bert(), lambda: vit(), "teacher must have the student's 40 tokens in the vocabulary, got None"),
    ],
)
def test_models_that_cannot_teach_or_learn_are_told_apart(student, teacher, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path, student(), teacher())


def test_student_and_teacher_share_no_weights(tmp_path):
    student = bert()
    with pytest.raises(ValueError, match="student and teacher share"):
        trainer(tmp_path, student, student)


def test_answers_that_are_no_logits_are_refused(tmp_path):
    student = bert(BertForQuestionAnswering, num_labels=2)
    one = trainer(tmp_path, student, bert(BertForQuestionAnswering, 1, num_labels=2))
    with pytest.raises(ValueError, match=r"must answer with logits \(N, C\).*got \['start_logits', 'end_logits'\]"):
        one.compute_loss(student, {"input_ids": WORDS, "attention_mask": MASK})


PICTURES = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
CLASSES = torch.tensor([0, 1, 2, 1])


@pytest.mark.parametrize("inner", [{}, {"hidden": 1.0, "attention": 1.0}])
def test_pictures_are_taught_by_pictures(inner, tmp_path):
    student, teacher = vit(), vit(1, hidden_size=32)
    one = trainer(tmp_path, student, teacher, rows({"pixel_values": PICTURES, "labels": CLASSES}), inner)
    assert all(torch.isfinite(torch.tensor(loss)) for loss in logged(one))


def test_a_network_of_another_build_learns_from_a_vision_transformer(tmp_path):
    torch.manual_seed(0)
    student = ResNetForImageClassification(
        ResNetConfig(embedding_size=4, hidden_sizes=[4, 4], depths=[1, 1], num_labels=3)
    )
    one = trainer(tmp_path, student, vit(), settings={"alpha": 1.0, "temperature": 2.0})
    loss = one.compute_loss(student, {"pixel_values": PICTURES, "labels": CLASSES})
    ours, theirs = student(PICTURES).logits, vit().eval()(PICTURES).logits
    torch.testing.assert_close(loss, losses.soft_target(ours, theirs, temperature=2.0))
    with pytest.raises(
        ValueError, match="model must be one stack of layers for hidden-state and attention losses, got ResNet"
    ):
        trainer(tmp_path, student, vit(), settings={"hidden": 1.0})


def half(model):
    return model.to(torch.bfloat16)


def compiled(model):
    return torch.compile(model, backend="eager")


@pytest.mark.parametrize("wrap", [half, nn.Module.double, compiled, nn.DataParallel])
def test_a_teacher_of_any_make_teaches_and_is_given_back(wrap, tmp_path):
    teacher = wrap(vit(1, hidden_size=32)).train()
    examples = rows({"pixel_values": PICTURES, "labels": CLASSES})
    one = trainer(tmp_path, vit(), teacher, examples, {"hidden": 1.0})
    assert all(torch.isfinite(torch.tensor(loss)) for loss in logged(one))
    assert teacher.training and all(one.requires_grad for one in teacher.parameters())
    if wrap is nn.DataParallel:
        plain = trainer(
            tmp_path,
            vit(),
            vit(1, hidden_size=32),
            rows({"pixel_values": PICTURES, "labels": CLASSES}),
            {"hidden": 1.0},
        )
        assert logged(plain) == logged(trainer(tmp_path, vit(), teacher, plain.train_dataset, {"hidden": 1.0}))


class Narrow(DistilBertForSequenceClassification):
    """A student whose forward takes two inputs and nothing else."""

    def forward(self, input_ids, attention_mask):
        return super().forward(input_ids=input_ids, attention_mask=attention_mask)


def test_each_model_is_given_what_it_takes(tmp_path):
    sizes = {"dim": 16, "n_layers": 1, "n_heads": 2, "hidden_dim": 16, "dropout": 0.0, "attention_dropout": 0.0}
    config = DistilBertConfig(vocab_size=40, num_labels=3, seq_classif_dropout=0.0, **sizes)
    student, teacher = built(Narrow, config), bert(seed=1)
    types = (torch.arange(5) > 2).long().expand(4, 5)
    inputs = {"input_ids": WORDS, "attention_mask": MASK, "token_type_ids": types}
    examples = rows({**inputs, "label": CLASSES, "text": ["one", "two", "three", "four"], "idx": range(4)})
    with torch.no_grad():
        theirs = teacher(**inputs).logits
        expected = losses.soft_target(student(WORDS, MASK).logits, theirs, temperature=2.0)
    one = trainer(tmp_path, student, teacher, examples, {"alpha": 1.0, "temperature": 2.0})
    assert logged(one)[0] == pytest.approx(expected.item(), rel=1e-4)
    unlabelled = [{name: part for name, part in row.items() if name != "label"} for row in examples]
    assert one.predict(unlabelled).predictions.shape == (4, 3)
    assert one.evaluate(examples)["eval_loss"] > 0


def test_only_a_language_models_labels_are_shifted():
    from kdcourse.training.response import is_causal

    assert is_causal(gpt2()) and is_causal(llama())
    assert not any(map(is_causal, (t5(), bert(), bert(BertForMaskedLM), vit())))


transformers.utils.logging.disable_progress_bar()
