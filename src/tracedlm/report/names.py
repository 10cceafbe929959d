"""Names of what the report consists of, apart from the code that makes it: the Snakefile reads them at every parse."""

from collections.abc import Iterable

TABLES = (
    "efficiency",
    "accuracy",
    "exit_rules",
    "equal_cost",
    "equal_cost_pooled",
    "parallelism",
    "hyperparameters",
    "transfer",
    "risk_control",
    "flip_audit",
    "freezing",
    "template_sensitivity",
    "template_flips",
    "subdomains",
    "certified_coverage",
    "projection_ablation",
    "certificate_grid",
    "certificate_ladder",
    "forward_certificates",
    "observables",
    "profiles",
    "temperature",
    "storage",
    "module_ablation",
    "map_similarity",
    "bias_correction",
    "noise",
    "pseudo_gradients",
)
"""Tables that two runs of one study give byte for byte."""

TIMED_TABLES = ("latency", "step_time")
"""Tables of wall times, which no two runs share."""

COST_TABLES = ("stage_costs", "disk_use")
"""What the study took; made last, with the page."""

DYNAMICS_TABLES = ("dynamics_claims", "dynamics_stopping", "dynamics_cost")
"""Of the branch on training dynamics, which a study may leave out; the last one holds times."""

SFT_DYNAMICS = "dynamics_sft"
"""Table and figure of fine-tuning's snapshots, which a study need not keep."""

FIGURES = ("stability", "similarity", "temperature", "pareto", "gradients", "maps", "map_similarity", "update_magnitude")


def pseudo_gradient_figures(datasets: Iterable[str], samples: int) -> dict[str, str]:
    """Name of the figure of each dataset's pseudo-gradients; none where no sample is replayed."""
    return {dataset: f"pseudo_gradient_{dataset}" for dataset in datasets} if samples else {}
