"""Exit rules. A new one is a file, its settings in `decode.settings`, and an entry in `RULES`."""

from typing import Any

from tracedlm.decode.plan import Plan
from tracedlm.decode.rules.confident import Factor, Threshold
from tracedlm.decode.rules.entropy_bound import EntropyBound
from tracedlm.decode.rules.full import Full
from tracedlm.decode.rules.klass import Klass
from tracedlm.decode.rules.prophet import Prophet
from tracedlm.decode.rules.rad import Rad, Subspace, SubspaceNorm
from tracedlm.decode.rules.random_exit import RandomExit
from tracedlm.decode.rules.rank_softmax import RankSoftmax
from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.rules.sched import Sched
from tracedlm.decode.rules.skip_noop import SkipNoop
from tracedlm.decode.rules.stable_confident import StableConfident
from tracedlm.decode.rules.token_freeze import TokenFreeze
from tracedlm.decode.rules.truncate import Truncate
from tracedlm.decode.settings import settings_of

# In the order of `decode.settings.SETTINGS`, which messages and tables follow.
RULES: dict[str, type[ExitRule[Any]]] = {
    rule.name: rule
    for rule in (
        Full,
        SkipNoop,
        Truncate,
        RandomExit,
        Rad,
        Subspace,
        SubspaceNorm,
        TokenFreeze,
        RankSoftmax,
        Prophet,
        Sched,
        Klass,
        Threshold,
        Factor,
        EntropyBound,
        StableConfident,
    )
}

__all__ = ["RULES", "ExitRule", "make_rule"]


def make_rule(name: str, plan: Plan, slots: int, **settings: Any) -> ExitRule[Any]:
    """The rule of this name with its settings.

    Raises:
        ValueError: See `settings_of`; or the settings do not fit the plan.
    """
    checked = settings_of(name, **settings)
    return RULES[name](plan, slots, checked)
