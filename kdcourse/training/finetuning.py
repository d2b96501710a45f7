"""Training a classifier of sentences in one call, as `training.train` does for pictures; on top of `transformers`."""

import tempfile

from torch import Tensor

from kdcourse.data.texts import Sentences
from kdcourse.models.sentiment import SentimentClassifier
from kdcourse.system import runtime
from kdcourse.system.storage import fingerprint
from kdcourse.training.gate import check_finetuning, check_kind

_KNOWN: dict[str, Tensor] = {}  # fingerprint of a teacher and its sentences -> logits
_OWN = {
    "max_steps": "steps",
    "per_device_train_batch_size": "batch_size",
}  # the Trainer's names of finetune's arguments


class Losses(list):
    """The losses that training logged, in order. history: every line that the Trainer logged, a dictionary each."""

    history: list[dict]


def finetune(
    student: SentimentClassifier,
    split: Sentences,
    *,
    teacher: SentimentClassifier | None = None,
    answers: Tensor | None = None,
    states: Tensor | None = None,
    steps: int,
    batch_size: int = 32,
    learning_rate: float = 1e-3,
    seed: int = 0,
    progress: bool = True,
    validation: Sentences | None = None,
    **settings,
) -> Losses:
    """Train `student` in place for a fixed number of steps; returns the losses, one every tenth of the run.

    split: sentences, cut where they are longer than the model; without labels only the teacher is learnt from.
    teacher: default None, labels only. Its logits are computed once, unless inner losses need it at each step.
    answers: (N, 2), the teacher's logits where they are there already. states: (N, D), its [CLS] states, for the setting
    `sentence`. batch_size: sentences a step, default 32. learning_rate: default 0.001, the peak of a schedule that warms up over
    a tenth of the steps and falls to 0. seed: fixes order and dropout, default 0. progress: show a bar, the default.
    validation: labelled sentences to be judged on with each loss: eval_loss and eval_accuracy in the history of what is returned.
    settings: of `DistillationTrainingArguments`, such as temperature, alpha, hidden, layers, or lr_scheduler_type, warmup_steps,
    report_to; save_strategy other than "no" needs output_dir, and resume_from_checkpoint goes on from there.
    Raises `ValueError` as the trainer does and for what cannot be meant; `FloatingPointError` for a loss that is no number.
    """
    steps, batch_size = check_finetuning(student, split, teacher, steps, batch_size, learning_rate)
    _check_settings(settings, validation)
    if answers is None and teacher is None:
        if split.labels is None:
            raise ValueError("split has no labels, so it needs a teacher: pass teacher=")
        settings["alpha"] = 0.0
    settings |= {"max_steps": steps, "per_device_train_batch_size": batch_size, "learning_rate": learning_rate}
    examples = _examples(student, split, teacher, answers, states)
    validation = None if validation is None else _examples(student, validation, teacher)
    try:
        return _train(student, teacher, examples, validation, progress, settings | {"seed": seed})
    finally:
        student.eval()


def _examples(student, split: Sentences, teacher, answers: Tensor | None = None, states: Tensor | None = None):
    """What the Trainer reads of a split: tokens, labels, and what the teacher answers, asked here where nobody did."""
    from kdcourse.training.trainer import Examples

    if answers is None and teacher is not None:
        answers = remembered(teacher, split)
    return Examples(student.encode(split.texts, truncate=True), split.labels, answers, states)


def _check_settings(settings: dict, validation: Sentences | None) -> None:
    for name in _OWN.keys() & settings:
        raise ValueError(f"{_OWN[name]} must be given in place of {name}, got {name}={settings[name]!r}")
    if validation is not None:
        check_kind("validation", validation, Sentences, ", such as data.validation")
        if validation.labels is None or not len(validation):
            raise ValueError("validation must hold labelled sentences to be judged on, got none")
    saving = settings.get("save_strategy", "no")
    if saving != "no" and "output_dir" not in settings:
        raise ValueError(f"output_dir must be given where save_strategy is {saving!r}: a folder for the checkpoints")


def _train(student, teacher, examples, validation, progress: bool, settings: dict) -> Losses:
    """Run the Trainer; without an `output_dir` it leaves nothing on the disk."""
    import transformers

    from kdcourse.training.trainer import Bar, DistillationTrainer, DistillationTrainingArguments

    needs_states = settings.get("hidden") or settings.get("attention")
    with tempfile.TemporaryDirectory(prefix="kdcourse-") as folder:
        trainer = DistillationTrainer(
            student.bert,
            teacher.bert if needs_states else None,  # else its logits are among the examples
            args=DistillationTrainingArguments(**{"output_dir": folder, **_usual(settings, validation), **settings}),
            train_dataset=examples,
            eval_dataset=validation,
            compute_metrics=_accuracy,
            data_collator=transformers.DataCollatorWithPadding(student.tokenizer),
        )
        # The Trainer prints its logs where it draws no bar; the course's bar goes away when it is done.
        trainer.remove_callback(transformers.PrinterCallback)
        if progress:
            trainer.add_callback(Bar())
        trainer.train(resume_from_checkpoint=settings.get("resume_from_checkpoint"))
    found = Losses(entry["loss"] for entry in trainer.state.log_history if "loss" in entry)
    found.history = trainer.state.log_history
    return found


def _usual(settings: dict, validation) -> dict:
    """The settings that hold where nothing else is said."""
    tenth = max(1, settings["max_steps"] // 10)
    return {
        "lr_scheduler_type": "linear",
        "warmup_steps": tenth,
        "weight_decay": 0.01,
        "train_sampling_strategy": "group_by_length",  # padding would otherwise double the work
        "logging_steps": tenth,
        "eval_strategy": "no" if validation is None else "steps",
        "eval_steps": tenth,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": runtime.device().type == "cpu",
        "dataloader_pin_memory": runtime.device().type == "cuda",
        "disable_tqdm": True,
    }


def _accuracy(prediction) -> dict[str, float]:
    return {"accuracy": 100 * float((prediction.predictions.argmax(axis=1) == prediction.label_ids).mean())}


def remembered(teacher: SentimentClassifier, split: Sentences) -> Tensor:
    """The teacher's logits (N, 2), computed once for each pair of weights and sentences."""
    key = fingerprint(teacher, split.texts)
    if key not in _KNOWN:
        _KNOWN[key] = teacher.predict(split.texts)
    return _KNOWN[key]
