"""Runs beside the baseline that cost as much.

Which baseline run that is, and how sure their difference is.
"""

from typing import Any

import numpy as np

from tracedlm.report.evidence import ResultSet, Run
from tracedlm.report.layout import Row, number
from tracedlm.theory.resampling import clopper_pearson, mcnemar, paired_bootstrap

EQUAL_FORWARDS = 0.5
"""Runs whose mean forwards differ by no more than this are compared as equally expensive."""

BASELINES = {"truncate": ("truncate", "full"), "random": ("random",)}
"""Baseline -> rules whose runs stand for it.

Full decoding is the last point of truncate's curve.
"""

UNRESOLVED = "no difference shown"
SAID = {"better": "better than", "worse": "worse than", UNRESOLVED: "no difference shown to"}
FIELDS = ("run", "accuracy", "difference", "low", "high", "p", "verdict")
"""What is said of a run against a baseline, each field with the baseline's name before it."""


def proportion(flags: np.ndarray) -> dict[str, Any]:
    """Share of True with its Clopper-Pearson interval; null without samples."""
    low, high = clopper_pearson(int(flags.sum()), len(flags))
    return {"share": float(flags.mean()) if len(flags) else None, "low": low, "high": high}


def difference(a: np.ndarray, b: np.ndarray, seed: int) -> tuple[float, float, float]:
    """Mean of `a` less that of `b`, with the 95 % paired bootstrap interval.

    One value a sample, in the same order.
    """
    a, b = a.astype(float), b.astype(float)
    return (float(a.mean() - b.mean()), *paired_bootstrap(a, b, rng=np.random.default_rng(seed)))


def matched(run: Run, one: ResultSet, baseline: str) -> Run | None:
    """The baseline's run that costs as much as this one.

    None where none does, and for the baseline itself, by whatever name.
    """
    if run.rule in BASELINES[baseline]:
        return None
    nearest = _nearest(run, one, baseline)
    if nearest is None or abs(nearest.forwards - run.forwards) > EQUAL_FORWARDS:
        return None
    return None if _is_full(run, nearest) else nearest


def comparisons(run: Run, one: ResultSet, seed: int) -> Row:
    """A run against every baseline at equal mean forwards.

    The fields of each, a sentence, and the reason for what is null.
    """
    found: Row = {}
    sentences, reasons = [], []
    for baseline in BASELINES:
        other = matched(run, one, baseline)
        if other is None:
            found |= {f"{baseline}_{field}": None for field in FIELDS}
            reasons.append(f"{baseline}: {_unmatched(run, one, baseline)}")
            continue
        gap, low, high = difference(run.correct, other.correct, seed)
        p = mcnemar(run.correct, other.correct)
        values = (other.label, other.accuracy, gap, low, high, p, verdict(gap, low, high, p))
        found |= {f"{baseline}_{field}": value for field, value in zip(FIELDS, values, strict=True)}
        sentences.append(f"{SAID[values[-1]]} {other.rule} ({number(other.accuracy, 'percent')} %)")
    cost = (
        f"{run.rule} {number(run.accuracy, 'percent')} % at {number(run.forwards, 'one')} forwards"
    )
    return {
        **found,
        "sentence": f"{cost}: {', '.join(sentences)}" if sentences else None,
        "reason": "; ".join(reasons),
    }


def verdict(gap: float, low: float, high: float, p: float) -> str:
    """Better or worse only where the interval excludes 0 and McNemar's p is below 0.05.

    Each comparison stands for itself: nothing is corrected for many.
    """
    resolved = (low > 0 or high < 0) and p < 0.05
    return ("better" if gap > 0 else "worse") if resolved else UNRESOLVED


def _nearest(run: Run, one: ResultSet, baseline: str) -> Run | None:
    runs = [other for other in one.runs if other.rule in BASELINES[baseline]]
    return min(
        runs,
        key=lambda other: (abs(other.forwards - run.forwards), other.rule == "full"),
        default=None,
    )


def _is_full(run: Run, other: Run) -> bool:
    """Whether a run is full decoding once more, forward by forward and token by token.

    skip_noop where no forward can be skipped.
    """
    return other.rule == "full" and not run.token_flips.any() and np.array_equal(run.nfe, other.nfe)


def _unmatched(run: Run, one: ResultSet, baseline: str) -> str:
    if run.rule in BASELINES[baseline]:
        return "the baseline itself"
    nearest = _nearest(run, one, baseline)
    if nearest and _is_full(run, nearest):
        return "it is full decoding, token by token"
    at = f"; the nearest takes {nearest.forwards:.1f}" if nearest else ""
    return f"no run within {EQUAL_FORWARDS} of {run.forwards:.1f} forwards{at}"
