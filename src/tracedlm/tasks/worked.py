"""Worked responses in the one form that models are trained on.

With the short arithmetic of the small model's reasoning.
"""

import re

CHECKED_FROM, SPELLED_FROM = 256, 512
"""Canvas lengths, in tokens, at which worked solutions grow.

From the first, a solution is checked backwards; from the second, its steps are spelled out.
"""

STEP = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)")
BACKWARDS = {"+": "{c}-{b}={a}", "-": "{c}+{b}={a}", "*": "{c}/{b}={a}", "/": "{c}*{b}={a}"}


def check_difficulty(name: str, difficulty: int) -> None:
    """Raise a ValueError where a generator has no such level."""
    if difficulty not in (1, 2, 3):
        raise ValueError(f"{name}: difficulty {difficulty} is not 1, 2 or 3")


def response(reasoning: str, answer: str) -> str:
    r"""Reasoning and answer in their blocks.

    >>> response("2+3=5", r"\boxed{5}")
    '<reasoning>\n2+3=5\n</reasoning>\n<answer>\n\\boxed{5}\n</answer>'
    """
    return f"<reasoning>\n{reasoning}\n</reasoning>\n<answer>\n{answer}\n</answer>"


def reasoning(steps: list[str], length: int) -> str:
    """Steps such as `12+30=42`, one a line: the longer the canvas, the more is said about each.

    From 256 tokens on, each step is undone in reverse order; from 512 on, sums and differences are
    also made by tens and units.

    >>> reasoning(["12+30=42", "42/6=7"], 256).split()
    ['12+30=42', '42/6=7', '7*6=42', '42-30=12']
    """
    lines = [
        line
        for step in steps
        for line in ((*_spelled(step), step) if length >= SPELLED_FROM else (step,))
    ]
    if length >= CHECKED_FROM:
        lines += [_undone(step) for step in reversed(steps)]
    return "\n".join(lines)


def step(a: int, operator: str, b: int) -> tuple[str, int]:
    """One operation on whole numbers as text, and its result.

    >>> step(42, "/", 6)
    ('42/6=7', 7)
    """
    result = {"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[operator]
    assert result >= 0 and (operator != "/" or result * b == a), f"{a}{operator}{b}"
    return f"{a}{operator}{b}={result}", result


def _undone(step: str) -> str:
    a, operator, b, c = _parts(step)
    return BACKWARDS[operator].format(a=a, b=b, c=c)


def _spelled(step: str) -> list[str]:
    """The tens of the second number first, then its units."""
    a, operator, b, c = _parts(step)
    tens, units = int(b) // 10 * 10, int(b) % 10
    if operator not in "+-" or not tens or not units:
        return []
    between = int(a) + tens if operator == "+" else int(a) - tens
    return [
        f"{b}={tens}+{units}",
        f"{a}{operator}{tens}={between}",
        f"{between}{operator}{units}={c}",
    ]


def _parts(step: str) -> tuple[str, str, str, str]:
    match = STEP.fullmatch(step)
    assert match is not None, step
    a, operator, b, c = match.groups()
    return a, operator, b, c
