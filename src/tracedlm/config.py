"""Every knob of a study, typed, with its unit and default. An unknown key is an error that names the nearest known one.

The Snakefile validates the merged YAML once with `load_study`; rules hand sections of it to the stages as params.
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from tracedlm.tasks.names import TASK_NAMES
from tracedlm.theory.schedule import total_steps

Readout = Literal["q", "k", "v", "qkv_mean", "qkv_max"]
ExitRuleName = Literal["full", "skip_noop", "rad", "truncate", "random"]
"""Names of `decode.rules.RULES`, repeated here because reading a config loads no torch; a test holds them equal."""

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Section(BaseModel):
    """A frozen part of the config; unknown keys are errors.

    Defaults are written `default=`: type checkers do not see positional ones.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


class Model(Section):
    """The denoiser."""

    path: str = Field(
        default="resources/base", description="Folder or hub id of a LLaDA-architecture checkpoint; relative to the repository"
    )
    dtype: Literal["float32", "bfloat16"] = Field(default="float32", description="Precision of weights and activations")
    device: str = Field(default="auto", description="`auto` (the accelerator where there is one), or a torch device name")


class Dataset(Section):
    """Where a task's problems come from and how many are used."""

    test: str = Field(description="Test file in the published format; relative to the repository")
    test_samples: Positive = Field(default=64, description="Problems taken from the head of the test file (TRACE: 64)")
    validation_samples: Positive = Field(default=32, description="Generated problems of the validation split, for choosing settings")
    train_samples: Positive = Field(default=512, description="Generated problems with worked solutions for SFT")


class Sft(Section):
    """LoRA fine-tuning with moment logging (method.md section 1)."""

    rank: Positive = Field(default=8, description="LoRA rank r (papers: 128)")
    alpha: Positive = Field(default=16, description="LoRA alpha (papers: 256)")
    dropout: Share = Field(default=0.05, description="LoRA dropout")
    learning_rate: float = Field(default=1e-4, gt=0, description="Peak AdamW learning rate (papers: 1e-5)")
    weight_decay: float = Field(default=0.1, ge=0, description="AdamW weight decay")
    clip: float = Field(default=1.0, gt=0, description="Gradient norm clip")
    steps: Positive = Field(default=120, description="Optimiser steps K")
    batch_size: Positive = Field(default=16, description="Examples per step")
    canvas: Positive = Field(default=128, description="Response tokens a worked solution is padded to")
    checkpoint_every: Positive = Field(default=40, description="Optimiser steps between resumable checkpoints")


class Rrm(Section):
    """The map that readouts and exit rules use."""

    placement: Literal["outside", "inside"] = Field(
        default="outside", description="eps outside the square root (AdamW) or inside (TRACE Eq. 2)"
    )
    bias_corrected: bool = Field(default=False, description="Use bias-corrected moments (TRACE App. D)")
    layer: int = Field(default=-1, description="Transformer block, negative counts from the end")
    activation: Literal["projection", "lora_delta"] = Field(
        default="projection", description="Activation compared with the map: whole projection (TRACE) or the LoRA-B output alone (EDIT)"
    )


class Decode(Section):
    """Semi-autoregressive block diffusion decoding."""

    block_length: Positive = Field(default=32, description="Tokens per block (TRACE: 32)")
    tokens_per_step: float = Field(default=2.0, gt=0, description="Canvas tokens / total steps; the papers use T = G/2")
    schedule: Literal["uniform", "gaussian"] = Field(default="uniform", description="How a block's commits are spread over its steps")
    batch_size: Positive = Field(default=16, description="Samples decoded together")


class Trace(Section):
    """Trace collection."""

    refine_policy: Literal["remask", "masked_variants", "none"] = Field(
        default="remask", description="What changes after the last unmasking"
    )
    refine_steps: int = Field(default=24, ge=0, description="Recorded forwards after the last unmasking (TRACE: L = 24)")
    remask_tokens: Positive = Field(
        default=2, description="Tokens re-masked in each refine step of policy `remask`, least confident first, each once"
    )


class ReadoutSettings(Section):
    """How similarities become alignment distributions (TRACE Eq. 6)."""

    tau: float = Field(default=1.0, gt=0, description="Readout temperature tau_blk")
    visible: Literal["block", "response"] = Field(
        default="response", description="Tokens the softmax runs over: visible ones of the block, or of the response"
    )


class Certify(Section):
    """Certificates and their grid (TRACE sections 4.3 to 4.6 and App. G)."""

    window: Literal["refine", "tail"] = Field(default="refine", description="Late window: the refine steps, or the last steps of denoising")
    late_window: Positive = Field(default=24, description="Steps L of the late window (TRACE: 24)")
    calibrated_tau: float = Field(default=0.5, gt=0, description="Temperature of the calibrated certificate (TRACE Table 2)")
    strict_delta: float = Field(default=1e-8, gt=0, description="KL threshold of TRACE Table 2, nats")
    strict_omega: Positive = Field(default=1, description="Window length of TRACE Table 2, steps")
    deltas: tuple[float, ...] = Field(default=(1e-8, 1e-6, 3e-6, 1e-5), description="KL thresholds of the grid, nats")
    omegas: tuple[Positive, ...] = Field(default=(1, 2, 3, 4), description="Window lengths of the grid, steps")


class RadSettings(Section):
    """TRACE Algorithm 1."""

    delta: float = Field(default=0.05, gt=0, description="KL threshold, nats (EDIT Table 3)")
    omega: Positive = Field(default=6, description="Consecutive stable steps (EDIT Table 3)")


class Exits(Section):
    """Exit rules compared with full decoding."""

    rules: tuple[ExitRuleName, ...] = Field(default=("full", "skip_noop", "rad", "truncate", "random"), description="Exit rules to run")
    rad: RadSettings = Field(default=RadSettings(), description="Settings of `rad`")
    budgets: tuple[float, ...] = Field(default=(0.125, 0.5), description="Forwards of further `truncate` runs, as shares of full decoding")

    @model_validator(mode="after")
    def _needs_rad(self) -> "Exits":
        if {"truncate", "random"} & set(self.rules) and "rad" not in self.rules:
            raise ValueError("truncate and random are run at the mean forwards of rad: add rad to exits.rules")
        if "full" not in self.rules:
            raise ValueError("full is the baseline every rule is compared with: add it to exits.rules")
        return self


class Pretrain(Section):
    """How the shipped base model is trained; only `snakemake base_model` reads this."""

    start: str | None = Field(
        default=None, description="Checkpoint to train further, with its tokenizer; the sizes below then do not apply"
    )
    hidden: Positive = Field(default=192, description="Model width")
    layers: Positive = Field(default=6, description="Transformer blocks")
    heads: Positive = Field(default=4, description="Attention heads")
    feed_forward: Positive = Field(default=416, description="Width of the feed-forward layers")
    vocabulary: Positive = Field(default=320, description="Tokens of the tokenizer")
    steps: Positive = Field(default=7400, description="Optimiser steps")
    warmup: Share = Field(default=0.02, description="Share of steps in which the learning rate rises")
    decay: Share = Field(default=0.6, description="Share of steps, the last ones, in which the learning rate falls to zero")
    learning_rate: float = Field(default=4e-3, gt=0, description="Peak Muon and AdamW learning rate")
    weight_decay: float = Field(default=0.05, ge=0, description="AdamW weight decay")
    batch_tokens: Positive = Field(default=6144, description="Canvas tokens per step")
    canvases: tuple[Positive, ...] = Field(default=(128, 128, 256), description="Canvas lengths, one per step in turn")
    block_length: Positive = Field(default=32, description="Block length of the noise that imitates decoding")
    task_weights: dict[str, float] = Field(default={"countdown": 3.0}, description="Weights by which tasks are drawn; 1 where not named")
    block_share: Share = Field(default=0.7, description="Share of samples noised as decoding sees them; the others are masked uniformly")
    checkpoint_every: Positive = Field(default=250, description="Optimiser steps between resumable checkpoints")


class Card(Section):
    """Measurements for the base model's card; only `snakemake results/base/card.json` reads this."""

    samples: Positive = Field(default=256, description="Problems per dataset, from the head of its test file")


class Resources(Section):
    """What a job may use."""

    threads: Positive = Field(default=1, description="Threads of a rule that runs a model")


class Study(Section):
    """A whole study: everything that decides its results."""

    study: str = Field(description="Name; results go to results/<study>", pattern=r"^[A-Za-z0-9_-]+$")
    seed: int = Field(default=0, ge=0, description="Seed of every random choice")
    datasets: tuple[str, ...] = Field(min_length=1, description="Datasets to run, from the catalogue")
    seq_lens: tuple[Positive, ...] = Field(min_length=1, description="Canvas lengths, tokens")
    readouts: tuple[Readout, ...] = Field(default=("q", "k", "v", "qkv_mean", "qkv_max"), description="Readouts to certify")
    catalogue: dict[str, Dataset] = Field(description="Data of each dataset that may be named in `datasets`")
    model: Model = Field(default=Model(), description="The denoiser")
    sft: Sft = Field(default=Sft(), description="Fine-tuning")
    rrm: Rrm = Field(default=Rrm(), description="Map")
    decode: Decode = Field(default=Decode(), description="Decoding")
    trace: Trace = Field(default=Trace(), description="Trace collection")
    readout: ReadoutSettings = Field(default=ReadoutSettings(), description="Readouts")
    certify: Certify = Field(default=Certify(), description="Certificates")
    exits: Exits = Field(default=Exits(), description="Exit rules")
    pretrain: Pretrain = Field(default=Pretrain(), description="Base model")
    card: Card = Field(default=Card(), description="Model card")
    resources: Resources = Field(default=Resources(), description="Resources")

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        for name in self.datasets:
            if name not in self.catalogue:
                raise ValueError(
                    f"datasets: {name!r} is not in the catalogue; known: {', '.join(sorted(self.catalogue))}{_hint(name, self.catalogue)}"
                )
        for name in self.catalogue:
            if name not in TASK_NAMES:
                raise ValueError(f"catalogue: unknown dataset {name!r}; known: {', '.join(TASK_NAMES)}{_hint(name, TASK_NAMES)}")
        for length in self.seq_lens:
            if length % self.decode.block_length:
                raise ValueError(f"seq_lens: {length} is not divisible into blocks of decode.block_length = {self.decode.block_length}")
            steps = total_steps(length, self.decode.tokens_per_step)
            if steps % (length // self.decode.block_length):
                raise ValueError(
                    f"seq_lens: {length} tokens at decode.tokens_per_step = {self.decode.tokens_per_step} give "
                    f"{steps} steps, which do not divide over {length // self.decode.block_length} blocks"
                )
        touched = self.trace.remask_tokens * self.trace.refine_steps
        if self.trace.refine_policy == "remask" and touched + 2 > min(self.seq_lens):
            raise ValueError(
                f"trace.remask_tokens * trace.refine_steps = {touched} leaves fewer than two of {min(self.seq_lens)} tokens visible "
                "throughout the refine phase; lower one of them"
            )
        if self.certify.window == "refine" and (self.trace.refine_policy == "none" or not self.trace.refine_steps):
            raise ValueError("certify.window: refine needs refine steps; set certify.window: tail or trace.refine_steps > 0")
        return self


def load_study(raw: dict[str, Any]) -> Study:
    """Validate a merged config.

    Raises:
        ValueError: One line per problem: the key, the value, what was expected, and the nearest known key.
    """
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        raise ValueError("config:\n" + "\n".join(f"  {_explain(problem)}" for problem in error.errors())) from None


def load_yaml(path: str | Path) -> Study:
    """Read and validate a config file."""
    import yaml

    return load_study(yaml.safe_load(Path(path).read_text()))


def _explain(problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        known = _known_keys(problem["loc"][:-1])
        return f"{'.'.join(location)}: unknown key{_hint(location[-1], known)} Known keys here: {', '.join(known)}."
    message = problem["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(problem["input"], dict) else f" (got {problem['input']!r})"
    return f"{'.'.join(location) + ': ' if location else ''}{message}{shown}"


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """Keys of the section at a location of the config."""
    section: Any = Study
    for part in location:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[part].annotation
        elif get_origin(section) is dict:
            section = get_args(section)[-1]
    return sorted(section.model_fields) if isinstance(section, type) and issubclass(section, BaseModel) else []


def _hint(name: str, known: Any) -> str:
    nearest = get_close_matches(name, list(known), n=1)
    return f". Did you mean {nearest[0]!r}?" if nearest else "."
