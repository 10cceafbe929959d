"""Tables of maps.

Which module's map moves least, how alike maps are, and what bias correction and the place of eps
change.
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
from tracedlm.report.tables.certificates import SOURCE
from tracedlm.report.tables.exits import SET

TEXTS = Spec.texts | {"module", "reduction", "variant"}
REDUCTIONS = {"row_energy": "row energy", "row_mean": "row mean"}
PAIRS = (
    ("corrected, eps outside", "outside_raw", "outside_corrected"),
    ("corrected, eps inside", "inside_raw", "inside_corrected"),
    ("eps inside, raw", "outside_raw", "inside_raw"),
    ("eps inside, corrected", "outside_corrected", "inside_corrected"),
)
"""What is changed, and the variants before and after it."""


def module_rows(evidence: Evidence) -> list[Row]:
    """Mean D_t by module and reduction (EDIT Table 4).

    At the study's variant of the mean update.
    """
    rows: list[Row] = []
    for one, ablation in _ablated(evidence):
        results = ablation["maps"]
        for found in (found for found in results if found["variant"] == results[0]["variant"]):
            where: Row = {
                "source": "ours",
                "dataset": one.dataset,
                "seq_len": one.seq_len,
                "module": _module(found),
            }
            where |= {
                "reduction": found["reduction"],
                "variant": found["variant"],
                "layer": found["layer"],
            }
            rows.append(
                {
                    **where,
                    **_divergence(found),
                    "samples": ablation["samples"],
                    "reason": _reason(found),
                }
            )
    for module, values in published.EDIT_MODULES.items():
        for reduction, value in zip(REDUCTIONS, values, strict=True):
            where = {
                "source": published.SOURCE,
                "dataset": "gsm8k",
                "seq_len": None,
                "module": module,
                "reduction": reduction,
            }
            rows.append(
                {
                    **where,
                    "mean": value,
                    "samples": 100,
                    "reason": "length, layer and spread are not published",
                }
            )
    return [{**dict.fromkeys(rows[0]), **row} for row in rows]


def similarity_rows(evidence: Evidence) -> list[Row]:
    """Cosine, correlation and largest principal angle of every pair of maps.

    Maps of different spaces are not compared.
    """
    facts, rows = evidence.maps, []
    for i, a in enumerate(facts["maps"]):
        for j, b in enumerate(facts["maps"]):
            pair = {name: facts[name][i][j] for name in ("cosine", "correlation", "angle")}
            if a["matrix"] != b["matrix"] or pair["cosine"] is None:
                continue
            of_study = all(
                one["variant"] == facts["maps"][0]["variant"]
                and one["reduction"] == facts["maps"][0]["reduction"]
                for one in (a, b)
            )
            where: Row = {
                "module": _label(a),
                "against": _label(b),
                "of_study": int(of_study and a["matrix"] == "B"),
            }
            rows.append(
                {
                    **where,
                    **pair,
                    "chance": facts["chance"],
                    "reason": "" if pair["correlation"] is not None else "a map is constant",
                }
            )
    return rows


def bias_rows(evidence: Evidence) -> list[Row]:
    """What bias correction and the place of eps change (TRACE App. D).

    In a map, and in D_t and coverage downstream.
    """
    rows: list[Row] = []
    at = {
        (one["projection"], one["matrix"], one["reduction"], one["variant"]): n
        for n, one in enumerate(evidence.maps["maps"])
    }
    projections = list(dict.fromkeys(one["projection"] for one in evidence.maps["maps"]))
    for one, ablation in _ablated(evidence):
        for projection in projections:
            for change, before, after in PAIRS:
                where: Row = {
                    "dataset": one.dataset,
                    "seq_len": one.seq_len,
                    "readout": projection,
                    "case": change,
                }
                i = at.get((projection, "B", "row_energy", before))
                j = at.get((projection, "B", "row_energy", after))
                rows.append({**where, **_change(evidence.maps, ablation, i, j)})
    return rows


def _ablated(evidence: Evidence) -> list[tuple[ResultSet, dict[str, Any]]]:
    return [(one, one.ablation) for one in evidence.sets if one.ablation is not None]


def _change(maps: dict[str, Any], ablation: dict[str, Any], i: int | None, j: int | None) -> Row:
    fields = (
        "correlation",
        "cosine",
        "angle",
        "kl_before",
        "kl_after",
        "kl_change",
        "share_before",
        "share_after",
        "n",
    )
    if i is None or j is None:
        return {
            **dict.fromkeys(fields),
            "reason": f"maps made from {maps['maps'][0]['source']} have no such variants",
        }
    before, after = ablation["maps"][i], ablation["maps"][j]
    change = (
        after["mean"] / before["mean"] - 1 if before["mean"] and after["mean"] is not None else None
    )
    values = (
        *(maps[name][i][j] for name in fields[:3]),
        before["mean"],
        after["mean"],
        change,
        before["share"],
        after["share"],
    )
    return {
        **dict(zip(fields, (*values, ablation["samples"]), strict=True)),
        "reason": "" if change is not None else _reason(before),
    }


def _divergence(found: dict[str, Any]) -> Row:
    return {name: found[name] for name in ("mean", "sd", "low", "high", "n", "undefined")}


def _reason(found: dict[str, Any]) -> str:
    return "" if found["mean"] is not None else "fewer than two steps have a defined D_t"


def _module(found: dict[str, Any]) -> str:
    return f"{found['projection']}, LoRA-{found['matrix']}"


def _label(found: dict[str, Any]) -> str:
    variant = (
        "" if found["variant"] in ("weights", "given") else f" {found['variant'].replace('_', ' ')}"
    )
    mean = " row mean" if found["reduction"] == "row_mean" else ""
    return f"{found['projection']}{' (A)' if found['matrix'] == 'A' else ''}{variant}{mean}"


def _module_caption(rows: list[Row]) -> str:
    ours = [row for row in rows if row["source"] == "ours"]
    return (
        "Mean over steps and samples of the KL between successive RADs, nats, by module and"
        " reduction of the map, with 95 % bootstrap interval over samples; all maps are observed"
        " in the same forwards. Maps of LoRA-A are compared with the module's input. A smaller"
        " number means a RAD that moves less, which is not yet a better signal: a constant one"
        " would be smallest. Published: EDIT Table 4, LLaDA-8B. n ="
        f" {ours[0]['samples'] if ours else 0} a set."
    )


def _similarity_caption(rows: list[Row]) -> str:
    chance = rows[0]["chance"] if rows else None
    unrelated = (
        f" Unrelated Gaussian updates of this rank would have a cosine of {number(chance, 'three')}"
        " and a correlation of 0."
        if chance is not None
        else ""
    )
    return (
        "Cosine of the study's maps, with the correlation over features in brackets. Maps have no"
        f" negative entries.{unrelated} All pairs, variants and principal angles are in the csv and"
        " in the figure."
    )


def _bias_caption(rows: list[Row]) -> str:
    return (
        "What bias correction, and eps inside the root, change (readout q; k and v are in the"
        " csv): correlation of the two maps over features, largest principal angle of their"
        " subspaces in degrees, and downstream the mean KL between successive RADs before and"
        " after, and the samples that pinsker certifies at TRACE Table 2's (delta, omega) in the"
        " last denoising steps, percent. n ="
        f" {rows[0]['n'] if rows and rows[0]['n'] is not None else 0} a set."
    )


def _reduction_head(key: str, value: Value) -> str:
    return REDUCTIONS.get(str(value), str(value))


def _kl(row: Row) -> str:
    return (
        number(row["mean"], "three")
        if row["source"] == published.SOURCE
        else with_interval("mean", "low", "high", "small")(row)
    )


def _pair(row: Row) -> str:
    return f"{number(row['cosine'], 'three')} ({number(row['correlation'], 'signed')})"


MODULE_ABLATION = Spec(
    "module_ablation",
    "Modules",
    caption=_module_caption,
    build=module_rows,
    columns=(SOURCE, *SET, Column("module", text("module"), numeric=False)),
    pivot=Pivot(("reduction",), _kl, heads=_reduction_head),
    texts=TEXTS,
)
MAP_SIMILARITY = Spec(
    "map_similarity",
    "Similarity of maps",
    caption=_similarity_caption,
    build=similarity_rows,
    columns=(Column("map", text("module"), numeric=False),),
    pivot=Pivot(("against",), _pair),
    shown=lambda row: row["of_study"] == 1,
    texts=TEXTS,
)
BIAS_CORRECTION = Spec(
    "bias_correction",
    "Bias correction",
    _bias_caption,
    bias_rows,
    (
        *SET,
        Column("change", text("case"), numeric=False),
        Column("correlation", shows("correlation", "three")),
        Column("angle", shows("angle", "one")),
        Column("KL before", shows("kl_before", "small")),
        Column("KL after", shows("kl_after", "small")),
        Column("KL change %", shows("kl_change", "points")),
        Column("certified before", shows("share_before", "percent")),
        Column("certified after", shows("share_after", "percent")),
    ),
    shown=lambda row: row["readout"] == "q",
    texts=TEXTS,
)
