"""Tables of certificates over their settings: projections, thresholds and windows."""

from tracedlm.report.evidence import Evidence
from tracedlm.report.layout import (
    Column,
    Pivot,
    Row,
    Spec,
    Value,
    number,
    shows,
    text,
)
from tracedlm.report.tables import published
from tracedlm.report.tables.certificates import (
    INFEASIBLE,
    PAIR,
    SELECTED,
    SOURCE,
    TABLE_4,
    TEXTS,
    inputs,
    is_infeasible,
    or_mark,
    pair_of,
    share_of,
)
from tracedlm.report.tables.exits import SET
from tracedlm.theory.resampling import clopper_pearson


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
                    **share_of(entry["coverage"][bound]),
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
                if is_infeasible(cell, cell["bound"])
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


def _ablation_caption(rows: list[Row]) -> str:
    return (
        "Samples certified, percent, by projection. First the sound rule (pinsker) at"
        f" {pair_of(rows[0])}, chosen on validation with readout q;"
        " then TRACE's rule at TRACE's pair"
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


def _omega(key: str, value: Value) -> str:
    return f"omega={value}"


PROJECTION_ABLATION = Spec(
    "projection_ablation",
    "Projections",
    caption=_ablation_caption,
    build=ablation_rows,
    columns=(SOURCE, *SET, Column("rule", text("bound"), numeric=False), PAIR),
    pivot=Pivot(
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
    caption=_grid_caption,
    build=grid_rows,
    columns=(*SET, Column("delta", shows("delta", "setting"))),
    pivot=Pivot(("omega",), or_mark, heads=_omega),
    shown=lambda row: (
        row["bound"] == "pinsker"
        and row["calibration"] == "tau"
        and row["tau"] == row["strict_tau"]
    ),
    texts=TEXTS,
)
