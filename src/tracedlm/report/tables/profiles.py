"""Tables `profiles` (TRACE 4.4) and `temperature` (TRACE App. C).

And the rows of the temperature figure.
"""

from tracedlm.report.evidence import Evidence
from tracedlm.report.layout import Column, Row, Spec, number, shows, text
from tracedlm.report.tables import published
from tracedlm.report.tables.certificates import TEXTS, inputs
from tracedlm.report.tables.exits import SET
from tracedlm.theory.certificate import required_margin

STATISTICS = {
    "concentration": "AC, last denoising step",
    "lscr_tv": "LSCR, TV",
    "lscr_kl": "LSCR, KL",
    "margin": "margin, last step",
}
DIGEST = {
    "kl": "D_t, mean over steps",
    "entropy": "entropy, mean over steps",
    "visible": "visible tokens, mean over steps",
}


def profile_rows(evidence: Evidence) -> list[Row]:
    """Final AC, late-step change ratio and final margin (TRACE section 4.4).

    The digest of whole runs (App. F, step 2) in the csv only.
    """
    rows: list[Row] = []
    for one in evidence.sets:
        summary = one.summaries[evidence.readout]
        for part, names in (("profile", STATISTICS), ("digest", DIGEST)):
            for statistic, shown in names.items():
                found = summary[part][statistic]
                printed = (
                    published.TRACE_MEANS.get(statistic, {}).get(one.dataset)
                    if one.seq_len == 128
                    else None
                )
                where: Row = {
                    "dataset": one.dataset,
                    "seq_len": one.seq_len,
                    "readout": evidence.readout,
                    "statistic": shown,
                    "case": part,
                }
                values: Row = {
                    key: found[key] for key in ("mean", "median", "n", "undefined", "reason")
                }
                where |= {**values, "published_mean": printed}
                rows.append(
                    {**where, "inputs": inputs(one, evidence.readout, f"{part}, {statistic}")}
                )
    return rows


def temperature_rows(evidence: Evidence) -> list[Row]:
    """What the validation split's late window looks like at each readout temperature."""
    rows: list[Row] = []
    chosen = evidence.selection
    for n, one in enumerate(chosen["sets"]):
        for window in one["temperature"]:
            where: Row = {
                "dataset": one["dataset"],
                "seq_len": one["seq_len"],
                "readout": "q",
                "tau": window["tau"],
            }
            where |= {"delta": chosen["delta"], "omega": chosen["omega"]}
            where |= {"required_margin": required_margin(chosen["delta"], chosen["omega"])}
            where |= {
                key: window[key]
                for key in (
                    "kl_median",
                    "margin_median",
                    "late_steps",
                    "undefined",
                    "stopped",
                    "n",
                    "coverage",
                )
            }
            why = (
                "late steps without two tokens in common with the one before are left out of"
                " medians"
                if window["undefined"]
                else ""
            )
            rows.append(
                {
                    **where,
                    "stable": window["stopped"] / window["n"],
                    "reason": why,
                    "inputs": f"certify/selection.json: sets, {n}",
                }
            )
    return rows


def curve_rows(evidence: Evidence) -> list[Row]:
    """D_t and margin over steps at each temperature, shortest canvas.

    Median and quartiles over validation samples.
    """
    shortest = min(row["seq_len"] for row in evidence.temperature)
    return [dict(row) for row in evidence.temperature if row["seq_len"] == shortest]


def _profile_caption(rows: list[Row]) -> str:
    printed = (
        " Published: means in TRACE section 4.4, LLaDA-8B."
        if any(row["published_mean"] is not None for row in rows)
        else ""
    )
    return (
        "Alignment concentration, late-step change ratio and top-2 margin, readout"
        f" {rows[0]['readout']}. A ratio above 1 amplifies, and then no forward guarantee exists."
        " Undefined: samples without a value, left out of mean and median; the csv says why, and"
        f" holds the digest of whole runs.{printed}"
    )


def _temperature_caption(rows: list[Row]) -> str:
    first = rows[0]
    return (
        "Sensitivity to the readout temperature tau on validation samples, readout"
        f" {first['readout']}, late window: median D_t and margin over all of its steps; samples"
        " with a stable window (D_t below delta for omega steps) and certified by pinsker at"
        f" (delta, omega) = ({number(first['delta'], 'setting')}, {first['omega']}), which asks for"
        f" a margin of {number(first['required_margin'], 'small')}."
    )


def _published_at(row: Row) -> str:
    return number(row["published_mean"], "small")


PROFILES = Spec(
    "profiles",
    "Profiles",
    _profile_caption,
    profile_rows,
    (
        *SET,
        Column("statistic", text("statistic"), numeric=False),
        Column("mean", shows("mean", "small")),
        Column("median", shows("median", "small")),
        Column("n", shows("n", "count")),
        Column("undefined", shows("undefined", "count")),
        Column("published mean", _published_at),
    ),
    shown=lambda row: row["case"] == "profile",
    texts=TEXTS,
)
TEMPERATURE = Spec(
    "temperature",
    "Readout temperature",
    _temperature_caption,
    temperature_rows,
    (
        *SET,
        Column("tau", shows("tau", "setting")),
        Column("median D_t", shows("kl_median", "small")),
        Column("median margin", shows("margin_median", "small")),
        Column("stable window %", shows("stable", "percent")),
        Column("certified %", shows("coverage", "percent")),
        Column("n", shows("n", "count")),
    ),
    texts=TEXTS,
)
