"""Names of what the report consists of, apart from the code that makes it: the Snakefile reads them at every parse."""

TABLES = (
    "efficiency",
    "accuracy",
    "exit_rules",
    "certified_coverage",
    "projection_ablation",
    "certificate_grid",
    "certificate_ladder",
    "profiles",
    "storage",
)
"""Tables that two runs of one study give byte for byte."""

TIMED_TABLES = ("latency",)
"""Tables of wall times, which no two runs share."""

FIGURES = ("stability", "similarity", "pareto", "gradients")
