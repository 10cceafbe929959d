"""Tables of the branch: what stopping early would have saved, and what the measures cost."""

from collections import defaultdict
from typing import Any

import numpy as np

from tracedlm.report.layout import Column, Row, Spec, number, shows, text
from tracedlm.report.tables.dynamics import (
    ROLE_PROBE,
    TEXTS,
    bounded,
    limits_sentence,
    loss_of,
    not_measured,
    number_of,
    of_seeds,
    with_bounds,
)
from tracedlm.report.tables.trajectories import Curve, Trajectories, Which
from tracedlm.theory.early_stopping import mean_interval, plateau

SIGNALS = {
    "selectivity of the role probe": Which("selectivity", ROLE_PROBE, -1),
    "intrinsic dimension of tokens": Which("two_nn", "token", -1),
    "lambda_max": Which("lambda_max", "all", None, "validation"),
}


def stopping_rows(found: Trajectories) -> list[Row]:
    """What a rule that stops where a signal rests would have saved and lost.

    Evaluated on the finished runs.
    """
    rule = found.summary["stopping"]
    limits, rows = limits_sentence(found.limits), []
    for run in found.runs:
        loss = found.curve(run, loss_of(run, found))
        for signal, which in {"held-out loss": loss_of(run, found), **SIGNALS}.items():
            row: Row = {"run": run, "signal": signal, **rule, "limits": limits}
            curve = found.curve(run, which)
            rows.append(row | (_stopped(curve, loss, **rule) if curve and loss else not_measured()))
    return rows


def _stopped(curve: Curve, loss: Curve, tolerance: float, patience: int, warmup: int) -> Row:
    first = sum(step < warmup for step in curve.steps)
    stops = []
    for values in curve.values:
        after_warmup = [number_of(value) for value in values[first:]]
        stops.append(plateau(after_warmup, tolerance, patience))
    at = [(seed, first + index) for seed, index in enumerate(stops) if index is not None]
    if not at:
        return {"n": len(stops), "stopped": 0, "verdict": None, "reason": "the signal never rests"}
    excess = [loss.values[seed, index] - loss.values[seed, -1] for seed, index in at]
    steps = [curve.steps[index] for _, index in at]
    row: Row = {"n": len(stops), "stopped": len(at), "last_step": curve.steps[-1], "reason": ""}
    row |= with_bounds("step", mean_interval(steps)) | with_bounds("excess", mean_interval(excess))
    return row | {"saved": 1 - float(np.mean(steps)) / curve.steps[-1]}


def cost_rows(found: Trajectories) -> list[Row]:
    """CPU seconds of each metric for one checkpoint, and of all together."""
    spent: dict[tuple[str, str], dict[tuple[int, int], float]] = defaultdict(
        lambda: defaultdict(float)
    )
    for row in found.rows:
        for metric in (_job(row), "all"):
            spent[row["run"], metric][row["seed"], row["step"]] += row["seconds"]
    return [
        {
            "run": run,
            "metric": metric,
            "seconds": float(np.mean(list(by.values()))),
            "longest": max(by.values()),
            "n": len(by),
            "reason": "",
        }
        for (run, metric), by in spent.items()
    ]


def _job(row: dict[str, Any]) -> str:
    """The metric, as `dynamics.metrics` names it, that a row belongs to."""
    if row["metric"] == "accuracy":
        return "probes" if "." in row["module"] else "outputs"
    if row["metric"] == "gradient_norm":
        return "curvature" if row["module"] in SCOPES else "gradients"
    return METRIC_OF.get(row["metric"].removesuffix("_low").removesuffix("_high"), "probes")


SCOPES = ("all", "lora")
"""Modules of curvature: which parameters."""


METRIC_OF = {
    **dict.fromkeys(("nll", "entropy", "excess_nll", "ece", "outputs"), "outputs"),
    **dict.fromkeys(("two_nn", "participation_ratio", "components_90", "dimension"), "dimension"),
    **dict.fromkeys(("gradient_cosine", "gradients"), "gradients"),
    **dict.fromkeys(
        (
            "lambda_max",
            "lambda_min",
            "trace",
            "negative_share",
            "negative_mass",
            "loss",
            "curvature",
        ),
        "curvature",
    ),
    **dict.fromkeys(
        ("gradient_curvature", "gradient_alignment", "products", "products_cap"), "curvature"
    ),
}
"""Quantity -> its metric; what is not named is the probes'."""


STOPPING_COLUMNS = (
    Column("run", text("run"), numeric=False, merge=True),
    Column("signal", text("signal"), numeric=False),
    Column(
        "stopped",
        lambda row: f"{number(row.get('stopped'), 'count')} of {number(row.get('n'), 'count')}",
    ),
    Column("step", bounded("step", "count")),
    Column("loss excess, nats", bounded("excess", "three")),
    Column("forwards saved, %", lambda row: number(row.get("saved"), "percent")),
)


COST_COLUMNS = (
    Column("run", text("run"), numeric=False, merge=True),
    Column("metric", text("metric"), numeric=False),
    Column("CPU s a checkpoint", shows("seconds", "two")),
    Column("longest", shows("longest", "two")),
    Column("checkpoints", shows("n", "count")),
)


def _stopping_caption(rows: list[Row]) -> str:
    rule = (
        f"by at most {number(rows[0].get('tolerance'), 'percent')} % of its largest value"
        f" {rows[0].get('patience')} checkpoints in a row"
    )
    return (
        f"Training would stop where, warm-up over, a signal changed {rule}: evaluated on finished"
        " runs, with nothing later than the checkpoint itself. Loss excess: held-out loss there"
        f" less that at the end. {of_seeds(rows)}"
    )


STOPPING = Spec(
    "dynamics_stopping",
    "Stopping early, evaluated offline",
    _stopping_caption,
    stopping_rows,
    STOPPING_COLUMNS,
    texts=TEXTS,
)


COST = Spec(
    "dynamics_cost",
    "What measuring a checkpoint takes",
    lambda _: (
        "Process CPU seconds of each metric, mean over checkpoints: reading it and all forwards,"
        " but not starting Python and reading the corpus."
    ),
    cost_rows,
    COST_COLUMNS,
    texts=TEXTS,
)
