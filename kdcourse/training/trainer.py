"""Distillation with `transformers`: its `Trainer`, a teacher beside the student, and the loss of both.

Everything the Trainer can do stays as it is: mixed precision, gradient accumulation, several processes, checkpoints, label
smoothing, columns of a data set that no model takes left out.

    trainer = DistillationTrainer(
        model=student, teacher=teacher, args=DistillationTrainingArguments("out", temperature=4, alpha=0.9), train_dataset=...
    )
    trainer.train()
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from kdcourse.losses import attention_mse, hidden_cosine
from kdcourse.losses.checks import check_no_nan, check_share, check_temperature, check_tensor, check_weight
from kdcourse.models.common import evaluating
from kdcourse.models.tapping import unwrapped
from kdcourse.system.generators import seeded_rng
from kdcourse.training.gate import NO_ANSWERS, check_answers, check_kind, check_pair, check_student
from kdcourse.training.loop import refuse_divergence
from kdcourse.training.response import Response, is_causal, logits_of

STACK = ("num_hidden_layers", "hidden_size", "num_attention_heads")  # what the config of one stack of layers tells
ANSWERS = ("teacher_logits", "teacher_states")  # what an example may bring of a teacher's
ADAPTERS = "distillation_adapters"  # the student's attribute that holds them while it trains


@dataclass
class DistillationTrainingArguments(TrainingArguments):
    """`TrainingArguments` and what distillation adds.

    temperature: T > 0, default 4. alpha: the teacher's share, from 0 (the labels alone) to 1 (the teacher alone), default 0.9.
    Some sources, the Transformers cookbook among them, give alpha to the labels: their alpha is our 1 − alpha.
    hidden: weight of the cosine loss between hidden states (Sanh et al. 2019), default 0: none. attention: weight of the squared
    difference of attention probabilities (after Jiao et al. 2020, who match scores before the softmax), default 0: none.
    sentence: weight of the cosine loss between the two [CLS] states of the last layer, default 0: none. Each example then brings
    the teacher's state as `teacher_states`, so that a teacher with another tokenizer can teach.
    layers: student's layer -> teacher's, counted from 0, for hidden and attention; default: spread evenly, last to last.
    Two defaults are not the Trainer's own: every adapter counts as used, and a loss that is no number ends training and is not
    hidden. Raises `ValueError` for numbers outside these ranges.
    """

    temperature: float = 4.0
    alpha: float = 0.9
    hidden: float = 0.0
    attention: float = 0.0
    sentence: float = 0.0
    layers: dict[int, int] | None = field(default=None)
    ddp_find_unused_parameters: bool | None = False  # every one is used, adapters outside of the model's own forward
    logging_nan_inf_filter: bool = False  # or a loss that is no number would be logged as one

    def __post_init__(self):
        super().__post_init__()
        check_temperature(self.temperature)
        check_share("alpha", self.alpha)
        check_weight("hidden", self.hidden)
        check_weight("attention", self.attention)
        check_weight("sentence", self.sentence)


class DistillationTrainer(Trainer):
    """A `Trainer` whose loss is alpha · soft_target + (1 − alpha) · cross-entropy, with inner losses if asked for.

    model: the student, a model that answers with logits: (N, C) of classes, or (N, L, V) of tokens, where those count whose
    label is not −100, shifted by one for a causal language model. Classes that do not exclude each other (`problem_type`
    "multi_label_classification" in both configs) have `multi_label` and binary cross-entropy, mean over examples and classes.
    teacher: one with the same classes and vocabulary; asked in evaluation mode without gradients, moved and cast like the
    student, its own flags left as they are. It may be None where each example brings `teacher_logits`, its cached answer; there
    −∞ rules a class out. Examples without labels are learnt from the teacher alone, whatever alpha is. Each model is given those
    columns that it takes. `label_smoothing_factor` softens the labels of the cross-entropy, `compute_loss_func` takes its place.
    Where hidden states differ in width, a linear map from the student's to the teacher's is learnt beside the student; it is
    kept in checkpoints, so that training resumes exactly, and taken off when training ends. The inner losses are means over
    the tokens of each process's own batch.
    Source of the loss: Hinton, Vinyals, Dean (2015), §2. Raises `ValueError` for a teacher with other classes or another
    vocabulary, for a regression, and for logits that hold NaN or +∞; `FloatingPointError` for a loss that is no number, before
    anything is logged or saved of that step.
    """

    args: DistillationTrainingArguments

    def __init__(self, model: nn.Module | None = None, teacher: nn.Module | None = None, args=None, **kwargs):
        self.args = DistillationTrainingArguments("distilled") if args is None else args
        check_kind("args", self.args, DistillationTrainingArguments)
        self.teacher, self.compute_loss_func = teacher, kwargs.get("compute_loss_func")
        self.train_dataset = kwargs.get("train_dataset")
        if model is not None:
            self._join(model)
        for part in ("train_dataset", "eval_dataset"):
            check_answers(kwargs.get(part), self.args.alpha, taught=teacher is not None)
        super().__init__(model=model, args=self.args, **kwargs)
        self.model_accepts_loss_kwargs = True  # this loss takes the number of labels, whatever the model's own does
        self.label_names = self.label_names or ["labels"]  # and labels, where its forward does not take them
        self._loss_shifts_labels = is_causal(unwrapped(self.model))
        self.data_collator = Looking(self.data_collator)
        self.divergence = Divergence()
        self.add_callback(self.divergence)
        if teacher is not None and getattr(unwrapped(teacher), "hf_device_map", None) is None:
            teacher.to(self.args.device)

    def _join(self, student: nn.Module) -> None:
        """A look whether the two suit each other; the student is given what is learnt beside it."""
        ours, theirs, args = unwrapped(student), unwrapped(self.teacher), self.args
        check_pair(ours, theirs)
        self.response = Response(ours, self.compute_loss_func, args.label_smoothing_factor)
        self.taken = {"student": _taken(ours), "teacher": _taken(theirs)}
        self.layers = _layers(args, ours, theirs)
        widths = _widths(args, ours, theirs, self.layers, self.train_dataset)
        if widths:
            with seeded_rng(args.seed):
                linear = partial(nn.Linear, ours.config.hidden_size, bias=False, dtype=ours.dtype)
                ours.add_module(ADAPTERS, nn.ModuleDict({name: linear(width) for name, width in widths.items()}))
        if args.attention:  # the fused kernels keep their attention to themselves
            for network in (ours, theirs):
                network.set_attn_implementation("eager")

    def call_model_init(self, trial=None):
        """As `Trainer.call_model_init`; each student that it builds is joined to the teacher."""
        student = super().call_model_init(trial)
        self._join(student)
        return student

    def train(self, *args, **kwargs):
        """As `Trainer.train`; afterwards the student is as it was built, without what was learnt beside it."""
        if self.model_init is None:
            check_student(self.model)
        try:
            return super().train(*args, **kwargs)
        finally:
            self.divergence.losses.clear()
            student = unwrapped(self.model)
            if hasattr(student, ADAPTERS):
                delattr(student, ADAPTERS)

    def training_step(self, *args, **kwargs):
        """As `Trainer.training_step`; the loss is kept until it is looked at."""
        loss = super().training_step(*args, **kwargs)
        self.divergence.losses.append((self.state.global_step + 1, loss))
        return loss

    def prediction_step(self, model, inputs, *args, **kwargs):
        """As `Trainer.prediction_step`; without labels the student is asked alone, and given what it takes."""
        inputs = inputs if "labels" in inputs else _only(inputs, self.taken["student"])
        return super().prediction_step(model, inputs, *args, **kwargs)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The loss of one batch. `num_items_in_batch`: the labels of all accumulated batches on all processes."""
        inputs, args = dict(inputs), self.args
        labels, cached, states = (inputs.pop(name, None) for name in ("labels", *ANSWERS))
        if labels is not None and "decoder_input_ids" not in inputs:
            inputs.update(_decoder_inputs(self.model, labels))
        more = self._more() if self.model.training else {}
        outputs = _answers(model, _only(inputs, self.taken["student"]), more)
        alpha = args.alpha if labels is not None else 1.0
        theirs = self._ask(inputs, more) if (alpha and cached is None) or (more and self.layers) else None
        # Each batch counts by its labels: the mean over all of them, whatever way they were cut into batches.
        items = None if num_items_in_batch is None else torch.as_tensor(num_items_in_batch).flatten()[0]
        taught = cached if cached is not None or theirs is None else logits_of("teacher", theirs)
        mask = inputs.get("attention_mask")
        loss, share = self.response(outputs, taught, labels, mask, items, alpha=alpha, temperature=args.temperature)
        if more and self.layers:
            loss = loss + share * self._inner(outputs, theirs, mask)
        if more and args.sentence:
            loss = loss + share * args.sentence * self._sentence(outputs.hidden_states[-1][:, 0], states)
        self.loss_is_scaled_for_ga = items is not None
        if items is not None and args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        return (loss, {"loss": loss, "logits": outputs.logits}) if return_outputs else loss

    def _set_signature_columns_if_needed(self) -> None:
        """What is kept of each example: what one of the two takes, labels, and the teacher's answers."""
        super()._set_signature_columns_if_needed()
        more = [*ANSWERS, *(self.taken["student"] or ()), *(self.taken["teacher"] or ())]
        self._signature_columns += [name for name in more if name not in self._signature_columns]

    def _ask(self, inputs: Mapping, more: Mapping):
        """What the teacher says of a batch, whose numbers reach it in its own precision."""
        if self.teacher is None:
            raise ValueError(NO_ANSWERS)
        dtype = next(self.teacher.parameters()).dtype
        inputs = {
            name: part.to(dtype) if part.is_floating_point() else part
            for name, part in _only(inputs, self.taken["teacher"]).items()
        }
        with evaluating(self.teacher), torch.no_grad(), self.accelerator.autocast():
            return _answers(self.teacher, inputs, more)

    def _inner(self, ours, theirs, mask: Tensor | None) -> Tensor:
        """The hidden-state and attention losses, each the mean over the pairs of layers. mask: of real tokens, default all."""
        total = 0.0
        for own, other in self.layers.items():
            if self.args.hidden:  # hidden_states[0] are the embeddings
                state, taught = (
                    self._adapted(f"layer{own}", ours.hidden_states[own + 1]),
                    theirs.hidden_states[other + 1],
                )
                real = state.new_ones(state.shape[:2]) if mask is None else mask
                total = total + self.args.hidden * hidden_cosine(state, taught, real)
            if self.args.attention:
                seen, taught = ours.attentions[own], theirs.attentions[other]
                real = seen.new_ones(seen.shape[0], seen.shape[2]) if mask is None else mask
                total = total + self.args.attention * attention_mse(seen, taught, real)
        return total / len(self.layers)

    def _sentence(self, ours: Tensor, theirs: Tensor) -> Tensor:
        """1 − cosine of the [CLS] states (N, D), mean over the batch."""
        return (1 - F.cosine_similarity(self._adapted("sentence", ours), theirs, dim=1)).mean()

    def _adapted(self, name: str, state: Tensor) -> Tensor:
        adapters = getattr(unwrapped(self.model), ADAPTERS, {})
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
        self.encoded, self.more = encoded, {k: torch.as_tensor(v) for k, v in every.items() if v is not None}
        for name, values in self.more.items():
            if len(values) != len(encoded):
                raise ValueError(f"{name} must hold one entry for each of {len(encoded)} texts, got {len(values)}")
        _look_at_answers(self.more)

    def __len__(self) -> int:
        return len(self.encoded)

    def __getitem__(self, position: int) -> dict:
        return {**self.encoded[position], **{name: values[position].tolist() for name, values in self.more.items()}}


@dataclass
class Looking:
    """A collator that checks the answers which examples bring, as long as they are on the CPU, where a check makes no GPU wait.

    collate: the collator that makes the batch. Raises `ValueError` for answers with NaN or +∞.
    """

    collate: Callable[[list], Mapping]

    def __call__(self, examples: list) -> Mapping:
        batch = self.collate(examples)
        _look_at_answers(batch)
        return batch


def _look_at_answers(batch: Mapping) -> None:
    for name in ANSWERS:
        if name in batch:
            check_tensor(name, batch[name])
            check_no_nan(name, batch[name].cpu())


class Divergence(TrainerCallback):
    """Ends training at a loss that is NaN or infinite, before it is logged or weights are saved.

    losses: pairs (step, loss), still on the device. Raises `FloatingPointError` with the step.
    """

    def __init__(self):
        self.losses: list[tuple[int, Tensor]] = []

    def on_step_end(self, args, state, control, **kwargs):
        # To read a loss makes a GPU wait, so all are read where the Trainer waits anyway.
        if control.should_log or control.should_save or control.should_evaluate or control.should_training_stop:
            steps, losses = zip(*self.losses, strict=True)
            self.losses.clear()
            refuse_divergence(zip(steps, torch.stack(losses).tolist(), strict=True))

    def on_epoch_end(self, args, state, control, **kwargs):
        if self.losses:
            self.on_step_end(args, state, control, **kwargs)


class Bar(TrainerCallback):
    """A progress bar like the training loop's; it goes away when training ends."""

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


def _taken(model: nn.Module | None) -> Collection[str] | None:
    """The inputs that a model names in its forward; None for one that takes whatever it is given.

    The models of transformers name them all; beyond them they take options.
    """
    model = model.get_base_model() if hasattr(model, "get_base_model") else model
    if model is None:
        return None
    named = inspect.signature(model.forward).parameters
    takes_all = any(one.kind is inspect.Parameter.VAR_KEYWORD for one in named.values())
    return None if takes_all and not isinstance(model, PreTrainedModel) else list(named)


def _only(inputs: Mapping, names: Collection[str] | None) -> dict:
    return {name: value for name, value in inputs.items() if names is None or name in names}


def _decoder_inputs(student: nn.Module, labels: Tensor) -> dict[str, Tensor]:
    """What a translator's decoder reads, the labels shifted by one: it makes them itself only where it is given the labels."""
    shifted = getattr(unwrapped(student), "prepare_decoder_input_ids_from_labels", None)
    return {} if shifted is None else {"decoder_input_ids": shifted(labels=labels)}


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
    for name, model in (("model", student), ("teacher", teacher)):
        if model.config.is_encoder_decoder or not all(hasattr(model.config, part) for part in STACK):
            kind = type(model).__name__
            raise ValueError(f"{name} must be one stack of layers for hidden-state and attention losses, got {kind}")
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
