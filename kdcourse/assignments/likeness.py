"""Whether an answer is the published solution in other words: for a person to know, and no part of the marks.

Both are brought into one form, of which comments, layout, docstrings, annotations and the names of variables are no part, and
in which a number is the same number however it is written: `T = 4.0` above the function, as a default or in its place.
"""

import ast
import inspect
import operator
import warnings
from collections.abc import Callable, Mapping

LONGEST = 5_000  # characters of an answer that is looked at
ARITHMETIC = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv}
ARITHMETIC[ast.Pow] = operator.pow


def equals(answer: str, reference: Callable, arguments: tuple[str, ...], settings: tuple[float, ...]) -> bool:
    """Whether the code `answer` defines what `reference` is, with `settings` for its arguments after `arguments`."""
    rest = list(inspect.signature(reference).parameters)[len(arguments) :]
    source = inspect.getsource(inspect.unwrap(reference))
    wanted = normal_form(source, reference.__name__, dict(zip(rest, settings, strict=True)))
    return wanted is not None and normal_form(answer, reference.__name__) == wanted


def normal_form(source: str, name: str, known: Mapping[str, float] | None = None) -> str | None:
    """The function called `name` in a form that leaves its wording out; None where there is no such function.

    known: variables that stand for a number.
    """
    if len(source) > LONGEST:
        return None
    try:
        with warnings.catch_warnings(action="ignore"):  # of the parser, about the student's code
            tree = ast.parse(source)
        named = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == name]
        return _form(named[-1], _numbers(tree.body, known or {})) if named else None
    except (SyntaxError, ValueError, TypeError, ArithmeticError, RecursionError, MemoryError):
        return None


def _form(function: ast.FunctionDef, known: dict[str, float]) -> str:
    arguments = function.args.args
    defaults = dict(zip([one.arg for one in arguments[::-1]], function.args.defaults[::-1], strict=False))
    known |= {name: default.value for name, default in defaults.items() if _is_number(default)}
    known = _numbers(function.body, known)
    body = [step for step in function.body if not _says_nothing(step, known)]
    assigned = [node.id for step in body for node in ast.walk(step) if isinstance(node, ast.Name) and _stored(node)]
    order = [one.arg for one in arguments if one.arg not in known] + assigned
    places = {name: f"v{place}" for place, name in enumerate(dict.fromkeys(order))}
    return "\n".join(ast.unparse(_Plain(known, places).visit(step)) for step in body)


class _Plain(ast.NodeTransformer):
    """Numbers for the variables that stand for them, sums of numbers worked out, other variables by their place."""

    def __init__(self, known: Mapping[str, float], places: Mapping[str, str]):
        self.known, self.places = known, places

    def visit_Name(self, node: ast.Name) -> ast.expr:
        if node.id in self.known:
            return _number(self.known[node.id])
        return ast.Name(self.places.get(node.id, node.id), node.ctx)

    def visit_Constant(self, node: ast.Constant) -> ast.expr:
        return _number(node.value) if _is_number(node) else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        node = self.generic_visit(node)
        work = ARITHMETIC.get(type(node.op))
        if work and _is_number(node.left) and _is_number(node.right):
            return _number(work(node.left.value, node.right.value))
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.stmt:
        plain = ast.Assign([node.target], node.value) if node.value else ast.Pass()
        return ast.fix_missing_locations(self.generic_visit(ast.copy_location(plain, node)))


def _numbers(steps: list[ast.stmt], known: Mapping[str, float]) -> dict[str, float]:
    """`known`, and the variables that these steps set to a number."""
    return {**known, **{step.targets[0].id: step.value.value for step in steps if _sets_a_number(step)}}


def _sets_a_number(step: ast.stmt) -> bool:
    return isinstance(step, ast.Assign) and isinstance(step.targets[0], ast.Name) and _is_number(step.value)


def _says_nothing(step: ast.stmt, known: Mapping[str, float]) -> bool:
    return _sets_a_number(step) or (isinstance(step, ast.Expr) and isinstance(step.value, ast.Constant))


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and type(node.value) in (int, float)


def _stored(node: ast.Name) -> bool:
    return isinstance(node.ctx, ast.Store)


def _number(value: float) -> ast.Constant:
    return ast.Constant(round(float(value), 6))
