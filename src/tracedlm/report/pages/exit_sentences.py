"""What the tables of exits show, in sentences.

Savings, verdicts at equal cost, curves, settings carried over, time. Negatives included.
"""

from collections.abc import Sequence
from typing import Any

from tracedlm.report.layout import Row, number
from tracedlm.report.tables.equal_cost import BASELINES, UNRESOLVED
from tracedlm.report.tables.exits import PAPERS, first_of_rule

Tables = dict[str, list[Row]]

ALTERNATIVES = {
    "truncate": "simply taking fewer fixed steps (truncate, at the same mean forwards)",
    "random": "stopping at random steps (random, at the same mean forwards)",
}
NAMED = {
    "full": "full decoding",
    "truncate": "truncate at equal forwards",
    "random": "random stops at equal forwards",
}
POOLED = {"better": "better than", "worse": "worse than", UNRESOLVED: "not told apart from"}
SOLVES = {"better": "solves more problems", "worse": "solves fewer"}
VERBS = {"better": "is better than", "worse": "is worse than", UNRESOLVED: "shows no difference to"}


def place(row: Row) -> str:
    """A row's set."""
    return f"{row['dataset']} at {row['seq_len']} tokens"


def places(rows: Sequence[Row], of: Sequence[Row] = ()) -> str:
    """The sets of these rows, the lengths of a dataset together.

    `every set` where these are all `of` there are.
    """
    if len(rows) > 1 and {place(row) for row in rows} == {place(row) for row in of}:
        return "every set"
    lengths: dict[str, list[str]] = {}
    for row in rows:
        lengths.setdefault(str(row["dataset"]), []).append(str(row["seq_len"]))
    return listed(
        [
            f"{dataset} at {listed(list(dict.fromkeys(found)))} tokens"
            for dataset, found in lengths.items()
        ]
    )


def spread(values: Sequence[Any], kind: str) -> str:
    """Smallest to largest."""
    low, high = number(min(values), kind), number(max(values), kind)
    return low if low == high else f"{low} to {high}"


def listed(items: list[str]) -> str:
    """Items with commas and a final `and`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"


def saving(tables: Tables) -> str:
    """Forwards saved by the papers' rules, and the accuracy this costs, set by set.

    Then every rule over all sets together.
    """
    rows: list[Any] = tables["efficiency"]
    full = list({place(row): row for row in rows}.values())
    solved = spread([row["accuracy_full"] for row in full], "percent")
    forwards = spread([row["full_steps"] for row in full], "count")
    said = [
        f"Over all sets of {spread([row['n'] for row in full], 'count')} problems, full decoding"
        f" solves {solved} % in {forwards} forwards."
    ]
    run = [row for row in rows if row["forwards"] is not None]
    for rule in dict.fromkeys(row["rule"] for row in run):
        said.append(_stops(rule, [row for row in run if row["rule"] == rule]))
    said += [pooled(tables, "full")]
    if unsolved := [row for row in full if not row["accuracy_full"]]:
        said.append(
            f"Where full decoding solves none ({places(unsolved, full)}), accuracy cannot tell exit"
            " rules apart."
        )
    return " ".join(filter(None, said))


def pooled(tables: Tables, against: str) -> str:
    """Verdicts on every rule over all sets together; nothing where no set has both runs."""
    rows: list[Any] = [
        row
        for row in tables["equal_cost_pooled"]
        if row["against"] == against and row["difference"] is not None
    ]
    parts = []
    for verdict, head in POOLED.items():
        found = [_pooled(row) for row in rows if row["verdict"] == verdict]
        parts += [f"{head} {NAMED[against]}: {listed(found)}"] if found else []
    return f"Over all sets together, {'; '.join(parts)}." if parts else ""


def _pooled(row: Any) -> str:
    forwards = (
        f" in {number(row['forwards'], 'one')} of {number(row['against_forwards'], 'one')} forwards"
        if row["against"] == "full"
        else ""
    )
    solved = f"{row['solved']} against {row['against_solved']} of {row['n']} answers right"
    return f"{row['rule']} ({solved}{forwards}, p = {number(row['p'], 'p')})".replace("= <", "< ")


def _stops(rule: str, rows: list[Any]) -> str:
    resolved = []
    for verdict, verb in SOLVES.items():
        sets = [row for row in rows if row["difference_verdict"] == verdict]
        if sets:
            resolved.append(f"{verb} on {places(sets, rows)}")
    ending = (
        f"it {listed(resolved)} (95 % interval without 0, p < 0.05)"
        if resolved
        else "no set alone resolves it (95 % interval, exact p)"
    )
    alike = [row for row in rows if row["forwards_least"] == row["forwards_most"]]
    blind = (
        f" All samples stop after as many forwards on {places(alike, rows)}: at this setting its"
        " signal decides nothing."
        if alike
        else ""
    )
    return (
        f"{rule} stops after {spread([row['forwards'] for row in rows], 'one')}"
        f" ({spread([row['reduction'] for row in rows], 'percent')} % fewer); accuracy differs by"
        f" {spread([row['difference'] for row in rows], 'points')} points: {ending}.{blind}"
    )


def verdicts(tables: Tables) -> str:
    """Every rule against the baselines at equal forwards, all sets together.

    Set by set the papers' rules alone, the others in sum.
    """
    rows = [row for row in tables["equal_cost"] if first_of_rule(row)]
    sentences = [pooled(tables, baseline) for baseline in BASELINES]
    for rule in PAPERS:
        of_rule = [row for row in rows if row["rule"] == rule]
        for baseline in BASELINES:
            sentences += _verdicts_of(rule, baseline, of_rule)
    not_of_papers = [row for row in rows if row["rule"] not in PAPERS]
    sentences += [_summed(baseline, not_of_papers) for baseline in BASELINES]
    comparisons = 0
    for row in rows:
        for baseline in BASELINES:
            comparisons += row[f"{baseline}_verdict"] is not None
    if comparisons:
        sentences.append(
            f"None of these comparisons, {comparisons} of them set by set,"
            " is corrected for their number:"
            " where nothing differs, up to one in twenty is resolved by chance."
        )
    return " ".join(filter(None, sentences))


def _verdicts_of(rule: str, baseline: str, rows: list[Any]) -> list[str]:
    sentences = []
    for verdict, verb in VERBS.items():
        sets = [row for row in rows if row[f"{baseline}_verdict"] == verdict]
        if sets:
            points = spread([row[f"{baseline}_difference"] for row in sets], "points")
            sentences.append(
                f"Set by set, the exit rule {rule} {verb} {ALTERNATIVES[baseline]} on"
                f" {places(sets, rows)} ({points} points)."
            )
    unmatched = [row for row in rows if row[f"{baseline}_verdict"] is None]
    if unmatched:
        sentences.append(
            f"No run of {baseline} is as expensive as {rule} on {places(unmatched, rows)}."
        )
    return sentences


def _summed(baseline: str, rows: list[Row]) -> str:
    compared = [row for row in rows if row[f"{baseline}_verdict"] is not None]
    if not compared:
        return ""
    parts = []
    for verdict in ("better", "worse"):
        found = [
            f"{row['rule']} on {place(row)}"
            for row in compared
            if row[f"{baseline}_verdict"] == verdict
        ]
        parts.append(
            f"{len(found)} {'is' if len(found) == 1 else 'are'} {verdict}"
            + (f" ({listed(found)})" if found else "")
        )
    which = f"{len(compared)} comparisons of the other rules with {baseline} at equal forwards"
    return f"Of {which}, {listed(parts)}; the rest show no difference."


def curves(tables: Tables) -> str:
    """Whose area under the accuracy-parallelism curve differs from truncate's."""
    rows: list[Any] = [
        row
        for row in tables["parallelism"]
        if row["difference"] is not None and row["rule"] not in BASELINES
    ]
    if not rows:
        return ""
    above = [f"{row['rule']} on {place(row)}" for row in rows if row["difference_low"] > 0]
    below = [f"{row['rule']} on {place(row)}" for row in rows if row["difference_high"] < 0]
    found = [f"larger than truncate's for {listed(above)}"] if above else []
    found += (
        [
            (
                f"smaller for {listed(below)}"
                if above
                else f"smaller than truncate's for {listed(below)}"
            )
        ]
        if below
        else []
    )
    found += (
        [f"not told apart from truncate's for {rest} of {len(rows)}"]
        if (rest := len(rows) - len(above) - len(below))
        else []
    )
    return (
        "Over the tokens per forward that a rule shares with truncate, the area under its accuracy"
        f" curve is {listed(found)}."
    )


def carried(tables: Tables) -> str:
    """How decided the choices on validation were, and what they lose elsewhere.

    Elsewhere: carried to another dataset.
    """
    chosen: list[Any] = [row for row in tables["hyperparameters"] if row["parameter"] == "as good"]
    sentences = []
    for rule in dict.fromkeys(row["rule"] for row in chosen):
        sets = [row for row in chosen if row["rule"] == rule]
        ties = [row["value"] for row in sets if row["value"] > 1]
        if ties:
            many = spread(ties, "count")
            sentences.append(
                f"Validation does not tell the best settings of {rule} apart on {len(ties)} of"
                f" {len(sets)} sets ({many} are as good)."
            )
    rows: list[Any] = [row for row in tables["transfer"] if row["difference"] is not None]
    if rows:
        resolved = sum(row["verdict"] != UNRESOLVED for row in rows)
        points = spread([row["difference"] for row in rows], "points")
        forwards = spread([row["forwards_difference"] for row in rows], "signed")
        sentences.append(
            f"With the settings chosen on another dataset, accuracy changes by {points} points and"
            f" forwards by {forwards} against a dataset's own choice; {resolved} of {len(rows)}"
            " changes of accuracy are resolved."
        )
    return " ".join(sentences)


def times(tables: Tables) -> str:
    """Forwards saved beside time saved, for every rule that saves any."""
    latency: list[Any] = tables["latency"]
    rows = [
        row
        for row in latency
        if first_of_rule(row) and row["time_saved"] is not None and row["forwards_saved"] > 0
    ]
    saved = []
    for rule in dict.fromkeys(row["rule"] for row in rows):
        of_rule = [row for row in rows if row["rule"] == rule]
        forwards = spread([row["forwards_saved"] for row in of_rule], "percent")
        time = spread([row["time_saved"] for row in of_rule], "percent")
        saved.append(f"{rule} saves {forwards} % of the forwards and {time} % of the time")
    return f"Measured on this machine, {listed(saved)}." if saved else ""
