"""From a folder of photographs to a model that can be handed out: teacher, students, files and card, in one go."""

import os
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from kdcourse.data.samples import SIGNS, picture_folder
from kdcourse.data.signs import sign_folder
from kdcourse.data.splits import Split
from kdcourse.deployment import Deployed, Judged, written_card
from kdcourse.deployment.export import OnnxModel, int8_onnx, to_onnx
from kdcourse.evaluation import measure
from kdcourse.models.transfer import Moments, Restandardised
from kdcourse.scale.distributed import build_accelerator
from kdcourse.scale.evaluate import predictions
from kdcourse.scale.reading import recipe_of
from kdcourse.scale.recipe import Recipe
from kdcourse.scale.registry import MODELS
from kdcourse.scale.runs import RecipeTrainer
from kdcourse.system import runtime
from kdcourse.system.markup import verbatim
from kdcourse.system.storage import write_safely

ARMS = ("labels", "kd")  # the students, of which validation pictures choose
HEAD = {"epochs": 30, "learning_rate": 3e-3}  # of a teacher whose head learns alone
PIXELS: Moments = ((0.0,) * 3, (1.0,) * 3)  # what is handed out takes them as they are, within [0, 1]
CALIBRATION = 128  # training pictures on which the ranges of 8 bits are found
LIMITS = (
    "Pictures of anything else: it always names one of its classes, and can be sure of it.",
    "Decisions about people.",
)


@dataclass(frozen=True)
class Plan:
    """What is asked for. folder: `<class>/<picture>`, alone or below train/, val/ and test/.

    teacher: a body as `zoo.trained_body` takes it, under a linear probe; tuned: or all of it learns, from the labels as a student
    does. teacher_file: its weights, where they are not to be downloaded. student: a body likewise, all of which learns, or one
    of the course's networks, such as "separable". fresh: neither begins from weights that others have trained, to try the
    program where none can be had.
    size: pixels a side that the networks see. mirror: a mirror changes no meaning. views: fixed windows of each picture, for
    which the teacher is asked once. epochs, batch_size, learning_rate: of each student and of a tuned teacher, by AdamW down a
    cosine.
    """

    folder: str
    teacher: str = "resnet50"
    tuned: bool = False
    teacher_file: str | None = None
    student: str = "mobilenet_v2"
    fresh: bool = False
    size: int = 224
    mirror: bool = True
    views: int = 4
    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3

    def recipe(self) -> Recipe:
        """The teacher's body with a new head, and two students on the same views: of the labels alone, and of the teacher too."""
        weights = {"weights": None} if self.fresh else {}
        student = self.student if self.student in MODELS else {"new_head": {"body": self.student, **weights}}
        data = {"folder": self.folder, "size": self.size, "crop": True, "mirror": self.mirror, "views": self.views}
        training = {"epochs": self.epochs, "batch_size": self.batch_size, "learning_rate": self.learning_rate}
        runs = {
            "teacher": self._teacher(weights),
            "labels": {"student": student},
            "kd": {
                "student": student,
                "teacher": "teacher",
                "cached": True,
                "method": {"Distillation": {"temperature": 2, "alpha": 0.9}},
            },
        }
        content = {
            "data": data | {"test": True, "workers": min(8, os.cpu_count() or 1)},
            "training": training
            | {"optimizer": "adamw", "weight_decay": 0.01, "cosine": True, "precision": _precision()},
            "runs": runs,
        }
        return recipe_of("photographs", content, {})

    def _teacher(self, weights: dict) -> dict:
        if self.teacher_file is not None:
            weights = {"file": str(Path(self.teacher_file).expanduser().resolve())}
        body = {"body": self.teacher, **weights}
        if self.tuned:
            return {"student": {"new_head": body}}
        return {"student": {"probe": body}, "cached": True, "training": HEAD}


@dataclass(frozen=True)
class Row:
    """One model: how many test pictures it names rightly, in percent, and the bytes of its file."""

    name: str
    accuracy: float
    size: int


def train_photographs(
    folder: Path | None, output: Path | None, *, seed: int = 0, small: bool = False, **options
) -> list[Row]:
    """What `kdcourse photographs` calls: `distil` by a `Plan` of these options.

    folder: None for 2,000 built-in signs. output: default `runs/photographs/<folder>`. small: one epoch on a few signs.
    """
    if small:
        output = output or Path("runs/photographs-small")
        folder = sign_folder(output / "pictures", {"train": 60, "val": 20, "test": 20}, side=48)
        options |= {"size": 32, "epochs": 1, "views": 1, "batch_size": 20}
    folder = picture_folder(SIGNS) if folder is None else folder
    output = output or Path("runs/photographs", folder.expanduser().resolve().name)
    return distil(Plan(str(folder), **options), output, seed=seed)


def distil(plan: Plan, output: str | Path, *, seed: int = 0) -> list[Row]:
    """Train a teacher and two students, and write `student.onnx`, `student-int8.onnx` and `MODEL_CARD.md` of the better one.

    output: also holds checkpoints and the teacher's answers; the same call goes on where it stopped. Validation pictures choose
    the student, test pictures are looked at once. Raises as `train_recipe`.
    """
    output, recipe = Path(output), plan.recipe()
    accelerator = build_accelerator(recipe.runs["kd"].training)
    trainer = RecipeTrainer(recipe, output, seed, accelerator)
    outcomes = {one.name: one for one in trainer.run()}
    said = _beside_labels(outcomes["teacher"].score[0], outcomes["labels"].score[0])
    accelerator.print(said)
    chosen = max(ARMS, key=lambda arm: outcomes[arm].score)
    train, validation, spec = trainer.data(recipe.runs[chosen].data)
    test = train.part("test")
    models = {name: trainer.students[name] for name in ("teacher", *(arm for arm in ARMS if arm != chosen), chosen)}
    judged = {name: Judged(predictions(model, test), measure.parameters(model)) for name, model in models.items()}
    few = next(train.batches([(None, torch.linspace(0, len(train) - 1, min(CALIBRATION, len(train))).long())]))
    files = _exported(models[chosen], spec.moments, few.inputs, output)
    rows = [
        Row(name, _accuracy(one.logits, test.labels), measure.size_in_bytes(models[name]))
        for name, one in judged.items()
    ]
    for file in files:
        outside = Restandardised(OnnxModel(file), spec.moments, PIXELS).to(accelerator.device)
        rows.append(Row(file.name, _accuracy(predictions(outside, test), test.labels), file.stat().st_size))
    made = _training(plan, chosen, len(train), len(validation))
    in_8_bits = f"In 8 bits: {rows[-1].accuracy:.1f} % of the test pictures from {rows[-1].size / 1000:,.0f} kB."
    training = f"{made} {said} {in_8_bits}"
    title, shape = Path(plan.folder).expanduser().resolve().name, (3, plan.size, plan.size)
    size = files[0].stat().st_size
    card = written_card(
        judged, title, spec.names, test.labels, shape, training=training, limits=LIMITS, file_bytes=size
    )
    write_safely(output / "MODEL_CARD.md", lambda path: path.write_text(card, encoding="utf-8"))
    return rows


def _training(plan: Plan, chosen: str, pictures: int, held_out: int) -> str:
    """How the student that is handed out was made, for its card."""
    body = verbatim(plan.teacher)
    teacher = f"{body}, all of which learnt" if plan.tuned else f"a linear probe of {body}"
    return (
        f"Arm *{chosen}* of {' and '.join(ARMS)}, chosen on {held_out:,} validation pictures, from {pictures:,} training "
        f"pictures, {plan.views} fixed windows of each; student {verbatim(plan.student)}, teacher {teacher}"
        f"{', both without weights of others' if plan.fresh else ''}."
    )


def _beside_labels(teacher: float, labels: float) -> str:
    """What the teacher can give beyond the labels, by its own validation accuracy and that of their student, in percent."""
    measured = f"on validation pictures {teacher:.1f} % beside {labels:.1f} % of the student of labels alone"
    if teacher > labels:
        return f"The teacher is above what labels reach, {measured}."
    return f"The teacher is not above what labels reach, {measured}: it has little to give."


def _exported(student: nn.Module, moments: Moments, images: Tensor, output: Path) -> list[Path]:
    """The student as it is handed out, in 32 and in 8 bits. images: some training pictures (N, 3, H, W), standardised."""
    deployed = Deployed(student, moments)
    pixels = Split((images * deployed.std + deployed.mean).cpu())
    whole = to_onnx(deployed, pixels, output / "student.onnx")
    return [whole, int8_onnx(whole, output / "student-int8.onnx", pixels)]


def _accuracy(logits: Tensor, labels: Tensor) -> float:
    return 100 * (logits.argmax(1) == labels).float().mean().item()


def _precision() -> str:
    device = runtime.device()
    if runtime.has_bf16(device):
        return "bf16"
    return "fp16" if device.type == "cuda" else "fp32"
