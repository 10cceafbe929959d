"""Table of the area under each rule's accuracy-parallelism curve.

Against `truncate` between the same limits.
"""

from dataclasses import dataclass

import numpy as np

from tracedlm.report.evidence import Evidence, ResultSet
from tracedlm.report.layout import Column, Row, Spec, shows, text, with_interval
from tracedlm.report.tables.equal_cost import BASELINES, EQUAL_FORWARDS, difference
from tracedlm.report.tables.exits import SET, sizes
from tracedlm.theory.parallelism import area_weights

Limits = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """All runs of a rule on one set.

    Attributes:
        parallelism: [runs] canvas tokens per forward, from sums over samples.
        correct: bool [runs, samples].
        reason: Why these points make no curve; empty where they do.
    """

    parallelism: np.ndarray
    correct: np.ndarray
    reason: str

    @property
    def limits(self) -> Limits:
        """Smallest and largest parallelism."""
        return float(self.parallelism.min()), float(self.parallelism.max())

    def areas(self, limits: Limits) -> np.ndarray:
        """[samples] area of each sample, whose mean is the area under the curve.

        NaN where the curve does not reach the limits.
        """
        return area_weights(self.parallelism, *limits) @ self.correct


def curves(one: ResultSet) -> dict[str, Curve]:
    """The curve of every rule; full decoding is the last point of truncate's."""
    found = {}
    for rule in dict.fromkeys(run.rule for run in one.runs if run.rule != "full"):
        runs = [run for run in one.runs if run.rule in BASELINES.get(rule, (rule,))]
        forwards = [run.forwards for run in runs]
        flat = max(forwards) - min(forwards) <= EQUAL_FORWARDS
        reason = (
            f"fewer than two distinct points: {len(runs)} run{'s'[: len(runs) > 1]}, at"
            f" {forwards[0]:.1f} forwards"
            if flat
            else ""
        )
        found[rule] = Curve(
            one.seq_len / np.array(forwards), np.array([run.correct for run in runs]), reason
        )
    return found


def parallelism_rows(evidence: Evidence) -> list[Row]:
    """Area under each rule's curve.

    Between its own limits and truncate's, beside truncate there, and between limits common to all.
    """
    rows: list[Row] = []
    for one in evidence.sets:
        found = curves(one)
        common = _shared([curve for curve in found.values() if not curve.reason])
        for rule, curve in found.items():
            where: Row = {
                "dataset": one.dataset,
                "seq_len": one.seq_len,
                "rule": rule,
                "n": curve.correct.shape[1],
            }
            where |= {
                "points": len(curve.parallelism),
                "lowest": curve.limits[0],
                "highest": curve.limits[1],
            }
            rows.append({**where, **_areas(rule, found, common, evidence.seed)})
    return rows


def _areas(rule: str, found: dict[str, Curve], common: Limits | None, seed: int) -> Row:
    fields = (
        "low",
        "high",
        "area",
        "truncate_area",
        "difference",
        "difference_low",
        "difference_high",
        "random_area",
    )
    empty: Row = dict.fromkeys((*fields, "common_low", "common_high", "common_area"))
    curve, truncate, random = found[rule], found.get("truncate"), found.get("random")
    if curve.reason:
        return {**empty, "reason": curve.reason}
    compared = rule != "truncate" and truncate is not None and not truncate.reason
    limits = _shared([curve, truncate]) if compared and truncate else curve.limits
    if limits is None:
        return {**empty, "reason": "its parallelism and truncate's do not overlap"}
    row: Row = {
        **empty,
        "low": limits[0],
        "high": limits[1],
        "area": float(curve.areas(limits).mean()),
    }
    if compared and truncate:
        row["truncate_area"] = float(truncate.areas(limits).mean())
        row |= dict(
            zip(
                fields[4:7],
                difference(curve.areas(limits), truncate.areas(limits), seed),
                strict=True,
            )
        )
    if random and rule != "random":
        row["random_area"] = _defined(random.areas(limits).mean())
    if common:
        row |= {
            "common_low": common[0],
            "common_high": common[1],
            "common_area": float(curve.areas(common).mean()),
        }
    missing = ["no truncate curve"] if rule != "truncate" and not compared else []
    missing += (
        ["random does not reach these limits"]
        if random and rule != "random" and row["random_area"] is None
        else []
    )
    missing += [] if common else ["no range of parallelism is common to all curves"]
    return {**row, "reason": "; ".join(missing)}


def _shared(curves: list[Curve]) -> Limits | None:
    """Limits between which all curves have points around them; None where there are none."""
    low = max((curve.limits[0] for curve in curves), default=0.0)
    high = min((curve.limits[1] for curve in curves), default=0.0)
    return (low, high) if low < high else None


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _caption(rows: list[Row]) -> str:
    return (
        "Area under the accuracy-parallelism curve of every rule with runs at two or more costs:"
        " mean accuracy (percent solved) over the logarithm of canvas tokens per forward, by the"
        " trapezoid rule between the limits that the rule and truncate share, and truncate's own"
        " area there; nothing is extrapolated. Brackets: 95 % paired bootstrap over samples,"
        " forwards taken as measured. Common: between the limits shared by all curves of the set."
        " Settings are points of a curve whether chosen on validation or not. Not d3LLM's AUP,"
        f" which adds the rectangle below the first point and weights accuracies. n = {sizes(rows)}"
        f" a set.{_left_out(rows)}"
    )


def _left_out(rows: list[Row]) -> str:
    drawn = {row["rule"] for row in rows if row["area"] is not None}
    run = dict.fromkeys(str(row["rule"]) for row in rows)
    rules = [rule for rule in run if rule not in drawn]
    return (
        " Without a curve, each run at one cost only or out of truncate's reach:"
        f" {', '.join(rules)}."
        if rules
        else ""
    )


PARALLELISM = Spec(
    "parallelism",
    "Accuracy under parallelism",
    _caption,
    parallelism_rows,
    (
        *SET,
        Column("rule", text("rule"), numeric=False),
        Column("points", shows("points", "count")),
        Column("tokens/forward from", shows("low", "two")),
        Column("to", shows("high", "two")),
        Column("area", shows("area", "percent")),
        Column("truncate", shows("truncate_area", "percent")),
        Column(
            "less truncate",
            with_interval("difference", "difference_low", "difference_high", "points"),
        ),
        Column("random", shows("random_area", "percent")),
        Column("common area", shows("common_area", "percent")),
    ),
    shown=lambda row: row["area"] is not None,
)
