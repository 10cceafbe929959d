"""`python -m tracedlm.tasks.judge`.

Is one answer mathematically equal to another? Asked by `tasks.equivalence`, over pipes.

Reads lines of JSON, `["answer", "gold"]`, and replies `equal` or `different` to each; ends when its
input does, or by a signal in the middle of a question that takes too long or too much memory.
"""

import json
import logging
import resource
import signal
import sys
from functools import partial
from typing import Any

CPU_SECONDS = 1.0
"""For one question; of CPU time, so that a busy machine gives no other verdict."""

MEMORY = 4 * 2**30
"""Bytes of address space, at most; a smaller limit that is set already stays."""

DIGITS = 30
EXACT, ROUNDED = 1e-12, 5e-6
"""Relative differences up to which numbers are the same.

As they stand, and where one is rounded.
"""


def limit_memory() -> None:
    """Let this process have `MEMORY` of address space, or less where less is its limit already."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limits = [limit for limit in (soft, hard, MEMORY) if limit != resource.RLIM_INFINITY]
    # Only the soft limit: nobody but root may raise a hard one again, or needs to lower it.
    resource.setrlimit(resource.RLIMIT_AS, (min(limits), hard))


def main() -> None:
    """Reply to questions until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    limit_memory()
    logging.disable()  # math-verify warns that its own time limits are off
    same(r"\frac{1}{2}", "0.5")  # loads SymPy and the parser's tables, which takes seconds
    print("ready", flush=True)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # its signal, SIGPROF, ends the process
        verdict = same(*json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        print("equal" if verdict else "different", flush=True)


def same(answer: str, gold: str) -> bool:
    """math-verify's verdict, both read as the content of a box, if their numbers are the same too.

    math-verify rounds to six decimals. A number of a size of 1e-7 then equals any other.
    """
    from math_verify import LatexExtractionConfig, parse, verify

    form = [LatexExtractionConfig(boxed_match_priority=0)]
    read = partial(parse, extraction_config=form, parsing_timeout=None)  # pyright: ignore[reportArgumentType]
    expected = read(rf"\boxed{{{gold}}}")
    answered = read(rf"\boxed{{{answer}}}")
    if not verify(expected, answered, timeout_seconds=None):
        return False
    return not (expected and answered and numbers_differ(expected[0], answered[0]))


def numbers_differ(gold: Any, answer: Any) -> bool:
    """Whether two of SymPy's objects hold numbers that differ, place by place.

    What cannot be compared place by place, such as two orders of one set, does not differ.
    """
    from sympy import Float, Interval, MatrixBase, Tuple

    if isinstance(gold, MatrixBase) and isinstance(answer, MatrixBase):
        return numbers_differ(Tuple(*gold.flat()), Tuple(*answer.flat()))
    if isinstance(gold, Tuple | Interval) and isinstance(answer, Tuple | Interval):
        pairs = zip(gold.args, answer.args, strict=False)
        return any(numbers_differ(left, right) for left, right in pairs)
    if not (getattr(gold, "is_number", False) and getattr(answer, "is_number", False)):
        return False
    left: Any = gold.doit().evalf(DIGITS)  # pyright: ignore[reportAttributeAccessIssue]
    right: Any = answer.doit().evalf(DIGITS)
    if not (left.is_comparable and right.is_comparable):
        return False
    difference, size = abs(left - right), max(abs(left), abs(right))
    # A decimal may round what has no end: 0.333333 for 1/3. Two decimals are meant as they stand.
    rounded = gold.has(Float) != answer.has(Float)
    return bool(difference > (ROUNDED if rounded else EXACT) * size)


if __name__ == "__main__":
    main()
