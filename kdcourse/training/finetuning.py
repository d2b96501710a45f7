"""Sentences through the distillation trainer: one call to train a classifier, one arm of a comparison.

What `training.train` and `experiment.Recipe` are for pictures, on top of `transformers`.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from kdcourse.data.texts import Sentences
from kdcourse.models.sentiment import SentimentClassifier
from kdcourse.system.storage import fingerprint


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
    """Train `student` in place for a fixed number of steps; returns the losses, one every tenth of the run.

    split: sentences, cut where they are longer than the model; without labels only the teacher is listened to.
    teacher: None for labels only. Its logits are computed once, unless inner losses need it at each step.
    answers: (N, 2), a teacher's logits that are there already. states: (N, D), its [CLS] states, for the setting `sentence`.
    batch_size: sentences a step. learning_rate: the peak of a schedule that warms up over a tenth of the steps and falls to 0.
    seed: order of batches and dropout. settings: of `DistillationTrainingArguments`, such as temperature, alpha, hidden,
    attention, layers. Raises `ValueError` for a split without labels where there is no teacher, and as the trainer does.
    """
    import transformers

    from kdcourse.training.trainer import Bar, DistillationTrainer, DistillationTrainingArguments, Examples

    if split.labels is None and teacher is None and answers is None:
        raise ValueError("split has no labels, so it needs a teacher: pass teacher=")
    if teacher is None and answers is None:
        settings["alpha"] = 0.0
    inner = bool(settings.get("hidden") or settings.get("attention"))
    if teacher is not None and answers is None:
        answers = remembered(teacher, split)
    with tempfile.TemporaryDirectory(prefix="kdcourse-") as folder:
        arguments = DistillationTrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=batch_size,
            learning_rate=learning_rate,
            lr_scheduler_type="linear",
            warmup_steps=max(1, steps // 10),
            weight_decay=0.01,
            train_sampling_strategy="group_by_length",  # padding would otherwise double the work
            logging_steps=max(1, steps // 10),
            save_strategy="no",
            report_to="none",
            dataloader_pin_memory=torch.cuda.is_available(),
            disable_tqdm=True,
            seed=seed,
            **settings,
        )
        trainer = DistillationTrainer(
            student.bert,
            teacher.bert if inner else None,
            args=arguments,
            train_dataset=Examples(student.encode(split.texts, truncate=True), split.labels, answers, states),
            data_collator=transformers.DataCollatorWithPadding(student.tokenizer),
        )
        # The Trainer prints its logs where it draws no bar; the course's bar goes away when it is done.
        trainer.remove_callback(transformers.PrinterCallback)
        if progress:
            trainer.add_callback(Bar())
        trainer.train()
    student.eval()
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def remembered(teacher: SentimentClassifier, split: Sentences) -> Tensor:
    """The teacher's logits (N, 2), computed once for each pair of weights and sentences."""
    return _remembered(_Key(teacher, split, fingerprint(teacher, split.texts)))


@dataclass(frozen=True)
class _Key:
    teacher: SentimentClassifier
    split: Sentences
    content: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.content == other.content

    def __hash__(self) -> int:
        return hash(self.content)


@lru_cache(maxsize=8)
def _remembered(key: _Key) -> Tensor:
    return key.teacher.predict(key.split.texts)


@dataclass(frozen=True)
class TextRecipe:
    """One arm of a comparison of classifiers of sentences: what `experiment.compare` can run.

    student: called as student(seed=...), gives a classifier with fresh weights. train: the split to learn from, or a function
    of the seed that gives it. teacher, alpha, temperature, hidden, attention, steps, batch_size, learning_rate: as in
    `finetune`.
    """

    student: Callable[..., SentimentClassifier]
    train: Sentences | Callable[[int], Sentences]
    teacher: SentimentClassifier | None = None
    alpha: float = 0.9
    temperature: float = 4.0
    hidden: float = 0.0
    attention: float = 0.0
    steps: int = 800
    batch_size: int = 32
    learning_rate: float = 1e-3

    @property
    def budget(self) -> int:
        """Sentences that gradient steps see."""
        return self.steps * self.batch_size

    def run(self, seed: int = 0, *, progress: bool = False) -> SentimentClassifier:
        """Train a fresh student; `seed` fixes its first weights, its examples, the order of its batches and dropout."""
        student = self.student(seed=seed)
        finetune(
            student,
            self.train(seed) if callable(self.train) else self.train,
            teacher=self.teacher,
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            seed=seed,
            progress=progress,
            alpha=self.alpha,
            temperature=self.temperature,
            hidden=self.hidden,
            attention=self.attention,
        )
        return student

    def describe(self, student: SentimentClassifier) -> dict:
        """What the ledger says of this arm besides its scores."""
        names = ("alpha", "temperature", "hidden", "attention")
        taught = {name: getattr(self, name) for name in names if getattr(self, name)} if self.teacher else {}
        return {
            "student": student.label,
            "method": f"distillation {taught}" if taught else "labels only",
            "steps": self.steps,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
        }
