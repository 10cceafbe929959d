"""Tables of training dynamics.

The toolkit's three claims beside ours, what stopping early would have saved, and what measuring
took.
"""

import math
from typing import Any

import numpy as np

from tracedlm.report.layout import UNDEFINED, Column, Row, Spec, number, shows, text, with_interval
from tracedlm.report.tables.trajectories import Curve, Trajectories, Which
from tracedlm.theory.early_stopping import mean_interval, turn_differences
from tracedlm.theory.probing import first_learnt

TEXTS = Spec.texts | {"claim", "run", "quantity", "toolkit", "why", "signal", "metric", "limits"}

DIMENSION = "intrinsic dimension falls, then rises"
CURVATURE = "curvature peaks early, then decays"
ROLES = "Agent and Action are learnt before other roles"
WHY = {
    DIMENSION: (
        "theirs: TwoNN of the 128 sentences of a training batch with padding among the coordinates,"
        " under a mask that looks ahead; ours: fixed held-out sentences, padding and duplicates"
        " dropped"
    ),
    CURVATURE: (
        "theirs: the five eigenvalues largest in magnitude, their sum called trace, first tracked"
        " late; ours: extremes by Lanczos and Hutchinson's trace on fixed batches, from step 0"
    ),
    ROLES: (
        "theirs: sentence-level labels at every position, no held-out sentences, 0.94 on an"
        " untrained model; ours: gold labels of tokens, probes trained anew, other sentences"
    ),
}
TOOLKIT = {
    DIMENSION: "18, 12, 25; its mask corrected: 32, 6",
    CURVATURE: "early peak, then decay; its mask corrected: small peak at 250, then growth",
    ROLES: "Agent and Action first; 0.94 on an untrained model",
}
"""What the paper says, and what its released code gave on one seed (method.md section 9)."""

ROLE_PROBE = "linear.role.sentence"
CEILING = "ceiling.role.sentence"
BASELINES = ("majority.role.sentence", "position.role.sentence", "word.role.sentence")
QUANTITIES = {
    DIMENSION: {
        "TwoNN, sentences side by side": Which("two_nn", "flat", -1),
        "TwoNN, tokens": Which("two_nn", "token", -1),
    },
    CURVATURE: {
        "lambda_max, train": Which("lambda_max", "all", None, "train"),
        "trace, train": Which("trace", "all", None, "train"),
        "lambda_max, validation": Which("lambda_max", "all", None, "validation"),
    },
}


def loss_of(run: str, found: Trajectories) -> Which:
    """The loss of a run: nll, of a masked model at the middle one of its mask ratios."""
    modules = sorted(
        {row["module"] for row in found.rows if row["run"] == run and row["metric"] == "nll"}
    )
    return Which("nll", modules[len(modules) // 2] if modules else "")


def claim_rows(found: Trajectories) -> list[Row]:
    """One row for each claim, run and quantity.

    Toolkit's number, ours at the start, at the extreme and at the end.
    """
    rows: list[Row] = []
    for run in found.runs:
        for claim, quantities in QUANTITIES.items():
            for quantity, which in quantities.items():
                curve = found.curve(run, which)
                rows.append(
                    {
                        **_named(claim, run, quantity),
                        **(_turning(curve, claim) if curve else not_measured()),
                    }
                )
        roles = [_role(found, run, role) for role in found.labels(run, "f1", ROLE_PROBE)]
        rows += [*roles, *([_order(run, roles)] if roles else [])]
    return [{**row, "limits": limits_sentence(found.limits)} for row in rows]


def _named(claim: str, run: str, quantity: str) -> Row:
    return {
        "claim": claim,
        "run": run,
        "quantity": quantity,
        "toolkit": TOOLKIT[claim],
        "why": WHY[claim],
    }


def not_measured() -> Row:
    """Fields of a quantity that the config does not measure."""
    return {"n": 0, "verdict": None, "reason": "not among dynamics.metrics"}


def _turning(curve: Curve, claim: str) -> Row:
    """First checkpoint, the extreme one of the mean curve, and the last.

    Whether the curve turns there beyond the seeds' spread.
    """
    means = np.array([curve.at(index)[0] for index in range(len(curve.steps))])
    if np.isnan(means).all():
        return {"n": 0, "verdict": None, "reason": "undefined at every checkpoint"}
    sign = 1 if claim == DIMENSION else -1
    extreme = int(np.nanargmin(sign * means))
    before, after = map(_resolved, turn_differences(sign * curve.values))
    words = ("falls", "rises again") if claim == DIMENSION else ("rises", "decays")
    verdict = ", ".join(
        word if seen else f"{word}: not resolved"
        for word, seen in zip(words, (before, after), strict=True)
    )
    row: Row = {
        "n": len(curve.seeds),
        "turn_step": curve.steps[extreme],
        "verdict": verdict,
        "reason": "",
    }
    for name, index in (("start", 0), ("turn", extreme), ("end", len(curve.steps) - 1)):
        row |= with_bounds(name, curve.at(index)) | {
            f"{name}_stderr": number_of(np.sqrt(np.mean(curve.stderrs[:, index] ** 2)))
        }
    return row


def _resolved(differences: np.ndarray) -> bool:
    """Whether a mean difference over seeds is above 0 beyond its 95 % interval."""
    _, low, _ = mean_interval(differences[~np.isnan(differences)].tolist())
    return low > 0


def _role(found: Trajectories, run: str, role: str) -> Row:
    """When a probe of the last layer reads a role.

    half-way from the best baseline to what can be read at all.
    """
    curve = found.curve(run, Which("f1", ROLE_PROBE, -1, role))
    assert curve is not None
    row = {**_named(ROLES, run, f"F1 of role {role}"), "n": len(curve.seeds)}
    baseline = max(
        (known for module in BASELINES if (known := _level(found, run, module, role)) is not None),
        default=0.0,
    )
    ceiling = _level(found, run, CEILING, role)
    ceiling = 1.0 if ceiling is None else ceiling  # of a corpus without a grammar no more is known
    means = [curve.at(index) for index in range(len(curve.steps))]
    row |= (
        with_bounds("start", _share(means[0]))
        | with_bounds("end", _share(means[-1]))
        | {
            "baseline": baseline,
            "ceiling": ceiling,
        }
    )
    if baseline >= ceiling:
        return row | {"verdict": None, "reason": "a baseline reads all that can be read"}
    halves = [number_of((high - low) / 2) for _, low, high in means]
    learnt = first_learnt(
        curve.steps,
        [number_of(mean) for mean, _, _ in means],
        halves,
        (baseline + ceiling) / 2,
        quantile=1,
    )
    verdict = "not learnt" if learnt.step is None else f"learnt at {learnt.step}"
    interval = (
        {"learnt_low": learnt.low, "learnt_high": learnt.high} if len(curve.seeds) > 1 else {}
    )
    return {
        **row,
        **interval,
        "turn_step": learnt.step,
        "verdict": verdict,
        "reason": learnt.reason,
    }


def _share(mean_and_interval: tuple[float, float, float]) -> tuple[float, float, float]:
    """Student's interval over few seeds cut to what a share can be."""
    mean, low, high = np.clip(mean_and_interval, 0.0, 1.0)
    return float(mean), float(low), float(high)


def _level(found: Trajectories, run: str, module: str, role: str) -> float | None:
    """F1 of a role of what sees no model; None where it is not known."""
    curve = found.curve(run, Which("f1", module, None, role))
    return None if curve is None or np.isnan(curve.values).all() else float(np.nanmax(curve.values))


def _order(run: str, roles: list[Row]) -> Row:
    """Whether Agent and Action are learnt before every other role.

    By the intervals of the steps.
    """
    intervals = {
        str(row["quantity"]).removeprefix("F1 of role "): (
            row.get("learnt_low"),
            row.get("learnt_high"),
        )
        for row in roles
    }
    first = {role: interval for role, interval in intervals.items() if role in ("Agent", "Action")}
    others = {role: interval for role, interval in intervals.items() if role not in first}
    # (low, high]: not learnt up to low, learnt from high on; None: not known.
    earlier = [
        f"{b} before {a}"
        for a, (low, _) in first.items()
        for b, (_, high) in others.items()
        if _precedes(high, low)
    ]
    holds = all(_precedes(high, low) for _, high in first.values() for low, _ in others.values())
    verdict = (
        f"no: {', '.join(earlier)}"
        if earlier
        else "yes"
        if holds and len(first) == 2 and others
        else "not resolved"
    )
    n = max((int(row["n"] or 0) for row in roles), default=0)
    return {
        **_named(ROLES, run, "Agent and Action before all others"),
        "n": n,
        "verdict": verdict,
        "reason": "",
    }


def _precedes(high: Any, low: Any) -> bool:
    """Whether what was learnt by `high` was learnt before what was not learnt up to `low`."""
    return high is not None and low is not None and high <= low


def with_bounds(name: str, mean: tuple[float, float, float]) -> Row:
    """Fields of a mean and its interval; undefined ones are null."""
    return {
        name: number_of(mean[0]),
        f"{name}_low": number_of(mean[1]),
        f"{name}_high": number_of(mean[2]),
    }


def number_of(value: Any) -> float | None:
    """A number as a row holds it: null where it is undefined."""
    return None if value is None or math.isnan(value) else float(value)


def limits_sentence(limits: dict[str, Any]) -> str:
    """Floors and ceilings of the corpus, in a sentence: they are printed with every result."""
    if "causal" not in limits:
        return f"Entropy floor and role ceiling: unknown ({limits.get('reason', 'no grammar')})."
    masked = ", ".join(
        f"{limits['masked'][ratio]:.2f} at ratio {ratio}" for ratio in ("0", "0.5", "1")
    )
    return (
        f"Entropy floor: {limits['causal']:.3f} nats per token for any causal model, {masked} for"
        f" any masked one. Role ceiling: {limits['ceiling_prefix']:.3f} of the prefix,"
        f" {limits['ceiling_sentence']:.3f} of the whole sentence."
    )


def bounded(name: str, kind: str) -> Any:
    """A number with the interval that its fields name."""
    return lambda row: with_interval(name, f"{name}_low", f"{name}_high", kind)(
        {f: row.get(f) for f in (name, f"{name}_low", f"{name}_high")}
    )


def _learnt(row: Row) -> str:
    if row["claim"] != ROLES:
        return number(row.get("turn_step"), "count")
    return (
        f"{number(row.get('turn_step'), 'count')} [{number(row.get('learnt_low'), 'count')},"
        f" {number(row.get('learnt_high'), 'count')}]"
    )


def _errors(row: Row) -> str:
    """Standard errors within a run at start, turn and end; extremes have none."""
    found = [row.get(f"{name}_stderr") for name in ("start", "turn", "end")]
    return (
        " / ".join(number(error, "two") for error in found)
        if any(error is not None for error in found)
        else UNDEFINED
    )


CLAIM_COLUMNS = (
    Column("claim", text("claim"), numeric=False, merge=True),
    Column("toolkit", text("toolkit"), numeric=False, merge=True),
    Column("run", text("run"), numeric=False, merge=True),
    Column("quantity", text("quantity"), numeric=False),
    Column("at step 0", bounded("start", "two")),
    Column("at the turn", bounded("turn", "two")),
    Column("at the end", bounded("end", "two")),
    Column("estimator's error", _errors),
    Column("turn or learnt at", _learnt),
    Column("verdict", text("verdict"), numeric=False),
    Column("seeds", shows("n", "count")),
)


def of_seeds(rows: list[Row]) -> str:
    """The sentence that every caption of the branch begins with."""
    return f"Means over seeds with Student's 95 % intervals. {rows[0].get('limits') or ''}"


def _claims_caption(rows: list[Row]) -> str:
    because = " ".join(f"{claim.capitalize()}: {why}." for claim, why in WHY.items())
    return (
        "What the toolkit of the dynamics paper reports, and the same rerun. A role is learnt from"
        " the step on at which a fresh probe of the last layer stays above the middle between its"
        " best baseline and its ceiling, the largest F1 of any reader of the evaluated sentences;"
        " in brackets, the steps up to which it was certainly not and from which it certainly was."
        " The turn is the extreme of the mean curve; whether a seed falls to it and rises from it"
        " is asked where the other seeds have it. The estimator's own error at start, turn and end"
        f" is contained in the intervals. Why the numbers differ: {because} {of_seeds(rows)}"
    )


CLAIMS = Spec(
    "dynamics_claims",
    "Three claims about training, rerun",
    _claims_caption,
    claim_rows,
    CLAIM_COLUMNS,
    texts=TEXTS,
)
