"""Distillation with `transformers`: its `Trainer`, a teacher beside the student, and the loss of both.

Everything the Trainer can do stays as it is: mixed precision, gradient accumulation, several processes, checkpoints.

    trainer = DistillationTrainer(
        model=student, teacher=teacher, args=DistillationTrainingArguments("out", temperature=4, alpha=0.9), train_dataset=...
    )
    trainer.train()
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import Trainer, TrainerCallback, TrainingArguments

from kdcourse.losses import attention_mse, hidden_cosine, soft_target
from kdcourse.losses.checks import check_share, check_temperature, check_weight
from kdcourse.system.generators import seeded_rng

ADAPTERS = "distillation_adapters"  # the student's attribute that holds them while it trains


@dataclass
class DistillationTrainingArguments(TrainingArguments):
    """`TrainingArguments` and what distillation adds.

    temperature: T > 0. alpha: the teacher's share within [0, 1]; 1 is the teacher alone (pure KD), 0 the labels alone. Some
    sources, the Transformers cookbook among them, give alpha to the labels: their alpha is our 1 − alpha.
    hidden: weight of the cosine loss between hidden states (Sanh et al. 2019), 0 for none. attention: weight of the squared
    difference of attention probabilities (after Jiao et al. 2020, who match scores before the softmax), 0 for none.
    sentence: weight of the cosine loss between the two [CLS] states of the last layer, 0 for none; each example brings the
    teacher's as `teacher_states`, so a teacher with another tokenizer can teach it.
    layers: student's layer -> teacher's, counted from 0, for both; default: spread evenly, last to last.
    """

    temperature: float = 4.0
    alpha: float = 0.9
    hidden: float = 0.0
    attention: float = 0.0
    sentence: float = 0.0
    layers: dict[int, int] | None = field(default=None)
    remove_unused_columns: bool = False  # or the Trainer would throw the teacher's cached answers away
    ddp_find_unused_parameters: bool | None = False  # every one is used, adapters outside of the model's own forward

    def __post_init__(self):
        super().__post_init__()
        check_temperature(self.temperature)
        check_share("alpha", self.alpha)
        check_weight("hidden", self.hidden)
        check_weight("attention", self.attention)
        check_weight("sentence", self.sentence)


class DistillationTrainer(Trainer):
    """A `Trainer` whose loss is alpha · soft_target + (1 − alpha) · cross-entropy, with inner losses if asked for.

    model: the student, a model for sequence classification. teacher: one with the same classes and vocabulary; evaluation
    mode, no gradients, moved and cast like the student. It may be None where each example brings `teacher_logits`, its cached
    answer. Examples without labels are learnt from the teacher alone, whatever alpha is.
    Where hidden states differ in width, a linear map from the student's to the teacher's is learnt beside the student; it is
    kept in checkpoints, so that training resumes exactly, and taken off when training ends. The inner losses are means over
    the tokens of each process's own batch.
    Source of the loss: Hinton, Vinyals, Dean (2015), §2. Raises `ValueError` for a teacher with other classes or another
    vocabulary.
    """

    args: DistillationTrainingArguments

    def __init__(self, model: nn.Module, teacher: nn.Module | None = None, args=None, **kwargs):
        args = DistillationTrainingArguments("distilled") if args is None else args
        if teacher is not None:
            _check_alike(model, teacher)
        self.layers = _layers(args, model, teacher)
        widths = _widths(args, model, teacher, self.layers, kwargs.get("train_dataset"))
        if widths:
            with seeded_rng(args.seed):
                ours = model.config.hidden_size
                adapters = {name: nn.Linear(ours, theirs, bias=False) for name, theirs in widths.items()}
                model.add_module(ADAPTERS, nn.ModuleDict(adapters))
        super().__init__(model=model, args=args, **kwargs)
        self.teacher = None
        if args.attention:  # the fused kernels keep their attention to themselves
            for network in (model, teacher):
                network.set_attn_implementation("eager")
        if teacher is not None:
            self.teacher = self.accelerator.prepare_model(teacher.eval().requires_grad_(False), evaluation_mode=True)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The loss of one batch. `num_items_in_batch`: the examples of all accumulated batches on all processes."""
        inputs = dict(inputs)
        labels, cached, states = (inputs.pop(name, None) for name in ("labels", "teacher_logits", "teacher_states"))
        more = self._more() if self.model.training else {}
        outputs = _answers(model, inputs, more)
        loss = self._loss(inputs, outputs, labels, cached, more)
        if self.args.sentence and more:
            loss = loss + self.args.sentence * self._sentence(outputs.hidden_states[-1][:, 0], states)
        # Each batch counts by its examples: the mean over all of them, whatever way they were cut into batches.
        self.loss_is_scaled_for_ga = num_items_in_batch is not None
        if num_items_in_batch is not None:
            processes = self.accelerator.num_processes if self.args.average_tokens_across_devices else 1
            loss = loss * (len(outputs.logits) * processes / torch.as_tensor(num_items_in_batch).flatten()[0])
        return (loss, {"loss": loss, "logits": outputs.logits}) if return_outputs else loss

    def train(self, *args, **kwargs):
        """As `Trainer.train`; afterwards the student is as it was built, without what was learnt beside it."""
        result = super().train(*args, **kwargs)
        if hasattr(self.model, ADAPTERS):
            delattr(self.model, ADAPTERS)
        return result

    def _loss(self, inputs: Mapping, outputs, labels: Tensor | None, cached: Tensor | None, more: Mapping) -> Tensor:
        args = self.args
        alpha = args.alpha if labels is not None else 1.0
        hard = F.cross_entropy(outputs.logits.float(), labels) if labels is not None and alpha < 1 else 0.0
        if not alpha and not self.layers:
            return hard
        theirs = None
        if cached is None or self.layers:
            if self.teacher is None:
                raise ValueError("teacher must be given, or each example must bring teacher_logits, got neither")
            with torch.no_grad():
                theirs = _answers(self.teacher, inputs, more)
        teacher_logits = theirs.logits if cached is None else cached
        soft = soft_target(outputs.logits, teacher_logits, temperature=args.temperature) if alpha else 0.0
        loss = alpha * soft + (1 - alpha) * hard
        if more and self.layers:
            loss = loss + self._inner(outputs, theirs, inputs["attention_mask"])
        return loss

    def _inner(self, ours, theirs, mask: Tensor) -> Tensor:
        """The hidden-state and attention losses, each the mean over the pairs of layers."""
        total = 0.0
        for own, other in self.layers.items():
            if self.args.hidden:  # hidden_states[0] are the embeddings
                state = self._adapted(f"layer{own}", ours.hidden_states[own + 1])
                total = total + self.args.hidden * hidden_cosine(state, theirs.hidden_states[other + 1], mask)
            if self.args.attention:
                total = total + self.args.attention * attention_mse(
                    ours.attentions[own], theirs.attentions[other], mask
                )
        return total / len(self.layers)

    def _sentence(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """1 − cosine of the [CLS] states (N, D), mean over the batch."""
        return (1 - F.cosine_similarity(self._adapted("sentence", ours), theirs, dim=1)).mean()

    def _adapted(self, name: str, state: Tensor) -> Tensor:
        adapters = getattr(self.accelerator.unwrap_model(self.model), ADAPTERS, {})
        return adapters[name](state) if name in adapters else state

    def _more(self) -> dict[str, bool]:
        """What is asked of both models beside logits."""
        if not self.layers and not self.args.sentence:
            return {}
        states = self.args.hidden > 0 or self.args.sentence > 0
        return {"output_hidden_states": states, "output_attentions": self.args.attention > 0}


class Examples(torch.utils.data.Dataset):
    """Encoded texts with their labels and what a teacher answered, where given, by position: what a Trainer reads.

    encoded: as `SentimentClassifier.encode` gives it. labels: (N,) int64. teacher_logits: (N, C), teacher_states: (N, D), in
    the same order.
    """

    def __init__(
        self,
        encoded: list[dict],
        labels: Tensor | None = None,
        teacher_logits: Tensor | None = None,
        teacher_states: Tensor | None = None,
    ):
        every = {"labels": labels, "teacher_logits": teacher_logits, "teacher_states": teacher_states}
        self.encoded, self.more = encoded, {name: values for name, values in every.items() if values is not None}
        for name, values in self.more.items():
            if len(values) != len(encoded):
                raise ValueError(f"{name} must hold one entry for each of {len(encoded)} texts, got {len(values)}")

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, position: int) -> dict:
        return {**self.encoded[position], **{name: values[position].tolist() for name, values in self.more.items()}}


class Bar(TrainerCallback):
    """A progress bar like the training loop's, gone when training is."""

    def on_train_begin(self, args, state, control, **kwargs):
        self.bar = tqdm(total=state.max_steps, desc="training", unit="step", leave=False)

    def on_step_end(self, args, state, control, **kwargs):
        self.bar.update()

    def on_train_end(self, args, state, control, **kwargs):
        self.bar.close()


def _answers(model: nn.Module, inputs: Mapping, more: Mapping):
    """What a model says. On a GPU a BERT is given its mask (N, L) as its layers use it, (N, 1, L, L).

    Of one (N, L) transformers asks first whether it can be left out, and the host would wait for the answer at every step.
    """
    mask, config = inputs.get("attention_mask"), getattr(model, "config", None)
    fused = getattr(config, "model_type", "") == "bert" and config._attn_implementation == "sdpa"
    if fused and mask is not None and mask.ndim == 2 and mask.device.type != "cpu":
        wide = mask[:, None, None, :].bool().expand(-1, 1, mask.shape[1], -1)
        inputs = {**inputs, "attention_mask": wide}
    return model(**inputs, **more)


def _check_alike(student: nn.Module, teacher: nn.Module) -> None:
    for name, what in (("num_labels", "classes"), ("vocab_size", "tokens in the vocabulary")):
        ours, theirs = getattr(student.config, name), getattr(teacher.config, name)
        if ours != theirs:
            advice = (
                ""
                if name == "num_labels"
                else "; cache its answers as teacher_logits instead, which its own tokenizer gives"
            )
            raise ValueError(f"teacher must have the student's {ours} {what}, got {theirs}{advice}")


def _widths(args: DistillationTrainingArguments, student, teacher, layers: Mapping, examples) -> dict[str, int]:
    """What the student's states must be mapped to, where the teacher's are wider or narrower: name -> the teacher's width."""
    widths = {}
    if args.hidden:
        widths = {f"layer{own}": teacher.config.hidden_size for own in layers}
    if args.sentence:
        states = getattr(examples, "more", {}).get("teacher_states")
        if states is None:
            raise ValueError("train_dataset must be Examples with teacher_states for the sentence loss, got none")
        widths["sentence"] = states.shape[1]
    return {name: width for name, width in widths.items() if width != student.config.hidden_size}


def _layers(args: DistillationTrainingArguments, student: nn.Module, teacher: nn.Module | None) -> dict[int, int]:
    """The pairs of layers to be matched; none where neither inner loss is asked for."""
    if not args.hidden and not args.attention:
        return {}
    if teacher is None:
        raise ValueError("teacher must be given for hidden-state and attention losses, got None")
    ours, theirs = student.config, teacher.config
    if args.attention and ours.num_attention_heads != theirs.num_attention_heads:
        raise ValueError(
            "teacher must have as many attention heads as the student for the attention loss, got "
            f"{theirs.num_attention_heads} and {ours.num_attention_heads}"
        )
    depths = ours.num_hidden_layers, theirs.num_hidden_layers
    layers = args.layers or {own: (own + 1) * depths[1] // depths[0] - 1 for own in range(depths[0])}
    layers = {int(own): int(other) for own, other in layers.items()}  # JSON turns numbers that are keys into strings
    for own, other in layers.items():
        if not (0 <= own < depths[0] and 0 <= other < depths[1]):
            raise ValueError(f"layers must be within 0–{depths[0] - 1} -> 0–{depths[1] - 1}, got {own} -> {other}")
    return layers
