from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tracedlm.tasks.arithmetic import DEEPEST, LONGEST, ArithmeticRefused, evaluate, integers


def joined(left, operator, right, bracket):
    """(text, value, integers, strength of the outermost operator) of two operands.

    None where it divides by zero.
    """
    if left is None or right is None or (operator == "/" and right[1] == 0):
        return None
    strength = 1 if operator in "+-" else 2
    a = f"({left[0]})" if left[3] < strength or bracket else left[0]
    b = f"({right[0]})" if right[3] <= strength or bracket else right[0]
    value = {
        "+": lambda: left[1] + right[1],
        "-": lambda: left[1] - right[1],
        "*": lambda: left[1] * right[1],
        "/": lambda: left[1] / right[1],
    }
    return f"{a} {operator}{b}", value[operator](), left[2] + right[2], strength


leaves = st.integers(0, 10**12 - 1).map(lambda n: (str(n), Fraction(n), [n], 3)) | st.integers(
    0, 9
).map(lambda n: (f"-{n}", Fraction(-n), [n], 1))
trees = st.recursive(
    leaves,
    lambda inner: st.builds(joined, inner, st.sampled_from("+-*/"), inner, st.booleans()),
    max_leaves=8,
)


@given(trees)
def test_expressions_have_the_value_of_exact_fractions(tree):
    assume(tree is not None and len(tree[0]) <= LONGEST)
    assert evaluate(tree[0]) == tree[1]
    assert integers(tree[0]) == tree[2]


@given(st.text(alphabet="0123456789+-*/() .^e_x", max_size=30))
def test_any_text_is_evaluated_as_python_would_or_refused(text):
    try:
        value = evaluate(text)
    except ArithmeticRefused:
        return
    tokens = "".join(f"Fraction({token})" if token.isdigit() else token for token in _split(text))
    assert value == eval(tokens, {"Fraction": Fraction})


def _split(text):
    import re

    return [
        token.lstrip("0") or "0" if token.isdigit() else token
        for token in re.findall(r"\d+|\S", text)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "2**3",
        "1/0",
        "1/(2-2)",
        "1 2",
        "()",
        "(1",
        "1)",
        "+",
        "1.5",
        "1e3",
        "x",
        "",
        "١",
        "1_000",
        "1\0",
        "1//2",
    ],
)
def test_everything_else_is_refused(text):
    with pytest.raises(ArithmeticRefused):
        evaluate(text)


def test_size_depth_and_digits_are_capped():
    assert evaluate("1+" * (LONGEST // 2 - 1) + "1") == LONGEST // 2
    assert evaluate("(" * DEEPEST + "1" + ")" * DEEPEST) == 1
    with pytest.raises(ArithmeticRefused, match="longer"):
        evaluate("1" + " " * LONGEST)
    with pytest.raises(ArithmeticRefused, match="deeply"):
        evaluate("(" * (DEEPEST + 1) + "1" + ")" * (DEEPEST + 1))
    with pytest.raises(ArithmeticRefused):
        evaluate("1" * 13)
