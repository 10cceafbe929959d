"""Tables of certificates: coverage, the ladder of bounds, projections, and the grid.

Counts are samples with a certified late step.
"""

from typing import Any

from tracedlm.report.evidence import Evidence, ResultSet
from tracedlm.report.layout import (
    Column,
    Pivot,
    Row,
    Spec,
    number,
    shows,
    text,
    with_interval,
)
from tracedlm.report.tables import published
from tracedlm.report.tables.exits import SET
from tracedlm.theory.certificate import BOUNDS, required_margin

SOURCE = Column("source", text("source"), numeric=False, merge=True)
TABLE_2, TABLE_4, SELECTED = "TRACE Table 2", "TRACE Table 4", "selected"
"""Pairs (delta, omega): the papers' two, and the one chosen on validation."""
INFEASIBLE = "infeasible: no distribution has the margin that is asked for"
TEXTS = Spec.texts | {"pair", "calibration", "inputs"}


def inputs(one: ResultSet, readout: str, part: str, file: str = "summary.json") -> str:
    """Where in the results folder a row's numbers come from."""
    return f"certify/{one.dataset}/{one.seq_len}/{readout}/{file}: {part}"


def coverage_rows(evidence: Evidence) -> list[Row]:
    """Rank correlation of AC with accuracy, and strict beside calibrated coverage.

    By the papers' rule and by the sound one.
    """
    rows: list[Row] = []
    for result_set in evidence.sets:
        summary = result_set.summaries[evidence.readout]
        association = _association(summary)
        pairs = dict.fromkeys(entry["pair"] for entry in summary["dual"])
        for pair in pairs:
            entries = {}
            for entry in summary["dual"]:
                if entry["pair"] == pair:
                    entries[entry["variant"]] = entry
            rows.append(
                {
                    "source": "ours",
                    "dataset": result_set.dataset,
                    "seq_len": result_set.seq_len,
                    "readout": evidence.readout,
                    "n": summary["n"],
                    **association,
                    "inputs": inputs(result_set, evidence.readout, "spearman, dual"),
                    "pair": pair,
                    "delta": entries["strict"]["delta"],
                    "omega": entries["strict"]["omega"],
                    **_variants(entries),
                }
            )
    datasets = dict.fromkeys(one.dataset for one in evidence.sets if one.seq_len == 128)
    rows += [_published(dataset) for dataset in datasets if dataset in published.TRACE_COVERAGE]
    return rows


def _association(summary: dict[str, Any]) -> Row:
    """Rank correlation of AC with accuracy, and why some samples are not in it."""
    rho = summary["spearman"]
    window = summary["window"]
    reasons = []
    if rho["reason"]:
        reasons.append(f"rho: {_side(rho['reason'])}")
    if rho["dropped"]:
        reasons.append(f"{rho['dropped']} without AC")
    if window["reason"]:
        reasons.append(window["reason"])
    return {
        "rho": rho["rho"],
        "rho_low": rho["low"],
        "rho_high": rho["high"],
        "rho_n": rho["n"],
        "excluded": rho["dropped"],
        "degenerate_resamples": rho["degenerate"],
        "window_undefined": window["undefined"],
        "reason": "; ".join(reasons),
    }


def _published(dataset: str) -> Row:
    """A dataset's row of TRACE Table 2."""
    rho, low, high, strict, calibrated = published.TRACE_COVERAGE[dataset]
    return {
        "source": published.SOURCE,
        "dataset": dataset,
        "seq_len": 128,
        "readout": "q",
        "n": 64,
        "pair": TABLE_2,
        "delta": 1e-8,
        "omega": 1,
        "strict_tau": 1.0,
        "tau_tau": 0.5,
        "rho": rho,
        "rho_low": low,
        "rho_high": high,
        "strict_paper": strict,
        "tau_paper": calibrated,
        "reason": "the sound rule and powers are not published",
        "inputs": "TRACE Table 2",
    }


def _variants(entries: dict[str, Any]) -> Row:
    """Coverage of each variant by the papers' rule and the sound one, with counts and intervals."""
    row: Row = {}
    for variant, entry in entries.items():
        row[f"{variant}_tau"] = entry["tau"]
        row[f"{variant}_gamma"] = entry["gamma"]
        for bound in ("paper", "pinsker"):
            coverage = entry["coverage"][bound]
            row[f"{variant}_{bound}_certified"] = coverage["certified"]
            row[f"{variant}_{bound}"] = coverage["share"]
            row[f"{variant}_{bound}_low"] = coverage["low"]
            row[f"{variant}_{bound}_high"] = coverage["high"]
    return row


def ladder_rows(evidence: Evidence) -> list[Row]:
    """The five bounds side by side, strict, at the papers' pairs and at the selected one.

    What no distribution could pass is named.
    """
    rows: list[Row] = []
    for one in evidence.sets:
        summary = one.summaries[evidence.readout]
        for entry in (entry for entry in summary["dual"] if entry["variant"] == "strict"):
            where: Row = {
                "dataset": one.dataset,
                "seq_len": one.seq_len,
                "readout": evidence.readout,
                "pair": entry["pair"],
            }
            where |= {
                "delta": entry["delta"],
                "omega": entry["omega"],
                "required_margin": required_margin(entry["delta"], entry["omega"]),
            }
            where |= {
                "median_margin": summary["profile"]["margin"]["median"],
                "excluded": 0,
                "undefined": summary["window"]["undefined"],
            }
            where |= {
                "validation_coverage": (
                    evidence.selection["coverage"] if entry["pair"] == SELECTED else None
                )
            }
            where |= {"inputs": inputs(one, evidence.readout, f"dual, {entry['pair']}, strict")}
            for bound in BOUNDS:
                mark, why = (
                    ("infeasible", INFEASIBLE)
                    if is_infeasible(entry, bound)
                    else ("", summary["window"]["reason"])
                )
                rows.append(
                    {
                        **where,
                        "bound": bound,
                        **share_of(entry["coverage"][bound]),
                        "mark": mark,
                        "reason": why,
                    }
                )
    return rows


def is_infeasible(setting: dict[str, Any], bound: str) -> bool:
    """Whether a bound asks for a margin that no distribution has."""
    return not setting["feasible"] and bound in ("paper", "pinsker")


def share_of(coverage: dict[str, Any]) -> Row:
    """The fields of a share with its interval."""
    return {key: coverage[key] for key in ("certified", "n", "share", "low", "high")}


def _side(reason: str) -> str:
    """`spearman`'s reason in words: x is AC, y the score."""
    return {
        "x constant": "AC is the same for every sample",
        "y constant": "every sample has the same score",
    }.get(reason, reason)


def pair_of(row: Row) -> str:
    """`(delta, omega)` as a table shows it."""
    return f"({number(row['delta'], 'setting')}, {row['omega']})"


def _coverage_caption(rows: list[Row]) -> str:
    first = rows[0]
    printed = (
        " Published: TRACE Table 2, LLaDA-8B, n = 64."
        if any(row["source"] != "ours" for row in rows)
        else ""
    )
    return (
        "Rank correlation of alignment concentration and accuracy (Sudoku: of its cells) with 95 %"
        " bootstrap interval, in which a resample without one counts as -1 below and as 1 above,"
        " and samples certified at TRACE's pairs (delta, omega), percent, readout"
        f" {first['readout']}: strict (tau = {number(first['strict_tau'], 'setting')}), calibrated"
        f" by temperature (tau = {number(first['tau_tau'], 'setting')}) and by power (gamma ="
        f" {number(first['gamma_gamma'], 'setting')}). Paper: TRACE's rule, unsound where the"
        " visible set grows; pinsker: the sound form. Undefined correlations have their reason in"
        f" the csv. n = {first['n']} a set.{printed}"
    )


def _ladder_caption(rows: list[Row]) -> str:
    asked = {f"{pair_of(row)} asks for {number(row['required_margin'], 'small')}" for row in rows}
    nothing = any(row["validation_coverage"] == 0 for row in rows)
    tie = (
        " On validation no pair certified anything: selected is the first of equals."
        if nothing
        else ""
    )
    return (
        "Samples certified in the late window, percent with Clopper-Pearson interval, readout"
        f" {rows[0]['readout']}. From pinsker to observed each rule implies the next; observed is"
        " the fact that the others bound. Paper is TRACE's own rule. Pairs (delta, omega) and the"
        f" margin that pinsker needs: {'; '.join(sorted(asked))}. Infeasible: more than any"
        f" distribution has.{tie} n = {rows[0]['n']} a set."
    )


def or_mark(row: Row) -> str:
    """The row's mark where it has one, else its share in percent."""
    return str(row["mark"]) if row["mark"] else number(row["share"], "percent")


def _interval_or_mark(row: Row) -> str:
    return (
        str(row["mark"]) if row["mark"] else with_interval("share", "low", "high", "percent")(row)
    )


PAIR = Column("delta, omega", pair_of, numeric=False)
CERTIFIED_COVERAGE = Spec(
    "certified_coverage",
    "Certified coverage",
    _coverage_caption,
    coverage_rows,
    (
        SOURCE,
        *SET,
        Column("rho", with_interval("rho", "rho_low", "rho_high", "signed")),
        PAIR,
        *(
            Column(f"{head}, {bound}", shows(f"{variant}_{bound}", "percent"))
            for variant, head in (("strict", "strict"), ("tau", "temperature"), ("gamma", "power"))
            for bound in ("paper", "pinsker")
        ),
    ),
    shown=lambda row: row["pair"] != SELECTED,
    texts=TEXTS,
)
CERTIFICATE_LADDER = Spec(
    "certificate_ladder",
    "Ladder of certificates",
    caption=_ladder_caption,
    build=ladder_rows,
    columns=(*SET, Column("pair", text("pair"), numeric=False), PAIR),
    pivot=Pivot(("bound",), _interval_or_mark),
    texts=TEXTS,
)
