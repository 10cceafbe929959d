"""Tables of settings chosen on validation.

The choices (EDIT Table 3), and what is lost where another dataset's choice is used.
"""

from typing import Any

from tracedlm.decode.settings import settings_of
from tracedlm.report.evidence import Evidence, ResultSet, Run
from tracedlm.report.layout import UNDEFINED, Column, Pivot, Row, Spec, number, shows, text
from tracedlm.report.tables import published
from tracedlm.report.tables.equal_cost import UNRESOLVED, difference, verdict
from tracedlm.report.tables.exits import sizes
from tracedlm.theory.resampling import clopper_pearson, mcnemar

UNTUNED = "exits.tune is empty: no setting was chosen on validation"
BY_BLOCK = ("blocks", "delta", "omega", "later_delta", "later_omega")
KINDS = {"accuracy %": "percent", "forwards": "one"}


def hyperparameter_rows(evidence: Evidence) -> list[Row]:
    """Every rule's choice for the first and for later blocks, beside EDIT's values.

    With what it did on validation.
    """
    rows: list[Row] = []
    for one in evidence.sets:
        where: Row = {"source": "ours", "dataset": one.dataset, "seq_len": one.seq_len}
        if one.tuned is None:
            rows.append(
                {
                    **where,
                    **dict.fromkeys(("rule", "block", "parameter", "value", "choice", "n")),
                    "reason": UNTUNED,
                }
            )
            continue
        for rule, chosen in one.tuned["chosen"].items():
            for block, parameter, value in _chosen(chosen, one.tuned["tried"][rule]):
                found = (
                    {"value": value, "choice": None}
                    if isinstance(value, int | float)
                    else {"value": None, "choice": str(value)}
                )
                rows.append(
                    {
                        **where,
                        "rule": rule,
                        "block": block,
                        "parameter": parameter,
                        **found,
                        "n": one.tuned["n"],
                        "reason": "",
                    }
                )
            rows += [
                {**where, "rule": rule, "block": "validation", **fact, "reason": ""}
                for fact in _on_validation(one.tuned, rule)
            ]
    tuned = [one for one in evidence.sets if one.tuned]
    for (block, parameter), sets in published.EDIT_SETTINGS.items():
        for one in tuned:
            where = {
                "source": published.SOURCE,
                "rule": "rank_softmax",
                "dataset": one.dataset,
                "seq_len": one.seq_len,
            }
            value = published.at_length(sets, one.dataset, one.seq_len)
            if value is not None:
                rows.append(
                    {
                        **where,
                        "block": block,
                        "parameter": parameter,
                        "value": value,
                        "reason": "what it did there is not published",
                    }
                )
    return rows


def _chosen(settings: dict[str, Any], tried: list[dict[str, Any]]) -> list[tuple[str, str, Any]]:
    """(block, parameter, value) of a choice.

    Threshold and stable steps by block, then whatever else was searched.
    """
    values: list[tuple[str, str, Any]] = []
    if "blocks" in settings:
        blocks = {"first": settings["blocks"][0], "later": settings["blocks"][:2][-1]}
        values = [
            (name, key, block[of])
            for name, block in blocks.items()
            for key, of in (("delta", "threshold"), ("omega", "required_stable"))
        ]
    elif "delta" in settings:
        values = [("first", key, settings[key]) for key in ("delta", "omega")]
        # Null: the same.
        for key in ("delta", "omega"):
            values.append(("later", key, settings[f"later_{key}"] or settings[key]))
    for key in settings:
        tried_values = {repr(row["settings"][key]) for row in tried}
        if len(tried_values) > 1 and key not in BY_BLOCK:
            values.append(("all", key, settings[key]))
    return values


def _on_validation(tuned: dict[str, Any], rule: str) -> list[Row]:
    """Samples, accuracy and forwards of the choice.

    With how many of the tried settings did as well.
    """
    there = next(row for row in tuned["tried"][rule] if row["settings"] == tuned["chosen"][rule])
    low, high = clopper_pearson(round(there["accuracy"] * tuned["n"]), tuned["n"])
    ties = sum(row["objective"] == there["objective"] for row in tuned["tried"][rule])
    facts: list[Row] = [
        {"parameter": "samples", "value": tuned["n"]},
        {"parameter": "accuracy %", "value": there["accuracy"]},
    ]
    facts[1] |= {"low": low, "high": high}
    facts += [
        {"parameter": "forwards", "value": there["forwards"]},
        {"parameter": "settings tried", "value": len(tuned["tried"][rule])},
    ]
    return [{**fact, "n": tuned["n"]} for fact in (*facts, {"parameter": "as good", "value": ties})]


def transfer_rows(evidence: Evidence) -> list[Row]:
    """Every rule with the settings chosen on another dataset at the same length.

    Against this dataset's own choice, on the same samples.
    """
    rows: list[Row] = []
    for one in evidence.sets:
        where: Row = {"dataset": one.dataset, "seq_len": one.seq_len}
        others = [
            other
            for other in evidence.sets
            if other.seq_len == one.seq_len and other.dataset != one.dataset
        ]
        reason = (
            UNTUNED if one.tuned is None else "" if others else "no other dataset in this study"
        )
        if reason:
            rows.append(
                {
                    **where,
                    **dict.fromkeys(("rule", "tuned_on", "label", "n")),
                    **_loss(None, None, evidence.seed),
                    "reason": reason,
                }
            )
            continue
        for rule, label in _labels(one).items():
            own = _labelled(one, rule, label)
            for other in others:
                elsewhere = _labels(other).get(rule)
                run = _labelled(one, rule, elsewhere)
                missing = (
                    ""
                    if own and run
                    else (
                        f"no run of {rule} at the settings chosen on"
                        f" {other.dataset if own else one.dataset}"
                    )
                )
                names: Row = {
                    "rule": rule,
                    "tuned_on": other.dataset,
                    "label": elsewhere,
                    "n": run.n if run else None,
                }
                reason = missing or ("both datasets chose the same" if elsewhere == label else "")
                rows.append({**where, **names, **_loss(run, own, evidence.seed), "reason": reason})
    return sorted(rows, key=lambda row: (str(row["rule"]), row["seq_len"]))


def _loss(run: Run | None, own: Run | None, seed: int) -> Row:
    """A run less the one at the set's own choice: accuracy and forwards."""
    row: Row = dict.fromkeys(
        ("accuracy", "accuracy_own", "difference", "low", "high", "p", "verdict")
    )
    row |= dict.fromkeys(
        ("forwards", "forwards_own", "forwards_difference", "forwards_low", "forwards_high")
    )
    if run is None or own is None:
        return row
    gap, low, high = difference(run.correct, own.correct, seed)
    p = mcnemar(run.correct, own.correct)
    more, fewest, most = difference(run.nfe, own.nfe, seed)
    values = (
        run.accuracy,
        own.accuracy,
        gap,
        low,
        high,
        p,
        verdict(gap, low, high, p),
        run.forwards,
        own.forwards,
        more,
        fewest,
        most,
    )
    return dict(zip(row, values, strict=True))


def _labels(one: ResultSet) -> dict[str, str]:
    """Label of each tuned rule's run at the choice of one set, as rule `exits` writes it."""
    return {
        rule: settings_of(rule, **chosen).label(rule)
        for rule, chosen in (one.tuned or {"chosen": {}})["chosen"].items()
    }


def _labelled(one: ResultSet, rule: str, label: str | None) -> Run | None:
    return next((run for run in one.runs if (run.rule, run.label) == (rule, label)), None)


def _hyperparameter_caption(rows: list[Row]) -> str:
    counts = sorted(
        {row["n"] for row in rows if row["source"] == "ours" and isinstance(row["n"], int)}
    )
    return (
        "Settings chosen by accuracy / mean forwards on the validation split, never on test: first"
        " for all blocks, then for the later ones alone. As good: settings tried that share the"
        " best objective; where there are several, the more accurate and then the first was taken,"
        " and the data do not tell them apart. Published: EDIT Table 3, chosen on 20 % of its"
        f" training data, for the KL of rank_softmax. n = {' to '.join(map(str, counts)) or 0} a"
        " set; intervals are in the csv."
    )


def _transfer_caption(rows: list[Row]) -> str:
    return (
        "Test accuracy (points) / forwards with the settings chosen on another dataset at the same"
        " length, less those with the dataset's own choice, on the same prompts. * the 95 % paired"
        " bootstrap interval excludes 0 and McNemar's p < 0.05; both are in the csv. A choice on"
        f" few validation samples is no best setting: a positive number says so. n = {sizes(rows)}"
        " a set."
    )


def _value(row: Row) -> str:
    return (
        str(row["choice"])
        if row["choice"] is not None
        else number(row["value"], KINDS.get(str(row["parameter"]), "setting"))
    )


def _lost(row: Row) -> str:
    if row["difference"] is None:
        return UNDEFINED
    mark = "" if row["verdict"] == UNRESOLVED else "*"
    return (
        f"{number(row['difference'], 'points')}{mark} /"
        f" {number(row['forwards_difference'], 'signed')}"
    )


HYPERPARAMETERS = Spec(
    "hyperparameters",
    "Settings chosen on validation",
    caption=_hyperparameter_caption,
    build=hyperparameter_rows,
    columns=(
        Column("source", text("source"), numeric=False, merge=True),
        Column("rule", text("rule"), numeric=False, merge=True),
        Column("block", text("block"), numeric=False, merge=True),
        Column("parameter", text("parameter"), numeric=False),
    ),
    pivot=Pivot(("dataset", "seq_len"), _value),
    shown=lambda row: row["rule"] is not None,
    texts=Spec.texts | {"block", "parameter", "choice"},
)

TRANSFER = Spec(
    "transfer",
    "Settings carried over",
    caption=_transfer_caption,
    build=transfer_rows,
    columns=(
        Column("rule", text("rule"), numeric=False, merge=True),
        Column("tokens", shows("seq_len", "count"), merge=True),
        Column("chosen on", text("tuned_on"), numeric=False),
    ),
    pivot=Pivot(("dataset",), _lost),
    shown=lambda row: row["rule"] is not None,
    texts=Spec.texts | {"tuned_on"},
)
