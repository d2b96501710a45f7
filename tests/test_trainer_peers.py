"""The trainer's loss beside others' on the same tiny models: TRL's trainers, and the class of the Transformers cookbook."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from transformers import Trainer, TrainingArguments

from kdcourse.losses import generalized_jsd
from tests.test_response import CLASSES, LABELS, MASK, WORDS, bert, gpt2, rows, trainer

BATCH = {"input_ids": WORDS, "attention_mask": MASK, "labels": LABELS}
CLOSE = {"rtol": 1e-6, "atol": 1e-6}


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_a_language_model_has_the_loss_of_trls_trainers_times_t_squared(temperature, tmp_path):
    """Both of theirs leave T² out; at T = 1 all are one. What counts is each token whose label is not −100."""
    pytest.importorskip("trl")
    from trl.experimental.gkd import GKDTrainer
    from trl.trainer import distillation_trainer as stable

    student, teacher = gpt2(), gpt2(1)
    one = trainer(tmp_path, student, teacher, settings={"alpha": 1.0, "temperature": temperature})
    loss = one.compute_loss(student, BATCH)
    ours, theirs = (model(WORDS, attention_mask=MASK, output_hidden_states=True) for model in (student, teacher))
    logits, labels = [out.logits[:, :-1] for out in (ours, theirs)], LABELS[:, 1:]
    gkd = GKDTrainer.generalized_jsd_loss(*logits, labels=labels, beta=0.0, temperature=temperature)
    torch.testing.assert_close(loss, temperature**2 * gkd, **CLOSE)

    states = [out.hidden_states[-1][:, :-1] for out in (ours, theirs)]
    heads = [model.lm_head.weight for model in (student, teacher)]
    chunked, _, counted = stable._chunked_divergence_loss(*states, *heads, labels != -100, 0.0, temperature=temperature)
    torch.testing.assert_close(loss, temperature**2 * chunked, **CLOSE)
    assert counted == (labels != -100).sum()


@pytest.mark.parametrize("beta", [0.0, 0.3, 1.0])
def test_the_generalized_divergence_is_trls(beta):
    pytest.importorskip("trl")
    from trl.experimental.gkd import GKDTrainer

    ours, theirs = (model(WORDS, attention_mask=MASK).logits for model in (gpt2(), gpt2(1)))
    expected = GKDTrainer.generalized_jsd_loss(ours, theirs, labels=LABELS, beta=beta, temperature=2.0)
    found = generalized_jsd(ours, theirs, beta=beta, temperature=2.0, mask=LABELS != -100)
    torch.testing.assert_close(found, expected, **CLOSE)


class Cookbook(Trainer):
    """As the cookbook's trainer of knowledge distillation: KL with batchmean and T², alpha on the labels' loss."""

    def __init__(self, model, teacher, args, temperature, alpha, **settings):
        super().__init__(model, args, **settings)
        self.teacher, self.temperature, self.alpha = teacher.eval(), temperature, alpha

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        outputs = model(**inputs)
        with torch.no_grad():
            told = self.teacher(**inputs).logits
        soft = nn.KLDivLoss(reduction="batchmean")(
            F.log_softmax(outputs.logits / self.temperature, dim=-1), F.softmax(told / self.temperature, dim=-1)
        )
        loss = self.alpha * outputs.loss + (1 - self.alpha) * soft * self.temperature**2
        return (loss, outputs) if return_outputs else loss


@pytest.mark.parametrize("alpha", [0.0, 0.2, 1.0])
def test_the_cookbooks_trainer_learns_the_same_with_the_other_alpha(alpha, tmp_path):
    examples = rows({"input_ids": WORDS, "attention_mask": MASK, "labels": CLASSES})
    ours, theirs, teacher = bert(), bert(), bert(seed=1)
    settings = {"alpha": 1 - alpha, "temperature": 3.0, "max_steps": 3}
    one = trainer(tmp_path, ours, teacher, examples, settings)
    quiet = {"report_to": "none", "save_strategy": "no", "disable_tqdm": True, "use_cpu": True, "logging_steps": 1}
    arguments = TrainingArguments(str(tmp_path), per_device_train_batch_size=4, max_steps=3, **quiet)
    other = Cookbook(theirs, teacher, arguments, 3.0, alpha, train_dataset=examples)
    batch = {"input_ids": WORDS, "attention_mask": MASK, "labels": CLASSES}
    torch.testing.assert_close(one.compute_loss(ours, batch), other.compute_loss(theirs, batch), **CLOSE)
    one.train()
    other.train()
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, theirs.state_dict()[name], rtol=1e-4, atol=1e-6)
