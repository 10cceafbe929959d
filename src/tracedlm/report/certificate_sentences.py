"""What the certificates of a study show, in sentences made from its tables. States no more than they do."""

from typing import Any

from tracedlm.report.certificate_tables import SELECTED, TABLE_2
from tracedlm.report.exit_sentences import Tables, listed, place
from tracedlm.report.layout import number


def certified(tables: Tables) -> str:
    """Coverage of the ladder at the selected pair, over all sets; and which settings could certify nothing."""
    rows: list[Any] = [row for row in tables["certificate_ladder"] if row["pair"] == SELECTED]
    counts = {bound: _counted(rows, bound) for bound in ("pinsker", "paper", "tv", "observed")}
    first = rows[0]
    text = (
        f"At delta = {number(first['delta'], 'setting')} and omega = {first['omega']}, chosen on validation, the sound certificate "
        f"(pinsker) covers {counts['pinsker']} samples over all sets, TRACE's own rule {counts['paper']}, the tightest bound (tv) "
        f"{counts['tv']}; the most aligned position in fact stayed for {counts['observed']}."
    )
    if counts["pinsker"].startswith("0 "):
        text += " No stop of this study is certified by the sound rule at that setting."
    infeasible = {(row["delta"], row["omega"]) for row in tables["certificate_grid"] if row["mark"]}
    return text + (f" {len(infeasible)} of the grid's settings could certify no distribution at all." if infeasible else "")


def calibrated(tables: Tables) -> str:
    """Whether a sharper readout certifies more samples than the strict one, by the papers' rule at TRACE Table 2's pair."""
    rows: list[Any] = [row for row in tables["certified_coverage"] if row["source"] == "ours" and row["pair"] == TABLE_2]
    first, parts = rows[0], []
    for variant, head in (
        ("tau", f"temperature {number(first['tau_tau'], 'setting')}"),
        ("gamma", f"power {number(first['gamma_gamma'], 'setting')}"),
    ):
        fewer, more = ([place(row) for row in rows if sign * (row[f"{variant}_paper"] - row["strict_paper"]) > 0] for sign in (-1, 1))
        found = [f"{word} on {listed(places)}" for word, places in (("fewer", fewer), ("more", more)) if places]
        parts.append(f"{head} certifies {' and '.join(found) if found else 'as many on every set'}")
    strict = listed([f"{row['strict_paper_certified']} of {row['n']} on {place(row)}" for row in rows])
    return (
        f"At TRACE's pair ({number(first['delta'], 'setting')}, {first['omega']}) its rule certifies {strict}. Against that, "
        f"{'; '.join(parts)}."
    )


def association(tables: Tables) -> str:
    """Rank correlation of concentration and accuracy, set by set; amplification where there is any."""
    sentences = []
    for row in tables["certified_coverage"]:
        if row["source"] != "ours" or row["pair"] != TABLE_2:
            continue
        if row["rho"] is None:
            why = str(row["reason"]).removeprefix("rho: ")
            sentences.append(f"On {place(row)} the correlation of concentration and accuracy is undefined ({why}).")
            continue
        low, high = row["rho_low"], row["rho_high"]
        interval = f"{number(row['rho'], 'signed')} ({number(low, 'signed')} to {number(high, 'signed')})"
        resolved = isinstance(low, int | float) and isinstance(high, int | float) and (low > 0 or high < 0)
        ending = "" if resolved else ", an interval that includes 0"
        sentences.append(f"On {place(row)} alignment concentration and accuracy correlate with rho = {interval}{ending}.")
    return " ".join(sentences)


def forward(tables: Tables) -> str:
    """Whether anything can be said of the steps after a stop."""
    amplifying = [
        place(row) for row in tables["profiles"] if row["statistic"] == "LSCR, TV" and isinstance(row["mean"], float) and row["mean"] > 1
    ]
    sentences = []
    if amplifying:
        sentences.append(
            f"The mean late-step change ratio exceeds 1 on {listed(amplifying)}: changes grow there on average, which rules out "
            "assuming the contraction that forward guarantees need."
        )
    promises: list[Any] = [row for row in tables["forward_certificates"] if row["mark"]]
    sound = [row for row in promises if row["failure"] is not None]
    kept = [f"{place(row)} (failing with probability {number(row['failure'], 'two')} at most)" for row in sound if row["mark"] == "holds"]
    if kept:
        sentences.append(f"Validation lets the selected pair promise an unchanged argmax after the stop on {listed(kept)}.")
    else:
        reasons = list(dict.fromkeys(f"{place(row)}: {row['reason']}" for row in sound))
        sentences.append(f"Validation lets the selected pair promise nothing about the steps after a stop ({'; '.join(reasons)}).")
    return " ".join(sentences)


def _counted(rows: list[Any], bound: str) -> str:
    chosen = [row for row in rows if row["bound"] == bound]
    return f"{sum(row['certified'] for row in chosen)} of {sum(row['n'] for row in chosen)}"
