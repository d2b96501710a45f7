"""Distillation with `transformers`: its `Trainer`, a teacher beside the student, and the loss of both.

Everything the Trainer can do stays as it is: mixed precision, gradient accumulation, several processes, checkpoints, label
smoothing, columns of a data set that no model takes left out.

    trainer = DistillationTrainer(
        model=student, teacher=teacher, args=DistillationTrainingArguments("out", temperature=4, alpha=0.9), train_dataset=...
    )
    trainer.train()
"""

import inspect
import warnings
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm
from transformers import PreTrainedModel, Trainer, TrainerCallback, TrainingArguments

from kdcourse.losses.checks import check_no_nan, check_share, check_temperature, check_tensor, check_weight
from kdcourse.models.common import evaluating
from kdcourse.models.tapping import unwrapped
from kdcourse.training.gate import NO_ANSWERS, check_answers, check_kind, check_pair, check_student
from kdcourse.training.inner import Inner
from kdcourse.training.loop import refuse_divergence
from kdcourse.training.response import Response, is_causal, logits_of

INNER = ("hidden", "attention", "sentence")  # the inner losses, each by the name of its weight
UNTAUGHT = (
    "examples to be judged on bring no teacher_logits, and there is no teacher: their loss is that of the labels alone"
)
ANSWERS = ("teacher_logits", "teacher_states")  # what an example may bring of a teacher's


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
    −∞ rules a class out. Examples without labels are learnt from the teacher alone, whatever alpha is. Examples to be judged on
    need no answers: without any, and without a teacher, `eval_loss` is that of their labels, and a warning says so. Each model
    is given those columns that it takes. `label_smoothing_factor` softens the labels of the cross-entropy, `compute_loss_func`
    takes its place. With each `loss` of training its parts are logged without their weights, as `soft_loss`, `hard_loss`,
    `hidden_loss`, `attention_loss` and `sentence_loss`.
    Where hidden states differ in width, a linear map from the student's to the teacher's is learnt beside the student. It lies
    in checkpoints, in a file of its own, so that training resumes exactly; a further `train()` goes on with it. The inner
    losses are means over the tokens of each process's own batch, and are not in `eval_loss`.
    FSDP and DeepSpeed: the teacher stays whole on each device, and maps are refused. Both were tried with two processes on a
    CPU. With FSDP loss and gradients of a student that is cut are a whole one's; with DeepSpeed 0.19, ZeRO's stages 2 and 3,
    losses and weights after two steps are.
    Source of the loss: Hinton, Vinyals, Dean (2015), §2. Raises `ValueError` for a teacher with other classes or another
    vocabulary, for a regression, for maps that would not be learnt, and for logits that hold NaN or +∞; `FloatingPointError`
    for a loss that is no number, before anything is logged or saved of that step.
    """

    args: DistillationTrainingArguments

    def __init__(self, model: nn.Module | None = None, teacher: nn.Module | None = None, args=None, **kwargs):
        self.args = DistillationTrainingArguments("distilled") if args is None else args
        check_kind("args", self.args, DistillationTrainingArguments)
        self.teacher, self.compute_loss_func = teacher, kwargs.get("compute_loss_func")
        self.train_dataset = kwargs.get("train_dataset")
        if model is not None:
            self._join(model)
        for part, alpha in (("train_dataset", self.args.alpha), ("eval_dataset", 0.0)):
            check_answers(kwargs.get(part), alpha, taught=teacher is not None)
        self.sums: dict[str, Tensor] = {}  # of the parts of the loss, since they were logged last
        super().__init__(model=model, args=self.args, **kwargs)
        self._check_adapters(kwargs.get("optimizers", (None, None))[0])
        self.model_accepts_loss_kwargs = True  # this loss takes the number of labels, whatever the model's own does
        self.label_names = self.label_names or ["labels"]  # and labels, where its forward does not take them
        self._loss_shifts_labels = is_causal(unwrapped(self.model))
        self.data_collator = Looking(self.data_collator)
        self.divergence = Divergence()
        self.add_callback(self.divergence)
        if teacher is not None and getattr(unwrapped(teacher), "hf_device_map", None) is None:
            teacher.to(self.args.device)

    def _join(self, student: nn.Module) -> None:
        """A look whether the two suit each other, and what is compared within them."""
        ours, theirs, args = unwrapped(student), unwrapped(self.teacher), self.args
        check_pair(ours, theirs)
        self.response = Response(ours, self.compute_loss_func, args.label_smoothing_factor)
        self.taken = {"student": _taken(ours), "teacher": _taken(theirs)}
        self.inner = Inner(args, ours, theirs, self.train_dataset)

    def _check_adapters(self, optimizer) -> None:
        """Raise `ValueError` where what is learnt beside the student would not be learnt, or not rightly."""
        names = ", ".join(self.inner.adapters) if hasattr(self, "inner") else ""
        if not names:
            return
        advice = f"{names} of student and teacher differ in width, and a map between them is learnt beside the student"
        if optimizer is not None:
            raise ValueError(
                f"optimizers must be left to the trainer: {advice}; optimizer_cls_and_kwargs names another"
            )
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            which = "fsdp" if self.is_fsdp_enabled else "deepspeed"
            raise ValueError(
                f"{which} must not cut a model whose inner losses need maps: {advice}, outside of its forward"
            )

    def call_model_init(self, trial=None):
        """As `Trainer.call_model_init`; each student that it builds is joined to the teacher."""
        student = super().call_model_init(trial)
        self._join(student)
        return student

    def create_optimizer(self, *args, **kwargs):
        """As `Trainer.create_optimizer`; what is learnt beside the student is in it."""
        self.inner.join(self.model)
        return super().create_optimizer(*args, **kwargs)

    def train(self, *args, **kwargs):
        """As `Trainer.train`; afterwards the student is as it was built, without what was learnt beside it."""
        if self.model_init is None:
            check_student(self.model)
        try:
            return super().train(*args, **kwargs)
        finally:
            self.divergence.losses.clear()
            self.sums.clear()
            self.inner.leave(self.model)

    def training_step(self, *args, **kwargs):
        """As `Trainer.training_step`; the loss is kept until it is looked at."""
        loss = super().training_step(*args, **kwargs)
        self.divergence.losses.append((self.state.global_step + 1, loss))
        return loss

    def log(self, logs, *args, **kwargs):
        """As `Trainer.log`; beside the loss of training stand its parts, without their weights: soft_loss, hard_loss, …"""
        if "loss" in logs and self.sums:
            names = sorted(self.sums)  # in one order on all processes
            sums = self.accelerator.gather(torch.stack([self.sums[name] for name in names])[None]).sum(dim=0)
            means = (sums[:, 0] / sums[:, 1].clamp(min=1e-12)).tolist()
            logs = {**logs, **{f"{name}_loss": mean for name, mean in zip(names, means, strict=True)}}
            self.sums.clear()
        super().log(logs, *args, **kwargs)

    def prediction_step(self, model, inputs, *args, **kwargs):
        """As `Trainer.prediction_step`; without labels the student is asked alone, and given what it takes."""
        inputs = inputs if "labels" in inputs else _only(inputs, self.taken["student"])
        return super().prediction_step(model, inputs, *args, **kwargs)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """The loss of one batch. `num_items_in_batch`: the labels of all accumulated batches on all processes."""
        inputs, args, learning = dict(inputs), self.args, self.model.training
        labels, cached, states = (inputs.pop(name, None) for name in ("labels", *ANSWERS))
        if labels is not None and "decoder_input_ids" not in inputs:
            inputs.update(_decoder_inputs(self.model, labels))
        more, mask = self.inner.asked if learning else {}, inputs.get("attention_mask")
        outputs = _answers(model, _only(inputs, self.taken["student"]), more)
        alpha = self._alpha(labels, cached)
        theirs = self._ask(inputs, more) if (alpha and cached is None) or (more and self.inner.layers) else None
        taught = cached if cached is not None or theirs is None else logits_of("teacher", theirs)
        # Each batch counts by its labels: the mean over all of them, whatever way they were cut into batches.
        items = self._items(num_items_in_batch)
        parts, share = self.response(outputs, taught, labels, mask, items, alpha=alpha, temperature=args.temperature)
        if more:
            parts |= {name: share * part for name, part in self.inner.losses(outputs, theirs, states, mask).items()}
        weights = {"soft": alpha, "hard": 1 - alpha, **{name: getattr(args, name) for name in INNER}}
        loss = sum(weights[name] * part for name, part in parts.items())
        if learning:
            self._keep(parts, share)
        self.loss_is_scaled_for_ga = items is not None
        if items is not None and args.average_tokens_across_devices:
            loss = loss * self.accelerator.num_processes
        return (loss, {"loss": loss, "logits": outputs.logits}) if return_outputs else loss

    def _alpha(self, labels: Tensor | None, cached: Tensor | None) -> float:
        """The teacher's share in a batch: all of it without labels, none where a student is judged without any answers."""
        if labels is None:
            return 1.0
        if self.args.alpha and not self.model.training and self.teacher is None and cached is None:
            warnings.warn(UNTAUGHT, stacklevel=2)
            return 0.0
        return self.args.alpha

    def _items(self, counted) -> Tensor | None:
        """The labels of a step; DataParallel's outputs come together on one device, so that they are counted at once."""
        if counted is None:
            return None
        replicas = 1 if self.args.average_tokens_across_devices else max(1, self.args.n_gpu)
        return (torch.as_tensor(counted).flatten()[0] * replicas).clamp(min=1)

    def _keep(self, parts: Mapping[str, Tensor], share: float | Tensor) -> None:
        """Add a batch's parts, and its share in the step's labels, to what is logged next."""
        for name, part in parts.items():
            both = torch.stack([part.detach().float(), torch.as_tensor(share, dtype=torch.float32, device=part.device)])
            self.sums[name] = self.sums.get(name, 0.0) + both

    def _save(self, output_dir=None, state_dict=None):
        with self.inner.apart(self.model):
            super()._save(output_dir, state_dict)
        if self.args.should_save:
            self.inner.save(output_dir or self.args.output_dir)

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        with self.inner.apart(self.model):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        self.inner.load(resume_from_checkpoint)

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
