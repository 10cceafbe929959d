"""`python -m tracedlm.tasks.judge`: is one answer mathematically equal to another? Asked by `tasks.equivalence`, over pipes.

Reads lines of JSON, `["answer", "gold"]`, and replies `equal` or `different` to each; ends when its input does, or by a signal
in the middle of a question that takes too long or too much memory.
"""

import json
import logging
import resource
import signal
import sys
from functools import partial

CPU_SECONDS = 1.0
"""For one question; of CPU time, so that a busy machine gives no other verdict."""

MEMORY = 4 * 2**30
"""Bytes of address space."""


def main() -> None:
    """Reply to questions until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable()  # math-verify warns that its own time limits are off
    same(r"\frac{1}{2}", "0.5")  # loads SymPy and the parser's tables, which takes seconds
    print("ready", flush=True)
    for line in sys.stdin:
        signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)  # its signal, SIGPROF, ends the process
        verdict = same(*json.loads(line))
        signal.setitimer(signal.ITIMER_PROF, 0)
        print("equal" if verdict else "different", flush=True)


def same(answer: str, gold: str) -> bool:
    """math-verify's verdict, both read as the content of a box."""
    from math_verify import LatexExtractionConfig, parse, verify

    form = [LatexExtractionConfig(boxed_match_priority=0)]
    read = partial(parse, extraction_config=form, parsing_timeout=None)  # pyright: ignore[reportArgumentType]
    return verify(read(rf"\boxed{{{gold}}}"), read(rf"\boxed{{{answer}}}"), timeout_seconds=None)


if __name__ == "__main__":
    main()
