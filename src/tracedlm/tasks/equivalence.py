"""Whether two mathematical answers are equal, by math-verify (SymPy).

What could keep it busy for hours is refused first.

math-verify would compute `9^{9^{9}}`, and its parser takes exponential time on nested brackets. Its
own time limits need whole seconds and the main thread, and leave its parser's shared tables broken
when they strike. So `tractable` bounds the work beforehand, and a process of its own does it,
within a limit of CPU time. An undecided answer is not equal.
"""

import json
import os
import re
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache

from tracedlm.tasks.hendrycks import same_answer
from tracedlm.tasks.notation import undressed
from tracedlm.tasks.quantity import as_share, contradicts, quantity_of

LONGEST = 160
"""Characters; the longest gold answer of MATH-500 has 53."""

NAMES = frozenset(
    re.findall(
        "[a-z]+",
        "frac dfrac tfrac sqrt left right cdot times div pm mp circ pi theta alpha beta gamma phi"
        " infty cup cap in notin subset emptyset text textbf mbox mathrm mathbf mathbb begin end"
        " pmatrix bmatrix matrix sin cos tan cot sec csc log ln exp arcsin arccos arctan sinh cosh"
        " tanh delta epsilon lambda mu rho sigma tau omega Delta Gamma Omega binom le leq ge geq lt"
        " gt ne neq approx quad qquad degree overline sim",
    )
)
"""Commands an answer may hold.

Nothing that sums, multiplies, integrates or takes limits over a range.
"""

DEEPEST = 4
LONGEST_NUMBER = 20
LARGEST_EXPONENT = 200
LARGEST_OUTER_EXPONENT = 9


def equivalent(answer: str, gold: str) -> bool:
    r"""Whether an answer equals the gold answer, as mathematics.

    Args:
        answer: LaTeX without dollar signs, from model output.
        gold: LaTeX from a data file.

    >>> (
    ...     equivalent(r"2\sqrt{3}", r"\sqrt{12}"),
    ...     equivalent("(2, 1)", "(1, 2)"),
    ...     equivalent("9^{9^{9}}", "18"),
    ... )
    (True, False, False)
    """
    answer = undressed(answer)
    gold = undressed(gold)
    answered = quantity_of(answer)
    expected = quantity_of(gold)
    if contradicts(answered, expected):
        return False
    if answered.unit == "%" and expected.unit is None:
        answer = as_share(answer)  # 75 % is 3/4, and is not 75
    answer, gold = as_intervals(answer, gold)
    if same_answer(answer, gold):
        return True
    return tractable(answer) and tractable(gold) and _judge(os.getpid()).equal(answer, gold)


INTERVAL = re.compile(r"\s*[\[(].*,.*[\])]\s*")
CHAIN = re.compile(r"([^<>=]+?)(<|\\le(?![a-z]))\s*[a-z]\s*(<|\\le(?![a-z]))([^<>=]+)")
HALF_LINE = re.compile(r"\s*[a-z]\s*(<|>|\\le(?![a-z])|\\ge(?![a-z]))([^<>=]+)")


def as_intervals(answer: str, gold: str) -> tuple[str, str]:
    r"""Two answers, an inequality of one variable as the interval it means where the other is one.

    >>> as_intervals(r"2 \le x < 5", "[2,5)")
    ('[2,5)', '[2,5)')
    """
    if INTERVAL.fullmatch(gold):
        return _as_interval(answer), gold
    if INTERVAL.fullmatch(answer):
        return answer, _as_interval(gold)
    return answer, gold


def _as_interval(text: str) -> str:
    if chain := CHAIN.fullmatch(text):
        low = chain[1].strip()
        high = chain[4].strip()
        opening = "(" if chain[2].strip() == "<" else "["
        closing = ")" if chain[3].strip() == "<" else "]"
        return f"{opening}{low},{high}{closing}"
    if half := HALF_LINE.fullmatch(text):
        end = half[2].strip()
        spelled = {
            "<": rf"(-\infty,{end})",
            ">": rf"({end},\infty)",
            r"\le": rf"(-\infty,{end}]",
            r"\ge": rf"[{end},\infty)",
        }
        return spelled[half[1]]
    return text


def tractable(text: str) -> bool:
    r"""Whether an answer is short, plain LaTeX whose evaluation is bounded.

    No towers of powers, factorials or sums.

    >>> (
    ...     tractable(r"10^{100}"),
    ...     tractable("2^{2^{20}}"),
    ...     tractable("((2^{99})^{99})^{99}"),
    ...     tractable("100!"),
    ... )
    (True, False, False, False)
    """
    text = text.replace(r"\!", "")
    return (
        0 < len(text) <= LONGEST
        and re.fullmatch(r"[A-Za-z0-9 \t\n\\{}()\[\]+*/^_=<>,.;:|&$%~-]*", text) is not None
        and "**" not in text
        and set(re.findall(r"\\([A-Za-z]+)", text)) <= NAMES
        and not re.search(rf"[0-9]{{{LONGEST_NUMBER + 1}}}", text)
        and not re.search(r"\\binom[^0-9]*([0-9]{3}|[0-9]+[^0-9]+[0-9]{3})", text)
        and _shallow(text)
        and _small_powers(text)
    )


def _shallow(text: str) -> bool:
    """Braces balance, and nothing is nested deeply."""
    depth = {"{": 0, "(": 0}
    for character in text:
        for opening, closing in (("{", "}"), ("(", ")")):
            depth[opening] += (character == opening) - (character == closing)
        if not 0 <= depth["{"] <= DEEPEST or depth["("] > DEEPEST:
            return False
    return depth["{"] == 0


def _small_powers(text: str) -> bool:
    """No exponent holds a power, all are small, and powers of brackets are few and smaller."""
    outer = 0
    for power in re.finditer(r"\^", text):
        exponent = _argument(text, power.end())
        digits = [int(run) for run in re.findall("[0-9]+", exponent)]
        is_outer = text[: power.start()].rstrip().endswith((")", "}", "]"))
        outer += is_outer
        if (
            "^" in exponent
            or max(digits, default=0) > (LARGEST_OUTER_EXPONENT if is_outer else LARGEST_EXPONENT)
            or outer > 2
        ):
            return False
    return True


def _argument(text: str, at: int) -> str:
    """The group or the run of characters that follows; braces balance."""
    rest = text[at:].lstrip()
    if not rest.startswith("{"):
        return re.match(r"[0-9]*\S?", rest)[0]  # pyright: ignore[reportOptionalSubscript]  (it matches the empty text)
    depth = 0
    for end, character in enumerate(rest):
        depth += (character == "{") - (character == "}")
        if depth == 0:
            return rest[: end + 1]
    return rest


class Judge:
    """A process of its own that runs `tracedlm.tasks.judge`.

    It ends itself over what takes too long, and another takes its place.
    """

    def __init__(self) -> None:
        self.process: subprocess.Popen[str] | None = None
        self.one_at_a_time = threading.Lock()

    def equal(self, answer: str, gold: str) -> bool:
        """What math-verify says of two answers; False where it does not come to a verdict."""
        with self.one_at_a_time:
            if self.process is None:
                command = [sys.executable, "-m", "tracedlm.tasks.judge"]
                self.process = subprocess.Popen(
                    command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
                )
                if self._reply() != "ready":
                    raise ValueError(
                        "the process that compares mathematical answers does not start; what it"
                        " said stands above. Of main memory it needs 600 MB, of address space"
                        " (ulimit -v, h_vmem) 2 GB: raise the limit, or use the scorer d1, which"
                        " asks nobody"
                    )
            assert self.process.stdin is not None
            with suppress(BrokenPipeError):  # it was ended by somebody else: no reply, no verdict
                self.process.stdin.write(json.dumps([answer, gold]) + "\n")
                self.process.stdin.flush()
            return self._reply() == "equal"

    def _reply(self) -> str:
        """Its next line, or nothing.

        Then it has ended itself, and the next question starts another.
        """
        assert self.process is not None and self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            self.process = None
        return line.strip()


@cache
def _judge(_process: int) -> Judge:
    """The judge of this process; a forked one does not share its parent's pipes."""
    return Judge()
