"""Tables of certificates: coverage, the ladder of bounds, the grid, projections, and the profiles behind them; and of storage."""

from typing import Any

from tracedlm.report import published
from tracedlm.report.evidence import Evidence
from tracedlm.report.exit_tables import SET
from tracedlm.report.layout import Column, Pivot, Row, Spec, Value, number, shows, text, with_interval
from tracedlm.theory.certificate import BOUNDS
from tracedlm.theory.moments import storage_bytes, storage_overhead
from tracedlm.theory.resampling import clopper_pearson

STATISTICS = {"concentration": "AC, last denoising step", "lscr_tv": "LSCR, TV", "lscr_kl": "LSCR, KL", "margin": "margin, last step"}
GIB = 2**30
SOURCE = Column("source", text("source"), numeric=False, merge=True)


def coverage_rows(evidence: Evidence) -> list[Row]:
    """Rank correlation of AC with accuracy, and coverage at TRACE Table 2's settings, by the papers' rule and the sound one."""
    rows: list[Row] = []
    for one in evidence.sets:
        summary = one.summaries[evidence.readout]
        rho = summary["spearman"]
        found: Row = {"source": "ours", "dataset": one.dataset, "seq_len": one.seq_len, "readout": evidence.readout, "n": summary["n"]}
        found |= {"rho": rho["rho"], "rho_low": rho["low"], "rho_high": rho["high"], "rho_n": rho["n"], "dropped": rho["dropped"]}
        found |= {"degenerate_resamples": rho["degenerate"], "delta": summary["strict"]["delta"], "omega": summary["strict"]["omega"]}
        for variant in ("strict", "calibrated"):
            found[f"{variant}_tau"] = summary[variant]["tau"]
            for bound in ("paper", "pinsker"):
                found |= {
                    f"{variant}_{bound}_{key}".removesuffix("_share"): value for key, value in _share(summary[variant][bound]).items()
                }
        rows.append({**found, "reason": f"rho: {_side(rho['reason'])}" if rho["reason"] else ""})
    for dataset in dict.fromkeys(one.dataset for one in evidence.sets if one.seq_len == 128):
        if dataset in published.TRACE_COVERAGE:
            rho, low, high, strict, calibrated = published.TRACE_COVERAGE[dataset]
            where: Row = {
                "source": published.SOURCE,
                "dataset": dataset,
                "seq_len": 128,
                "readout": "q",
                "n": 64,
                "delta": 1e-8,
                "omega": 1,
            }
            values: Row = {"rho": rho, "rho_low": low, "rho_high": high, "strict_paper": strict, "calibrated_paper": calibrated}
            rows.append({**where, **values, "strict_tau": 1.0, "calibrated_tau": 0.5, "reason": "the sound rule is not published"})
    return rows


def ladder_rows(evidence: Evidence) -> list[Row]:
    """The five bounds side by side at the selected (delta*, omega*)."""
    rows: list[Row] = []
    for one in evidence.sets:
        summary = one.summaries[evidence.readout]
        where: Row = {
            "dataset": one.dataset,
            "seq_len": one.seq_len,
            "readout": evidence.readout,
            "delta": summary["delta"],
            "omega": summary["omega"],
        }
        rows += [{**where, "bound": bound, **_share(summary["coverage"][bound])} for bound in BOUNDS]
    return rows


def ablation_rows(evidence: Evidence) -> list[Row]:
    """Coverage of each projection and aggregate at the selected (delta*, omega*) (TRACE Table 4)."""
    rows: list[Row] = []
    for one in evidence.sets:
        for readout, summary in one.summaries.items():
            where: Row = {"source": "ours", "dataset": one.dataset, "seq_len": one.seq_len, "readout": readout}
            where |= {"delta": summary["delta"], "omega": summary["omega"]}
            rows += [{**where, "bound": bound, **_share(summary["coverage"][bound]), "reason": ""} for bound in ("pinsker", "paper")]
    for dataset in dict.fromkeys(one.dataset for one in evidence.sets):
        for readout, share in published.TRACE_ABLATION.get(dataset, {}).items():
            where = {
                "source": published.SOURCE,
                "dataset": dataset,
                "seq_len": 128,
                "readout": readout,
                "delta": 3e-6,
                "omega": 3,
                "bound": "paper",
            }
            rows.append({**where, "n": 64, "share": share, "reason": "counts and intervals are not published"})
    return rows


def grid_rows(evidence: Evidence) -> list[Row]:
    """Coverage of every bound over delta and omega (TRACE App. G)."""
    rows: list[Row] = []
    for one in evidence.sets:
        for cell in one.grids[evidence.readout]:
            where: Row = {
                "dataset": one.dataset,
                "seq_len": one.seq_len,
                "readout": evidence.readout,
                "tau": cell["tau"],
                "bound": cell["bound"],
            }
            low, high = clopper_pearson(cell["certified"], cell["n"])
            counts: Row = {"certified": cell["certified"], "n": cell["n"], "share": cell["certified"] / cell["n"], "low": low, "high": high}
            mark = "" if cell["feasible"] or cell["bound"] not in ("paper", "pinsker") else "infeasible"
            rows.append({**where, "delta": cell["delta"], "omega": cell["omega"], **counts, "mark": mark})
    return rows


def profile_rows(evidence: Evidence) -> list[Row]:
    """Final AC, late-step change ratio and final margin (TRACE section 4.4)."""
    rows: list[Row] = []
    for one in evidence.sets:
        for statistic, shown in STATISTICS.items():
            found = one.summaries[evidence.readout]["profile"][statistic]
            printed = published.TRACE_MEANS.get(statistic, {}).get(one.dataset) if one.seq_len == 128 else None
            where: Row = {"dataset": one.dataset, "seq_len": one.seq_len, "readout": evidence.readout, "statistic": shown}
            values: Row = {"mean": found["mean"], "median": found["median"], "n": found["n"], "undefined": found["undefined"]}
            reason = "" if found["mean"] is not None else "undefined for every sample: the readout did not change in the late window"
            rows.append({**where, **values, "published_mean": printed, "reason": reason})
    return rows


def storage_rows(evidence: Evidence) -> list[Row]:
    """What maps take: TRACE App. E's examples recomputed, and the configured model."""
    rows: list[Row] = []
    for case, modules, entry, printed in published.TRACE_STORAGE:
        rows.append(_stored("LLaDA-8B (8 GiB)", case, modules, 4096, entry, storage_bytes(modules, 4096, entry), 8 * GIB, printed / 100))
    facts = evidence.storage
    layers, width = facts["layers"], facts["width"]
    for case, modules in (("one q map", 1), (f"q k v, {layers} blocks", 3 * layers)):
        rows.append(_stored("this study's model", case, modules, width, 4, storage_bytes(modules, width, 4), facts["model_bytes"], None))
    on_disk = sum(facts["map_file_bytes"].values())
    rows.append(
        _stored(
            "this study's model",
            "map files on disk, with subspace",
            len(facts["map_file_bytes"]),
            width,
            4,
            on_disk,
            facts["model_bytes"],
            None,
        )
    )
    return rows


def _stored(source: str, case: str, modules: int, width: int, entry: int, size: int, model: int, printed: float | None) -> Row:
    where: Row = {
        "source": source,
        "case": case,
        "modules": modules,
        "width": width,
        "bytes_per_entry": entry,
        "map_bytes": size,
        "model_bytes": model,
    }
    return {**where, "overhead": storage_overhead(size, model) / 100, "published_overhead": printed}


def _share(found: dict[str, Any]) -> Row:
    return {key: found[key] for key in ("certified", "n", "share", "low", "high")}


def _side(reason: str) -> str:
    """`spearman`'s reason in words: x is AC, y the score."""
    return {"x constant": "AC is the same for every sample", "y constant": "every sample has the same score"}.get(reason, reason)


def _coverage_caption(rows: list[Row]) -> str:
    first = rows[0]
    printed = " Published: TRACE Table 2, LLaDA-8B, n = 64." if any(row["source"] != "ours" for row in rows) else ""
    return (
        "Rank correlation of alignment concentration and accuracy with 95 % bootstrap interval, and certified samples in percent at delta "
        "= "
        f"{number(first['delta'], 'setting')}, omega = {first['omega']}: strict (tau = {number(first['strict_tau'], 'one')}) and "
        "calibrated (tau = "
        f"{number(first['calibrated_tau'], 'one')}), readout {first['readout']}. Paper: TRACE's rule, unsound where the visible set grows; "
        "pinsker: "
        f"the sound form. Undefined correlations have their reason in the csv. n = {first['n']} a set.{printed}"
    )


def _ladder_caption(rows: list[Row]) -> str:
    return (
        f"Samples certified in the late window, percent with Clopper-Pearson interval, readout {rows[0]['readout']}, at the selected "
        "(delta, omega) = "
        f"({number(rows[0]['delta'], 'setting')}, {rows[0]['omega']}). From pinsker to observed each rule implies the next; observed is "
        "the fact that the "
        f"others bound. Paper is TRACE's own rule. n = {rows[0]['n']} a set."
    )


def _ablation_caption(rows: list[Row]) -> str:
    return (
        f"Samples certified by the sound rule (pinsker), percent, at (delta, omega) = ({number(rows[0]['delta'], 'setting')}, "
        f"{rows[0]['omega']}), chosen on "
        "validation with readout q, by projection. Best of a row in bold, ties included, none where nothing is certified. Published: TRACE "
        "Table 4 at "
        f"(3e-06, 3), LLaDA-8B, n = 64, by the papers' rule; ours by that rule is in the csv. n = {rows[0]['n']} a set."
    )


def _grid_caption(rows: list[Row]) -> str:
    return (
        f"Samples certified by pinsker, percent, over KL threshold delta and window omega; readout {rows[0]['readout']}, n = "
        f"{rows[0]['n']} a set. "
        "Infeasible: omega sqrt(delta / 2) is at least 1/2, so that no distribution at all could be certified. The other bounds are in the "
        "csv."
    )


def _profile_caption(rows: list[Row]) -> str:
    printed = " Published: means in TRACE section 4.4, LLaDA-8B." if any(row["published_mean"] is not None for row in rows) else ""
    return (
        f"Alignment concentration, late-step change ratio and top-2 margin, readout {rows[0]['readout']}. A ratio above 1 amplifies, and "
        "then no forward "
        f"guarantee exists. Undefined: samples without a value, left out of mean and median.{printed}"
    )


def _storage_caption(rows: list[Row]) -> str:
    return "Bytes of the maps that stay at deployment (TRACE App. E): maps times width times bytes per entry, and their share of the model."


def _published_at(row: Row) -> str:
    return number(row["published_mean"], "small")


def _or_mark(row: Row) -> str:
    return str(row["mark"]) if row["mark"] else number(row["share"], "percent")


def _omega(key: str, value: Value) -> str:
    return f"omega={value}"


CERTIFIED_COVERAGE = Spec(
    "certified_coverage",
    "Certified coverage",
    _coverage_caption,
    coverage_rows,
    (
        SOURCE,
        *SET,
        Column("rho", with_interval("rho", "rho_low", "rho_high", "signed")),
        Column("strict, paper", shows("strict_paper", "percent")),
        Column("strict, pinsker", shows("strict_pinsker", "percent")),
        Column("calibrated, paper", shows("calibrated_paper", "percent")),
        Column("calibrated, pinsker", shows("calibrated_pinsker", "percent")),
    ),
)
CERTIFICATE_LADDER = Spec(
    "certificate_ladder",
    "Ladder of certificates",
    _ladder_caption,
    ladder_rows,
    SET,
    Pivot(("bound",), with_interval("share", "low", "high", "percent")),
)
PROJECTION_ABLATION = Spec(
    "projection_ablation",
    "Projections",
    _ablation_caption,
    ablation_rows,
    (SOURCE, *SET),
    Pivot(("readout",), shows("share", "percent"), heads=lambda key, value: str(value).replace("_", "-"), best="share"),
    shown=lambda row: row["bound"] == "pinsker" or row["source"] != "ours",
)
CERTIFICATE_GRID = Spec(
    "certificate_grid",
    "Certificate grid",
    _grid_caption,
    grid_rows,
    (*SET, Column("delta", shows("delta", "setting"))),
    Pivot(("omega",), _or_mark, heads=_omega),
    shown=lambda row: row["bound"] == "pinsker",
)
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
)
STORAGE = Spec(
    "storage",
    "Storage",
    _storage_caption,
    storage_rows,
    (
        SOURCE,
        Column("kept", text("case"), numeric=False),
        Column("maps", shows("modules", "count")),
        Column("width", shows("width", "count")),
        Column("bytes each", shows("bytes_per_entry", "count")),
        Column("bytes", shows("map_bytes", "count")),
        Column("share %", lambda row: _percent_of_model(row["overhead"])),
        Column("published %", lambda row: _percent_of_model(row["published_overhead"])),
    ),
)


def _percent_of_model(value: Value) -> str:
    return number(None if not isinstance(value, int | float) else 100 * value, "small")
