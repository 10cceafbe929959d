"""Finding the answer in a response. Plain string searches only: linear time on any text."""

import re
from collections.abc import Iterator

END_TOKENS = ("<|eot_id|>", "<|endoftext|>")
BOX = re.compile(r"\\(?:boxed|fbox)\s*\{")
BARE_BOX = re.compile(r"\\boxed\s+([^\s${}\\]+)")

MOST_BOXES = 20
"""Boxes looked at, from the last one back, for one that is closed."""


def final_answer(text: str) -> str | None:
    r"""What a response answers, as a careful reader finds it: the strict scorers' reading.

    It is the content of the last box that is closed and not empty, however it is spelled. Without
    one it is what follows `<answer>`, up to `</answer>` or to where the response ends.

    >>> (
    ...     final_answer(r"\boxed {18}</answer> \boxed{"),
    ...     final_answer("<answer>18"),
    ...     final_answer("18"),
    ... )
    ('18', '18', None)
    """
    for box in reversed(list(BOX.finditer(text))[-MOST_BOXES:]):
        end = _closing(text, box.start())
        content = "" if end is None else text[box.end() : end].strip()
        if content:
            return content
    if bare := BARE_BOX.search(text):
        return bare[1]
    block = answer_block(text, ("</answer>", *END_TOKENS))
    if block is None and "<answer>" in text:
        block = text.partition("<answer>")[2].strip()
    return block or None


def last_boxed(text: str) -> str | None:
    r"""Content of the last balanced `\boxed{..}`, or None.

    >>> last_boxed(r"\boxed{1} so \boxed{2+\frac{1}{2}}")
    '2+\\frac{1}{2}'
    """
    start = text.rfind(r"\boxed{")
    if start < 0:
        return None
    end = _closing(text, start)
    return None if end is None else text[start + len(r"\boxed{") : end]


def d1_boxed(text: str) -> str | None:
    r"""What d1's evaluation of MATH and Countdown takes for the last box.

    None where that box is never closed.

    `\boxed` followed by a space goes before all others and runs to the next dollar sign. A text
    without any box is taken whole.

    >>> d1_boxed(r"\boxed{1} or $\boxed 2$"), d1_boxed("7"), d1_boxed(r"\boxed{7")
    ('2', '7', None)
    """
    if r"\boxed " in text:
        return text.rpartition(r"\boxed ")[2].split("$", 1)[0]
    start = text.rfind(r"\boxed" if r"\boxed" in text else r"\fbox")
    if start < 0:
        return text
    end = _closing(text, start)
    if end is None:
        return None
    piece = text[start : end + 1]
    return piece[len(r"\boxed{") : -1] if piece.startswith(r"\boxed{") else piece


def boxes_of_a_line(text: str) -> Iterator[str]:
    r"""What stands between each `\boxed{` and the next closing brace on the same line.

    d1's reading of GSM8K.

    >>> list(boxes_of_a_line(r"\boxed{...} \boxed{\frac{1}{2}}"))
    ['...', '\\frac{1']
    """
    at = 0
    while (at := text.find(r"\boxed{", at)) >= 0:
        at += len(r"\boxed{")
        end = text.find("}", at)
        if end < 0:
            return
        line_end = text.find("\n", at, end)
        if line_end < 0:
            yield text[at:end]
            at = end + 1
        else:
            at = line_end


def answer_block(text: str, ends: tuple[str, ...] = ("</answer>",)) -> str | None:
    """Text after the first `<answer>` up to the first of `ends`, stripped.

    None where there is no such block.

    >>> answer_block("<answer> 42 </answer>")
    '42'
    """
    start = text.find("<answer>")
    if start < 0:
        return None
    start += len("<answer>")
    stops = [at for end in ends if (at := text.find(end, start)) >= 0]
    return text[start : min(stops)].strip() if stops else None


def _closing(text: str, start: int) -> int | None:
    """Where the first brace opened from `start` on is closed."""
    depth = 0
    for position in range(start, len(text)):
        if text[position] == "{":
            depth += 1
        elif text[position] == "}":
            depth -= 1
            if depth == 0:
                return position
    return None
