"""Sections about maps, readouts, certificates and what else is measured."""

from typing import Literal

from pydantic import Field

from tracedlm.config.section import Positive, Section, Temperature


class Rrm(Section):
    """The map that readouts and exit rules use."""

    source: str = Field(
        default="moments",
        description=(
            "`moments` of the study's own fine-tuning; or a path, relative to the repository:"
            " somebody else's moments, a folder of optimiser checkpoints or adapter snapshots, an"
            " adapter, or finished maps; placement and bias correction apply where it holds moments"
        ),
    )
    reduction: Literal["row_energy", "row_mean"] = Field(
        default="row_energy",
        description=(
            "How rows of the mean update become the map (TRACE Eq. 4, or EDIT Table 4's other one)"
        ),
    )
    placement: Literal["outside", "inside"] = Field(
        default="outside", description="eps outside the square root (AdamW) or inside (TRACE Eq. 2)"
    )
    bias_corrected: bool = Field(
        default=False, description="Use bias-corrected moments (TRACE App. D)"
    )
    layer: int = Field(default=-1, description="Transformer block, negative counts from the end")
    activation: Literal["projection", "lora_delta"] = Field(
        default="projection",
        description=(
            "Activation compared with the map: whole projection (TRACE) or the LoRA-B output alone"
            " (EDIT)"
        ),
    )


class ReadoutSettings(Section):
    """How similarities become alignment distributions (TRACE Eq. 6)."""

    tau: float = Field(default=1.0, gt=0, description="Readout temperature tau_blk")
    visible: Literal["block", "response"] = Field(
        default="response",
        description="Tokens the softmax runs over: visible ones of the block, or of the response",
    )


class Certify(Section):
    """Certificates and their grid (TRACE sections 4.3 to 4.6, App. B, C and G).

    Defaults are the paper's settings.
    """

    window: Literal["refine", "tail"] = Field(
        default="refine",
        description="Late window: the refine steps, or the last steps of denoising",
    )
    late_window: Positive = Field(default=24, description="Steps L of the late window (TRACE: 24)")
    deltas: tuple[float, ...] = Field(
        default=(1e-6, 3e-6, 1e-5), min_length=1, description="KL thresholds of the grid, nats"
    )
    omegas: tuple[Positive, ...] = Field(
        default=(1, 2, 3, 4), min_length=1, description="Window lengths of the grid, steps"
    )
    taus: tuple[Temperature, ...] = Field(
        default=(1.0, 0.75, 0.5, 0.35),
        description=(
            "Temperatures of the grid, from similarities; that of `readout.tau` is always in it"
        ),
    )
    gammas: tuple[Temperature, ...] = Field(
        default=(1.25, 1.5, 2.0, 3.0),
        description="Powers of the grid: the RAD to the power gamma, normalised",
    )
    strict_delta: float = Field(
        default=1e-8, gt=0, description="KL threshold of TRACE Table 2, nats"
    )
    strict_omega: Positive = Field(default=1, description="Window length of TRACE Table 2, steps")
    calibrated_tau: float = Field(
        default=0.5, gt=0, description="Temperature of the calibrated certificate (TRACE Table 2)"
    )
    calibrated_gamma: float = Field(
        default=1.5, gt=0, description="Power of the calibrated certificate (TRACE Table 2)"
    )
    fixed_delta: float = Field(
        default=3e-6, gt=0, description="KL threshold of TRACE Table 4, nats"
    )
    fixed_omega: Positive = Field(default=3, description="Window length of TRACE Table 4, steps")
    temperatures: tuple[Temperature, ...] = Field(
        default=(0.5, 1.0, 2.0),
        min_length=1,
        description="Readout temperatures of the sensitivity table and figure (TRACE App. C)",
    )
    beta: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Failure probability that margins are calibrated for (TRACE Cor. B.2)",
    )


class Ablation(Section):
    """Comparison of maps: modules, reductions, variants and tasks.

    EDIT Table 4 and Figure 3, TRACE App. D.
    """

    samples: Positive = Field(
        default=8, description="Validation problems decoded, from the head of the split (EDIT: 100)"
    )
    tasks: tuple[str, ...] = Field(
        default=(),
        description=(
            "Datasets, from the catalogue, to fine-tune on one by one, to compare their maps;"
            " empty: not run"
        ),
    )
    task_runs: Positive = Field(
        default=2,
        description=(
            "Fine-tunings on each of them, with seeds of their own: maps of one task differ too, by"
            " how much is the yardstick"
        ),
    )


class PseudoGradient(Section):
    """Gradients of what a decoding step changed, against those of SFT (EDIT App. G)."""

    samples: int = Field(
        default=4, ge=0, description="Test problems per dataset, at the shortest canvas; 0: not run"
    )


class Explorer(Section):
    """The file in which a reader replays full decoding."""

    samples: Positive = Field(
        default=64,
        description=(
            "Test problems shown, shared evenly by the sets; the file is kept to 5 MB and says"
            " where that leaves out some"
        ),
    )


class Rescore(Section):
    """Released generations that are marked again; only `snakemake rescore` reads this."""

    folder: str | None = Field(
        default=None,
        description=(
            "Folder with `<dataset>/seq<length>` in EDIT's or d1's layout; null: there is no rule"
            " `rescore`"
        ),
    )
    settings: str | None = Field(
        default=None,
        description=(
            "Folder with EDIT's `EDIT_<dataset>_seq<length>.json`: also says what its schedules"
            " save alone"
        ),
    )
