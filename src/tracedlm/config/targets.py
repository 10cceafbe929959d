"""What a mistyped target was meant to be.

A rule's name, a file, or a value inside a file's path.
"""

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from itertools import zip_longest

WILDCARD = re.compile(r"\{(\w+)(?:,([^{}]+))?\}")
"""A wildcard of an output pattern, with its constraint where it has one.

`{dataset,countdown|sudoku}`.
"""


def explain_target(
    target: str, rules: Sequence[str], patterns: Sequence[str], idle: Mapping[str, str]
) -> str | None:
    """What is wrong with a target; None where a rule has its name or makes it.

    Args:
        target: As typed: a rule or a path.
        rules: Names of the rules that can be a target, those without wildcards.
        patterns: Output paths of all rules, with constrained wildcards.
        idle: Targets that this config leaves nothing to do for -> what to set.

    >>> explain_target("robustness", ["robustness"], [], {"robustness": "noise.shares"})
    'robustness: this config asks for nothing of it; set noise.shares'
    >>> print(explain_target("tabels", ["tables"], [], {}))
    there is no rule or file 'tabels'. Did you mean 'tables'? Rules that can be a target: tables.
    >>> explain_target("out/sudoko.json", ["maps"], ["out/{dataset,countdown|sudoku}.json"], {})
    "out/sudoko.json: unknown dataset 'sudoko'; known: countdown, sudoku. Did you mean 'sudoku'?"
    """
    if target in idle:
        return f"{target}: this config asks for nothing of it; set {idle[target]}"
    if target in rules or any(re.fullmatch(_regex(pattern), target) for pattern in patterns):
        return None
    found = (_wrong_values(target, pattern) for pattern in patterns)
    wrong = min((values for values in found if values), key=len, default=[])
    if wrong:
        return f"{target}: {'; '.join(wrong)}"
    candidates = [_filled(pattern, target) for pattern in patterns] if "/" in target else rules
    nearest = get_close_matches(target, sorted(set(candidates)), n=1)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    return (
        f"there is no rule or file {target!r}.{hint} Rules that can be a target:"
        f" {', '.join(sorted(rules))}."
    )


def _wrong_values(target: str, pattern: str) -> list[str]:
    """Values of a path that a pattern's constraints exclude.

    Empty where the path differs from the pattern in more than that.
    """
    match = re.fullmatch(_regex(pattern, constrained=False), target)
    constraints = {name: constraint for name, constraint in WILDCARD.findall(pattern) if constraint}
    return [
        _wrong_value(name, value, constraints[name])
        for name, value in (match.groupdict() if match else {}).items()
        if name in constraints and not re.fullmatch(constraints[name], value)
    ]


def _wrong_value(name: str, value: str, constraint: str) -> str:
    known = constraint.replace("\\", "").split("|")
    if not all(re.fullmatch(r"[\w./-]+", one) for one in known):
        return f"{name} {value!r} does not match {constraint}"
    nearest = get_close_matches(value, known, n=1)
    return f"unknown {name} {value!r}; known: {', '.join(known)}." + (
        f" Did you mean {nearest[0]!r}?" if nearest else ""
    )


def _regex(pattern: str, constrained: bool = True) -> str:
    """The pattern as a regular expression with a group for each wildcard."""
    seen: set[str] = set()
    parts, end = [], 0
    for match in WILDCARD.finditer(pattern):
        name, constraint = match.groups()
        group = (
            f"(?P={name})"
            if name in seen
            else f"(?P<{name}>{constraint if constrained and constraint else '[^/]+'})"
        )
        parts += [re.escape(pattern[end : match.start()]), group]
        seen.add(name)
        end = match.end()
    return "".join(parts) + re.escape(pattern[end:])


def _filled(pattern: str, target: str) -> str:
    """The pattern, with each whole-part wildcard filled from the target.

    Only the fixed parts are then compared.
    """
    parts = zip_longest(pattern.split("/"), target.split("/"), fillvalue="")
    return "/".join(
        given if WILDCARD.fullmatch(part) and given else part for part, given in parts if part
    )
