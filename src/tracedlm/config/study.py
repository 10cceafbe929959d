"""A whole study.

Its sections, how they fit together, and one clear message for each mistake.
"""

from difflib import get_close_matches
from pathlib import Path
from reprlib import Repr
from typing import Any, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError, model_validator

from tracedlm.config.analysis import (
    Ablation,
    Certify,
    Explorer,
    PseudoGradient,
    ReadoutSettings,
    Rescore,
    Rrm,
)
from tracedlm.config.decoding import Decode, Exits, FlipAudit, Risk, Trace, merged
from tracedlm.config.dynamics import Dynamics
from tracedlm.config.evaluation import Evaluation
from tracedlm.config.section import Positive, Readout, Section
from tracedlm.config.training import Card, Dataset, Model, Noise, Pretrain, Sft
from tracedlm.decode.plan import Plan
from tracedlm.decode.settings import settings_of
from tracedlm.tasks.names import GRADED, TASK_NAMES, TRAINING_ONLY
from tracedlm.theory.schedule import total_steps

MOST_VALUES = 100_000
"""Of a config: a few hundred are usual."""

BRIEFLY = Repr()
BRIEFLY.maxstring = BRIEFLY.maxother = 100


class Resources(Section):
    """What a job may use."""

    threads: Positive = Field(default=1, description="Threads of a rule that runs a model")
    mem_mb: Positive = Field(
        default=4000,
        description="Main memory of a rule that runs a model, MB; a retry asks for as much again",
    )
    runtime: Positive = Field(
        default=240,
        description=(
            "Wall time of a rule that runs a model, minutes; a retry asks for as much again"
        ),
    )


class Study(Section):
    """A whole study: everything that decides its results."""

    study: str = Field(
        description="Name; results go to results/<study>", pattern=r"^[A-Za-z0-9_-]+$"
    )
    seed: int = Field(default=0, ge=0, description="Seed of every random choice")
    datasets: tuple[str, ...] = Field(
        min_length=1, description="Datasets to run, from the catalogue"
    )
    seq_lens: tuple[Positive, ...] = Field(min_length=1, description="Canvas lengths, tokens")
    readouts: tuple[Readout, ...] = Field(
        default=("q", "k", "v", "qkv_mean", "qkv_max"), description="Readouts to certify"
    )
    catalogue: dict[str, Dataset] = Field(
        description="Data of each dataset that may be named in `datasets`"
    )
    model: Model = Field(default=Model(), description="The denoiser")
    sft: Sft = Field(default=Sft(), description="Fine-tuning")
    rrm: Rrm = Field(default=Rrm(), description="Map")
    decode: Decode = Field(default=Decode(), description="Decoding")
    trace: Trace = Field(default=Trace(), description="Trace collection")
    readout: ReadoutSettings = Field(default=ReadoutSettings(), description="Readouts")
    certify: Certify = Field(default=Certify(), description="Certificates")
    exits: Exits = Field(default=Exits(), description="Exit rules")
    evaluation: Evaluation = Field(default=Evaluation(), description="Prompt templates and seeds")
    risk: Risk = Field(default=Risk(), description="Risk-controlled exit")
    flip_audit: FlipAudit = Field(default=FlipAudit(), description="Flip audit")
    ablation: Ablation = Field(default=Ablation(), description="Comparison of maps")
    noise: Noise = Field(default=Noise(), description="Noisy training")
    pseudo_gradient: PseudoGradient = Field(
        default=PseudoGradient(), description="Pseudo-gradients"
    )
    dynamics: Dynamics = Field(default=Dynamics(), description="Training dynamics")
    pretrain: Pretrain = Field(default=Pretrain(), description="Base model")
    card: Card = Field(default=Card(), description="Model card")
    explorer: Explorer = Field(default=Explorer(), description="Denoising explorer")
    rescore: Rescore = Field(default=Rescore(), description="Others' generations")
    resources: Resources = Field(default=Resources(), description="Resources")

    @model_validator(mode="after")
    def _consistent(self) -> "Study":
        self._check_datasets()
        for length in self.seq_lens:
            self._check_length(length)
        for dataset in self.datasets:
            for length in self.seq_lens:
                self._check_exit_blocks(dataset, length)
        for name in self.risk.rules:
            base = self.exits.settings(name)
            for settings in self.risk.candidates(name, base, steps=min(self.seq_lens)):
                settings_of(name, **settings)
        self._check_late_window()
        return self

    def _check_datasets(self) -> None:
        """Raise a ValueError where a named dataset cannot play the part it is given."""
        choices = {
            "datasets": self.datasets,
            "sft.datasets": self.sft.datasets,
            "ablation.tasks": self.ablation.tasks,
        }
        for key, names in choices.items():
            for name in names:
                if name not in self.catalogue:
                    raise ValueError(
                        f"{key}: {name!r} is not in the catalogue; known:"
                        f" {', '.join(sorted(self.catalogue))}{_hint(name, self.catalogue)}"
                    )
        for name, entry in self.catalogue.items():
            if name not in TASK_NAMES:
                raise ValueError(
                    f"catalogue: unknown dataset {name!r}; known:"
                    f" {', '.join(TASK_NAMES)}{_hint(name, TASK_NAMES)}"
                )
            if entry.difficulty is not None and name not in GRADED:
                raise ValueError(
                    f"catalogue.{name}.difficulty: {name} has none; {' and '.join(GRADED)} have"
                )
            if name in TRAINING_ONLY and name in self.datasets:
                raise ValueError(
                    f"datasets: {name} is for fine-tuning only, nothing scores it; name it in"
                    " sft.datasets"
                )

    def _check_length(self, length: int) -> None:
        """Raise a ValueError where a canvas cannot be cut into blocks of whole steps."""
        block_length = self.decode.block_length
        if length % block_length:
            raise ValueError(
                f"seq_lens: {length} is not divisible into blocks of decode.block_length ="
                f" {block_length}; use multiples of it"
            )
        steps = total_steps(length, self.decode.tokens_per_step)
        blocks = length // block_length
        if steps % blocks:
            raise ValueError(
                f"seq_lens: {length} tokens at decode.tokens_per_step ="
                f" {self.decode.tokens_per_step} give {steps} steps, which do not divide over"
                f" {blocks} blocks; decode.block_length must be a"
                " multiple of decode.tokens_per_step"
            )

    def _check_late_window(self) -> None:
        """Raise a ValueError where certificates would have nothing to look at."""
        touched = self.trace.remask_tokens * self.trace.refine_steps
        # A RAD needs two tokens that no refine step hides.
        if self.trace.refine_policy == "remask" and touched + 2 > min(self.seq_lens):
            raise ValueError(
                f"trace.remask_tokens * trace.refine_steps = {touched} leaves fewer than two of"
                f" {min(self.seq_lens)} tokens visible throughout the refine phase; lower one of"
                " them"
            )
        no_refine_steps = self.trace.refine_policy == "none" or not self.trace.refine_steps
        if self.certify.window == "refine" and no_refine_steps:
            raise ValueError(
                "certify.window: refine needs refine steps; set certify.window: tail or"
                " trace.refine_steps > 0"
            )

    def _check_exit_blocks(self, dataset: str, length: int) -> None:
        """Raise a ValueError where a canvas cannot be cut into the blocks of its exit runs."""
        blocks = self.exits.for_set(dataset, length).block_length
        if blocks is None:
            blocks = self.decode.block_length
        steps = total_steps(length, self.decode.tokens_per_step)
        try:
            Plan(length, blocks, steps, self.decode.schedule)
        except ValueError as error:
            raise ValueError(
                f"exits.block_length, for {dataset} at {length} tokens: {error}"
            ) from None

    @model_validator(mode="after")
    def _needs_no_fine_tuning(self) -> "Study":
        if self.model.adapter is None:
            return self
        if self.rrm.source == "moments":
            raise ValueError(
                "rrm.source: with model.adapter nothing is fine-tuned, so there are no moments;"
                " name where the map comes from: somebody's moments, optimiser checkpoints or"
                " finished maps, or the adapter itself"
            )
        if self.pseudo_gradient.samples:
            raise ValueError(
                "pseudo_gradient.samples: with model.adapter there are no gradients of fine-tuning"
                " to compare with; set it to 0"
            )
        if self.noise.shares:
            raise ValueError(
                "noise.shares: with model.adapter there is no fine-tuning to compare noisy ones"
                " with; leave it empty"
            )
        return self


def load_study(raw: dict[str, Any]) -> Study:
    """Validate a merged config.

    Raises:
        ValueError: One line per problem: the key, the value, what was expected, and the nearest
            known key.
    """
    if _written_out(raw, {}) > MOST_VALUES:
        raise ValueError(
            f"config:\n  more than {MOST_VALUES} values once every YAML alias (*name) is written"
            " out; write fewer"
        )
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        raise ValueError(
            "config:\n" + "\n".join(f"  {_explain(problem)}" for problem in error.errors())
        ) from None


def load_yaml(*paths: str | Path) -> Study:
    """Read and validate config files, each merged into those before it as Snakemake does.

    Mappings merge, lists replace.

    Raises:
        ValueError: One is missing or no YAML, or as `load_study`; the message names the file.
    """
    # PyYAML takes a while to load, and only files need it.
    from tracedlm.config.yaml_file import read_yaml

    raw: Any = {}
    for path in paths:
        read = read_yaml(path)
        raw = merged(raw, read) if isinstance(raw, dict) and isinstance(read, dict) else read
    try:
        return load_study(raw)
    except ValueError as error:
        raise ValueError(f"{', '.join(map(str, paths))}: {error}") from None


def _explain(problem: Any) -> str:
    location = [str(part) for part in problem["loc"]]
    if problem["type"] == "extra_forbidden":
        known = _known_keys(problem["loc"][:-1])
        return (
            f"{'.'.join(location)}: unknown key{_hint(location[-1], known)} Known keys here:"
            f" {', '.join(known)}."
        )
    message = problem["msg"].removeprefix("Value error, ")
    shown = "" if isinstance(problem["input"], dict) else f" (got {BRIEFLY.repr(problem['input'])})"
    return f"{'.'.join(location) + ': ' if location else ''}{message}{shown}"


def _written_out(value: Any, counted: dict[int, float]) -> float:
    """How many values a config holds once every alias is written out.

    Infinitely many where one stands inside itself.
    """
    if not isinstance(value, dict | list):
        return 1
    if id(value) not in counted:
        counted[id(value)] = float("inf")
        counted[id(value)] = 1 + sum(
            _written_out(inner, counted)
            for inner in (value.values() if isinstance(value, dict) else value)
        )
    return counted[id(value)]


def _known_keys(location: tuple[Any, ...]) -> list[str]:
    """Keys of the section at a location of the config."""
    section: Any = Study
    for part in location:
        if isinstance(section, type) and issubclass(section, BaseModel):
            section = section.model_fields[part].annotation
        elif get_origin(section) is dict:
            section = get_args(section)[-1]
    return (
        sorted(section.model_fields)
        if isinstance(section, type) and issubclass(section, BaseModel)
        else []
    )


def _hint(name: str, known: Any) -> str:
    nearest = get_close_matches(name, list(known), n=1)
    return f". Did you mean {nearest[0]!r}?" if nearest else "."
