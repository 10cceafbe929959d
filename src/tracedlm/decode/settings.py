"""Settings of every exit rule, typed, with range and source.

Loads no torch: a config is validated without it.

Sources of the published rules and what their code does differently: docs/exit_rules.md.
"""

from difflib import get_close_matches
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]
ReadingKind = Literal["cosine", "subspace", "subspace_norm", "coordinates", "columns"]
"""What a rule reads of a module's activation f: cos(f, u); |U'f| / |f|; |U'f|.

cos(f, u) followed by U'f; cos(f, each column of U).
"""


class RuleSettings(BaseModel):
    """Settings of one rule. `reading` says what it observes; None for rules that read no map."""

    # A misspelt setting is refused: as an extra it would leave the default in force.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    reading: ClassVar[ReadingKind | None] = None

    def label(self, name: str) -> str:
        """The rule with its settings.

        >>> RadSettings(delta=0.1).label("rad")
        'rad(delta=0.1, omega=6, tau=1)'
        """
        parts = []
        for key, value in self.model_dump(exclude_none=True).items():
            # polish=0 and the like go without saying.
            if not value and type(self).model_fields[key].default == value:
                continue
            items = value if isinstance(value, tuple) else (value,)
            texts = [f"{item:.6g}" if isinstance(item, float) else str(item) for item in items]
            parts.append(f"{key}={'/'.join(texts)}")
        return f"{name}({', '.join(parts)})" if parts else name


class NoSettings(RuleSettings):
    """A rule without settings."""


class StopSettings(RuleSettings):
    """Settings of a rule that stops a block."""

    polish: int = Field(
        default=0,
        ge=0,
        description=(
            "Further forwards that fill a stopped block, its masks split evenly; 0 fills at once"
        ),
    )


class TruncateSettings(RuleSettings):
    """`truncate`: fewer steps, spread evenly."""

    forwards: float = Field(ge=1, description="Mean forwards per sample")


class RandomSettings(StopSettings):
    """`random`: stop at a random step."""

    forwards: float = Field(ge=1, description="Mean forwards per sample")
    stop_seed: int = Field(default=0, ge=0, description="Seed of the stops")


class RadSettings(StopSettings):
    """`rad`: TRACE Algorithm 1, EDIT Algorithm 1."""

    reading: ClassVar[ReadingKind | None] = "cosine"
    delta: float = Field(default=0.05, gt=0, description="KL threshold, nats (EDIT Table 3)")
    omega: Positive = Field(default=6, description="Consecutive stable steps (EDIT Table 3)")
    later_delta: float | None = Field(
        default=None, gt=0, description="delta of all blocks but the first, nats; null: the same"
    )
    later_omega: Positive | None = Field(
        default=None, description="omega of all blocks but the first; null: the same"
    )
    tau: float = Field(default=1.0, gt=0, description="Readout temperature")


class SubspaceSettings(RadSettings):
    """`subspace`: the RAD of EDIT Eq. 31, the cosine with a subspace."""

    reading: ClassVar[ReadingKind | None] = "subspace"


class SubspaceNormSettings(RadSettings):
    """`subspace_norm`: the RAD of EDIT Eq. 31, the length of the projection."""

    reading: ClassVar[ReadingKind | None] = "subspace_norm"


class TokenFreezeSettings(RadSettings):
    """`token_freeze`: `rad` in which a stable token's activation is frozen (EDIT App. D)."""

    reading: ClassVar[ReadingKind | None] = "coordinates"
    token_delta: float = Field(
        default=1e-4, gt=0, description="KL threshold of one token's subspace components, nats"
    )
    token_omega: Positive = Field(
        default=3, description="Consecutive stable steps after which a token is frozen"
    )
    token_tau: float = Field(
        default=1.0, gt=0, description="Temperature over the components (EDIT Eq. 25)"
    )


class RankBlock(RuleSettings):
    """`rank_softmax` in one block, in the terms of EDIT's released files."""

    center: float = Field(
        default=4.0, gt=0, description="1 / peak of the schedule, as a share of the block's steps"
    )
    std: float = Field(default=5.0, gt=0, description="1 / width of the schedule")
    threshold: float = Field(default=0.05, gt=0, description="KL threshold, nats")
    stability_span: Positive = Field(default=6, description="Latest steps looked at")
    required_stable: Positive = Field(default=6, description="Steps among them below the threshold")
    polish_steps: int = Field(default=2, ge=0, description="Forwards that fill a stopped block")

    @model_validator(mode="after")
    def _can_fire(self) -> "RankBlock":
        # Only the latest `stability_span` steps are counted, so no more of them can be stable.
        if self.required_stable > self.stability_span:
            raise ValueError(
                f"required_stable {self.required_stable} exceeds stability_span"
                f" {self.stability_span}: it can never fire"
            )
        return self


class RankSoftmaxSettings(RuleSettings):
    """`rank_softmax`: what EDIT's released code computes (method.md section 2)."""

    reading: ClassVar[ReadingKind | None] = "columns"
    blocks: tuple[RankBlock, ...] = Field(
        default=(RankBlock(),),
        min_length=1,
        description="Settings of each block; the last also serves later blocks",
    )
    tau: float = Field(
        default=0.1,
        gt=0,
        description=(
            "Temperature over the rank columns; the released code's 2 - 1.9 at a block's start"
        ),
    )
    smoothing: float = Field(
        default=1e-8, ge=0, description="Added to probabilities before the KL, as released"
    )

    def label(self, name: str) -> str:
        """The rule with threshold and stable steps of each block."""
        blocks = [
            f"{block.threshold:g}/{block.required_stable} of {block.stability_span}"
            for block in self.blocks
        ]
        return f"{name}({', '.join(blocks)})"


class ProphetSettings(RuleSettings):
    """`prophet`: commit everything once the mean top-two logit gap is large enough."""

    gaps: tuple[float, float, float] = Field(
        default=(7.5, 5.0, 2.5), description="Gaps for the three thirds of progress, logits"
    )
    answer_start: int | None = Field(
        default=None,
        ge=0,
        description=(
            "First position of the answer in the canvas, where known; else all masked positions"
            " count"
        ),
    )


class SchedSettings(RuleSettings):
    """`sched`: commit everything once the mean logit margin is large enough.

    The threshold falls with progress.
    """

    high: float = Field(default=7.5, description="Margin asked for at the start, logits")
    low: float = Field(default=2.5, description="Margin asked for at the end, logits")
    shape: Literal["linear", "cosine", "exponential"] = Field(
        default="cosine", description="How the threshold falls"
    )
    rate: float = Field(
        default=4.0, gt=0, description="k of the exponential shape exp(-k progress)"
    )


class KlassSettings(RuleSettings):
    """`klass`: commit tokens whose prediction has stopped moving."""

    kl: float = Field(
        default=0.01, gt=0, description="KL(p_t || p_t-1) below which a prediction is stable, nats"
    )
    history: Positive = Field(default=2, description="Consecutive stable steps")
    confidence: Share = Field(default=0.9, description="Probability a token must exceed")


class ThresholdSettings(RuleSettings):
    """`threshold`: commit every confident token (Fast-dLLM)."""

    confidence: Share = Field(
        default=0.9, description="Probability from which a token is committed; at least one is"
    )


class FactorSettings(RuleSettings):
    """`factor`: commit as many tokens as their confidence allows together (Fast-dLLM)."""

    factor: float = Field(
        default=1.0,
        gt=0,
        description=(
            "The n-th most confident token is committed while (n + 1) (1 - confidence) < factor"
        ),
    )


class EntropyBoundSettings(RuleSettings):
    """`entropy_bound`: commit low-entropy tokens up to a bound on their joint entropy.

    Source: EB-Sampler.
    """

    gamma: float = Field(
        default=0.1, ge=0, description="Bound on the sum of entropies less the largest, nats"
    )


class StableConfidentSettings(StopSettings):
    """`stable_confident`.

    Stop when the most likely text stands still and is certain (DiffusionGemma).
    """

    steps: Positive = Field(
        default=1, description="Steps for which the most likely text must not have changed"
    )
    entropy: float = Field(
        default=0.005,
        gt=0,
        description="Mean entropy of the masked tokens below which it stops, nats",
    )


SETTINGS: dict[str, type[RuleSettings]] = {
    "full": NoSettings,
    "skip_noop": NoSettings,
    "truncate": TruncateSettings,
    "random": RandomSettings,
    "rad": RadSettings,
    "subspace": SubspaceSettings,
    "subspace_norm": SubspaceNormSettings,
    "token_freeze": TokenFreezeSettings,
    "rank_softmax": RankSoftmaxSettings,
    "prophet": ProphetSettings,
    "sched": SchedSettings,
    "klass": KlassSettings,
    "threshold": ThresholdSettings,
    "factor": FactorSettings,
    "entropy_bound": EntropyBoundSettings,
    "stable_confident": StableConfidentSettings,
}
"""Every exit rule and its settings; `decode.rules.RULES` holds the rules themselves."""


def known_rule(name: str) -> str:
    """The name, if there is such a rule.

    Raises:
        ValueError: There is none; the message lists those that exist.
    """
    if name not in SETTINGS:
        # A misspelt rule is likelier than one that does not exist.
        nearest = get_close_matches(name, SETTINGS, n=1)
        hint = f". Did you mean {nearest[0]!r}?" if nearest else ""
        raise ValueError(f"unknown exit rule {name!r}; known: {', '.join(SETTINGS)}{hint}")
    return name


def _mistake(problem: Any) -> str:
    # Pydantic reports the whole mapping as the input of a missing key, which would say nothing.
    if problem["type"] == "missing":
        return "required, it has no default"
    message = "unknown setting" if problem["type"] == "extra_forbidden" else problem["msg"]
    return f"{message} (got {problem['input']!r})"


def settings_of(name: str, **settings: Any) -> RuleSettings:
    """Checked settings of a rule.

    Raises:
        ValueError: Unknown rule or setting, a setting missing or out of range.
    """
    try:
        return SETTINGS[known_rule(name)].model_validate(settings)
    except ValidationError as error:
        # Pydantic's own message names its classes, which no config knows.
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {_mistake(problem)}"
            for problem in error.errors()
        )
        settings_list = ", ".join(SETTINGS[name].model_fields) or "none"
        raise ValueError(f"exit rule {name!r}: {problems}. Settings: {settings_list}") from None
