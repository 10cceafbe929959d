"""Arithmetic in model output.

+ - * / parentheses and integers, nothing else, in time linear in the text.

Model output is hostile input: `9**9**9`, a million brackets or NUL bytes must be refused in
milliseconds, so no `eval`. What Python would make of an expression, which the published evaluation
asks, is read from its syntax tree instead.
"""

import ast
import operator
import re
import warnings
from fractions import Fraction

LONGEST = 200
DEEPEST = 20


class ArithmeticRefused(ValueError):  # noqa: N818  (the text is refused, nothing went wrong)
    """The text is no short expression of integers with + - * / and parentheses.

    Or it divides by zero.
    """


def integers(text: str) -> list[int]:
    """The integers in an expression, in order.

    >>> integers("93-(100-30)")
    [93, 100, 30]
    """
    return [int(token) for token in _tokens(text) if token.isdigit()]


def digit_runs(text: str) -> list[int]:
    """What d1's evaluation counts as the numbers in an expression.

    Its runs of digits, a decimal's two parts apart.

    >>> digit_runs("7.5*2")
    [7, 5, 2]
    """
    return [int(run) for run in re.findall("[0-9]+", text)]


def evaluate(text: str) -> Fraction:
    """Exact value of an expression.

    Raises:
        ArithmeticRefused: See the class.

    >>> evaluate("93-(100-30)")
    Fraction(23, 1)
    """
    tokens = _tokens(text)
    value, position = _sum(tokens, 0, 0)
    if position != len(tokens):
        raise ArithmeticRefused(f"unexpected {tokens[position]!r}")
    return value


def _tokens(text: str) -> list[str]:
    if len(text) > LONGEST:
        raise ArithmeticRefused(f"longer than {LONGEST} characters")
    tokens = re.findall(r"[0-9]+|[-+*/()]|\S", text)
    for token in tokens:
        if not (token in "+-*/()" or re.fullmatch("[0-9]{1,12}", token)):
            raise ArithmeticRefused(f"{token!r} is not part of an arithmetic expression")
    return tokens


def _sum(tokens: list[str], at: int, depth: int) -> tuple[Fraction, int]:
    value, at = _product(tokens, at, depth)
    while at < len(tokens) and tokens[at] in "+-":
        right, after = _product(tokens, at + 1, depth)
        value, at = (value + right if tokens[at] == "+" else value - right), after
    return value, at


def _product(tokens: list[str], at: int, depth: int) -> tuple[Fraction, int]:
    value, at = _atom(tokens, at, depth)
    while at < len(tokens) and tokens[at] in "*/":
        right, after = _atom(tokens, at + 1, depth)
        if tokens[at] == "/" and right == 0:
            raise ArithmeticRefused("division by zero")
        value, at = (value * right if tokens[at] == "*" else value / right), after
    return value, at


def _atom(tokens: list[str], at: int, depth: int) -> tuple[Fraction, int]:
    if at >= len(tokens) or depth > DEEPEST:
        raise ArithmeticRefused("the expression is incomplete or nested too deeply")
    if tokens[at] == "-":
        value, after = _atom(tokens, at + 1, depth + 1)
        return -value, after
    if tokens[at] == "+":
        return _atom(tokens, at + 1, depth + 1)
    if tokens[at] == "(":
        value, after = _sum(tokens, at + 1, depth + 1)
        if after >= len(tokens) or tokens[after] != ")":
            raise ArithmeticRefused("a bracket is not closed")
        return value, after + 1
    if not tokens[at].isdigit():
        raise ArithmeticRefused(f"unexpected {tokens[at]!r}")
    return Fraction(int(tokens[at])), at + 1


POWER_BITS = 4096
"""Powers whose integer result is longer are refused; targets have seven bits."""

OPERATIONS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
}


def python_value(text: str) -> float:
    """What Python makes of digits, dots, + - * / and parentheses.

    As in d1's evaluation of Countdown.

    Its tree is walked, nothing is evaluated by name. Unlike there, an expression longer than
    `LONGEST` characters and a power longer than `POWER_BITS` are refused.

    Raises:
        ArithmeticRefused: The text is no such expression, or it has no value.

    >>> python_value("(7 + 1) / 2"), python_value("7 // 2")
    (4.0, 3)
    """
    if len(text) > LONGEST or not re.fullmatch(r"[0-9+\-*/().\s]+", text):
        raise ArithmeticRefused("too long, or not an arithmetic expression")
    try:
        # Python warns, for example, of a number that is called: (1)(2).
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(text.strip(), mode="eval")
        return _walk(tree.body)
    except (
        SyntaxError,
        ValueError,
        TypeError,
        ArithmeticError,
        RecursionError,
        MemoryError,
    ) as error:
        raise ArithmeticRefused(str(error)) from error


def _walk(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return node.value
    if isinstance(node, ast.UnaryOp):
        return OPERATIONS[type(node.op)](_walk(node.operand))
    if not isinstance(node, ast.BinOp):
        raise ArithmeticRefused("not an arithmetic expression")
    left, right = _walk(node.left), _walk(node.right)
    if (
        isinstance(node.op, ast.Pow)
        and isinstance(left, int)
        and abs(left).bit_length() * abs(right) > POWER_BITS
    ):
        raise ArithmeticRefused("the power is too large")
    return OPERATIONS[type(node.op)](left, right)
