"""What labs may conclude: nothing chosen by test scores, no more and no less without an interval, recaps as results are."""

import ast
import json
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

import kdcourse as kd
from kdcourse.authoring import notebooks
from kdcourse.data.samples import SIGNS
from kdcourse.evaluation.intervals import FEWEST
from kdcourse.exercises.quiz import questions
from kdcourse.studies.engine import FAMILIES

FINDINGS = tomllib.loads(Path(__file__).with_name("findings.toml").read_text(encoding="utf-8"))["finding"]

ALONE = (["sums"], [SIGNS])  # data that are the same beside every other
DATA = {dataset for family in FAMILIES.values() for dataset in family.sets} | {SIGNS}

# What picks one of several, as a function or as a method of a table, an array or a tensor.
PICKS = {
    "max",
    "min",
    "idxmax",
    "idxmin",
    "argmax",
    "argmin",
    "amax",
    "amin",
    "nlargest",
    "nsmallest",
    "sorted",
    "sort_values",
}
NAMES = {"columns", "index", "keys"}  # of `.scores`: which arms and seeds there are, not what they reached


def parents(tree: ast.AST) -> dict[ast.AST, ast.AST]:
    return {child: node for node in ast.walk(tree) for child in ast.iter_child_nodes(node)}


def root(node: ast.AST) -> ast.AST:
    """What a chain begins with: of `a.scores["x"].mean()` it is `a.scores`, of other chains a name."""
    while not (isinstance(node, ast.Attribute) and node.attr == "scores"):
        if isinstance(node, ast.Attribute | ast.Subscript):
            node = node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            node = node.func
        else:
            return node
    return node


def is_scores(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and node.attr == "scores"


def aliases(tree: ast.AST) -> set[str]:
    """Names that stand for test scores, as `ours` in `ours = outcome.scores["x"].to_numpy()`, in pairs of such, and for those."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                tuples = isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple)
                pairs = zip(target.elts, node.value.elts, strict=False) if tuples else [(target, node.value)]
                for one, begins in ((one, root(value)) for one, value in pairs if isinstance(one, ast.Name)):
                    if is_scores(begins) or (isinstance(begins, ast.Name) and begins.id in found):
                        found.add(one.id)
    return found


def offences(source: str) -> list[int]:
    """The lines in which something is picked by test scores."""
    tree = ast.parse(source)
    above, known = parents(tree), aliases(tree)

    def reads_scores(node: ast.AST) -> bool:
        """Whether it is the scores' values, not only the names of arms, as in `for arm in outcome.scores`."""
        up = above.get(node)
        if isinstance(node, ast.Name):
            return node.id in known
        named = isinstance(up, ast.Attribute) and up.attr in NAMES
        listed = isinstance(up, ast.comprehension) or (isinstance(up, ast.Call) and isinstance(up.func, ast.Name))
        return is_scores(node) and not named and not listed

    lines = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = getattr(call.func, "attr", getattr(call.func, "id", ""))
        if name in PICKS and any(reads_scores(node) for node in ast.walk(call)):
            lines.append(call.lineno)
        given = [*call.args[:1], *(keyword.value for keyword in call.keywords if keyword.arg == "on")]
        if name == "best" and any(isinstance(one, ast.Constant) and one.value == "test" for one in given):
            lines.append(call.lineno)
    return sorted(set(lines))


@pytest.mark.parametrize("lab", notebooks.labs(), ids=lambda lab: lab.number)
def test_no_lab_chooses_by_test_scores(lab):
    source = lab.source.read_text(encoding="utf-8")
    assert not [source.splitlines()[line - 1].strip() for line in offences(source)], "choose by outcome.best()"


@pytest.mark.parametrize(
    "line",
    [
        "best = outcome.scores.mean().idxmax()",
        'worst = outcome.scores.drop(columns="labels only").mean().idxmin()',
        "best = kd.stored('x', data).scores[arms].mean().idxmax()",
        "best = max(arms, key=lambda arm: outcome.scores[arm].mean())",
        "best = max(outcome.scores, key=lambda arm: outcome.scores[arm].mean())",
        "most = outcome.scores.mean().max()",
        "best = sorted(arms, key=outcome.scores.mean().get)[-1]",
        "best = np.argmax(outcome.scores.mean())",
        "best = np.argmax(outcome.scores)",
        "table = outcome.scores\nmeans = table.mean()\nbest = means.idxmax()",
        'ours, theirs = outcome.scores["a"].mean(), outcome.scores["b"].mean()\nmost = max(ours, theirs)',
        'best = outcome.best(on="test")',
        'best = outcome.best("test", among=arms)',
    ],
)
def test_a_choice_by_test_scores_is_found(line):
    assert offences(line) == [line.count("\n") + 1]


@pytest.mark.parametrize(
    "line",
    [
        "best = outcome.best()",
        'best = outcome.best(on="validation")',
        "peak = peaks.best(beta)",
        "best = outcome.validation.mean().idxmax()",
        "best = max(outcome.scores, key=lambda arm: outcome.validation[arm].mean())",
        "best = max((arm for arm in outcome.scores if arm != 'a'), key=outcome.validation.mean().get)",
        "first = min(outcome.scores.columns)",
        "mean = outcome.scores[outcome.best()].mean()",
        "decision = logits.argmax(dim=1)",
    ],
)
def test_other_lines_are_let_through(line):
    assert offences(line) == []


# That something does more, or less, than something else: of gains, costs and scores, as labs say it.
WEIGHS = r"helps?|hurts?|gains?|costs?|brings?|teach(?:es)?|lifts?|saves?|knows?|scores?|is worth"
COMPARES = re.compile(
    rf"\b(?:{WEIGHS})\b[^.:;]{{0,60}}\b(?:more|less|most|least)\b(?! than one\b)|"
    r"\b(?:better|worse) than\b|\b(?:larger|smaller) gain\b",
    re.IGNORECASE,
)
MEASURES = {"difference", "more_than", "gain_beyond", "crossed", "verdict", "told", "claim", "table", "verdicts"}


def parsed(source: str) -> ast.AST:
    return ast.parse(re.sub(r"^(\s*)%.*", r"\1pass", source, flags=re.MULTILINE))  # magics are no Python


def unmeasured(source: str, before: str = "") -> list[str]:
    """Sentences of a code cell that weigh one gain against another where neither it nor the cell before asks for an interval."""
    tree = parsed(source)
    named = {getattr(node, "attr", getattr(node, "id", "")) for one in (tree, parsed(before)) for node in ast.walk(one)}
    if named & MEASURES:
        return []
    documented = (ast.Module, ast.FunctionDef, ast.ClassDef)
    docstrings = {ast.get_docstring(node, clean=False) for node in ast.walk(tree) if isinstance(node, documented)}
    formatted = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
    pieces = {part for node in formatted for part in node.values}
    words = [
        " ".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values) for node in formatted
    ]
    words += [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in pieces]
    return [text for text in words if isinstance(text, str) and text not in docstrings and COMPARES.search(text)]


@pytest.mark.parametrize("lab", notebooks.labs(), ids=lambda lab: lab.number)
def test_no_more_or_less_without_an_interval_of_its_own(lab):
    code = [cell.source for cell in notebooks.compose(lab).cells if cell.cell_type == "code"]
    assert not [text for before, source in pairwise(["", *code]) for text in unmeasured(source, before)], (
        "say it beside difference(), more_than() or the like"
    )


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('kd.say(f"Hints help the small student more: {a:.1f} points")', 1),
        ('kd.say(f"Soft labels are better than hard ones by {a - b:.1f}")', 1),
        ('kd.say(f"A high T costs the small one {a:.1f} more")', 1),
        ('gap = outcome.more_than("a", "b")\nkd.say(f"Hints help the small student more: {gap}")', 0),
        ('kd.say("Some schemes train two networks and cost more than one.")', 0),
        ('def f():\n    """No other is at most as costly and better than this."""', 0),
    ],
)
def test_sentences_that_weigh_without_measuring_are_found(source, found):
    assert len(unmeasured(source)) == found


@pytest.mark.parametrize("lab", notebooks.labs(), ids=lambda lab: lab.number)
def test_stored_verdicts_rest_on_five_seeds(lab):
    """Weights of losses, and the like, may be chosen on fewer, on validation data; `kd.claim` itself refuses fewer."""
    for path in sorted((notebooks.ROOT / "results").glob(f"{lab.number}-*.json")):
        stored = json.loads(path.read_text(encoding="utf-8"))
        assert len(stored["seeds"]) >= FEWEST or re.search("weights|choice", stored["experiment"]), path.name


@pytest.mark.parametrize("finding", FINDINGS, ids=lambda one: f"{one['lab']}: {one['says'][:40]}")
def test_what_recaps_and_quizzes_say_is_what_was_measured(finding):
    lab = next(lab for lab in notebooks.labs() if lab.number == finding["lab"])
    prose = " ".join(cell.source for cell in notebooks.compose(lab).cells if cell.cell_type == "markdown")
    options = [option for question in questions(lab.number) for option in question.options]
    said = " ".join([prose, *(f"{option.text} {option.why}" for option in options)])
    assert finding["says"] in " ".join(said.split()), "the sentence was changed: hold it against the results again"
    found = sorted((notebooks.ROOT / "results").glob(f"{finding['ledger']}-*.json"))
    names = [name for name in (path.stem.removeprefix(f"{finding['ledger']}-") for path in found) if name in DATA]
    assert names in ALONE or len(names) == 2
    for data in names:
        outcome = kd.stored(finding["ledger"], data)
        for arm, baseline, verdict in finding["differences"]:
            assert outcome.difference(arm, baseline).verdict == verdict, f"{arm} − {baseline} on {data}"
