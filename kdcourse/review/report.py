"""What a review finds, in words: findings, each with its number and the line that mends it."""

from dataclasses import dataclass, field

from kdcourse.system.markup import verbatim

KINDS = ("fault", "caution", "note")  # wrong; depends on what was meant or how it is called; only said
TITLES = {"fault": "Wrong", "caution": "Depends on what you meant", "note": "Good to know"}


@dataclass(frozen=True)
class Finding:
    """One thing found.

    name: what it is called. number: what was measured. measured: that number in a sentence. mend: what to do.
    kind: "fault" (wrong, the default), "caution" (wrong or not, depending on the code around) or "note" (only said).
    """

    name: str
    number: float
    measured: str
    mend: str
    kind: str = "fault"

    def __post_init__(self):
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {self.kind!r}")


@dataclass(frozen=True)
class Report:
    """What a review found: `str()` gives it in words, a notebook shows it as a list.

    subject: what was looked at. what: what it was found to be. findings: the most likely cause first.
    facts: what else was measured, name -> words.
    """

    subject: str
    what: str
    findings: tuple[Finding, ...] = ()
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """The names of all findings, in their order."""
        return [finding.name for finding in self.findings]

    @property
    def faults(self) -> list[str]:
        """The names of what is wrong; empty for a healthy subject, whatever is noted beside."""
        return [finding.name for finding in self.findings if finding.kind == "fault"]

    def of_kind(self, kind: str) -> list[Finding]:
        """The findings of a kind, "fault", "caution" or "note"."""
        return [finding for finding in self.findings if finding.kind == kind]

    def __str__(self) -> str:
        lines = [f"{self.subject}: {self.what}."]
        lines += [] if self.faults else ["Nothing is wrong."]
        for kind in KINDS:
            for finding in self.of_kind(kind):
                lines += [f"{TITLES[kind]}: {finding.name}. {finding.measured}", f"    {finding.mend}"]
        return "\n".join(lines + [f"Measured, {name}: {said}." for name, said in self.facts.items()])

    def _repr_markdown_(self) -> str:
        lines = [f"**{verbatim(self.subject)}**: {self.what}.", ""]
        lines += [] if self.faults else ["Nothing is wrong.", ""]
        for kind in KINDS:
            for finding in self.of_kind(kind):
                lines += [f"- {TITLES[kind]}: **{finding.name}**. {finding.measured} *{finding.mend}*"]
        return "\n".join(lines + [f"- Measured, {name}: {said}." for name, said in self.facts.items()])


def sentence(text: str) -> str:
    """The text as a sentence: with a full stop at its end."""
    return text if text.endswith((".", "!", "?")) else f"{text}."
