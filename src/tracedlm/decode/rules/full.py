"""`full`: every step of the plan. What all other rules are compared with."""

from typing import final

from tracedlm.decode.rules.rule import ExitRule
from tracedlm.decode.settings import NoSettings


@final
class Full(ExitRule[NoSettings]):
    """Never stops.

    Scheduled steps that commit nothing are run too, as the published samplers do.
    """

    name = "full"
    skips_noop = False
