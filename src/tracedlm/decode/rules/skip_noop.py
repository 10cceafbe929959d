"""`skip_noop`: the full schedule without the forwards that cannot change the output."""

from typing import final

from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.settings import NoSettings


@final
class SkipNoop(ExitRule[NoSettings]):
    """Never stops; the engine leaves out steps that commit nothing.

    Same tokens as `full`, fewer forwards where the schedule has gaps.
    """

    name = "skip_noop"
