"""Which distillation loss is this, and is it right? A loss that a reader brings, named by what its gradient does."""

import math
from dataclasses import replace

import torch

from kdcourse.methods import Method
from kdcourse.review import bank
from kdcourse.review.calling import Calling, SeveralLosses
from kdcourse.review.masks import mask_findings
from kdcourse.review.probing import TEMPERATURES, Case, Match, Outcome, hidden_temperature, outcome, recognise
from kdcourse.review.report import Finding, Report
from kdcourse.review.scales import Setting, scale_findings

SHIFT = 3.0  # added to a whole row of logits, which softmax does not see
_REFUSALS = (TypeError, ValueError, RuntimeError, IndexError, KeyError, AttributeError, AssertionError)


def audit(
    loss: object, *, temperature: float | None = None, alpha: float | None = None, takes: str | None = None
) -> Report:
    """Name a distillation loss: what it is, what is wrong with it, by how much, and the line that mends it.

    loss: a function, module, bound method or object with `forward` or `compute_loss`, or a `Method`. It is tried on random
        logits (N, C), else token logits (N, L, V), else those in a dict as "logits". Arguments are told apart by their names
        (student, teacher, labels, temperature, alpha, mask, and others in use); without names the student comes first.
    temperature: where it is an argument of the loss, the one it is looked at with, default 4; where the loss hides its own,
        that one, default found out. An attribute is looked at as it is, and set on a copy: where not all that hangs on it
        follows, or it cannot be set, T² is not judged. alpha: the share, default 0.9 or the attribute's (and a third of it).
    takes: "logits" (default), or "log-probabilities" for a loss like `nn.KLDivLoss`, which is recognised.
    Of a tuple, list or dict the entry "loss" is audited, or the only number with a gradient. Nothing of the loss is changed.
    Raises `ValueError` for what cannot be called so, with what it said itself, and for several losses.
    Source of the measure: the gradient of T² · KL(teacher ‖ student) is T · (q − p) / N, see `losses.soft_target`.
    """
    for name, value in (("temperature", temperature), ("alpha", alpha)):
        if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
            raise ValueError(f"{name} must be a number, got {value!r}")
    if temperature is not None and temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    call = Calling(loss, takes)
    subject = _title(loss)
    if (not call.taught and call.roles) or (isinstance(loss, Method) and not call.taught):
        return Report(subject, "a loss that asks no teacher, so there is no distillation to look at")
    setting = _looked_at(call, temperature, alpha)
    if blunt := _blunt(setting):
        return Report(subject, "a loss that cannot teach", tuple(blunt))
    call, case, seen, match = setting.call, setting.cases["base"], setting.seen["base"], setting.match
    findings = [*_identity(setting), *_unreduced(seen), *(scale_findings(setting) if match else [])]
    findings += mask_findings(call, case) + _lost_labels(call, case, seen) + _loose_ends(call, case, seen)
    return Report(subject, _what(match, call), tuple(findings), _facts(call, case, seen, match))


def _looked_at(call: Calling, temperature: float | None, alpha: float | None) -> Setting:
    """The loss in all cases, and what it is. An attribute whose T² does not follow when it is set is left alone after all."""
    cases = _cases(call, temperature, alpha)
    call, seen = _tried(call, cases)
    if not seen["base"].gradient.any() and seen["base"].into_teacher and (other := call.swapped()):
        call, seen = _tried(other, cases)
    cases = {name: case for name, case in cases.items() if name in seen}
    match = _matched(call, cases, seen, temperature)
    if "temperature" not in call.held:
        return Setting(call, cases, seen, match)
    slope = match.slope("cooler", 0.5) if match else None
    if slope == 0 or (match and not match.known.softened):
        return Setting(call, cases, seen, match)
    return replace(_looked_at(call.left_alone(), None, alpha), varied=slope)


def _title(loss: object) -> str:
    if isinstance(loss, Method):
        return repr(loss)
    return getattr(loss, "__qualname__", None) or type(loss).__name__


def _cases(call: Calling, temperature: float | None, alpha: float | None) -> dict[str, Case]:
    """The case that all others are compared with, and one for each thing that a factor may hang on."""
    own = call.temperature if "temperature" in call.held else call.pinned
    share = call.alpha if "alpha" in call.held and 0 < call.alpha < 1 else 0.9
    base = Case(temperature=temperature or own or 4.0, alpha=alpha if alpha is not None else share)
    if call.alpha is None:
        base = replace(base, alpha=None)
    if call.takes == "log-probabilities":
        base = replace(base, temperature=1.0)
    cases = {"base": base, "batch": replace(base, rows=9), "classes": replace(base, classes=8)}
    if call.temperature is not None:
        cases["cooler"] = replace(base, temperature=base.temperature / 2)
    if call.alpha is not None and call.labelled:
        cases["share"] = replace(base, alpha=base.alpha / 3)
    return cases


def _tried(call: Calling, cases: dict[str, Case]) -> tuple[Calling, dict[str, Outcome]]:
    """The loss called as it can be: flat logits, token logits, in a dict; a case that it refuses is left out."""
    if isinstance(call.loss, Method) and (call.loss.needs_gradients or call.loss.extra_passes != (0, 0)):
        raise ValueError(f"loss must be a function of logits; {call.loss!r} asks the models themselves")
    errors = []
    for dressed in (False, True):
        for length in (4, None) if call.masked else (None, 4):
            call.dressed = dressed
            tried = {name: replace(case, length=length) for name, case in cases.items()}
            try:
                seen = {"base": outcome(call, tried["base"])}
            except SeveralLosses:
                raise
            except _REFUSALS as error:
                errors.append(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}")
                continue
            if length:
                tried["length"] = replace(tried["base"], length=7)
            cases.update(tried)
            for name in list(tried)[1:]:
                try:
                    seen[name] = outcome(call, tried[name])
                except _REFUSALS:
                    continue
            return call, seen
    raise ValueError(
        "loss could not be called with logits (N, C), token logits (N, L, V) or a dict of them; pass "
        f"lambda student, teacher: loss(…). It said: {errors[0]}"
    )


def _matched(call: Calling, cases: dict[str, Case], seen: dict[str, Outcome], given: float | None) -> Match | None:
    candidates = list(bank.with_labels()) if call.labelled else bank.soft()
    if call.takes == "log-probabilities":
        return recognise(cases, seen, bank.soft(), [1.0])
    if call.temperature is not None:
        return recognise(cases, seen, candidates, None)
    if call.pinned:
        return recognise(cases, seen, candidates, [call.pinned, *TEMPERATURES])
    if given or (found := recognise(cases, seen, candidates, TEMPERATURES)) is None:
        return recognise(cases, seen, candidates, [given or hidden_temperature(cases["base"], seen["base"])])
    return found


def _blunt(setting: Setting) -> list[Finding]:
    """What keeps a loss from teaching at all: no number, no gradient, nothing of the teacher in it."""
    call, case, base = setting.call, setting.cases["base"], setting.seen["base"]
    _, teacher = case.logits
    if not base.gradient.isfinite().all():
        return [
            Finding(
                "the gradient is no number",
                math.nan,
                "It is NaN or infinite on logits between −10 and 10.",
                "Look for the logarithm of 0 or of a negative number: use F.log_softmax.",
            )
        ]
    if not base.gradient.any():
        return [_unreached(setting)]
    other = outcome(call, case, teacher=teacher.flip(0))
    same = torch.allclose(base.gradient, other.gradient) and math.isclose(base.value, other.value, rel_tol=1e-5)
    if same:
        small = base.gradient.abs().max().item()
        known = bank.said("03.soft_target", "the student compared with itself")
        name = known.name if abs(base.value) < 1e-5 and small < 1e-5 else "the teacher appears nowhere"
        return [
            Finding(
                name,
                small,
                "Another teacher's logits change neither value nor gradient.",
                "Compare the student's logits with the teacher's, not with labels or with itself.",
            )
        ]
    return []


def _unreached(setting: Setting) -> Finding:
    """Why the student gets no gradient."""
    call, case, base = setting.call, setting.cases["base"], setting.seen["base"]
    student, teacher = case.logits
    moved = math.isfinite(base.value) and abs(base.value - outcome(call, case, student=student.flip(0)).value) > 0
    if moved or base.into_teacher:
        name, mend = "no gradient reaches the student", "Its side is detached, or all happens within torch.no_grad()."
        if not moved:
            name, mend = "the student appears nowhere", "Give the loss the student's logits."
        elif _is_right_exchanged(setting):
            name, mend = (
                "student and teacher are exchanged",
                "The function that is called wants them in the other order.",
            )
        return Finding(name, 0.0, f"The student's gradient is 0, the teacher's up to {base.into_teacher:.3g}.", mend)
    hangs = call.at(case.temperature, case.alpha)(student.clone().requires_grad_(), teacher, case.labels).requires_grad
    own = abs(base.value) < 1e-5 and hangs
    known = bank.said("03.soft_target", f"the {'student' if own else 'teacher'} compared with itself")
    return Finding(known.name, 0.0, "The student's gradient is 0 everywhere.", known.explanation)


def _is_right_exchanged(setting: Setting) -> bool:
    """Whether it is KL(teacher ‖ student) for the two in each other's place."""
    if (other := setting.call.exchanged()) is None:
        return False
    seen = {name: outcome(other, case) for name, case in setting.cases.items()}
    match = _matched(other, setting.cases, seen, None)
    return match is not None and match.known.kind == "right"


def _lost_labels(call: Calling, case: Case, base: Outcome) -> list[Finding]:
    """Labels that move the value and not the student."""
    if not call.labelled:
        return []
    other = outcome(call, case, labels=(case.labels + 1) % case.classes)
    change = abs(other.value - base.value)
    unmoved = torch.allclose(base.gradient, other.gradient, rtol=1e-4, atol=1e-7)
    if not (unmoved and math.isfinite(change) and change > 1e-4 * abs(base.value)):
        return []
    return [
        Finding(
            "the labels' part does not reach the student",
            change,
            f"Other labels change the value by {change:.3g}, and the student's gradient by nothing.",
            "Cross-entropy takes the student's logits, not the teacher's or detached ones.",
        )
    ]


def _identity(setting: Setting) -> list[Finding]:
    """What the loss is where it is not the one that it should be."""
    match, call = setting.match, setting.call
    if match is None:
        return _unknown(call, setting.cases["base"])
    known, kind = match.known, match.known.kind
    if kind == "right" or kind == "labels":
        return []
    ratio = match.factors["base"][0]
    measured = f"The gradient is {ratio:.4g} times that of: {known.what}."
    if kind == "reverse":
        card = bank.said("03.soft_target", "the arguments of KL are swapped")
        meant = setting.tokens or "reverse" in _title(call.loss).lower()
        mend = "The reverse KL seeks one mode; for Hinton's loss: " + card.explanation
        return [Finding(card.name, ratio, measured, mend, "note" if meant else "fault")]
    if kind == "other":
        return [Finding(f"this is not KL: {known.what}", ratio, measured, "Right where you meant it.", "note")]
    return [Finding(known.what, ratio, measured, known.mend)]


def _unknown(call: Calling, case: Case) -> list[Finding]:
    student, teacher = case.logits
    found, same = outcome(call, case), outcome(call, case, student=teacher)
    size = (same.gradient.norm() / found.gradient.norm()).item()
    q, p = (side.reshape(-1, case.classes).div(case.temperature).softmax(1) for side in (student, teacher))
    cosine = torch.cosine_similarity(found.gradient.flatten(), (q - p).flatten(), dim=0).item()
    findings = [
        Finding(
            "this is not KL, and none that is known here",
            cosine,
            f"The cosine between its gradient and T · (q − p) is {cosine:.3f}.",
            "Right where you meant another loss; see the facts.",
            "note",
        )
    ]
    if size > 1e-2 and not call.labelled:
        findings.append(
            Finding(
                "the equal student is pushed away",
                size,
                f"Where student and teacher agree the gradient is still {size:.3g} of its usual size.",
                "If the student is to equal the teacher, treat both sides alike.",
                "note",
            )
        )
    return findings


def _unreduced(base: Outcome) -> list[Finding]:
    count = math.prod(base.shape)
    if count == 1:
        return []
    return [
        Finding(
            "no reduction",
            float(count),
            f"It returns {count} numbers, shape {base.shape}; their mean over the batch was looked at.",
            "backward() wants one number: sum over classes, mean over the batch.",
            "caution",
        )
    ]


def _loose_ends(call: Calling, case: Case, base: Outcome) -> list[Finding]:
    findings = []
    if not math.isfinite(base.value):
        findings.append(
            Finding(
                "the value is no number",
                base.value,
                f"The loss is {base.value} though its gradient is finite.",
                "The target must be probabilities, or say log_target=True.",
            )
        )
    if base.into_teacher > 0:
        card = bank.said("03.soft_target", "the teacher is not detached")
        findings.append(
            Finding(
                card.name,
                base.into_teacher,
                f"The teacher's logits get a gradient of up to {base.into_teacher:.3g}.",
                f"{card.explanation} Harmless where the teacher answers within torch.no_grad().",
                "caution",
            )
        )
    large = outcome(call, case, *(100 * side for side in case.logits))
    if math.isfinite(base.value) and not (math.isfinite(large.value) and large.gradient.isfinite().all()):
        findings.append(
            Finding(
                "no number for large logits",
                300.0,
                "With logits of some hundreds it is NaN or infinite.",
                "Take F.log_softmax instead of the logarithm of a softmax.",
                "caution",
            )
        )
    return findings


def _what(match: Match | None, call: Calling) -> str:
    if match is None:
        return "a loss of its own kind"
    hard = {"": "", "labels": " + cross-entropy with the labels"}.get(match.known.hard, f" + {match.known.hard}")
    if match.known.kind == "labels":
        hard = ""
    shown = call.temperature is None and match.known.softened and match.temperature != call.pinned
    hidden = f", at T = {match.temperature:g}" if shown else ""
    return f"{match.known.what}{hidden}{hard}"


def _facts(call: Calling, case: Case, base: Outcome, match: Match | None) -> dict[str, str]:
    student, teacher = case.logits
    same = outcome(call, case, student=teacher)
    shifted = outcome(call, case, student=student + SHIFT)
    facts = {
        "where student and teacher agree": f"value {same.value:.4g}, largest gradient {same.gradient.abs().max():.4g}",
        f"with {SHIFT:g} added to all of the student's logits": f"value {shifted.value:.4g} instead of {base.value:.4g}",
        "gradient into the teacher": f"{base.into_teacher:.4g}",
    }
    if match:
        parts = ", ".join(f"{factor:.4g}" for factor in match.factors["base"])
        facts[f"factor at T = {match.temperature:g}, {case.classes} classes"] = parts
    return facts
