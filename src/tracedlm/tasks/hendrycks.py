r"""Equality of MATH answers as strings after Hendrycks' normalisation.

As the published evaluation computes it.

It knows spelling, not mathematics: `\frac12` is `\frac{1}{2}`, but `2\sqrt{3}` is not `\sqrt{12}`.
Where the normalisation trips over a text (a root of nothing, a slash between words), the two texts
are compared as they stand.
"""

SPELLINGS = (
    ("\n", ""),
    (r"\!", ""),
    ("\\\\", "\\"),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    (r"\left", ""),
    (r"\right", ""),
    (r"^{\circ}", ""),
    (r"^\circ", ""),
    (r"\$", ""),
)
AFTER_UNITS = ((r"\%", ""), (" .", " 0."), ("{.", "{0."))


class Unspellable(ValueError):  # noqa: N818  (the text is as it is, nothing went wrong)
    """The normalisation does not apply to this text."""


def same_answer(answer: str, gold: str) -> bool:
    r"""Whether two answers are spelled alike.

    >>> (
    ...     same_answer(r"x = \dfrac{1}{2}", "1/2"),
    ...     same_answer("0.5", r"\frac12"),
    ...     same_answer(r"\sqrt{12}", r"2\sqrt{3}"),
    ... )
    (True, True, False)
    """
    try:
        return normalised(answer) == normalised(gold)
    except Unspellable:
        return answer == gold


def normalised(text: str) -> str:
    """The one spelling of an answer.

    Raises:
        Unspellable: See the class.
    """
    text = _replaced(text, SPELLINGS)
    text, _, rest = text.partition(r"\text{ ")  # units, on the right
    if r"\text{ " in rest:
        raise Unspellable("units in two places")
    text = _replaced(text, AFTER_UNITS)
    if text.startswith("."):
        text = "0" + text
    name, equals, value = text.partition("=")
    if equals and "=" not in value and len(name) <= 2:
        text = value
    text = _fractions(_roots(text).replace(" ", ""))
    return _slash(r"\frac{1}{2}" if text == "0.5" else text)


def _replaced(text: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        text = text.replace(old, new)
    return text


def _roots(text: str) -> str:
    r"""`\sqrt3` becomes `\sqrt{3}`."""
    first, *after = text.split(r"\sqrt")
    if "" in after:
        raise Unspellable("a root of nothing")
    return r"\sqrt".join(
        [first, *(part if part[0] == "{" else f"{{{part[0]}}}{part[1:]}" for part in after)]
    )


def _fractions(text: str) -> str:
    r"""`\frac12` and `\frac1{2}` become `\frac{1}{2}`.

    A fraction without a denominator leaves the whole text as it is.
    """
    first, *after = text.split(r"\frac")
    parts = [first]
    for part in after:
        if not part:
            raise Unspellable("a fraction of nothing")
        if part[0] == "{":
            parts.append(part)
        elif len(part) == 1:
            return text
        elif part[1] == "{":
            parts.append(f"{{{part[0]}}}{part[1:]}")
        else:
            parts.append(f"{{{part[0]}}}{{{part[1]}}}{part[2:]}")
    return r"\frac".join(parts)


def _slash(text: str) -> str:
    r"""`3/4` becomes `\frac{3}{4}`."""
    if text.count("/") != 1:
        return text
    above, below = text.split("/")
    try:
        plain = text == f"{int(above)}/{int(below)}"
    except ValueError as error:
        raise Unspellable("a slash between words") from error
    return rf"\frac{{{above}}}{{{below}}}" if plain else text
