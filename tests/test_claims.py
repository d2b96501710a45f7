"""No lab chooses by test scores: the syntax trees of the notebooks' sources are looked through for it."""

import ast

import pytest

from kdcourse.authoring import notebooks

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
