"""What the certificates of a study show, in sentences made from its tables.

States no more than they do.
"""

from typing import Any

from tracedlm.report.layout import number
from tracedlm.report.pages.exit_sentences import Tables, listed, place, places, spread
from tracedlm.report.tables.certificates import SELECTED, TABLE_2


def certified(tables: Tables) -> str:
    """Coverage of the ladder at the selected pair, over all sets.

    And which settings could certify nothing.
    """
    rows: list[Any] = [row for row in tables["certificate_ladder"] if row["pair"] == SELECTED]
    counts = {bound: _counted(rows, bound) for bound in ("pinsker", "paper", "tv", "observed")}
    first = rows[0]
    choice = (
        "chosen on validation"
        if first["validation_coverage"]
        else "the first of equals, since no pair certified anything on validation"
    )
    text = (
        f"At delta = {number(first['delta'], 'setting')} and omega = {first['omega']}, {choice},"
        f" the sound certificate (pinsker) covers {counts['pinsker']} samples of a set, TRACE's own"
        f" rule {counts['paper']}, the tightest bound (tv) {counts['tv']}, in some window of the"
        f" late steps; the most aligned position in fact stayed over one for {counts['observed']}."
    )
    if not any(row["certified"] for row in rows if row["bound"] == "pinsker"):
        text += " The sound rule certifies no late step of any sample at that setting."
    infeasible = {(row["delta"], row["omega"]) for row in tables["certificate_grid"] if row["mark"]}
    return text + (
        f" {len(infeasible)} of the grid's settings could certify no distribution at all."
        if infeasible
        else ""
    )


def calibrated(tables: Tables) -> str:
    """Whether a sharper readout certifies more samples than the strict one.

    By the papers' rule at TRACE Table 2's pair.
    """
    rows: list[Any] = [
        row
        for row in tables["certified_coverage"]
        if row["source"] == "ours" and row["pair"] == TABLE_2
    ]
    first = rows[0]
    heads = {
        "tau": f"temperature {number(first['tau_tau'], 'setting')}",
        "gamma": f"power {number(first['gamma_gamma'], 'setting')}",
    }
    parts = []
    for variant, head in heads.items():
        fewer = [row for row in rows if row[f"{variant}_paper"] < row["strict_paper"]]
        more = [row for row in rows if row[f"{variant}_paper"] > row["strict_paper"]]
        changes = []
        if fewer:
            changes.append(f"fewer on {places(fewer, rows)} ({_instead(fewer, variant)})")
        if more:
            changes.append(f"more on {places(more, rows)} ({_instead(more, variant)})")
        parts.append(f"{head} certifies {' and '.join(changes) or 'as many on every set'}")
    strict = spread([row["strict_paper_certified"] for row in rows], "count")
    samples = spread([row["n"] for row in rows], "count")
    return (
        f"At TRACE's pair ({number(first['delta'], 'setting')}, {first['omega']}) its rule"
        f" certifies {strict} of {samples} samples of a set. Against that, {'; '.join(parts)}."
    )


def association(tables: Tables) -> str:
    """Rank correlation of concentration and accuracy; amplification where there is any."""
    rows: list[Any] = [
        row
        for row in tables["certified_coverage"]
        if row["source"] == "ours" and row["pair"] == TABLE_2
    ]
    defined = [row for row in rows if row["rho"] is not None]
    sentences = []
    if defined:
        resolved = [
            row
            for row in defined
            if row["rho_low"] is not None and (row["rho_low"] > 0 or row["rho_high"] < 0)
        ]
        sign = [
            ("positive", [row for row in resolved if row["rho"] > 0]),
            ("negative", [row for row in resolved if row["rho"] < 0]),
        ]
        found = [f"{word} on {places(sets, rows)}" for word, sets in sign if sets]
        sentences.append(
            "Alignment concentration and accuracy correlate with rho ="
            f" {spread([row['rho'] for row in defined], 'signed')}; "
            + (
                f"the interval excludes 0 and rho is {listed(found)}."
                if found
                else "every interval includes 0."
            )
        )
    for reason in dict.fromkeys(row["reason"] for row in rows if row["rho"] is None):
        why = [row for row in rows if row["rho"] is None and row["reason"] == reason]
        sentences.append(
            f"On {places(why, rows)} the correlation is undefined"
            f" ({str(reason).removeprefix('rho: ')})."
        )
    return " ".join(sentences)


def forward(tables: Tables) -> str:
    """Whether anything can be said of the steps after a stop."""
    profiles = tables["profiles"]
    amplifying = [
        row
        for row in profiles
        if row["statistic"] == "LSCR, TV" and isinstance(row["mean"], float) and row["mean"] > 1
    ]
    sentences = []
    if amplifying:
        sentences.append(
            "A sample's largest late-step change ratio (LSCR) exceeds 1 in the mean on"
            f" {places(amplifying, profiles)}: there a change is followed by a larger one, which"
            " rules out assuming the contraction of every step that forward guarantees need."
        )
    promises: list[Any] = [row for row in tables["forward_certificates"] if row["mark"]]
    sound = [row for row in promises if row["failure"] is not None]
    kept = [
        f"{place(row)} (failing with probability {number(row['failure'], 'two')} at most)"
        for row in sound
        if row["mark"] == "holds"
    ]
    if kept:
        sentences.append(
            "Validation lets the selected pair promise an unchanged argmax after the stop on"
            f" {listed(kept)}."
        )
    else:
        growing: list[Any] = [
            row for row in sound if row["alpha"] is not None and row["alpha"] >= 1
        ]
        reasons = []
        if growing:
            alphas = spread([row["alpha"] for row in growing], "two")
            reasons.append(f"alpha_hat = {alphas} on {places(growing, sound)}")
        undecided = dict.fromkeys(row["reason"] for row in sound if row not in growing)
        for reason in undecided:
            sets = [row for row in sound if row["reason"] == reason]
            reasons.append(f"{reason} on {places(sets, sound)}")
        sentences.append(
            "Validation lets the selected pair promise nothing about the steps after a stop, which"
            f" needs alpha_hat below 1 and enough stops ({'; '.join(reasons)})."
        )
    return " ".join(sentences)


def _instead(rows: list[Any], variant: str) -> str:
    changed = spread([row[f"{variant}_paper_certified"] for row in rows], "count")
    strict = spread([row["strict_paper_certified"] for row in rows], "count")
    return f"{changed} instead of {strict}"


def _counted(rows: list[Any], bound: str) -> str:
    of_bound = [row for row in rows if row["bound"] == bound]
    certified = spread([row["certified"] for row in of_bound], "count")
    samples = spread([row["n"] for row in of_bound], "count")
    return f"{certified} of {samples}"
