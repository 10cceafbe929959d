"""What every section of the config is, and the types its values share."""

from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

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

    A list is a set: what it names twice would count twice in every mean over it, so that is an
    error too, but for the lists in `REPEATING`. A switch is no number, and no number is infinite.

    Defaults are written `default=`: type checkers do not see positional ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    REPEATING: ClassVar[frozenset[str]] = frozenset()
    """Lists whose places mean something, so that a value may stand in several."""

    @model_validator(mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, values: Any) -> Any:
        for name, value in values.items() if isinstance(values, dict) else ():
            field = cls.model_fields.get(name)
            if (
                isinstance(value, bool)
                and field is not None
                and not _takes_switch(field.annotation)
            ):
                raise ValueError(
                    f"{name}: {str(value).lower()} is a switch (YAML reads yes, no, on and off so"
                    " too); expected a value"
                )
        return values

    @model_validator(mode="after")
    def _nothing_twice(self) -> Self:
        for name in set(type(self).model_fields) - self.REPEATING:
            values = getattr(self, name)
            if isinstance(values, tuple):
                for value in values:
                    if values.count(value) > 1:
                        raise ValueError(
                            f"{name}: {value!r} is named {values.count(value)} times; name it once"
                        )
        return self


def _takes_switch(annotation: Any) -> bool:
    """Whether a field's type has room for true and false."""
    return annotation in (bool, Any) or any(_takes_switch(part) for part in get_args(annotation))
