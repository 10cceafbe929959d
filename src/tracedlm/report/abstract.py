"""What the numbers of a study show, in sentences made from its tables. States no more than they do, and says where they show nothing."""

from typing import Any

from tracedlm.report.layout import Row, number

Tables = dict[str, list[Row]]


def abstract(tables: Tables) -> list[str]:
    """Paragraphs for the head of the page."""
    return [paragraph for paragraph in (_saving(tables), _verdicts(tables), _certificates(tables), _association(tables)) if paragraph]


def _place(row: Row) -> str:
    return f"{row['dataset']} at {row['seq_len']} tokens"


def _saving(tables: Tables) -> str:
    parts = []
    for row in tables["efficiency"]:
        solved = f"full decoding solves {number(row['accuracy_full'], 'percent')} % of {row['n']} puzzles in {row['full_steps']} forwards"
        if row["rad_forwards"] is not None:
            low, high = number(row["difference_low"], "points"), number(row["difference_high"], "points")
            solved += (
                f"; rad stops after {number(row['rad_forwards'], 'one')} ({number(row['reduction'], 'percent')} % fewer) and solves "
                f"{number(row['accuracy_rad'], 'percent')} %, a difference of {number(row['difference'], 'points')} points (95 % interval "
                f"{low} to {high})"
            )
        parts.append(f"On {_place(row)}, {solved}.")
    unsolved = [_place(row) for row in tables["efficiency"] if not row["accuracy_full"]]
    if unsolved:
        parts.append(f"Where full decoding solves none ({_listed(unsolved)}), accuracy cannot tell exit rules apart.")
    return " ".join(parts)


def _verdicts(tables: Tables) -> str:
    compared = [row for row in tables["exit_rules"] if row["rule"] == "rad" and row["verdict"]]
    groups = {verdict: [row for row in compared if row["verdict"] == verdict] for verdict in ("better", "worse", "no difference shown")}
    said = {
        "better": "is better than simply taking fewer fixed steps (truncate, at the same mean forwards) on",
        "worse": "is worse than simply taking fewer fixed steps (truncate, at the same mean forwards) on",
        "no difference shown": "shows no difference to simply taking fewer fixed steps (truncate, at the same mean forwards) on",
    }
    sentences = []
    for verdict, rows in groups.items():
        if rows:
            where = _listed([f"{_place(row)} ({_against(row)})" for row in rows])
            sentences.append(f"The exit rule rad {said[verdict]} {where}.")
    return " ".join(sentences)


def _against(row: Any) -> str:
    gap, low, high = (number(row[key], "points") for key in ("difference", "difference_low", "difference_high"))
    return f"{gap} points, {low} to {high}, McNemar p = {number(row['p'], 'p')}".replace("= <", "< ")


def _certificates(tables: Tables) -> str:
    rows = tables["certificate_ladder"]
    counts = {bound: _counted(rows, bound) for bound in ("pinsker", "paper", "tv", "observed")}
    first = rows[0]
    setting = f"delta = {number(first['delta'], 'setting')} and omega = {first['omega']}, chosen on validation"
    text = (
        f"At {setting}, the sound certificate (pinsker) covers {counts['pinsker']} samples over all sets, TRACE's own rule "
        f"{counts['paper']}, "
        f"the tightest bound (tv) {counts['tv']}; the most aligned position in fact stayed for {counts['observed']}."
    )
    if counts["pinsker"].startswith("0 "):
        text += " No stop of this study is certified by the sound rule at that setting."
    infeasible = {(row["delta"], row["omega"]) for row in tables["certificate_grid"] if row["mark"]}
    return text + (f" {len(infeasible)} of the grid's settings could certify no distribution at all." if infeasible else "")


def _counted(rows: list[Any], bound: str) -> str:
    chosen = [row for row in rows if row["bound"] == bound]
    return f"{sum(row['certified'] for row in chosen)} of {sum(row['n'] for row in chosen)}"


def _association(tables: Tables) -> str:
    sentences = []
    for row in tables["certified_coverage"]:
        if row["source"] != "ours":
            continue
        if row["rho"] is None:
            sentences.append(
                f"On {_place(row)} the correlation of concentration and accuracy is undefined ({row['reason']}).".replace("(rho: ", "(")
            )
            continue
        low, high = row["rho_low"], row["rho_high"]
        interval = f"{number(row['rho'], 'signed')} ({number(low, 'signed')} to {number(high, 'signed')})"
        resolved = isinstance(low, int | float) and isinstance(high, int | float) and (low > 0 or high < 0)
        ending = "" if resolved else ", an interval that includes 0"
        sentences.append(f"On {_place(row)} alignment concentration and accuracy correlate with rho = {interval}{ending}.")
    amplifying = [
        _place(row) for row in tables["profiles"] if row["statistic"] == "LSCR, TV" and isinstance(row["mean"], float) and row["mean"] > 1
    ]
    if amplifying:
        sentences.append(
            f"The mean late-step change ratio exceeds 1 on {_listed(amplifying)}: changes grow there on average, which rules out "
            "assuming the contraction that forward guarantees need."
        )
    return " ".join(sentences)


def _listed(items: list[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
