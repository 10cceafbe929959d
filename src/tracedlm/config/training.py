"""Sections about models, data and training."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from tracedlm.config.section import Positive, Section, Share
from tracedlm.theory.schedule import checkpoint_steps


class Model(Section):
    """The denoiser."""

    path: str = Field(
        default="resources/base",
        description=(
            "Folder or hub id of a LLaDA, a Dream, or a bidirectional llama, qwen2, qwen3,"
            " modernbert or eurobert; relative to the repository"
        ),
    )
    adapter: str | None = Field(
        default=None,
        description=(
            "Folder of a PEFT LoRA adapter to decode with in place of fine-tuning one; `rrm.source`"
            " then says where its map comes from; relative to the repository"
        ),
    )
    dtype: Literal["float32", "bfloat16"] = Field(
        default="float32", description="Precision of weights and activations"
    )
    device: str = Field(
        default="auto",
        description="`auto` (the accelerator where there is one), or a torch device name",
    )
    allow_remote_code: bool = Field(
        default=False,
        description=(
            "Run the code that a checkpoint of another architecture brings along; only if you trust"
            " its authors"
        ),
    )


class Dataset(Section):
    """Where a task's problems come from and how many are used."""

    test: str | None = Field(
        default=None,
        description=(
            "Test file in the published format, relative to the repository; null: drawn, where"
            " problems can be"
        ),
    )
    train: str | None = Field(
        default=None,
        description=(
            "Training file of a task whose problems are not drawn; a fifth of it, by hash, is"
            " validation"
        ),
    )
    test_samples: Positive = Field(
        default=64, description="Problems taken from the head of the test file (TRACE: 64)"
    )
    validation_samples: Positive = Field(
        default=32, description="Problems of the validation split, for choosing settings"
    )
    train_samples: Positive = Field(
        default=512, description="Problems with worked solutions for SFT"
    )
    difficulty: int | None = Field(
        default=None, ge=1, le=3, description="Of what wordmath and algebra draw; null: 2"
    )
    prompt_template: str | None = Field(
        default=None,
        description=(
            "Text file with `{question}` in it that replaces the prompt; null: resources/prompts,"
            " or one line"
        ),
    )


class Sft(Section):
    """LoRA fine-tuning with moment logging."""

    datasets: tuple[str, ...] = Field(
        default=(),
        description="Datasets to train on, from the catalogue; empty: those of the study",
    )
    rank: Positive = Field(default=8, description="LoRA rank r (papers: 128)")
    alpha: Positive = Field(default=16, description="LoRA alpha (papers: 256)")
    dropout: Share = Field(default=0.05, description="LoRA dropout")
    learning_rate: float = Field(
        default=1e-4, gt=0, description="AdamW learning rate, constant (papers: 1e-5)"
    )
    weight_decay: float = Field(default=0.1, ge=0, description="AdamW weight decay")
    clip: float = Field(default=1.0, gt=0, description="Gradient norm clip")
    optimizer: Literal["adamw_torch", "adamw_torch_fused"] = Field(
        default="adamw_torch", description="AdamW in full precision: maps are made of its moments"
    )
    steps: Positive = Field(default=120, description="Optimiser steps K")
    epochs: float | None = Field(
        default=None, gt=0, description="Passes over the examples in place of `steps` (papers: 2)"
    )
    batch_size: Positive = Field(default=16, description="Examples per step, over all processes")
    micro_batch: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Examples per forward of a process, the others of a step accumulated; null: its whole"
            " share"
        ),
    )
    canvas: Positive = Field(
        default=128, description="Response tokens a worked solution is written for and padded to"
    )
    max_length: int | None = Field(
        default=None,
        ge=64,
        description=(
            "Tokens of prompt and response together, what is longer is cut (papers: 4096)."
            " Responses then keep their length, batches are made of similar ones and padded to"
            " their longest; null: all are padded to `canvas`"
        ),
    )
    label_noise: Share = Field(
        default=0.0,
        description="Share of training problems that are given another problem's response",
    )
    precision: Literal["float32", "bfloat16"] = Field(
        default="float32",
        description=(
            "Precision of frozen weights, forwards and backwards; `model.dtype` is that of decoding"
        ),
    )
    fp32_moments: bool = Field(
        default=True,
        description=(
            "With `bfloat16`: keep LoRA weights, gradients and moments in float32 (autocast)"
        ),
    )
    gradient_checkpointing: bool = Field(
        default=False,
        description="Recompute activations in the backward pass: less memory, more time",
    )
    processes: Positive = Field(
        default=1,
        description=(
            "Training processes on this machine, one accelerator each (on a CPU, its cores)"
        ),
    )
    shard: bool = Field(
        default=False,
        description="Divide the weights among the processes (FSDP2) instead of copying them (DDP)",
    )
    checkpoint_every: Positive = Field(
        default=40, description="Optimiser steps between resumable checkpoints"
    )
    snapshot_every: int | None = Field(
        default=None,
        ge=1,
        description=(
            "Optimiser steps between snapshots of adapter and moments that are kept and measured"
            " (`dynamics_sft`), with step 0 and the powers of 10 before the first; null: none"
        ),
    )
    report_to: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(
        default=(),
        description=(
            "Trackers that watch the training, each a package to install; their files go to"
            " sft/runs; empty: none"
        ),
    )

    def snapshots(self, steps: int) -> list[int]:
        """Optimiser steps of a run of `steps` after which a snapshot is kept."""
        return checkpoint_steps(steps, self.snapshot_every, ratio=10) if self.snapshot_every else []

    @field_validator("optimizer", mode="before")
    @classmethod
    def _keeps_moments(cls, name: Any) -> Any:
        if "8bit" in str(name):
            raise ValueError(
                f"{name} keeps its moments in 8 bits, too coarse for the maps made of them; use"
                " adamw_torch"
            )
        return name

    @model_validator(mode="after")
    def _divides(self) -> "Sft":
        share = self.processes * (self.micro_batch or 1)
        if self.batch_size % share:
            raise ValueError(
                f"batch_size = {self.batch_size} does not divide into {self.processes} processes of"
                f" {self.micro_batch or 1} examples a forward; use a multiple of {share}"
            )
        if not self.fp32_moments and self.precision == "float32":
            raise ValueError("fp32_moments: false needs precision: bfloat16")
        if self.shard and self.processes == 1:
            raise ValueError("shard: true divides the weights among processes; set processes > 1")
        return self


class Noise(Section):
    """How robust maps and exits are to noisy training: SFT again with corrupted labels."""

    shares: tuple[Annotated[float, Field(gt=0, le=1)], ...] = Field(
        default=(),
        description=(
            "Shares of training problems given another problem's response, one SFT each; empty:"
            " not run"
        ),
    )
    samples: Positive = Field(
        default=8,
        description=(
            "Test problems per dataset, decoded with each run's model and map at the shortest"
            " canvas"
        ),
    )


class Pretrain(Section):
    """How the shipped base model is trained; only `snakemake base_model` reads this."""

    REPEATING: ClassVar[frozenset[str]] = frozenset({"canvases"})

    start: str | None = Field(
        default=None,
        description=(
            "Checkpoint to train further, with the tokenizer of these tasks; the sizes of the"
            " blocks are then its own"
        ),
    )
    hidden: Positive = Field(default=192, description="Model width")
    layers: Positive = Field(default=6, description="Transformer blocks")
    heads: Positive = Field(default=4, description="Attention heads")
    feed_forward: Positive = Field(default=416, description="Width of the feed-forward layers")
    vocabulary: Positive = Field(default=512, description="Tokens of the tokenizer")
    steps: Positive = Field(default=7400, description="Optimiser steps")
    warmup: Share = Field(
        default=0.02, description="Share of steps in which the learning rate rises"
    )
    decay: Share = Field(
        default=0.6,
        description="Share of steps, the last ones, in which the learning rate falls to zero",
    )
    learning_rate: float = Field(
        default=4e-3, gt=0, description="Peak Muon and AdamW learning rate"
    )
    weight_decay: float = Field(default=0.05, ge=0, description="AdamW weight decay")
    batch_tokens: Positive = Field(default=6144, description="Canvas tokens per step")
    canvases: tuple[Positive, ...] = Field(
        default=(128, 192, 256, 128, 256, 512), description="Canvas lengths, one per step in turn"
    )
    block_length: Positive = Field(
        default=32, description="Block length of the noise that imitates decoding"
    )
    task_weights: dict[str, float] = Field(
        default={"countdown": 3.0, "wordmath": 1.5, "algebra": 1.5},
        description="Weights by which tasks are drawn; 1 where not named",
    )
    block_share: Share = Field(
        default=0.7,
        description=(
            "Share of samples noised as decoding sees them; the others are masked uniformly"
        ),
    )
    checkpoint_every: Positive = Field(
        default=250, description="Optimiser steps between resumable checkpoints"
    )


class Card(Section):
    """Measurements for the base model's card.

    Only `snakemake results/base/card.json` reads this.
    """

    samples: Positive = Field(
        default=256, description="Problems per dataset, from the head of its test file"
    )
