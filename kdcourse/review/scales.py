"""The right gradient of the wrong size: T², 1/C, a sum over the batch, shares of teacher and labels."""

import math
from dataclasses import dataclass

from kdcourse.review import bank
from kdcourse.review.calling import Calling
from kdcourse.review.probing import Case, Match, Outcome, part_outcome
from kdcourse.review.report import Finding


@dataclass(frozen=True)
class Setting:
    """Everything that was tried: the loss, the cases, what came out, and what it was recognised as."""

    call: Calling
    cases: dict[str, Case]
    seen: dict[str, Outcome]
    match: Match | None
    varied: int | None = (
        None  # the power of T as an attribute was set, where the loss is looked at with its own T after all
    )

    @property
    def tokens(self) -> bool:
        """Whether it was tried with token logits (N, L, V)."""
        return self.cases["base"].length is not None

    def slope(self, case: str, part: int = 0) -> int:
        """The power of T, N, C or L in a part's factor; 0 where it was not tried."""
        if case not in self.cases:
            return 0
        one, other = self.cases["base"], self.cases[case]
        name = {"cooler": "temperature", "batch": "rows", "classes": "classes", "length": "length"}[case]
        return self.match.slope(case, getattr(other, name) / getattr(one, name), part) or 0


def scale_findings(setting: Setting) -> list[Finding]:
    """What the factors say, the temperature's first."""
    known, base = setting.match.known, setting.cases["base"]
    if known.kind == "labels":
        return [_nowhere()]
    powers = {name: setting.slope(name) for name in ("batch", "classes", "length")}
    whole = setting.match.factors["base"][0]
    rest = abs(whole)
    for name, size in (("batch", base.rows), ("classes", base.classes), ("length", base.length or 1)):
        rest /= size ** powers[name]
    square = _square(setting, rest)
    rest /= setting.match.temperature**square
    findings = [*_sign(whole), *_temperature(setting, square), *_reduction(setting, powers)]
    if (known.hard and known.kind != "other") or known.hard == "labels":
        findings += _shares(setting, rest, square, powers)
    elif known.kind != "other" and not math.isclose(rest, 1, rel_tol=0.01):
        findings.append(
            Finding(
                "a constant weight",
                rest,
                f"Beside all else it is {rest:.4g} times the loss.",
                "It acts like another learning rate, and as a weight beside other losses.",
                "note",
            )
        )
    return findings + _offset(setting)


def _sign(factor: float) -> list[Finding]:
    if factor > 0:
        return []
    measured = f"The gradient points against the right one: it is {factor:.4g} times that."
    return [Finding("the sign", factor, measured, "The student is driven away from the teacher: turn the sign round.")]


def _nowhere() -> Finding:
    return Finding(
        "the teacher appears nowhere",
        0.0,
        "The gradient is that of the labels alone.",
        "Give the loss the teacher's logits, and weigh them above 0.",
    )


def _square(setting: Setting, rest: float) -> int:
    """The power of T in the factor; where T cannot be changed, the one that leaves a factor of 1."""
    if setting.call.temperature is not None:
        return setting.slope("cooler")
    temperature = setting.match.temperature
    if temperature == 1 or setting.match.known.kind == "other":
        return 0
    hard = setting.match.factors["base"][-1] if setting.match.known.hard else None
    for power in (0, -2, -1, 2):
        soft = rest / temperature**power
        if math.isclose(soft, 1, rel_tol=0.01) or (hard is not None and math.isclose(soft + hard, 1, rel_tol=0.01)):
            return (
                power if setting.call.pinned is None or power == setting.varied else 0
            )  # two signs, or it is not judged
    return 0


def _temperature(setting: Setting, square: int) -> list[Finding]:
    known, temperature = setting.match.known, setting.match.temperature
    if setting.call.pinned and known.softened and square == 0:
        return [_not_varied(setting.call.pinned)]
    if not known.softened or square == 0 or known.what.startswith("temperature on neither"):
        return []
    ratio = temperature**square
    over = "as 1/T²" if square == -2 else f"as T to the power {square}"
    measured = f"The gradient is {ratio:.4g} of what it should be at T = {temperature:g}, and goes {over}."
    card = bank.said("03.soft_target", "T² left out")
    # Language models are often softened without T²; there it matters only beside another loss.
    kind = "note" if known.kind == "other" or setting.tokens else "fault"
    if square == -2:
        return [Finding(card.name, ratio, measured, card.explanation, kind)]
    name = {-1: "T instead of T²", 2: "T² twice", 1: "T³ instead of T²"}.get(square, "another power of T")
    return [Finding(name, ratio, measured, "Multiply the loss by temperature**2, once.", kind)]


def _not_varied(temperature: float) -> Finding:
    return Finding(
        "the temperature could not be varied",
        temperature,
        f"The loss holds T = {temperature:g}, and what else hangs on it does not follow when it is set: T² is not judged.",
        "Give it as an argument: lambda student, teacher, temperature: MyLoss(temperature)(student, teacher).",
        "note",
    )


def _reduction(setting: Setting, powers: dict[str, int]) -> list[Finding]:
    base, findings = setting.cases["base"], []
    if powers["classes"] == -1 and setting.match.known.kind != "other":
        card = bank.said("03.soft_target", "the default reduction")
        findings.append(
            Finding(
                card.name,
                1 / base.classes,
                f"It is 1/C of the loss everywhere: 1/{base.classes} of it with {base.classes} classes.",
                card.explanation,
            )
        )
    if powers["length"] == 1 and powers["batch"] == 0:
        card = bank.said("13.forward_kl", "divided by the texts")
        findings.append(
            Finding(
                card.name,
                float(base.length),
                f"It is L times the mean over tokens: {base.length} with {base.length} tokens.",
                card.explanation,
                "caution",
            )
        )
    elif powers["batch"] == 1:
        rows = base.rows * (base.length or 1)
        findings.append(
            Finding(
                'reduction="sum"',
                float(rows),
                f"It is N times the mean over the batch: {rows} with {rows} rows.",
                'It grows with the batch, as if the learning rate did: reduction="batchmean".',
            )
        )
    elif powers["batch"] == -1:
        findings.append(
            Finding(
                "divided by the batch twice",
                1 / base.rows,
                f"It is 1/N of the mean over the batch: 1/{base.rows}.",
                'reduction="batchmean" is the mean already.',
            )
        )
    return findings


def _shares(setting: Setting, soft: float, square: int, powers: dict[str, int]) -> list[Finding]:
    """The weights of teacher and labels, against the alpha that was set."""
    match, findings = setting.match, []
    hard = match.factors["base"][-1] / setting.cases["base"].rows ** setting.slope("batch", -1)
    if match.known.hard in ("temperature on the labels' part too", "cross-entropy on probabilities"):
        card = bank.said("03.distillation", match.known.hard)
        findings.append(Finding(card.name, hard, f"That part weighs {hard:.4g}.", card.explanation))
    if match.known.hard == "smoothed labels":
        findings.append(
            Finding(
                "smoothed labels",
                0.1,
                "The labels are smoothed by 0.1.",
                "A second source of soft targets beside the teacher; compare with smoothing 0.",
                "note",
            )
        )
    if "share" not in match.factors or match.known.what.startswith("DKD"):  # whose alpha is another
        said = f"Teacher {soft:.4g}, labels {hard:.4g}."
        kind = "fault" if min(soft, hard) < 0 else "note"
        name = "percent for share" if kind == "fault" else "the weights"
        return [
            *findings,
            Finding(name, soft, said, "alpha is a share between 0 and 1; alpha and 1 − alpha add to 1.", kind),
        ]
    alpha, less = setting.cases["base"].alpha, setting.cases["share"].alpha
    scale = soft / match.factors["base"][0]
    slopes = (
        (soft - match.factors["share"][0] * scale) / (alpha - less),
        (hard - match.factors["share"][-1] * hard / match.factors["base"][-1]) / (alpha - less),
    )
    return findings + _named_shares(alpha, (soft, hard), slopes, "alpha" in setting.call.held)


def _named_shares(alpha: float, weights: tuple[float, float], slopes: tuple[float, float], held: bool) -> list[Finding]:
    measured = f"With alpha = {alpha:g} the teacher weighs {weights[0]:.4g}, the labels {weights[1]:.4g}."

    def near(*wanted: float) -> bool:
        return all(
            math.isclose(one, two, rel_tol=0.01, abs_tol=1e-3)
            for one, two in zip((*weights, *slopes), wanted, strict=True)
        )

    way, only = (
        bank.said("03.distillation", name) for name in ("alpha the other way round", "alpha on the soft part only")
    )
    if (
        min(weights) < 0
        or near(alpha / 100, 1 - alpha / 100, 0.01, -0.01)
        or near(1 - alpha / 100, alpha / 100, -0.01, 0.01)
    ):
        kind = "fault" if min(weights) < 0 else "caution"
        return [
            Finding(
                "percent for share",
                weights[0],
                measured,
                "alpha is a share between 0 and 1, or percent in both places.",
                kind,
            )
        ]
    if near(alpha, 1 - alpha, 1, -1):
        return []
    if near(1 - alpha, alpha, -1, 1):
        return [Finding(way.name, weights[0], measured, way.explanation, "caution")]
    if near(alpha, 1, 1, 0):
        return [Finding(only.name, weights[0], measured, only.explanation, "caution")]
    if held and math.isclose(sum(weights), 1, rel_tol=0.01):  # 1 − alpha may be an attribute of its own
        mend = "Set as an attribute, alpha moves one of them alone; give it as an argument to have both looked at."
        return [Finding("alpha could not be varied", weights[0], measured, mend, "note")]
    return [Finding("other weights than alpha and 1 − alpha", weights[0], measured, only.explanation, "caution")]


def _offset(setting: Setting) -> list[Finding]:
    """A value that is not what the gradient says: a constant was added, the teacher's entropy for one."""
    match, base, seen = setting.match, setting.cases["base"], setting.seen["base"]
    if match.known.kind not in ("right", "reverse") or not math.isfinite(seen.value):
        return []
    pairs = zip(match.factors["base"], match.known.parts, strict=True)
    wanted = sum(factor * part_outcome(part, base, match.temperature)[0] for factor, part in pairs)
    offset = seen.value - wanted
    if abs(offset) < 2e-3 * max(abs(seen.value), 1e-3):
        return []
    _, teacher = base.logits
    log_p = (teacher.reshape(-1, base.classes) / match.temperature).log_softmax(1)
    entropy = -(log_p.exp() * log_p).sum(1).mean().item() * match.temperature**2 * match.factors["base"][0]
    if match.known.kind == "right" and math.isclose(offset, entropy, rel_tol=0.01):
        card = bank.said("03.soft_target", "cross-entropy in place of KL")
        return [
            Finding(
                card.name,
                offset,
                f"It is {offset:.4g} where student and teacher agree; its gradient is right.",
                card.explanation,
                "caution",
            )
        ]
    return [
        Finding(
            "a constant is added",
            offset,
            f"The value is {offset:.4g} above what its gradient belongs to.",
            "It moves no weight, and makes the value hard to compare.",
            "caution",
        )
    ]
