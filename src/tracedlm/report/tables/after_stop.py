"""What holds after a stop.

Forward certificates, calibrated promises, and bounds on entropy and AC (TRACE Thm 3.3, B.1, Cor.
B.2).
"""

from typing import Any

from tracedlm.report.evidence import Evidence
from tracedlm.report.layout import Column, Row, Spec, number, shows, text
from tracedlm.report.tables.certificates import TEXTS, inputs
from tracedlm.report.tables.exits import SET

FORWARD = {
    "forward": "for ever, sharp tail, measured contraction",
    "forward_dobrushin": "for ever, sharp tail, Dobrushin estimate",
    "forward_trace": "for ever, TRACE Eq. 12, measured contraction",
}
OBSERVABLES = {"entropy": "entropy, nats", "concentration": "AC"}
EDIT_EXITS = 0.723
"""EDIT section 3: share of its exits that satisfy its Corollary 6."""


def forward_rows(evidence: Evidence) -> list[Row]:
    """Stops, contraction, stops that hold for ever, and what Cor. B.2 promises.

    A share of nothing is null with its reason.
    """
    rows: list[Row] = []
    for one in evidence.sets:
        summary = one.summaries[evidence.readout]
        where: Row = {"dataset": one.dataset, "seq_len": one.seq_len, "readout": evidence.readout}
        where |= {"delta": summary["delta"], "omega": summary["omega"]}
        stops = summary["stops"]
        samples = summary["n"]
        found: list[tuple[str, str, Any]] = [
            ("samples that stop", "stops", {**stops, "excluded": 0, "reason": ""}),
            (
                "samples that contract, measured",
                "stops, contracting",
                _of(stops["contracting"], samples),
            ),
            (
                "samples that contract, Dobrushin estimate",
                "stops, dobrushin_contracting",
                _of(stops["dobrushin_contracting"], samples),
            ),
            *(
                (shown, f"forward, {name}", _of(summary["forward"][name], samples))
                for name, shown in FORWARD.items()
            ),
            (
                "exits that satisfy Cor. B.2",
                "exits",
                {**summary["exits"], "excluded": summary["exits"]["exits"] - summary["exits"]["n"]},
            ),
        ]
        for statistic, part, share in found:
            values: Row = {
                key: share[key]
                for key in ("certified", "n", "share", "low", "high", "excluded", "reason")
            }
            printed = EDIT_EXITS if part == "exits" else None
            rows.append(
                {
                    **where,
                    "statistic": statistic,
                    **values,
                    "published": printed,
                    "inputs": inputs(one, evidence.readout, part),
                }
            )
        rows += [
            {**where, **row, "inputs": inputs(one, evidence.readout, "calibration")}
            for row in _promises(summary["calibration"])
        ]
    return rows


def _of(share: Any, samples: int) -> Any:
    """A share of the samples for which something is defined, and how many are not."""
    return {
        "reason": "" if share["n"] else "undefined for every sample",
        **share,
        "excluded": samples - share["n"],
    }


def _promises(pac: Any) -> list[Row]:
    """Cor. B.2 with the quantile that keeps its promise, and as printed."""
    common: Row = {
        "n": pac["n"],
        "excluded": pac["excluded"],
        "alpha": pac["alpha"],
        "required_margin": pac["required"],
    }
    ours: Row = {
        "statistic": "Cor. B.2 on validation, sound quantile",
        "mark": "holds" if pac["holds"] else "no promise",
    }
    ours |= {
        "quantile": pac["quantile"],
        "failure": pac["failure"],
        "largest_delta": pac["largest_delta"],
        "reason": pac["reason"],
    }
    theirs: Row = {
        "statistic": "Cor. B.2 on validation, as printed",
        "mark": "said to hold" if pac["paper_holds"] else "no promise",
    }
    theirs |= {
        "quantile": pac["paper_quantile"],
        "reason": "the printed quantile is reached with probability beta, not 1 - beta",
    }
    return [{**common, **ours}, {**common, **theirs}]


def observable_rows(evidence: Evidence) -> list[Row]:
    """How far entropy and AC moved, over the stop's window and after it.

    Beside what TRACE Thm B.1 allows.
    """
    rows: list[Row] = []
    for one in evidence.sets:
        summary = one.summaries[evidence.readout]
        for name, shown in OBSERVABLES.items():
            found = summary["observables"][name]
            for when, moved, bound, broken in (
                ("window", "moved", "bound", "broken"),
                ("after", "later", "later_bound", "later_broken"),
            ):
                where: Row = {
                    "dataset": one.dataset,
                    "seq_len": one.seq_len,
                    "readout": evidence.readout,
                    "statistic": shown,
                    "case": when,
                }
                where |= {
                    "delta": summary["delta"],
                    "omega": summary["omega"],
                    "moved_median": found[moved]["median"],
                }
                where |= {
                    "moved_max": found[moved]["max"],
                    "n": found[moved]["n"],
                    "excluded": found[moved]["undefined"],
                }
                where |= {
                    "bound_median": found[bound]["median"],
                    "bound_n": found[bound]["n"],
                    "bound_excluded": found[bound]["undefined"],
                }
                where |= {"broken": found[broken], "reason": found[bound]["reason"]}
                rows.append(
                    {**where, "inputs": inputs(one, evidence.readout, f"observables, {name}")}
                )
    return rows


def _forward_caption(rows: list[Row]) -> str:
    first = rows[0]
    return (
        f"What may be said of the steps after a stop, readout {first['readout']}. Stops: the first"
        " late step that ends a run of omega KLs below delta, (delta, omega) ="
        f" ({number(first['delta'], 'setting')}, {first['omega']}). A forward certificate needs a"
        " contraction below 1; samples without one are excluded, not counted as failures. Exits:"
        " those that Algorithm 1 would have made in the blocks of the same runs, at most one a"
        " block; EDIT reports 72.3 %. Cor. B.2: its sound quantile allows for all the pairs that"
        " validation chose among. A dash is not certifiable; the csv has the reason."
    )


def _observable_caption(rows: list[Row]) -> str:
    return (
        f"Changes of entropy and alignment concentration (readout {rows[0]['readout']}) over the"
        " window of omega steps that ends at the stop, and over the rest of the late window,"
        " beside their Lipschitz bounds. After the stop a bound exists only where the sample"
        " contracts. Broken: samples that moved more than their bound; a sound bound has none."
    )


def _share_or_mark(row: Row) -> str:
    return str(row["mark"]) if row.get("mark") else number(row["share"], "percent")


FORWARD_CERTIFICATES = Spec(
    "forward_certificates",
    "After the stop",
    _forward_caption,
    forward_rows,
    (
        *SET,
        Column("what", text("statistic"), numeric=False),
        Column("percent", _share_or_mark),
        Column("of", shows("n", "count")),
        Column("excluded", shows("excluded", "count")),
    ),
    texts=TEXTS,
)
OBSERVABLES_TABLE = Spec(
    "observables",
    "Entropy and concentration after a stop",
    _observable_caption,
    observable_rows,
    (
        *SET,
        Column("observable", text("statistic"), numeric=False),
        Column("steps", text("case"), numeric=False),
        Column("moved, median", shows("moved_median", "small")),
        Column("moved, largest", shows("moved_max", "small")),
        Column("bound, median", shows("bound_median", "small")),
        Column("broken", shows("broken", "count")),
        Column("stops", shows("n", "count")),
        Column("with bound", shows("bound_n", "count")),
    ),
    texts=TEXTS,
)
