"""What every section of the config is, and the types its values share."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from tracedlm.decode.settings import known_rule

Readout = Literal["q", "k", "v", "qkv_mean", "qkv_max"]
ExitRuleName = Annotated[str, AfterValidator(known_rule)]
"""A name in `decode.settings.SETTINGS`."""

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
Temperature = Annotated[float, Field(gt=0)]
Probability = Annotated[float, Field(gt=0, lt=1)]


class Section(BaseModel):
    """A frozen part of the config; unknown keys are errors.

    Defaults are written `default=`: type checkers do not see positional ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
