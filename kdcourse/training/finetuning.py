"""Training a classifier of sentences in one call, as `training.train` does for pictures; on top of `transformers`."""

import tempfile

from torch import Tensor

from kdcourse.data.texts import Sentences
from kdcourse.models.sentiment import SentimentClassifier
from kdcourse.system import runtime
from kdcourse.system.storage import fingerprint
from kdcourse.training.gate import check_finetuning

_KNOWN: dict[str, Tensor] = {}  # fingerprint of a teacher and its sentences -> logits


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
    **settings,
) -> list[float]:
    """Train `student` in place for a fixed number of steps; returns the mean losses of each tenth of the run.

    split: N sentences, cut where they are longer than the model takes; without labels only the teacher is learnt from.
    teacher: default None, labels only. Its logits are computed once, unless inner losses need it at each step.
    answers: (N, 2), the teacher's logits where they are there already. states: (N, D), its [CLS] states, for the setting
    `sentence`. batch_size: sentences a step, default 32. learning_rate: default 0.001, the peak of a schedule that warms up
    over a tenth of the steps and falls to 0. seed: fixes order and dropout, default 0. progress: show a bar, the default.
    settings: of `DistillationTrainingArguments`, such as temperature, alpha, hidden, attention, layers.
    Raises `ValueError` for arguments that cannot be meant, for a split without labels where there is no teacher, and as the
    trainer does; `FloatingPointError` with the step at which the loss is no number.
    """
    from kdcourse.training.trainer import Examples

    steps, batch_size = check_finetuning(student, split, teacher, steps, batch_size, learning_rate)
    if answers is None and teacher is not None:
        answers = remembered(teacher, split)
    if answers is None:
        if split.labels is None:
            raise ValueError("split has no labels, so it needs a teacher: pass teacher=")
        settings["alpha"] = 0.0
    examples = Examples(student.encode(split.texts, truncate=True), split.labels, answers, states)
    schedule = {"max_steps": steps, "per_device_train_batch_size": batch_size, "learning_rate": learning_rate}
    try:
        return _train(student, teacher, examples, progress, seed=seed, **schedule, **settings)
    finally:
        student.eval()


def _train(student, teacher, examples, progress: bool, *, max_steps: int, **settings) -> list[float]:
    """Run the Trainer, which leaves nothing on the disk; gives the losses that it logged."""
    import transformers

    from kdcourse.training.trainer import Bar, DistillationTrainer, DistillationTrainingArguments

    needs_states = settings.get("hidden") or settings.get("attention")
    with tempfile.TemporaryDirectory(prefix="kdcourse-") as folder:
        arguments = DistillationTrainingArguments(
            folder,
            max_steps=max_steps,
            lr_scheduler_type="linear",
            warmup_steps=max(1, max_steps // 10),
            weight_decay=0.01,
            train_sampling_strategy="group_by_length",  # padding would otherwise double the work
            logging_steps=max(1, max_steps // 10),
            save_strategy="no",
            report_to="none",
            use_cpu=runtime.device().type == "cpu",
            dataloader_pin_memory=runtime.device().type == "cuda",
            disable_tqdm=True,
            **settings,
        )
        collate = transformers.DataCollatorWithPadding(student.tokenizer)
        shown = teacher.bert if needs_states else None  # else its logits are among the examples
        trainer = DistillationTrainer(
            student.bert, shown, args=arguments, train_dataset=examples, data_collator=collate
        )
        # The Trainer prints its logs where it draws no bar; the course's bar goes away when it is done.
        trainer.remove_callback(transformers.PrinterCallback)
        if progress:
            trainer.add_callback(Bar())
        trainer.train()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def remembered(teacher: SentimentClassifier, split: Sentences) -> Tensor:
    """The teacher's logits (N, 2), computed once for each pair of weights and sentences."""
    key = fingerprint(teacher, split.texts)
    if key not in _KNOWN:
        _KNOWN[key] = teacher.predict(split.texts)
    return _KNOWN[key]
