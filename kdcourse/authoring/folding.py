"""Cells whose code a reader need not see are folded: in JupyterLab, on Colab and on pages. Their outputs stay."""

import ast

from nbformat import NotebookNode

SETUP, TEST, PROSE = "Set up this lab: kd.setup()", "The controls moved to both ends and back", "In words"
SAYING = {"kd.say", "kd.claim"}  # and a prediction's answer
WORKING = {"kd.train", "kd.compare", "kd.study", "kd.finetune", "kd.zoo.teacher"}  # and a recipe's run


def fold_plumbing(cells: list[NotebookNode]) -> None:
    """Fold what sets a lab up, what tests its controls, and what only puts results into words."""
    for cell in cells:
        tags = cell.metadata.get("tags", ())
        if "setup" in tags:
            fold(cell, SETUP)
        elif "widget-test" in tags:
            fold(cell, TEST)
        elif cell.cell_type == "code" and is_prose(cell.source):
            fold(cell, PROSE)


def fold(cell: NotebookNode, title: str) -> None:
    """JupyterLab then shows the cell's first line, Colab and pages the title in it."""
    cell.source = f"# @title {title}\n{cell.source}"
    cell.metadata.update(cellView="form", jupyter={"source_hidden": True})


def is_folded(cell: NotebookNode) -> bool:
    return cell.metadata.get("jupyter", {}).get("source_hidden", False)


def title(cell: NotebookNode) -> str:
    """A folded cell's title."""
    return cell.source.partition("\n")[0].removeprefix("# @title ")


def is_prose(source: str) -> bool:
    """Whether code trains nothing, defines nothing, and ends in words: whether it says, claims or answers something."""
    if not any(name in source for name in SAYING):
        return False
    try:
        statements = ast.parse(source).body
    except SyntaxError:  # a magic: no prose
        return False
    calls = [_name(node) for statement in statements for node in ast.walk(statement) if isinstance(node, ast.Call)]
    works = any(call in WORKING or call.endswith(".run") for call in calls)
    return bool(SAYING & set(calls)) and not works and all(map(_wording, statements))


def _wording(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign | ast.Assert):
        return True
    if isinstance(statement, ast.If | ast.For):
        inner = [*statement.body, *statement.orelse]
        return all(map(_wording, inner)) and not all(isinstance(one, ast.Assign) for one in inner)
    if not isinstance(statement, ast.Expr) or not isinstance(statement.value, ast.Call):
        return False
    call = _name(statement.value)
    return call in SAYING or call.endswith(".answer")


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func)
