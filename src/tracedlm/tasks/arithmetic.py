"""A small arithmetic parser: + - * / parentheses and integers, nothing else, in time linear in the text.

Model output is hostile input: `9**9**9`, a million brackets or NUL bytes must be refused in milliseconds, so no `eval`.
"""

import re
from fractions import Fraction

LONGEST = 200
DEEPEST = 20


class ArithmeticRefused(ValueError):  # noqa: N818  (the text is refused, nothing went wrong)
    """The text is not a short expression of integers with + - * / and parentheses, or it divides by zero."""


def integers(text: str) -> list[int]:
    """The integers in an expression, in order.

    >>> integers("93-(100-30)")
    [93, 100, 30]
    """
    return [int(token) for token in _tokens(text) if token.isdigit()]


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
    if tokens[at] == "(":
        value, after = _sum(tokens, at + 1, depth + 1)
        if after >= len(tokens) or tokens[after] != ")":
            raise ArithmeticRefused("a bracket is not closed")
        return value, after + 1
    if not tokens[at].isdigit():
        raise ArithmeticRefused(f"unexpected {tokens[at]!r}")
    return Fraction(int(tokens[at])), at + 1
