"""Finding the answer in a response. Plain string searches only: linear time on any text."""


def last_boxed(text: str) -> str | None:
    r"""Content of the last balanced `\boxed{..}`, or None.

    >>> last_boxed(r"\boxed{1} so \boxed{2+\frac{1}{2}}")
    '2+\\frac{1}{2}'
    """
    start = text.rfind(r"\boxed{")
    if start < 0:
        return None
    depth, begin = 0, start + len(r"\boxed{")
    for position in range(begin - 1, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return text[begin:position]
    return None


def answer_block(text: str, ends: tuple[str, ...] = ("</answer>",)) -> str | None:
    """Text after the first `<answer>` up to the first of `ends`, stripped; None where there is no such block.

    >>> answer_block("<answer> 42 </answer>")
    '42'
    """
    start = text.find("<answer>")
    if start < 0:
        return None
    start += len("<answer>")
    stops = [at for end in ends if (at := text.find(end, start)) >= 0]
    return text[start : min(stops)].strip() if stops else None
