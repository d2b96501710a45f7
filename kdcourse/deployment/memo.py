"""A deployment memo: what was measured, what is decided and why, and by what the reasons are judged."""

from collections.abc import Mapping, Sequence

from kdcourse.system.markup import verbatim

# Name -> what the memo asks, and what nothing, a half and a whole answer look like.
QUESTIONS = {
    "decision": (
        "Does it go out: yes, no, or to whom?",
        "no decision, or one without a condition",
        "a decision",
        "a decision, for named users and pictures, that the numbers above allow",
    ),
    "threshold": (
        "From which confidence on does it answer, and who takes the rest?",
        "a round number",
        "the threshold that validation pictures chose",
        "that threshold, and people with the time for the share that is handed over",
    ),
    "cost": (
        "Where do the two costs come from, and at which other cost would you decide otherwise?",
        "costs without a reason",
        "costs with a reason",
        "costs with a reason, and the cost at which the decision turns",
    ),
    "evidence": (
        "On which pictures was this measured, and which pictures will come instead?",
        "one accuracy",
        "where the test pictures come from, and the interval",
        "that, and one way in which other pictures will differ, with what it may change",
    ),
    "rival": (
        "What would cheaper rivals have done: to ask always, to answer always, a student without a teacher?",
        "no rival",
        "one rival, with its cost",
        "the cheapest of several, and by how much it is beaten, if it is",
    ),
    "stop": (
        "Which number, looked at how often, makes you take it back?",
        "nothing, or that it will be watched",
        "a number",
        "a number that can be had without labels or with few, its limit, and who looks",
    ),
}


def deployment_memo(title: str, facts: Sequence[str], answers: Mapping[str, str]) -> str:
    """A memo in Markdown: the facts, an answer to each of `QUESTIONS`, and the rubric, two points for each.

    title: what is to go out. facts: sentences with what was measured. answers: name of a question -> text; one that is missing
    or blank is shown as not answered. Raises `ValueError` for a name that is no question's, and for facts that are one string.
    """
    if isinstance(facts, str):
        raise ValueError(f"facts must be a list of sentences, got one string: [{facts!r}]")
    unknown = [name for name in answers if name not in QUESTIONS]
    if unknown:
        raise ValueError(f"answers must be to {', '.join(QUESTIONS)}, got {', '.join(map(repr, unknown))}")
    lines = [f"# Memo: {verbatim(title)}", "**Measured.**", "\n".join(f"- {fact}" for fact in facts)]
    for name, (question, *_) in QUESTIONS.items():
        given = answers.get(name, "").strip()
        lines.append(f"**{name.capitalize()}.** {question}\n\n{verbatim(given) if given else '*Not answered yet.*'}")
    rows = ["| | 0 points | 1 point | 2 points |", "|---|---|---|---|"]
    rows += [f"| {name} | {' | '.join(levels)} |" for name, (_, *levels) in QUESTIONS.items()]
    lines += [f"**How it is judged**, out of {2 * len(QUESTIONS)} points.", "\n".join(rows)]
    return "\n\n".join(lines) + "\n"
