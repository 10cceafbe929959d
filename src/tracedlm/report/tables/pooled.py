"""Table of exit rules against full decoding and the baselines at equal cost, all sets together.

One set alone seldom decides.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from tracedlm.report.evidence import Evidence, Run
from tracedlm.report.layout import Column, Row, Spec, shows, text, with_interval
from tracedlm.report.tables.equal_cost import (
    BASELINES,
    EQUAL_FORWARDS,
    UNRESOLVED,
    matched,
    verdict,
)
from tracedlm.theory.resampling import bootstrap_interval, sign_flip

AGAINST = ("full", *BASELINES)
Pair = tuple[str, Run, Run]
"""A dataset, a rule's run on one of its sets, and the run it is compared with."""


def pooled_rows(evidence: Evidence) -> list[Row]:
    """Every rule's first run against full decoding, `truncate` and `random`.

    The baselines have as many forwards. Over all sets that have both runs.
    """
    rules = dict.fromkeys(
        run.rule for one in evidence.sets for run in one.runs if run.rule not in AGAINST
    )
    return [
        _pooled(rule, against, list(_pairs(evidence, rule, against)), evidence)
        for rule in rules
        for against in AGAINST
    ]


def _pairs(evidence: Evidence, rule: str, against: str) -> Iterator[Pair]:
    for one in evidence.sets:
        run = one.run(rule)
        other = (
            one.run("full") if against == "full" else matched(run, one, against) if run else None
        )
        if run and other:
            yield one.dataset, run, other


def _pooled(rule: str, against: str, pairs: list[Pair], evidence: Evidence) -> Row:
    row: Row = {"rule": rule, "against": against, "sets": len(pairs), "of_sets": len(evidence.sets)}
    fields = (
        "problems",
        "n",
        "forwards",
        "against_forwards",
        "solved",
        "against_solved",
        "difference",
        "low",
        "high",
        "p",
        "verdict",
    )
    if not pairs:
        return (
            row
            | dict.fromkeys(fields)
            | {"reason": f"no set has a run of {against} within {EQUAL_FORWARDS} forwards"}
        )
    by_problem = _by_problem(pairs)
    n = sum(run.n for _, run, _ in pairs)
    runs = [run for _, run, _ in pairs]
    baselines = [baseline for _, _, baseline in pairs]
    solved = int(sum(run.correct.sum() for run in runs))
    against_solved = int(sum(baseline.correct.sum() for baseline in baselines))
    gap = (solved - against_solved) / n
    # A bootstrap of equal values has no width, which would say that nothing is uncertain.
    alike = bool(np.ptp(by_problem) == 0)
    low = None
    high = None
    if not alike:
        rng = np.random.default_rng(evidence.seed)
        low, high = bootstrap_interval(by_problem * len(by_problem) / n, rng=rng)
    p = sign_flip(by_problem)
    return {
        **row,
        "problems": len(by_problem),
        "n": n,
        "forwards": float(np.concatenate([run.nfe for run in runs]).mean()),
        "against_forwards": float(np.concatenate([run.nfe for run in baselines]).mean()),
        "solved": solved,
        "against_solved": against_solved,
        "difference": gap,
        "low": low,
        "high": high,
        "p": p,
        "verdict": verdict(gap, gap if low is None else low, gap if high is None else high, p),
        "reason": "no interval: every problem shows the same difference" if alike else "",
    }


def _by_problem(pairs: list[Pair]) -> np.ndarray:
    """Answers that the rule has right less the other's, int [problems].

    A problem's answers at all canvas lengths are added up.

    All lengths of a dataset decode the same test problems in the same order, so that a problem's
    place names it.
    """
    gaps: dict[tuple[str, int], int] = defaultdict(int)
    for dataset, run, baseline in pairs:
        for place, gap in enumerate(run.correct.astype(int) - baseline.correct.astype(int)):
            gaps[dataset, place] += int(gap)
    return np.array(list(gaps.values()))


def _caption(rows: list[Any]) -> str:
    problems = _range_of(row["problems"] for row in rows)
    answers = _range_of(row["n"] for row in rows)
    return (
        "Every rule's first run, all sets together, less full decoding and less the baselines at"
        " equal mean forwards, in points of accuracy. A problem is one draw with its answers at"
        " all canvas lengths, for the 95 % bootstrap interval as for p, an exact sign-flip test"
        " over problems. Better or worse only where the interval excludes 0 and p < 0.05, else"
        " open; nothing is corrected for the number of comparisons. Forwards: mean per answer."
        f" Solved: answers right. Only sets with both runs count. n = {answers} answers to"
        f" {problems} problems."
    )


def _range_of(counts: Iterable[Any]) -> str:
    """Different counts, smallest first, e.g. `24 to 64`."""
    return " to ".join(map(str, sorted({count for count in counts if count})))


POOLED = Spec(
    "equal_cost_pooled",
    "Exit rules at equal cost, all sets together",
    _caption,
    pooled_rows,
    (
        Column("rule", text("rule"), numeric=False, merge=True),
        Column("against", text("against"), numeric=False),
        Column("sets", shows("sets", "count")),
        Column("answers", shows("n", "count")),
        Column("forwards", shows("forwards", "one")),
        Column("other's forwards", shows("against_forwards", "one")),
        Column("solved", shows("solved", "count")),
        Column("other's solved", shows("against_solved", "count")),
        Column("difference", with_interval("difference", "low", "high", "points")),
        Column("p", shows("p", "p")),
        Column(
            "verdict",
            lambda row: "open" if row["verdict"] == UNRESOLVED else text("verdict")(row),
            numeric=False,
        ),
    ),
    shown=lambda row: row["difference"] is not None,
)
