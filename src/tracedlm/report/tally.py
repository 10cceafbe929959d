"""What the abstract's sentences count or add up, as a table.

No claim without a csv.
"""

from collections.abc import Sequence
from typing import Any

from tracedlm.report.layout import Row
from tracedlm.report.pages.exit_sentences import Tables
from tracedlm.report.tables.certificates import SELECTED
from tracedlm.report.tables.equal_cost import BASELINES, UNRESOLVED
from tracedlm.report.tables.exits import PAPERS, first_of_rule

TALLY = "tally"
"""Name of its csv."""


def tally_rows(tables: Tables) -> list[Row]:
    """One count a row.

    What is counted, how many there are, of how many, and the table it was counted over.
    """
    return [
        *_comparisons(tables["equal_cost"]),
        *_areas(tables["parallelism"]),
        *_choices(tables),
        *_certified(tables),
    ]


def _row(what: str, count: int, of: int | None, table: str) -> Row:
    return {"what": what, "count": count, "of": of, "table": table}


def _comparisons(rows: Sequence[Any]) -> list[Row]:
    first = [row for row in rows if first_of_rule(row)]
    made = [
        (row["rule"], baseline, row[f"{baseline}_verdict"])
        for row in first
        for baseline in BASELINES
        if row[f"{baseline}_verdict"]
    ]
    found = [_row("comparisons at equal forwards", len(made), None, "equal_cost")]
    for baseline in BASELINES:
        others = [
            verdict for rule, other, verdict in made if other == baseline and rule not in PAPERS
        ]
        for verdict in ("better", "worse"):
            what = f"rules not of the papers that are {verdict} than {baseline}"
            found.append(_row(what, others.count(verdict), len(others), "equal_cost"))
    return found


def _areas(rows: Sequence[Any]) -> list[Row]:
    compared = [
        row for row in rows if row["difference"] is not None and row["rule"] not in BASELINES
    ]
    alike = sum(row["difference_low"] <= 0 <= row["difference_high"] for row in compared)
    return [_row("areas not told apart from truncate's", alike, len(compared), "parallelism")]


def _choices(tables: Tables) -> list[Row]:
    chosen: list[Any] = [row for row in tables["hyperparameters"] if row["parameter"] == "as good"]
    found = []
    for rule in dict.fromkeys(row["rule"] for row in chosen):
        values = [row["value"] for row in chosen if row["rule"] == rule]
        what = f"sets on which validation leaves {rule} several best settings"
        found.append(_row(what, sum(value > 1 for value in values), len(values), "hyperparameters"))
    carried = [row["verdict"] for row in tables["transfer"] if row["difference"] is not None]
    return [
        *found,
        _row(
            "resolved changes of accuracy",
            sum(one != UNRESOLVED for one in carried),
            len(carried),
            "transfer",
        ),
    ]


def _certified(tables: Tables) -> list[Row]:
    selected: list[Any] = [row for row in tables["certificate_ladder"] if row["pair"] == SELECTED]
    found = [
        _row(f"samples certified by {bound}", *_totals(selected, bound), "certificate_ladder")
        for bound in dict.fromkeys(row["bound"] for row in selected)
    ]
    pairs = {(row["delta"], row["omega"]): row["mark"] for row in tables["certificate_grid"]}
    return [
        *found,
        _row(
            "settings that can certify nothing",
            sum(map(bool, pairs.values())),
            len(pairs),
            "certificate_grid",
        ),
    ]


def _totals(rows: Sequence[Any], bound: str) -> tuple[int, int]:
    own = [row for row in rows if row["bound"] == bound]
    return sum(row["certified"] for row in own), sum(row["n"] for row in own)
