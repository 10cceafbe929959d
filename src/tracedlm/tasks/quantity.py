"""What a number in an answer is a number of: its unit, its base, the name it is given.

Equality of numbers says nothing about these, and the libraries that compare mathematics drop them.
An answer may leave them out. It may not contradict the gold answer.
"""

import re
from dataclasses import dataclass

ALIASES = {
    "mm": "millimeter",
    "millimetre": "millimeter",
    "cm": "centimeter",
    "centimetre": "centimeter",
    "m": "meter",
    "metre": "meter",
    "km": "kilometer",
    "kilometre": "kilometer",
    "in": "inch",
    "inches": "inch",
    "ft": "foot",
    "feet": "foot",
    "yd": "yard",
    "mi": "mile",
    "g": "gram",
    "kg": "kilogram",
    "mg": "milligram",
    "lb": "pound",
    "oz": "ounce",
    "l": "liter",
    "litre": "liter",
    "ml": "milliliter",
    "millilitre": "milliliter",
    "s": "second",
    "sec": "second",
    "min": "minute",
    "h": "hour",
    "hr": "hour",
    "dollar": "$",
    "usd": "$",
    "euro": "€",
    "eur": "€",
    "cent": "¢",
    "percent": "%",
    "degree": "°",
    "deg": "°",
    "people": "person",
    "children": "child",
    "men": "man",
    "women": "woman",
}
"""Spellings of units, plurals in -s apart."""

CURRENCY = "$€£¥¢₹"

AS_TEXT = re.compile(r"\\text\s*\{\s*([^{}]*?)\s*\}(?:\s*\^\s*\{?([0-9])\}?)?\s*$")
AS_WORDS = re.compile(r"(?<=[0-9})])\s+([A-Za-z][A-Za-z ]*?)(?:\s*\^\s*\{?([0-9])\}?)?\s*$")
DEGREES = re.compile(r"\^\s*\{?\s*\\circ\s*\}?\s*(?:\\text\s*\{)?\s*([CF]?)\s*\}?\s*$")
BASE = re.compile(r"^\s*[0-9A-Z]+\s*_\s*\{?\s*([0-9]+)\s*\}?\s*$")
NAMED = re.compile(r"^\s*([A-Za-z](?:_\{?\w+\}?)?|\\[a-z]+|[A-Za-z]\([a-z]\))\s*=\s*([^=<>]+)$")


@dataclass(frozen=True)
class Quantity:
    """What stands around the number of an answer; None where it says nothing.

    Attributes:
        unit: In the singular and in full, with its power, such as `centimeter^2`.
        base: Of the digits, as they are written.
        name: On the left of an equals sign.
    """

    unit: str | None
    base: str | None
    name: str | None


def quantity_of(text: str) -> Quantity:
    r"""What an undressed answer says besides its number.

    >>> quantity_of(r"8\text{ mm}").unit, quantity_of("731_{8}").base, quantity_of("x = 7").name
    ('millimeter', '8', 'x')
    """
    named = NAMED.match(text)
    value = named[2] if named else text
    base = BASE.match(value)
    return Quantity(
        unit=_unit_of(value),
        base=base[1] if base else None,
        name=re.sub(r"[\s{}]", "", named[1]) if named else None,
    )


def contradicts(answer: Quantity, gold: Quantity) -> bool:
    """Whether an answer says something else than the gold answer does of the same number."""
    both_units = answer.unit is not None and gold.unit is not None
    both_names = answer.name is not None and gold.name is not None
    if both_units and answer.unit != gold.unit:
        return True
    if both_names and answer.name != gold.name:
        return True
    # A number without a base is a decimal one. The question says the base where the answer may
    # leave it out, and then the gold answer has it.
    return answer.base is not None and answer.base != gold.base


def _unit_of(value: str) -> str | None:
    value = value.strip()
    if re.search(r"(?<!\\)%$|\\%$", value):
        return "%"
    signs = set(re.findall(rf"^\\?([{re.escape(CURRENCY)}])|\\?([{re.escape(CURRENCY)}])$", value))
    if signs:
        return "".join(signs.pop())
    if degrees := DEGREES.search(value):
        return f"°{degrees[1]}"
    found = AS_TEXT.search(value) or AS_WORDS.search(value)
    # Without a number before it, a text is the answer itself, such as a name.
    if not found or not re.search("[0-9]", value[: found.start()]):
        return None
    return _singular(found[1], found[2])


def _singular(words: str, power: str | None) -> str | None:
    words = words.casefold().strip(" .")
    for prefix, exponent in (("square ", "2"), ("cubic ", "3"), ("sq ", "2"), ("cu ", "3")):
        if words.startswith(prefix):
            words = words.removeprefix(prefix)
            power = exponent
    last = words.rsplit(" ", 1)[-1]
    if last not in ALIASES and len(last) > 3 and last.endswith("s") and not last.endswith("ss"):
        words = words[:-1]
    words = ALIASES.get(words, words)
    if not words:
        return None
    return f"{words}^{power}" if power else words


def as_share(text: str) -> str:
    r"""An answer in percent as the number it is.

    >>> as_share(r"75\%")
    '\\frac{75}{100}'
    """
    number = re.fullmatch(r"\s*([0-9.,]+)\s*\\?%\s*", text)
    return rf"\frac{{{number[1]}}}{{100}}" if number else text
