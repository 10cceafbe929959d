"""Exit rules, one file each. A new rule is one file and one entry in `RULES`."""

from difflib import get_close_matches
from typing import Any

from tracedlm.decode.plan import Plan
from tracedlm.decode.rules.full import Full
from tracedlm.decode.rules.rad import Rad
from tracedlm.decode.rules.random_exit import RandomExit
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.rules.skip_noop import SkipNoop
from tracedlm.decode.rules.truncate import Truncate

RULES: dict[str, type[ExitRule]] = {rule.name: rule for rule in (Full, SkipNoop, Truncate, RandomExit, Rad)}

__all__ = ["RULES", "ExitRule", "make_rule"]


def make_rule(name: str, plan: Plan, slots: int, **settings: Any) -> ExitRule:
    """The rule of this name with its settings.

    Raises:
        ValueError: Unknown rule or setting, or a setting out of range.
    """
    if name not in RULES:
        nearest = get_close_matches(name, RULES, n=1)
        raise ValueError(f"unknown exit rule {name!r}; known: {', '.join(RULES)}" + (f". Did you mean {nearest[0]!r}?" if nearest else ""))
    try:
        return RULES[name](plan, slots, **settings)
    except TypeError as error:
        raise ValueError(f"exit rule {name!r}: {str(error).split('__init__() ')[-1]}") from None
