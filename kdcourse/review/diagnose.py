"""Why is my student not better? The set-up looked over, the likeliest cause first."""

from collections.abc import Callable

from torch import Tensor, nn

from kdcourse.data.splits import ImageData, Split
from kdcourse.methods import Method
from kdcourse.review import causes_data, causes_models, causes_training
from kdcourse.review.look import Look, Prepare, Told, look_at
from kdcourse.review.report import Finding, Report
from kdcourse.training.cache import TeacherCache

# In the order in which they are to be ruled out: what comes first makes what comes later look wrong too.
CAUSES = (
    causes_models.modes,
    causes_data.preprocessing,
    causes_data.labels,
    causes_data.cache,
    causes_training.loss,
    causes_training.step,
    causes_training.optimizer,
    causes_training.history,
    causes_models.teacher,
    causes_models.student,
    causes_data.overlap,
    causes_models.baseline,
)
# Part of a finding's name -> what is its effect, and no finding of its own beside it.
_LOW = ("the teacher is at chance", "the teacher is no better than the student", "training labels are noisy")
EFFECTS = {
    "dropout is on": _LOW,
    "labels shifted": (*_LOW, "the student overfits"),
    "labels beyond the classes": (*_LOW, "a class is missing from training"),
    "classes permuted": (*_LOW, "the student overfits"),
    "preprocessing differs": (*_LOW, "classes permuted", "labels shifted"),
    "prepared differently": ("training labels are noisy",),
    "gives probabilities": _LOW,
    "share weights": ("the teacher is no better than the student", "frozen student"),
}


def diagnose(
    student: nn.Module,
    teacher: nn.Module | TeacherCache,
    data: ImageData | Split,
    *,
    method: Method | None = None,
    loss: object | None = None,
    temperature: float | None = None,
    alpha: float | None = None,
    step: Callable[..., Tensor] | None = None,
    optimizer=None,
    history=None,
    teacher_logits: Tensor | None = None,
    augment: Callable[..., Tensor] | None = None,
    preprocess: Prepare | None = None,
    teacher_preprocess: Prepare | None = None,
    baseline: nn.Module | None = None,
    count: int = 512,
    seed: int = 0,
) -> Report:
    """Why a student is not better: each finding with its number and what to do, the likeliest first.

    student, teacher: models that give logits (N, C), as they are used, the student trained. data: what `train` and `compare`
        take; of a lone split both training and validation are thought.
    method, or loss with its temperature and alpha: what was minimised, given to `audit`. step: your own training step, called
        as step(student, teacher, images, labels, optimizer), tried on small models. optimizer: the one that trains the
        student. history: a `History`, or the losses, one a step.
    teacher_logits: answers that were kept, (N, C) in the order of the training split. augment: what changes pictures at each
        step. preprocess, teacher_preprocess: called on pictures before the student or the teacher sees them.
    baseline: a student that learnt from labels alone, for the difference and its interval.
    count: how many pictures of each split are asked about, default 512. seed: of the few steps that are tried on a copy.

    Takes some seconds. Models, their modes and weights stay as they were. Raises `ValueError` for arguments of another kind.
    """
    pieces = (step, optimizer, history, teacher_logits, augment, preprocess, teacher_preprocess, baseline)
    told = Told(loss, temperature, alpha, *pieces)
    look = look_at(student, teacher, data, method, told, count, seed)
    subject = f"{getattr(student, 'label', type(student).__name__)} taught by {type(look.teacher).__name__}"
    if findings := list(causes_models.broken(look)):
        return Report(subject, "answers that cannot be compared", tuple(findings))
    findings = _causes([finding for cause in CAUSES for finding in cause(look)])
    if not any(finding.kind == "fault" for finding in findings):  # a faulty set-up does not want more steps
        findings += causes_training.budget(look)
    return Report(subject, _summary(findings), tuple(findings), _facts(look))


def _causes(findings: list[Finding]) -> list[Finding]:
    """Each name once, and no effects beside their causes."""
    first = {finding.name: finding for finding in reversed(findings)}
    effects = {effect for name in first for cause, named in EFFECTS.items() if cause in name for effect in named}
    return [one for one in findings if first[one.name] is one and one.name not in effects]


def _summary(findings: list[Finding]) -> str:
    faults = [finding.name for finding in findings if finding.kind == "fault"]
    return f"most likely: {faults[0]}" if faults else "no cause found in what was shown"


def _facts(look: Look) -> dict[str, str]:
    facts = {}
    for who in ("teacher", "student"):
        known = {part: look.accuracy(who, part) for part in ("train", "validation")}
        facts[f"the {who}'s accuracy"] = ", ".join(
            f"{part} {value:.1f} %" for part, value in known.items() if value is not None
        )
    ours, theirs = (look.logits[who, "train"].argmax(1) for who in ("student", "teacher"))
    facts["agreement on training pictures"] = f"{100 * (ours == theirs).float().mean():.1f} %"
    return facts
