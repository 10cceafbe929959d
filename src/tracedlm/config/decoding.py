"""Sections about decoding, exit rules and what they risk."""

from typing import Any, ClassVar, Literal

from pydantic import Field, TypeAdapter, field_validator, model_validator

from tracedlm.config.evaluation import MATCHED
from tracedlm.config.section import ExitRuleName, Positive, Probability, Section, Share
from tracedlm.decode.settings import (
    EntropyBoundSettings,
    FactorSettings,
    KlassSettings,
    ProphetSettings,
    RadSettings,
    RankSoftmaxSettings,
    SchedSettings,
    StableConfidentSettings,
    SubspaceNormSettings,
    SubspaceSettings,
    ThresholdSettings,
    TokenFreezeSettings,
    settings_of,
)


class Decode(Section):
    """Semi-autoregressive block diffusion decoding."""

    block_length: Positive = Field(default=32, description="Tokens per block (TRACE: 32)")
    tokens_per_step: float = Field(
        default=2.0, gt=0, description="Canvas tokens / total steps; the papers use T = G/2"
    )
    schedule: Literal["uniform", "gaussian"] = Field(
        default="uniform", description="How a block's commits are spread over its steps"
    )
    batch_size: Positive = Field(default=16, description="Samples decoded together")
    reuse: Literal["none", "block", "prefix"] = Field(
        default="none",
        description=(
            "What each step computes anew: everything, the active block, or all from it on."
            " Approximate but for `none`"
        ),
    )


class Trace(Section):
    """Trace collection."""

    refine_policy: Literal["remask", "masked_variants", "none"] = Field(
        default="remask", description="What changes after the last unmasking"
    )
    refine_steps: int = Field(
        default=24, ge=0, description="Recorded forwards after the last unmasking (TRACE: L = 24)"
    )
    remask_tokens: Positive = Field(
        default=2,
        description=(
            "Tokens re-masked in each refine step of policy `remask`, least confident first, each"
            " once"
        ),
    )
    shards: Positive = Field(
        default=1,
        description=(
            "Jobs that the collection of one trace set is split into; results do not depend on it"
        ),
    )


class Exits(Section):
    """Exit rules compared with full decoding; what each does: docs/exit_rules.md."""

    REPEATING: ClassVar[frozenset[str]] = frozenset({"block_length"})

    rules: tuple[ExitRuleName, ...] = Field(
        default=("full", "skip_noop", "rad", "truncate", "random"), description="Exit rules to run"
    )
    budgets: tuple[Share, ...] = Field(
        default=(0.125, 0.5),
        description="Forwards of further `truncate` runs, as shares of full decoding",
    )
    sweeps: dict[ExitRuleName, tuple[dict[str, Any], ...]] = Field(
        default={},
        description=(
            "Further settings of a rule, each a run of its own: its curve of accuracy over forwards"
        ),
    )
    tune: dict[ExitRuleName, dict[str, tuple[Any, ...]]] = Field(
        default={},
        description=(
            "Settings of a rule and the values to choose from on validation, by accuracy / mean"
            " forwards (EDIT App. B.1); `delta` and `omega` of later blocks are then chosen by"
            " themselves"
        ),
    )
    block_length: int | tuple[Positive, ...] | None = Field(
        default=None,
        description=(
            "Tokens per block of these runs, or the length of each block; null: decode.block_length"
        ),
    )
    by_set: dict[str, dict[int, dict[str, Any]]] = Field(
        default={},
        description=(
            "Keys of this section that differ for a dataset and length: `{countdown: {128: {rad:"
            " {delta: 0.1}}}}`"
        ),
    )
    rad: RadSettings = Field(default=RadSettings(), description="`rad`")
    subspace: SubspaceSettings = Field(default=SubspaceSettings(), description="`subspace`")
    subspace_norm: SubspaceNormSettings = Field(
        default=SubspaceNormSettings(), description="`subspace_norm`"
    )
    token_freeze: TokenFreezeSettings = Field(
        default=TokenFreezeSettings(), description="`token_freeze`"
    )
    rank_softmax: RankSoftmaxSettings = Field(
        default=RankSoftmaxSettings(), description="`rank_softmax`"
    )
    prophet: ProphetSettings = Field(default=ProphetSettings(), description="`prophet`")
    sched: SchedSettings = Field(default=SchedSettings(), description="`sched`")
    klass: KlassSettings = Field(default=KlassSettings(), description="`klass`")
    threshold: ThresholdSettings = Field(default=ThresholdSettings(), description="`threshold`")
    factor: FactorSettings = Field(default=FactorSettings(), description="`factor`")
    entropy_bound: EntropyBoundSettings = Field(
        default=EntropyBoundSettings(), description="`entropy_bound`"
    )
    stable_confident: StableConfidentSettings = Field(
        default=StableConfidentSettings(), description="`stable_confident`"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Exits":
        if "full" not in self.rules:
            raise ValueError(
                "full is the baseline every rule is compared with: add it to exits.rules"
            )
        if "random" in self.rules and not set(self.rules) - {
            "full",
            "skip_noop",
            "truncate",
            "random",
        }:
            raise ValueError(
                "random is run at the mean forwards of other rules: add one of them to exits.rules,"
                " for example rad"
            )
        for name, runs in self.sweeps.items():
            for run in runs:
                settings_of(name, **{**self.settings(name), **run})
        for name, grid in self.tune.items():
            for setting, values in grid.items():
                for value in values:
                    settings_of(name, **{**self.settings(name), setting: value})
        for dataset, lengths in self.by_set.items():
            for length in lengths:
                self.for_set(dataset, length)
        return self

    def settings(self, name: str) -> dict[str, Any]:
        """Settings of a rule.

        Those of `truncate` and `random` come from the runs they are compared with.
        """
        section = getattr(self, name, None)
        return section.model_dump() if section is not None else {}

    def for_set(self, dataset: str, seq_len: int) -> "Exits":
        """This section with what `by_set` changes for one set."""
        changes = self.by_set.get(dataset, {}).get(seq_len, {})
        return (
            Exits.model_validate(merged(self.model_dump(exclude={"by_set"}), changes))
            if changes
            else self
        )


def merged(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """A mapping with another merged into it, mapping by mapping."""
    both = {
        key: merged(base[key], value)
        for key, value in changes.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return {**base, **changes, **both}


SHARES = TypeAdapter(tuple[float, ...])
"""Snakemake hands on what stands in `--config` as text."""


class Risk(Section):
    """Settings of exit rules chosen with a guarantee on the validation split."""

    rules: dict[ExitRuleName, dict[str, tuple[Any, ...]]] = Field(
        default={},
        description=(
            "Settings of a rule and their values from the least to the most aggressive, fixed"
            " beforehand; those of several settings go together, place by place. `forwards_share`"
            " stands for `forwards`, as a share of full decoding. Empty: not run"
        ),
    )
    epsilon: Probability = Field(
        default=0.1, description="Risk allowed: mean loss of samples yet unseen"
    )
    eta: Probability = Field(
        default=0.05, description="Probability with which it may be exceeded; not read by `crc`"
    )
    method: Literal["ltt", "crc"] = Field(
        default="ltt",
        description="Learn-then-Test, or conformal risk control, which holds in expectation only",
    )
    loss: Literal["answer_flip", "lost_answer"] = Field(
        default="answer_flip",
        description=(
            "The answer is not full decoding's; or it is wrong where full decoding's was right"
        ),
    )

    @field_validator("rules")
    @classmethod
    def _together(
        cls, rules: dict[str, dict[str, tuple[Any, ...]]]
    ) -> dict[str, dict[str, tuple[Any, ...]]]:
        for name, values in rules.items():
            if len({len(column) for column in values.values()}) != 1 or () in values.values():
                raise ValueError(
                    f"{name}: needs settings with equally many values each, from the least to the"
                    " most aggressive"
                )
        shares = {
            name: values["forwards_share"]
            for name, values in rules.items()
            if "forwards_share" in values
        }
        return rules | {
            name: rules[name] | {"forwards_share": SHARES.validate_python(values)}
            for name, values in shares.items()
        }

    def candidates(self, name: str, base: dict[str, Any], steps: int) -> list[dict[str, Any]]:
        """Settings of a rule to choose from, in their order.

        `base` are those that do not vary, `steps` forwards of full decoding.
        """
        columns = dict(self.rules[name])
        if "forwards_share" in columns:
            columns["forwards"] = tuple(share * steps for share in columns.pop("forwards_share"))
        return [
            base | dict(zip(columns, row, strict=True))
            for row in zip(*columns.values(), strict=True)
        ]


class FlipAudit(Section):
    """Exits undone: what each of them changed, and what certificates say of it."""

    samples: int = Field(
        default=0, ge=0, description="Test problems per dataset, at the shortest canvas; 0: not run"
    )
    rules: tuple[ExitRuleName, ...] = Field(
        default=("rad",), description="Exit rules, with the settings of `exits`"
    )
    delta: float = Field(default=3e-6, gt=0, description="KL threshold of the certificates, nats")
    omega: Positive = Field(default=3, description="Window length of the certificates, steps")
    probes: int = Field(
        default=0,
        ge=0,
        description=(
            "Pushed tokens per validation problem, for beta_s of token freezing (EDIT App. D); 0:"
            " not run"
        ),
    )

    @field_validator("rules")
    @classmethod
    def _stop_by_themselves(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        if matched := [name for name in rules if name in MATCHED]:
            raise ValueError(
                f"{matched[0]} is given the mean forwards of another rule, which an audit does not"
                " run; name rules that stop"
            )
        return rules
