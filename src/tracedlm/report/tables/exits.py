"""Tables of exit rules.

What each run costs and changes, and whether as many evenly spread or random forwards do as well.
"""

from tracedlm.report.evidence import Evidence, ResultSet
from tracedlm.report.layout import Column, Row, Spec, shows, text, with_interval
from tracedlm.report.tables.equal_cost import BASELINES, UNRESOLVED, comparisons, proportion

SET = (
    Column("dataset", text("dataset"), numeric=False, merge=True),
    Column("tokens", shows("seq_len", "count"), merge=True),
)
PAPERS = ("rad", "rank_softmax")
"""The papers' own rules: as printed, and as EDIT's released code computes it."""


def cost_rows(one: ResultSet) -> list[Row]:
    """Every run of a set: accuracy, what it cost, and what differs from full decoding."""
    rows: list[Row] = []
    for run in one.runs:
        row: Row = {
            "dataset": one.dataset,
            "seq_len": one.seq_len,
            "rule": run.rule,
            "run": run.place,
            "label": run.label,
            "n": run.n,
        }
        solved, flips = proportion(run.correct), proportion(run.answer_flip)
        row |= {"accuracy": solved["share"], "low": solved["low"], "high": solved["high"]}
        row |= {"forwards": run.forwards, "token_forwards": float(run.token_forwards.mean())}
        row |= {
            "token_flips": float(run.token_flips.mean()) / one.seq_len,
            "answer_flips": flips["share"],
        }
        rows.append({**row, "answer_flips_low": flips["low"], "answer_flips_high": flips["high"]})
    return rows


def exit_rows(evidence: Evidence) -> list[Row]:
    """Every run with its paired comparison to `truncate` and to `random` at equal mean forwards."""
    return [
        {**row, **comparisons(run, one, evidence.seed)}
        for one in evidence.sets
        for row, run in zip(cost_rows(one), one.runs, strict=True)
    ]


def first_of_rule(row: Row) -> bool:
    """Whether a row is of a rule's first run, which stands for the rule.

    Baselines at other rules' forwards stand beside those.
    """
    return row["run"] == 1 and row["rule"] not in BASELINES


def sizes(rows: list[Row]) -> str:
    """Sample counts of the rows, e.g. `24` or `24 to 64`."""
    counts = {row["n"] for row in rows if isinstance(row["n"], int)}
    return " to ".join(str(n) for n in sorted(counts))


def settings(rows: list[Row]) -> str:
    """Labels of the papers' rules, in brackets; nothing where none was run."""
    labels = dict.fromkeys(
        str(row["label"])
        for row in rows
        if row["rule"] in PAPERS and row["label"] and row.get("run", 1) == 1
    )
    return f" ({', '.join(labels)})" if 0 < len(labels) <= len(PAPERS) else ""


def _exit_caption(rows: list[Row]) -> str:
    return (
        "Exit rules on the same prompts, each at its first setting: the one chosen on validation"
        f" where settings were tuned, else the configured one{settings(rows)}. Accuracy (percent"
        " solved) and flips against full decoding (response tokens and answers, percent) with"
        " Clopper-Pearson intervals; token-forwards count query tokens. Every other run is in the"
        f" csv, with the comparisons of the next table. n = {sizes(rows)} a set."
    )


def _equal_cost_caption(rows: list[Row]) -> str:
    resolved = sum(
        row[f"{name}_verdict"] not in (None, UNRESOLVED)
        for row in rows
        if first_of_rule(row)
        for name in BASELINES
    )
    compared = sum(
        row[f"{name}_verdict"] is not None
        for row in rows
        if first_of_rule(row)
        for name in BASELINES
    )
    return (
        "The same runs less truncate (as many forwards, spread evenly) and less random (blocks"
        " stopped at random steps) at equal mean forwards, in points of accuracy on the same"
        " prompts, with 95 % paired bootstrap interval and exact McNemar p. Better or worse only"
        f" where the interval excludes 0 and p < 0.05, else open; so {resolved} of {compared}"
        " comparisons are resolved, none corrected for their number. An interval of no width says"
        f" that the same prompts are solved, not that nothing is uncertain. n = {sizes(rows)} a"
        " set; the next table takes all sets together."
    )


def _verdict(baseline: str) -> Column:
    field = f"{baseline}_verdict"
    return Column(
        "verdict",
        lambda row: "open" if row[field] == UNRESOLVED else text(field)(row),
        numeric=False,
    )


EXIT_TEXTS = Spec.texts | {
    f"{baseline}_{field}" for baseline in BASELINES for field in ("run", "verdict")
}

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
        Column("token flips", shows("token_flips", "percent")),
        Column(
            "answer flips",
            with_interval("answer_flips", "answer_flips_low", "answer_flips_high", "percent"),
        ),
        Column("token-fwd.", shows("token_forwards", "count")),
    ),
    shown=first_of_rule,
    texts=EXIT_TEXTS,
)

EQUAL_COST = Spec(
    "equal_cost",
    "Exit rules at equal cost",
    _equal_cost_caption,
    exit_rows,
    (
        *SET,
        Column("rule", text("rule"), numeric=False),
        Column("forwards", shows("forwards", "one")),
        Column("accuracy", shows("accuracy", "percent")),
        Column(
            "less truncate",
            with_interval("truncate_difference", "truncate_low", "truncate_high", "points"),
        ),
        Column("p", shows("truncate_p", "p")),
        _verdict("truncate"),
        Column(
            "less random", with_interval("random_difference", "random_low", "random_high", "points")
        ),
        Column("p", shows("random_p", "p")),
        _verdict("random"),
    ),
    shown=lambda row: first_of_rule(row) and row["rule"] != "full",
    texts=EXIT_TEXTS,
)
