"""Tables of exit rules: what they save, what it costs in accuracy, and whether fewer fixed steps would have done as well."""

from typing import Any

import numpy as np

from tracedlm.report import published
from tracedlm.report.evidence import Evidence, ResultSet, Run
from tracedlm.report.layout import Column, Pivot, Row, Spec, number, shows, text, with_interval
from tracedlm.theory.resampling import bootstrap_interval, clopper_pearson, mcnemar, paired_bootstrap

EQUAL_FORWARDS = 0.5
"""Runs whose mean forwards differ by no more than this are compared as equally expensive."""

SET = (Column("dataset", text("dataset"), numeric=False, merge=True), Column("tokens", shows("seq_len", "count"), merge=True))


def proportion(flags: np.ndarray) -> dict[str, Any]:
    """Share of True with its Clopper-Pearson interval; null without samples."""
    low, high = clopper_pearson(int(flags.sum()), len(flags))
    return {"share": float(flags.mean()) if len(flags) else None, "low": low, "high": high}


def accuracy(run: Run | None, name: str) -> Row:
    """Strict accuracy of a run as fields `accuracy_<name>`, `.._low` and `.._high`; null without the run."""
    found = proportion(run.correct) if run else {"share": None, "low": None, "high": None}
    return {f"accuracy_{name}": found["share"], f"accuracy_{name}_low": found["low"], f"accuracy_{name}_high": found["high"]}


def difference(run: Run, baseline: Run, seed: int) -> tuple[float, float, float]:
    """Accuracy of a run minus another's on the same samples, with the paired bootstrap interval; shares."""
    a, b = run.correct.astype(float), baseline.correct.astype(float)
    return (float(a.mean() - b.mean()), *paired_bootstrap(a, b, rng=np.random.default_rng(seed)))


def efficiency_rows(evidence: Evidence) -> list[Row]:
    """Forwards and accuracy of `rad` against full decoding, and `truncate` at the same forwards (TRACE Tables 1 and 3, EDIT Table 2)."""
    rows = []
    for one in evidence.sets:
        full, rad, truncate = one.run("full"), one.run("rad"), one.run("truncate")
        forwards = float(rad.nfe.mean()) if rad else None
        gap, low, high = difference(rad, full, evidence.seed) if rad and full else (None, None, None)
        printed = published.at_length(published.EDIT_REDUCTION, one.dataset, one.seq_len)
        missing = [name for name, run in (("rad", rad), ("truncate", truncate)) if run is None]
        rows.append(
            {
                "dataset": one.dataset,
                "seq_len": one.seq_len,
                "n": full.n if full else None,
                "full_steps": one.steps,
                "rad_forwards": forwards,
                "reduction": None if forwards is None else 1 - forwards / one.steps,
                **accuracy(full, "full"),
                **accuracy(rad, "rad"),
                "difference": gap,
                "difference_low": low,
                "difference_high": high,
                "truncate_forwards": float(truncate.nfe.mean()) if truncate else None,
                **accuracy(truncate, "truncate"),
                "published_reduction": None if printed is None else printed / 100,
                "reason": "; ".join(
                    [*(f"{name} was not run" for name in missing), *([] if printed else ["no published reduction for this set"])]
                ),
            }
        )
    return rows


def accuracy_rows(evidence: Evidence) -> list[Row]:
    """Accuracy of full decoding and of every exit rule, under both scorers (EDIT Table 1)."""
    rows = []
    for one in evidence.sets:
        for rule in dict.fromkeys(run.rule for run in one.runs):
            run = one.run(rule)
            assert run is not None
            strict, low, high = proportion(run.correct).values()
            d1_low, d1_high = bootstrap_interval(run.score_d1, rng=np.random.default_rng(evidence.seed))
            where = {"source": "ours", "method": rule, "dataset": one.dataset, "seq_len": one.seq_len, "n": run.n, "label": run.label}
            rows.append({**where, "scorer": "solved", "accuracy": strict, "low": low, "high": high, "reason": ""})
            rows.append({**where, "scorer": "d1", "accuracy": float(run.score_d1.mean()), "low": d1_low, "high": d1_high, "reason": ""})
    rows.sort(key=lambda row: row["scorer"] == "d1")
    for method, sets in published.EDIT_ACCURACY.items():
        for one in evidence.sets:
            printed = published.at_length(sets, one.dataset, one.seq_len)
            if printed is not None:
                where = {"source": published.SOURCE, "method": method, "dataset": one.dataset, "seq_len": one.seq_len}
                rows.append({**where, "scorer": "d1", "accuracy": printed / 100, "reason": "n and intervals are not published"})
    return rows


def equal_baseline(run: Run, one: ResultSet) -> Run | None:
    """The `truncate` run (or full decoding, its last point) whose mean forwards equal this run's; None for those themselves."""
    if run.rule in ("truncate", "full"):
        return None
    baselines = [other for other in one.runs if other.rule in ("truncate", "full")]
    nearest = min(baselines, key=lambda other: (abs(other.nfe.mean() - run.nfe.mean()), other.rule == "full"), default=None)
    return nearest if nearest and abs(nearest.nfe.mean() - run.nfe.mean()) <= EQUAL_FORWARDS else None


def exit_rows(evidence: Evidence) -> list[Row]:
    """Every run: accuracy, cost, flips against full decoding, and the paired comparison with `truncate` at equal forwards."""
    rows = []
    for one in evidence.sets:
        for run in one.runs:
            strict, flips = proportion(run.correct), proportion(run.answer_flip)
            rows.append(
                {
                    "dataset": one.dataset,
                    "seq_len": one.seq_len,
                    "rule": run.rule,
                    "label": run.label,
                    "n": run.n,
                    "accuracy": strict["share"],
                    "low": strict["low"],
                    "high": strict["high"],
                    "forwards": float(run.nfe.mean()),
                    "token_forwards": float(run.token_forwards.mean()),
                    "token_flips": float(run.token_flips.mean()) / one.seq_len,
                    "answer_flips": flips["share"],
                    "answer_flips_low": flips["low"],
                    "answer_flips_high": flips["high"],
                    **_comparison(run, one, evidence.seed),
                }
            )
    return rows


def _comparison(run: Run, one: ResultSet, seed: int) -> Row:
    """Paired difference to `truncate`; worse or better only where the bootstrap interval excludes 0 and McNemar's p is below 0.05."""
    fields = dict.fromkeys(("against", "difference", "difference_low", "difference_high", "p", "verdict", "sentence"))
    baseline = equal_baseline(run, one)
    if baseline is None:
        itself = run.rule in ("truncate", "full")
        return {**fields, "reason": "the baseline itself" if itself else f"no truncate run within {EQUAL_FORWARDS} forwards"}
    gap, low, high = difference(run, baseline, seed)
    p = mcnemar(run.correct, baseline.correct)
    resolved = (low > 0 or high < 0) and p < 0.05
    verdict = ("better" if gap > 0 else "worse") if resolved else "no difference shown"
    shares = [number(float(other.correct.mean()), "percent") for other in (run, baseline)]
    sentence = f"{run.rule} {shares[0]} % vs {baseline.rule} {shares[1]} % at {number(float(run.nfe.mean()), 'one')} forwards: {verdict}"
    values = (baseline.label, gap, low, high, p, verdict, sentence)
    return {**dict(zip(fields, values, strict=True)), "reason": ""}


def latency_rows(evidence: Evidence) -> list[Row]:
    """Wall time per sample of every run against full decoding."""
    rows = []
    for one in evidence.sets:
        full = one.run("full")
        for run in one.runs:
            seconds = float(run.seconds.mean())
            rows.append(
                {
                    "dataset": one.dataset,
                    "seq_len": one.seq_len,
                    "rule": run.rule,
                    "label": run.label,
                    "n": run.n,
                    "seconds": seconds,
                    "speed_up": float(full.seconds.mean()) / seconds if full and seconds else None,
                    "forwards": float(run.nfe.mean()),
                    "forwards_saved": 1 - float(run.nfe.mean()) / one.steps,
                    "time_saved": 1 - seconds / float(full.seconds.mean()) if full else None,
                    "reason": "",
                }
            )
    return rows


def _efficiency_caption(rows: list[Row]) -> str:
    return (
        "Forwards per sample, summed over blocks, of full decoding and of rad, and the accuracy of both (puzzles solved, percent). "
        "Truncate is full decoding cut to the same mean forwards: a rule that does no better has not earned its name. "
        "Brackets: 95 % paired bootstrap. Published: reduction in EDIT Table 2 and TRACE Table 3, for LLaDA-8B, not our model. n = "
        f"{_sizes(rows)} a set."
    )


def _accuracy_caption(rows: list[Row]) -> str:
    printed = (
        " Published rows: EDIT Table 1, LLaDA-8B after SFT on s1K, another model and other training data."
        if any(row["source"] != "ours" for row in rows)
        else ""
    )
    return (
        "Accuracy in percent by decoding method, dataset and canvas length. Solved: the whole puzzle, strict scorer. d1: the scorer "
        f"of the published evaluation, for Sudoku the share of blank cells, where chance is 25 %. n = {_sizes(rows)} a set.{printed}"
    )


def _exit_caption(rows: list[Row]) -> str:
    return (
        "Exit rules on the same prompts. Accuracy (percent solved) with Clopper-Pearson interval; flips against full decoding: response "
        "tokens "
        "and answers, percent. Difference to truncate at equal mean forwards in points, with 95 % paired bootstrap interval and exact "
        "McNemar p; "
        f"better or worse only where the interval excludes 0 and p < 0.05. Settings{_settings(rows)} and counts are in the csv. n = "
        f"{_sizes(rows)} a set."
    )


def _latency_caption(rows: list[Row]) -> str:
    return (
        "Seconds per sample, a share of each batch's wall time, all rules in one process. Saved: against full decoding, in percent. "
        f"Time differs from run to run, unlike every other table. n = {_sizes(rows)} a set."
    )


def _settings(rows: list[Row]) -> str:
    labels = sorted({str(row["label"]) for row in rows if row["rule"] == "rad"})
    return f" ({', '.join(labels)})" if labels else ""


def _sizes(rows: list[Row]) -> str:
    return " to ".join(str(n) for n in sorted({row["n"] for row in rows if isinstance(row["n"], int)}))


EFFICIENCY = Spec(
    "efficiency",
    "Efficiency",
    _efficiency_caption,
    efficiency_rows,
    (
        *SET,
        Column("full", shows("full_steps", "count")),
        Column("rad", shows("rad_forwards", "one")),
        Column("saved %", shows("reduction", "percent")),
        Column("published %", shows("published_reduction", "percent")),
        Column("acc. full", shows("accuracy_full", "percent")),
        Column("acc. rad", shows("accuracy_rad", "percent")),
        Column("rad vs full", with_interval("difference", "difference_low", "difference_high", "points")),
        Column("acc. truncate", shows("accuracy_truncate", "percent")),
    ),
)

ACCURACY = Spec(
    "accuracy",
    "Accuracy",
    _accuracy_caption,
    accuracy_rows,
    (
        Column("source", text("source"), numeric=False, merge=True),
        Column("scorer", text("scorer"), numeric=False, merge=True),
        Column("method", text("method"), numeric=False),
    ),
    Pivot(("dataset", "seq_len"), shows("accuracy", "percent")),
)

EXIT_RULES = Spec(
    "exit_rules",
    "Exit rules",
    _exit_caption,
    exit_rows,
    (
        *SET,
        Column("rule", text("rule"), numeric=False),
        Column("accuracy", with_interval("accuracy", "low", "high", "percent")),
        Column("forwards", shows("forwards", "one")),
        Column("vs truncate", with_interval("difference", "difference_low", "difference_high", "points")),
        Column("p", shows("p", "p")),
        Column("verdict", text("verdict"), numeric=False),
        Column("token flips", shows("token_flips", "percent")),
        Column("answer flips", shows("answer_flips", "percent")),
        Column("token-fwd.", shows("token_forwards", "count")),
    ),
)

LATENCY = Spec(
    "latency",
    "Latency",
    _latency_caption,
    latency_rows,
    (
        *SET,
        Column("rule", text("label"), numeric=False),
        Column("seconds", shows("seconds", "small")),
        Column("speed-up", shows("speed_up", "two")),
        Column("forwards saved %", shows("forwards_saved", "percent")),
        Column("time saved %", shows("time_saved", "percent")),
    ),
)
