"""The papers' tables of exits, ours beside what they print.

Efficiency (TRACE Tables 1 and 3, EDIT Table 2), accuracy (EDIT Table 1).
"""

import numpy as np

from tracedlm.report.evidence import Evidence, ResultSet, Run
from tracedlm.report.layout import Column, Pivot, Row, Spec, shows, text, with_interval
from tracedlm.report.tables import published
from tracedlm.report.tables.equal_cost import BASELINES, difference, matched, proportion, verdict
from tracedlm.report.tables.exits import PAPERS, SET, settings, sizes
from tracedlm.theory.resampling import bootstrap_interval, mcnemar


def accuracy(run: Run | None, name: str) -> Row:
    """Strict accuracy of a run as fields `accuracy_<name>`, `.._low` and `.._high`.

    Null without the run.
    """
    found = proportion(run.correct) if run else {"share": None, "low": None, "high": None}
    return {
        f"accuracy_{name}": found["share"],
        f"accuracy_{name}_low": found["low"],
        f"accuracy_{name}_high": found["high"],
    }


def efficiency_rows(evidence: Evidence) -> list[Row]:
    """Forwards and accuracy of the papers' rules against full decoding.

    With `truncate` beside them (TRACE 1 and 3, EDIT 2).
    """
    return [
        _efficiency(one, rule, evidence.seed)
        for one in evidence.sets
        for rule in PAPERS
        if rule == "rad" or one.run(rule)  # the papers' tables have a row for every set, run or not
    ]


def _efficiency(one: ResultSet, rule: str, seed: int) -> Row:
    full, run = one.run("full"), one.run(rule)
    truncate = matched(run, one, "truncate") if run else None
    compared: Row = dict.fromkeys(
        ("difference", "difference_low", "difference_high", "difference_p", "difference_verdict")
    )
    if run and full:
        gap, low, high = difference(run.correct, full.correct, seed)
        p = mcnemar(run.correct, full.correct)
        compared = {
            "difference": gap,
            "difference_low": low,
            "difference_high": high,
            "difference_p": p,
            "difference_verdict": verdict(gap, low, high, p),
        }
    steps = published.at_length(published.EDIT_STEPS, one.dataset, one.seq_len)
    reduction = published.at_length(published.EDIT_REDUCTION, one.dataset, one.seq_len)
    impact = published.TRACE_IMPACT.get(one.dataset) if one.seq_len in published.LENGTHS else None
    missing = []
    if run is None:
        missing.append(f"{rule} was not run")
    elif truncate is None:
        missing.append("no truncate run at its forwards")
    return {
        "dataset": one.dataset,
        "seq_len": one.seq_len,
        "rule": rule,
        "label": run.label if run else None,
        "n": full.n if full else None,
        "full_steps": one.steps,
        "forwards": run.forwards if run else None,
        "forwards_least": int(run.nfe.min()) if run else None,
        "forwards_most": int(run.nfe.max()) if run else None,
        "reduction": 1 - run.forwards / one.steps if run else None,
        **accuracy(full, "full"),
        **accuracy(run, "rule"),
        **compared,
        "truncate_forwards": truncate.forwards if truncate else None,
        **accuracy(truncate, "truncate"),
        "published_steps": steps,
        "published_reduction": None if reduction is None else reduction / 100,
        "published_difference": None if impact is None else impact / 100,
        "reason": "; ".join(
            [*missing, *([] if reduction else ["no published reduction for this set"])]
        ),
    }


def accuracy_rows(evidence: Evidence) -> list[Row]:
    """Accuracy of full decoding and of every rule's first run, under both scorers.

    Source: EDIT Table 1.
    """
    rows = []
    for one in evidence.sets:
        for rule in dict.fromkeys(run.rule for run in one.runs):
            if rule in BASELINES:
                continue
            run = one.run(rule)
            assert run is not None
            strict, low, high = proportion(run.correct).values()
            where = {
                "source": "ours",
                "method": rule,
                "dataset": one.dataset,
                "seq_len": one.seq_len,
                "n": run.n,
                "label": run.label,
            }
            rows.append(
                {
                    **where,
                    "scorer": "solved",
                    "accuracy": strict,
                    "low": low,
                    "high": high,
                    "reason": "",
                }
            )
            rows.append(
                {
                    **where,
                    "scorer": "d1",
                    "accuracy": float(run.score_d1.mean()),
                    **_d1_interval(run.score_d1, evidence.seed),
                }
            )
    rows.sort(key=lambda row: row["scorer"] == "d1")
    for method, sets in published.EDIT_ACCURACY.items():
        for one in evidence.sets:
            printed = published.at_length(sets, one.dataset, one.seq_len)
            if printed is not None:
                where = {
                    "source": published.SOURCE,
                    "method": method,
                    "dataset": one.dataset,
                    "seq_len": one.seq_len,
                }
                rows.append(
                    {
                        **where,
                        "scorer": "d1",
                        "accuracy": printed / 100,
                        "reason": "n and intervals are not published",
                    }
                )
    return rows


def _d1_interval(scores: np.ndarray, seed: int) -> Row:
    """Clopper-Pearson where every score is 0 or 1, as of `solved`.

    Else the bootstrap, which has nothing to say of equal scores.
    """
    if np.isin(scores, (0, 1)).all():
        return {key: proportion(scores)[key] for key in ("low", "high")} | {"reason": ""}
    if np.ptp(scores) == 0:
        return {"low": None, "high": None, "reason": "no interval: every sample has the same score"}
    low, high = bootstrap_interval(scores, rng=np.random.default_rng(seed))
    return {"low": low, "high": high, "reason": ""}


def _efficiency_caption(rows: list[Row]) -> str:
    return (
        "Forwards per sample, summed over blocks, of full decoding and of the papers'"
        f" rules{settings(rows)}, and the accuracy of both (problems solved, percent). Truncate is"
        " full decoding cut to the same mean forwards: a rule that does no better has not earned"
        " its name. Brackets: 95 % paired bootstrap, p: exact McNemar, of the rule against full"
        " decoding. Published: steps and reduction in EDIT Table 2 (TRACE Table 3), change of"
        f" accuracy in TRACE Table 3 for all lengths; LLaDA-8B, not our model. n = {sizes(rows)} a"
        " set."
    )


def _accuracy_caption(rows: list[Row]) -> str:
    printed = (
        " Published rows: EDIT Table 1, LLaDA-8B after SFT on s1K, another model and other training"
        " data."
        if any(row["source"] != "ours" for row in rows)
        else ""
    )
    return (
        "Accuracy in percent by decoding method, dataset and canvas length. Solved: the whole"
        " problem, strict scorer. d1: the scorer of the published evaluation, for Sudoku the share"
        " of blank cells that agree with the one printed solution, where chance is 25 %; any valid"
        " completion is solved. Other rules and all intervals are in the csv: Clopper-Pearson, or"
        f" bootstrap where scores are shares. n = {sizes(rows)} a set.{printed}"
    )


EFFICIENCY = Spec(
    "efficiency",
    "Efficiency",
    _efficiency_caption,
    efficiency_rows,
    (
        *SET,
        Column("rule", text("rule"), numeric=False),
        Column("full", shows("full_steps", "count")),
        Column("forwards", shows("forwards", "one")),
        Column("saved %", shows("reduction", "percent")),
        Column("published steps", shows("published_steps", "one")),
        Column("published %", shows("published_reduction", "percent")),
        Column("acc. full", shows("accuracy_full", "percent")),
        Column("acc. rule", shows("accuracy_rule", "percent")),
        Column(
            "rule vs full",
            with_interval("difference", "difference_low", "difference_high", "points"),
        ),
        Column("p", shows("difference_p", "p")),
        Column("published points", shows("published_difference", "points")),
        Column("acc. truncate", shows("accuracy_truncate", "percent")),
    ),
    texts=Spec.texts | {"difference_verdict"},
)

ACCURACY = Spec(
    "accuracy",
    "Accuracy",
    caption=_accuracy_caption,
    build=accuracy_rows,
    columns=(
        Column("source", text("source"), numeric=False, merge=True),
        Column("scorer", text("scorer"), numeric=False, merge=True),
        Column("method", text("method"), numeric=False),
    ),
    pivot=Pivot(("dataset", "seq_len"), shows("accuracy", "percent")),
    shown=lambda row: row["source"] != "ours" or row["method"] in ("full", *PAPERS),
)
