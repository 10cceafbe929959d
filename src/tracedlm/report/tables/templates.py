"""Tables of prompt templates.

Accuracy of exit rules under each, whether their ranking depends on it, and by kind of problem.
"""

import math
from itertools import combinations
from typing import Any

import numpy as np

from tracedlm.report.evaluated import Evaluated
from tracedlm.report.evidence import Evidence, ResultSet
from tracedlm.report.layout import Column, Pivot, Row, Spec, number, shows, text, with_interval
from tracedlm.report.tables.exits import SET, sizes
from tracedlm.theory.ranking import accuracy_interval, change_of_gap, kendall_tau, paired_gap

MEAN = "mean"
"""Stands for all templates together."""

NOT_RUN = "not run: evaluation.templates is empty"
KEPT, OPEN, FLIPS = "not reversed", "open", "flips"
TEXTS = Spec.texts | {"template", "other_template", "rules", "facet", "value"}


def sensitivity_rows(evidence: Evidence) -> list[Row]:
    """Accuracy of every rule under each template and over all of them."""
    rows: list[Row] = []
    for one in evidence.sets:
        found = one.evaluated
        if found is None:
            rows.append(
                {
                    **_where(one),
                    **dict.fromkeys(("rule", "template", "accuracy")),
                    "reason": NOT_RUN,
                }
            )
            continue
        for place, rule in enumerate(found.rules):
            shared = {
                **_where(one),
                "rule": rule,
                "mean_forwards": float(found.forwards[:, place].mean()),
            }
            under = [*enumerate(found.templates), (slice(None), MEAN)]
            rows += [
                {**shared, **_accuracy(found, at, place, evidence.seed), "template": template}
                for at, template in under
            ]
    return rows


def _accuracy(found: Evaluated, template: int | slice, rule: int, seed: int) -> Row:
    """Accuracy under one template, or all of them.

    Its spread over seeds where there are several.
    """
    correct = _answers(found.correct[template, rule])
    low, high = accuracy_interval(correct, np.random.default_rng(seed))
    by_seed = found.correct[template, rule].reshape(-1, *found.correct.shape[2:]).mean(axis=(0, 1))
    several = len(found.seeds) > 1
    missing = (
        "every problem has the same share of right answers: the bootstrap has nothing to vary"
        if math.isnan(low)
        else ""
    )
    return {
        "n": len(correct),
        "answers": correct.shape[1],
        "accuracy": float(correct.mean()),
        "low": _known(low),
        "high": _known(high),
        "seed_low": float(by_seed.min()) if several else None,
        "seed_high": float(by_seed.max()) if several else None,
        "d1": float(found.score_d1[template, rule].mean()),
        "forwards": float(found.forwards[template, rule].mean()),
        "seeds": len(found.seeds),
        "temperature": found.temperature,
        "shots": found.shots,
        "reason": missing,
    }


def flip_rows(evidence: Evidence) -> list[Row]:
    """For every two templates.

    Kendall's tau of their rankings, then every two rules with their gap under either template.
    """
    rows: list[Row] = []
    for one in evidence.sets:
        found = one.evaluated
        if found is None or len(found.templates) < 2 or len(found.rules) < 2:
            reason = NOT_RUN if found is None else "needs two templates and two rules"
            rows.append(
                {
                    **_where(one),
                    **dict.fromkeys(("template", "other_template", "rules", "tau")),
                    "reason": reason,
                }
            )
            continue
        for first, second in combinations(range(len(found.templates)), 2):
            where: Row = {
                **_where(one),
                "template": found.templates[first],
                "other_template": found.templates[second],
            }
            pairs = [
                _pair(found, (first, second), a, b, evidence.seed)
                for a, b in combinations(range(len(found.rules)), 2)
            ]
            tau = kendall_tau(
                found.correct[first].mean(axis=(1, 2)), found.correct[second].mean(axis=(1, 2))
            )
            verdicts = [pair["verdict"] for pair in pairs]
            other_order = len(verdicts) - verdicts.count(KEPT)
            summary = (
                f"{other_order} of {len(pairs)} pairs in other order, {verdicts.count(FLIPS)} shown"
            )
            rows.append(
                {
                    **where,
                    "rules": "ranking",
                    "tau": _known(tau),
                    "verdict": summary,
                    "reason": "" if tau == tau else "all rules tie",
                }
            )
            rows += [{**where, **pair} for pair in pairs]
    return rows


def _pair(found: Evaluated, templates: tuple[int, int], a: int, b: int, seed: int) -> Row:
    """Two rules under two templates.

    A flip is two resolved gaps of opposite sign; other orders that noise can explain are open.
    """
    first = (found.correct[templates[0], a], found.correct[templates[0], b])
    second = (found.correct[templates[1], a], found.correct[templates[1], b])
    gaps = [paired_gap(*pair, np.random.default_rng(seed)) for pair in (first, second)]
    change = change_of_gap(*first, *second, np.random.default_rng(seed))
    row: Row = {"rules": f"{found.rules[a]} less {found.rules[b]}"}
    for name, gap in (("gap", gaps[0]), ("other_gap", gaps[1]), ("change", change)):
        row |= {name: gap.mean, f"{name}_low": _known(gap.low), f"{name}_high": _known(gap.high)}
    row |= {"p": _known(gaps[0].p), "other_p": _known(gaps[1].p)}
    reversed_ = gaps[0].mean * gaps[1].mean < 0
    shown = all(gap.resolved for gap in gaps)
    return {
        **row,
        "verdict": FLIPS if reversed_ and shown else OPEN if reversed_ else KEPT,
        "reason": "",
    }


def subdomain_rows(evidence: Evidence) -> list[Row]:
    """Accuracy of every rule on each kind of problem, over all templates and seeds."""
    rows: list[Row] = []
    for one in evidence.sets:
        found = one.evaluated
        kinds = (
            []
            if found is None
            else list(dict.fromkeys(kind for facets in found.facets for kind in facets.items()))
        )
        if found is None or not kinds:
            reason = (
                NOT_RUN
                if found is None
                else (
                    f"the problems of {one.dataset} are of one kind: its test file names no"
                    " subdomain"
                )
            )
            rows.append(
                {
                    **_where(one),
                    **dict.fromkeys(("facet", "value", "rule", "accuracy")),
                    "reason": reason,
                }
            )
            continue
        order = list(dict.fromkeys(facet for facet, _ in kinds))  # from coarse to fine
        for facet, value in sorted(kinds, key=lambda kind: (order.index(kind[0]), kind[1])):
            chosen = np.array([facets.get(facet) == value for facets in found.facets])
            for place, rule in enumerate(found.rules):
                correct = _answers(found.correct[:, place][:, chosen])
                low, high = accuracy_interval(correct, np.random.default_rng(evidence.seed))
                row: Row = {
                    **_where(one),
                    "facet": facet,
                    "value": value,
                    "n": int(chosen.sum()),
                    "rule": rule,
                }
                row |= {"accuracy": float(correct.mean()), "low": _known(low), "high": _known(high)}
                row |= {"forwards": float(found.forwards[:, place][:, chosen].mean())}
                rows.append(
                    {**row, "reason": "" if low == low else "the bootstrap has nothing to vary"}
                )
    return rows


def _answers(values: np.ndarray) -> np.ndarray:
    """[.., problems, seeds] -> [problems, answers], templates before seeds.

    As it is without templates.
    """
    return values if values.ndim == 2 else np.concatenate(list(values), axis=-1)


def _where(one: ResultSet) -> Row:
    return {"dataset": one.dataset, "seq_len": one.seq_len}


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _drawn(rows: list[Any]) -> str:
    """How often each problem was answered."""
    seeds = max((row["seeds"] for row in rows if row.get("seeds")), default=0)
    warm = any(row.get("temperature") for row in rows)
    if not seeds:
        return ""
    drawn = f"with {seeds} seeds" if warm else "once"
    cold = (
        "" if warm else "; at temperature 0 nothing is drawn, so that there is no spread over seeds"
    )
    return f" Under each template each problem is answered {drawn}{cold}."


def _sensitivity_caption(rows: list[Row]) -> str:
    return (
        "Problems solved, percent, under each prompt template, and over all of them with 95 %"
        " interval: Clopper-Pearson where each problem has one answer, else a bootstrap over"
        " problems, each drawn with all its answers; the templates are these, not a sample of"
        " others. A baseline named after a rule takes its mean forwards under the same"
        f" template.{_drawn(rows)} n = {sizes(_run(rows))} a set."
    )


def _flips_caption(rows: list[Row]) -> str:
    return (
        "Does the ranking of exit rules depend on the prompt? Kendall's tau-b of the accuracies"
        " under two templates, and the pairs of rules whose order differs: their gap under either,"
        " in points, with 95 % paired interval over problems, and how much it changes. A flip is"
        " two gaps of opposite sign, each with 0 outside its interval and, where each problem has"
        " one answer, McNemar p < 0.05; any other is open: noise may be all there is. Nothing is"
        " corrected for the number of pairs. All pairs are in the csv."
    )


def _subdomain_caption(rows: list[Row]) -> str:
    return (
        "Problems solved by kind, percent over all templates and seeds, with 95 % intervals as in"
        " the table of templates (EDIT Figure 2). Kinds have few problems: most differences between"
        " their rows are noise."
    )


def _run(rows: list[Row]) -> list[Row]:
    return [row for row in rows if row["rule"] is not None]


def _under(row: Row) -> str:
    return (
        with_interval("accuracy", "low", "high", "percent")(row)
        if row["template"] == MEAN
        else number(row["accuracy"], "percent")
    )


def _gap(name: str) -> Column:
    heads = {"gap": "under first", "other_gap": "under second", "change": "change"}
    shown = with_interval(name, f"{name}_low", f"{name}_high", "points")
    return Column(heads[name], lambda row: "" if row["rules"] == "ranking" else shown(row))


TEMPLATE_SENSITIVITY = Spec(
    "template_sensitivity",
    "Prompt templates",
    caption=_sensitivity_caption,
    build=sensitivity_rows,
    columns=(
        *SET,
        Column("rule", text("rule"), numeric=False),
        Column("mean forwards", shows("mean_forwards", "one")),
    ),
    pivot=Pivot(("template",), _under, best=None),
    shown=lambda row: row["rule"] is not None,
    texts=TEXTS,
)

TEMPLATE_FLIPS = Spec(
    "template_flips",
    "Rankings under two templates",
    _flips_caption,
    flip_rows,
    (
        *SET,
        Column(
            "templates",
            lambda row: f"{row['template']} / {row['other_template']}",
            numeric=False,
            merge=True,
        ),
        Column("rules", text("rules"), numeric=False),
        Column("tau", lambda row: number(row["tau"], "two") if row["rules"] == "ranking" else ""),
        *(_gap(name) for name in ("gap", "other_gap", "change")),
        Column("verdict", text("verdict"), numeric=False),
    ),
    shown=lambda row: row["rules"] is not None and row["verdict"] != KEPT,
    texts=TEXTS,
)

SUBDOMAINS = Spec(
    "subdomains",
    "Kinds of problems",
    caption=_subdomain_caption,
    build=subdomain_rows,
    columns=(
        *SET,
        Column("by", text("facet"), numeric=False, merge=True),
        Column("kind", text("value"), numeric=False),
        Column("n", shows("n", "count")),
    ),
    pivot=Pivot(("rule",), with_interval("accuracy", "low", "high", "percent")),
    shown=lambda row: row["rule"] is not None,
    texts=TEXTS,
)
