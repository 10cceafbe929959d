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
    Value,
    number,
    shows,
    text,
    with_interval,
)
from tracedlm.report.tables import published
from tracedlm.report.tables.exits import SET
from tracedlm.theory.certificate import BOUNDS, required_margin
from tracedlm.theory.resampling import clopper_pearson

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
    for one in evidence.sets:
        summary = one.summaries[evidence.readout]
        rho = summary["spearman"]
        found: Row = {
            "source": "ours",
            "dataset": one.dataset,
            "seq_len": one.seq_len,
            "readout": evidence.readout,
            "n": summary["n"],
        }
        found |= {
            "rho": rho["rho"],
            "rho_low": rho["low"],
            "rho_high": rho["high"],
            "rho_n": rho["n"],
            "excluded": rho["dropped"],
        }
        found |= {
            "degenerate_resamples": rho["degenerate"],
            "window_undefined": summary["window"]["undefined"],
        }
        left_out = f"{rho['dropped']} without AC" if rho["dropped"] else ""
        reasons = [
            f"rho: {_side(rho['reason'])}" if rho["reason"] else "",
            left_out,
            summary["window"]["reason"],
        ]
        found |= {
            "reason": "; ".join(filter(None, reasons)),
            "inputs": inputs(one, evidence.readout, "spearman, dual"),
        }
        for pair in dict.fromkeys(entry["pair"] for entry in summary["dual"]):
            entries = {
                entry["variant"]: entry for entry in summary["dual"] if entry["pair"] == pair
            }
            setting = {
                "pair": pair,
                "delta": entries["strict"]["delta"],
                "omega": entries["strict"]["omega"],
            }
            rows.append({**found, **setting, **_variants(entries)})
    for dataset in dict.fromkeys(one.dataset for one in evidence.sets if one.seq_len == 128):
        if dataset in published.TRACE_COVERAGE:
            rho, low, high, strict, calibrated = published.TRACE_COVERAGE[dataset]
            where: Row = {
                "source": published.SOURCE,
                "dataset": dataset,
                "seq_len": 128,
                "readout": "q",
                "n": 64,
            }
            where |= {"pair": TABLE_2, "delta": 1e-8, "omega": 1, "strict_tau": 1.0, "tau_tau": 0.5}
            values: Row = {
                "rho": rho,
                "rho_low": low,
                "rho_high": high,
                "strict_paper": strict,
                "tau_paper": calibrated,
            }
            rows.append(
                {
                    **where,
                    **values,
                    "reason": "the sound rule and powers are not published",
                    "inputs": "TRACE Table 2",
                }
            )
    return rows


def _variants(entries: dict[str, Any]) -> Row:
    """Coverage of each variant by the papers' rule and the sound one, with counts and intervals."""
    row: Row = {}
    for variant, entry in entries.items():
        row |= {f"{variant}_tau": entry["tau"], f"{variant}_gamma": entry["gamma"]}
        for bound in ("paper", "pinsker"):
            found = _share(entry["coverage"][bound])
            row |= {
                f"{variant}_{bound}_{key}".removesuffix("_share"): value
                for key, value in found.items()
                if key != "n"
            }
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
                    if _infeasible(entry, bound)
                    else ("", summary["window"]["reason"])
                )
                rows.append(
                    {
                        **where,
                        "bound": bound,
                        **_share(entry["coverage"][bound]),
                        "mark": mark,
                        "reason": why,
                    }
                )
    return rows


def ablation_rows(evidence: Evidence) -> list[Row]:
    """Coverage of each projection and aggregate.

    The sound rule at the selected pair, the papers' at theirs (TRACE Table 4).
    """
    rows: list[Row] = []
    for one in evidence.sets:
        for pair, bound in (
            (SELECTED, "pinsker"),
            (TABLE_4, "paper"),
            (TABLE_4, "pinsker"),
            (SELECTED, "paper"),
        ):
            for readout, summary in one.summaries.items():
                entry = next(
                    entry
                    for entry in summary["dual"]
                    if (entry["pair"], entry["variant"]) == (pair, "strict")
                )
                where: Row = {
                    "source": "ours",
                    "dataset": one.dataset,
                    "seq_len": one.seq_len,
                    "readout": readout,
                    "pair": pair,
                }
                where |= {
                    "delta": entry["delta"],
                    "omega": entry["omega"],
                    "bound": bound,
                    **_share(entry["coverage"][bound]),
                }
                where |= {
                    "excluded": 0,
                    "undefined": summary["window"]["undefined"],
                    "reason": summary["window"]["reason"],
                }
                rows.append(
                    {**where, "inputs": inputs(one, readout, f"dual, {pair}, strict, {bound}")}
                )
    for dataset in dict.fromkeys(one.dataset for one in evidence.sets):
        for readout, share in published.TRACE_ABLATION.get(dataset, {}).items():
            where = {
                "source": published.SOURCE,
                "dataset": dataset,
                "seq_len": 128,
                "readout": readout,
                "pair": TABLE_4,
            }
            where |= {"delta": 3e-6, "omega": 3, "bound": "paper", "n": 64, "share": share}
            rows.append(
                {
                    **where,
                    "reason": "counts and intervals are not published",
                    "inputs": "TRACE Table 4",
                }
            )
    return rows


def grid_rows(evidence: Evidence) -> list[Row]:
    """Coverage of every bound over temperature or power, delta and omega (TRACE App. G)."""
    rows: list[Row] = []
    for one in evidence.sets:
        summary = one.summaries[evidence.readout]
        for cell in one.grids[evidence.readout]:
            where: Row = {
                "dataset": one.dataset,
                "seq_len": one.seq_len,
                "readout": evidence.readout,
                "bound": cell["bound"],
            }
            where |= {key: cell[key] for key in ("calibration", "tau", "gamma", "delta", "omega")}
            low, high = clopper_pearson(cell["certified"], cell["n"])
            counts: Row = {
                "certified": cell["certified"],
                "n": cell["n"],
                "share": cell["certified"] / cell["n"],
                "low": low,
                "high": high,
            }
            mark, why = (
                ("infeasible", INFEASIBLE)
                if _infeasible(cell, cell["bound"])
                else ("", summary["window"]["reason"])
            )
            counts |= {
                "undefined": cell["undefined"],
                "strict_tau": summary["tau"],
                "mark": mark,
                "reason": why,
            }
            rows.append(
                {
                    **where,
                    **counts,
                    "inputs": inputs(one, evidence.readout, "all rows", "grid.parquet"),
                }
            )
    return rows


def _infeasible(setting: dict[str, Any], bound: str) -> bool:
    return not setting["feasible"] and bound in ("paper", "pinsker")


def _share(found: dict[str, Any]) -> Row:
    return {key: found[key] for key in ("certified", "n", "share", "low", "high")}


def _side(reason: str) -> str:
    """`spearman`'s reason in words: x is AC, y the score."""
    return {
        "x constant": "AC is the same for every sample",
        "y constant": "every sample has the same score",
    }.get(reason, reason)


def _pair(row: Row) -> str:
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
    asked = {f"{_pair(row)} asks for {number(row['required_margin'], 'small')}" for row in rows}
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


def _ablation_caption(rows: list[Row]) -> str:
    return (
        "Samples certified, percent, by projection. First the sound rule (pinsker) at"
        f" {_pair(rows[0])}, chosen on validation with readout q; then TRACE's rule at TRACE's pair"
        " (3e-06, 3), as in its Table 4, which stands below: LLaDA-8B, n = 64. Best of a row in"
        f" bold, ties included, none where nothing is certified. n = {rows[0]['n']} a set."
    )


def _grid_caption(rows: list[Row]) -> str:
    return (
        "Samples certified by pinsker, percent, over KL threshold delta and window omega; readout"
        f" {rows[0]['readout']} at tau = {number(rows[0]['strict_tau'], 'setting')}, n ="
        f" {rows[0]['n']} a set. Infeasible: omega sqrt(delta / 2) is at least 1/2, so that no"
        " distribution at all could be certified. The other bounds, temperatures and powers are in"
        " the csv."
    )


def or_mark(row: Row) -> str:
    """The row's mark where it has one, else its share in percent."""
    return str(row["mark"]) if row["mark"] else number(row["share"], "percent")


def _interval_or_mark(row: Row) -> str:
    return (
        str(row["mark"]) if row["mark"] else with_interval("share", "low", "high", "percent")(row)
    )


def _omega(key: str, value: Value) -> str:
    return f"omega={value}"


PAIR = Column("delta, omega", _pair, numeric=False)
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
    _ladder_caption,
    ladder_rows,
    (*SET, Column("pair", text("pair"), numeric=False), PAIR),
    Pivot(("bound",), _interval_or_mark),
    texts=TEXTS,
)
PROJECTION_ABLATION = Spec(
    "projection_ablation",
    "Projections",
    _ablation_caption,
    ablation_rows,
    (SOURCE, *SET, Column("rule", text("bound"), numeric=False), PAIR),
    Pivot(
        ("readout",),
        shows("share", "percent"),
        heads=lambda key, value: str(value).replace("_", "-"),
        best="share",
    ),
    shown=lambda row: (
        row["source"] != "ours"
        or (row["pair"], row["bound"]) in ((SELECTED, "pinsker"), (TABLE_4, "paper"))
    ),
    texts=TEXTS,
)
CERTIFICATE_GRID = Spec(
    "certificate_grid",
    "Certificate grid",
    _grid_caption,
    grid_rows,
    (*SET, Column("delta", shows("delta", "setting"))),
    Pivot(("omega",), or_mark, heads=_omega),
    shown=lambda row: (
        row["bound"] == "pinsker"
        and row["calibration"] == "tau"
        and row["tau"] == row["strict_tau"]
    ),
    texts=TEXTS,
)
