"""Section about the interpretability branch.

What a small model learns, checkpoint by checkpoint (method.md section 9).
"""

from typing import Any, Literal

from pydantic import Field, model_validator

from tracedlm.config.section import Positive, Section, Share
from tracedlm.corpora.grammar import frame_grammar
from tracedlm.corpora.lexicon import zipfian_lexicon
from tracedlm.theory.schedule import checkpoint_steps

RunName = Literal["causal", "masked"]
MetricName = Literal["probes", "dimension", "curvature", "outputs", "gradients"]


class Dynamics(Section):
    """Training dynamics of a small model on a corpus with gold labels.

    `(paper: ..)` is the toolkit of docs/audit.md, section 9.
    """

    enabled: bool = Field(default=True, description="Run the branch")
    runs: tuple[RunName, ...] = Field(
        default=("causal", "masked"),
        min_length=1,
        description="A causal decoder (the toolkit's experiment), a masked diffusion model",
    )
    seeds: Positive = Field(
        default=3, description="Trainings of each, from `seed` on; the corpus is the same"
    )
    corpus_file: str | None = Field(
        default=None,
        description=(
            "A corpus in ABSynth's JSON format in place of a drawn one; floors and ceilings are"
            " then unknown"
        ),
    )
    sentences: Positive = Field(default=4000, description="Sentences drawn (paper: 25,000)")
    types: Positive = Field(
        default=200, description="Words of the lexicon (paper: a vocabulary of 7,910)"
    )
    exponent: float = Field(
        default=1.05, ge=0, description="Exponent of Zipf's law within each word class"
    )
    frames: dict[str, float] = Field(
        default={},
        description="Shares of semantic frames, for all that shall occur; empty: the grammar's",
    )
    held_out: Share = Field(
        default=0.15, description="Share of different sentences kept from training"
    )
    hidden: Positive = Field(default=48, description="Width (the toolkit's notebook: 96)")
    layers: Positive = Field(default=2, description="Transformer blocks")
    heads: Positive = Field(default=3, description="Attention heads")
    feed_forward: Positive = Field(default=192, description="Width of the feed-forward layers")
    steps: Positive = Field(default=750, description="Optimiser steps")
    batch_size: Positive = Field(default=64, description="Sentences per step (paper: 128)")
    learning_rate: float = Field(
        default=3e-3, gt=0, description="AdamW learning rate after warm-up, constant (paper: 1e-3)"
    )
    warmup: int = Field(
        default=20, ge=0, description="Steps in which the learning rate rises from zero"
    )
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW weight decay")
    interval: Positive = Field(
        default=250,
        description=(
            "Steps between checkpoints, with step 0 and the powers of `spacing` before the first"
            " (paper: 500)"
        ),
    )
    spacing: int = Field(
        default=5, ge=2, description="Ratio of successive checkpoints before `interval`"
    )
    metrics: tuple[MetricName, ...] = Field(
        default=("outputs", "probes", "dimension", "curvature", "gradients"),
        description="What is measured of every checkpoint",
    )
    checkpoints_per_job: Positive = Field(
        default=100,
        description=(
            "Checkpoints of one run measured by one job, for each metric; 1: every one a job of"
            " its own"
        ),
    )
    evaluation: Positive = Field(
        default=300,
        description="Held-out sentences, all different, that a checkpoint is measured on",
    )
    curvature_sentences: Positive = Field(
        default=64,
        description="Sentences of each of the two batches of the Hessian and the gradients",
    )
    sft_examples: Positive = Field(
        default=2,
        description=(
            "Examples of each of the two batches that snapshots of fine-tuning are measured on"
            " (`sft.snapshot_every`)"
        ),
    )
    mask_ratios: tuple[Share, ...] = Field(
        default=(0.15, 0.5, 0.85),
        min_length=1,
        description="Mask ratios that a masked model is measured at; hidden states are their mean",
    )
    probe_seeds: int = Field(default=3, ge=2, description="Splits that each probe is trained on")
    patience: Positive = Field(
        default=2,
        description="Checkpoints without change after which the early-stopping rule stops",
    )
    tolerance: float = Field(
        default=0.02,
        gt=0,
        description="Change of its quantity, relative to the largest so far, that counts as none",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Dynamics":
        if self.hidden % (2 * self.heads):
            raise ValueError(
                f"hidden = {self.hidden} does not divide into {self.heads} heads of an even width;"
                f" use a multiple of {2 * self.heads}"
            )
        if not self.corpus_file:
            zipfian_lexicon(frame_grammar(self.frames), self.types, self.exponent)
        if not all(self.mask_ratios):
            raise ValueError("mask_ratios: at ratio 0 nothing is predicted; use ratios above 0")
        return self

    def checkpoints(self) -> list[int]:
        """Optimiser steps of which a checkpoint is kept."""
        return checkpoint_steps(self.steps, self.interval, self.spacing)

    def jobs(self, seed: int) -> list[list[tuple[int, int]]]:
        """Checkpoints of a run as (seed, step), divided into jobs."""
        every = [
            (seed + number, step) for number in range(self.seeds) for step in self.checkpoints()
        ]
        return [
            every[start : start + self.checkpoints_per_job]
            for start in range(0, len(every), self.checkpoints_per_job)
        ]

    def corpus(self) -> dict[str, Any]:
        """Keys that decide the corpus."""
        return self.model_dump(
            include={"corpus_file", "sentences", "types", "exponent", "frames", "held_out"}
        )

    def training(self) -> dict[str, Any]:
        """Keys that decide the trainings, the corpus' among them."""
        sizes = {"hidden", "layers", "heads", "feed_forward"}
        course = {
            "steps",
            "batch_size",
            "learning_rate",
            "warmup",
            "weight_decay",
            "interval",
            "spacing",
        }
        return self.corpus() | self.model_dump(include=sizes | course)

    def measuring(self) -> dict[str, Any]:
        """Keys that decide the measures of a checkpoint, those of its training among them."""
        return self.training() | self.model_dump(
            include={"evaluation", "curvature_sentences", "mask_ratios", "probe_seeds"}
        )
