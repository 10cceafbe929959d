"""Tables of what exits change and of what can be promised.

Settings with controlled risk, exits undone, tokens frozen.
"""

from typing import Any

import numpy as np

from tracedlm.records.card import ExitCard
from tracedlm.report.evidence import Evidence, ResultSet
from tracedlm.report.layout import Column, Row, Spec, shows, text, with_interval
from tracedlm.report.tables.equal_cost import proportion
from tracedlm.report.tables.exits import SET, sizes
from tracedlm.theory.certificate import BOUNDS

LOSSES = {
    "answer_flip": "the answer differs from full decoding's",
    "lost_answer": "the answer is wrong where full decoding's is right",
}


def risk_rows(evidence: Evidence) -> list[Row]:
    """Every rule's setting with controlled risk.

    What was promised of it on validation, and what it did on test.
    """
    rows: list[Row] = []
    for one in evidence.sets:
        where: Row = {"dataset": one.dataset, "seq_len": one.seq_len}
        rows += [{**where, **_card_row(card)} for card in one.cards]
        if not one.cards:
            rows.append(
                {
                    **where,
                    "rule": None,
                    "reason": "risk.rules is empty: no setting was chosen with a guarantee",
                }
            )
    return rows


def _card_row(card: ExitCard) -> Row:
    chosen: dict[str, Any] = next(
        (row for row in card.tried if row["settings"] == card.settings), {}
    )
    test = card.test or {}
    row: Row = {
        "rule": card.rule,
        "label": card.label,
        "loss": card.loss,
        "method": card.method,
        "guarantee": card.guarantee,
    }
    row |= {"epsilon": card.epsilon, "eta": card.eta, "n": card.n, "tried": len(card.tried)}
    row |= {"validation_risk": chosen.get("risk"), "p": chosen.get("p_value")}
    row |= {f"test_{key}": test.get(key) for key in ("n", "losses", "risk", "low", "high")}
    row |= {"forwards": test.get("forwards"), "full_forwards": test.get("full_forwards")}
    return {
        **row,
        "saved": 1 - test["forwards"] / test["full_forwards"] if test else None,
        "reason": card.reason,
    }


def flip_rows(evidence: Evidence) -> list[Row]:
    """Token and answer flips of undone exits.

    Of all, and of those that each bound certifies and does not.
    """
    rows: list[Row] = []
    for one in evidence.sets:
        where: Row = {"dataset": one.dataset, "seq_len": one.seq_len}
        if one.flips is None:
            reason = (
                "flip_audit.samples is 0, or this is not the shortest canvas: no exit was undone"
            )
            rows.append({**where, "rule": None, "reason": reason})
        else:
            for rule in dict.fromkeys(flip["rule"] for flip in one.flips):
                rows += [{**where, **row} for row in _rule_rows(one, rule)]
            if not one.flips:
                rows.append(
                    {
                        **where,
                        "rule": None,
                        "reason": "no exit left anything out: there was none to undo",
                    }
                )
    return rows


def _rule_rows(one: ResultSet, rule: str) -> list[Row]:
    stops = [row for row in one.flips or [] if row["rule"] == rule]
    groups: list[tuple[str, str, list[dict[str, Any]], str]] = [("any", "all stops", stops, "")]
    for bound in BOUNDS:
        known = [row for row in stops if row[f"certified_{bound}"] is not None]
        for certified, case in ((True, "certified"), (False, "not certified")):
            chosen = [row for row in known if row[f"certified_{bound}"] == certified]
            none = "no stop is certified" if certified else "every stop is certified"
            reason = (
                ""
                if chosen
                else none
                if known
                else "the rule reads no alignment: nothing to certify"
            )
            groups.append((bound, case, chosen, reason))
    return [
        {
            "rule": rule,
            "label": stops[0]["label"],
            "bound": bound,
            "case": case,
            **_flips(chosen),
            "reason": reason,
        }
        for bound, case, chosen, reason in groups
    ]


def _flips(stops: list[dict[str, Any]]) -> Row:
    filled = sum(row["filled"] for row in stops)
    row: Row = {
        "n": len(stops),
        "samples": len({row["sample_id"] for row in stops}),
        "tokens_filled": filled,
    }
    row["tokens_flipped"] = sum(row["token_flips"] for row in stops) / filled if filled else None
    for kind, flags in (
        ("token_flip", [row["token_flips"] > 0 for row in stops]),
        ("answer_flip", [row["answer_flip"] for row in stops]),
    ):
        share = (
            proportion(np.array(flags, dtype=bool))
            if stops
            else dict.fromkeys(("share", "low", "high"))
        )
        row |= {kind: share["share"], f"{kind}_low": share["low"], f"{kind}_high": share["high"]}
    return row


def freezing_rows(evidence: Evidence) -> list[Row]:
    """Lemma 7, Theorem 8 and Theorem 11 of EDIT on validation.

    With the contraction and coupling that the last one needs.
    """
    rows: list[Row] = []
    for one in evidence.sets:
        where: Row = {"dataset": one.dataset, "seq_len": one.seq_len}
        if one.freezing is None:
            reason = (
                "flip_audit.samples or flip_audit.probes is 0, or this is not the shortest canvas"
            )
            rows.append({**where, "n": None, "reason": reason})
            continue
        found = one.freezing
        names = (
            "token_delta",
            "token_omega",
            "visible",
            "stable",
            "certified",
            "blocks",
            "defined",
            "contracting",
            "alpha_median",
        )
        row: Row = {"n": found["samples"], **{name: found[name] for name in names}}
        row |= {
            name: found[name]
            for name in ("beta", "probes", "changed_commits", "frozen", "safe_edit", "safe")
        }
        row |= {
            "stable_share": _ratio(found, "stable", "visible"),
            "certified_share": _ratio(found, "certified", "stable"),
        }
        row |= {"contracting_share": _ratio(found, "contracting", "defined")}
        row |= {
            "safe_edit_share": _ratio(found, "safe_edit", "frozen"),
            "safe_share": _ratio(found, "safe", "frozen"),
        }
        rows.append({**where, **row, "reason": _freezing_reason(found)})
    return rows


def _ratio(found: dict[str, Any], part: str, whole: str) -> float | None:
    return found[part] / found[whole] if found[whole] else None


def _freezing_reason(found: dict[str, Any]) -> str:
    reasons = {
        "no block sees two tokens from its first step on: alpha is undefined": not found["defined"],
        "no block contracts (alpha < 1): Theorem 11 is not certifiable": (
            found["defined"] and not found["contracting"]
        ),
        "no token is stable": not found["frozen"],
        "no token could be pushed: beta is undefined": found["beta"] is None,
    }
    return "; ".join(reason for reason, holds in reasons.items() if holds)


def _risk_caption(rows: list[Row]) -> str:
    cards = [row for row in rows if row["rule"] is not None]
    promises = sorted(
        {f"{row['guarantee']}, a loss being that {LOSSES[str(row['loss'])]}" for row in cards}
    )
    return (
        "The cheapest setting of each rule that carries a guarantee:"
        f" {'; '.join(promises) or 'none was asked for'}. Settings were tried on validation from"
        " the least to the most aggressive, up to the first that fails; risks are in percent, that"
        " on test with its Clopper-Pearson interval; where there is no setting, the csv says why."
        " Each promise is a rule's own: to pick among several rules, divide eta by their number. n"
        f" = {sizes(cards)} validation samples a set."
    )


def _flip_caption(rows: list[Row]) -> str:
    stops = sizes([row for row in rows if row["rule"] is not None and row["case"] == "all stops"])
    return (
        "Early exits undone: each stopped sample was decoded on from the state it stopped in,"
        " without that exit and later ones. Token flip: at least one of the tokens that the stop"
        " filled would have become another; answer flip: so would the answer, if no later exit is"
        " taken. Percent of stops, with Clopper-Pearson intervals that take stops for independent,"
        " which those of one sample are not. A certificate speaks of positions, not of tokens: its"
        f" flips say what that is worth. n = {stops or 0} stops a set."
    )


def _freezing_caption(rows: list[Row]) -> str:
    return (
        "Token-wise freezing on validation, where nothing is frozen. Stable: visible tokens, step"
        " by step, that meet Lemma 7's condition; Thm 8: those among them whose leading component"
        " is certified. Contracting: blocks whose successive total variations shrink throughout"
        " (alpha < 1). beta: largest total variation of the next distribution per unit by which a"
        " token's activation was pushed. Thm 11: tokens safe to freeze when they first may, as"
        f" printed, and with the bound that counts every later step of the token. n = {sizes(rows)}"
        " samples a set."
    )


RISK_CONTROL = Spec(
    "risk_control",
    "Settings with controlled risk",
    _risk_caption,
    risk_rows,
    (
        *SET,
        Column("rule", text("rule"), numeric=False),
        Column("setting", text("label"), numeric=False),
        Column("tried", shows("tried", "count")),
        Column("validation risk", shows("validation_risk", "percent")),
        Column("p", shows("p", "p")),
        Column("test risk", with_interval("test_risk", "test_low", "test_high", "percent")),
        Column("forwards saved %", shows("saved", "percent")),
    ),
    shown=lambda row: row["rule"] is not None,
    texts=Spec.texts | {"loss", "method", "guarantee"},
)

FLIP_AUDIT = Spec(
    "flip_audit",
    "Exits undone",
    _flip_caption,
    flip_rows,
    (
        *SET,
        Column("rule", text("rule"), numeric=False, merge=True),
        Column("certificate", text("bound"), numeric=False, merge=True),
        Column("stops", text("case"), numeric=False),
        Column("n", shows("n", "count")),
        Column(
            "token flip",
            with_interval("token_flip", "token_flip_low", "token_flip_high", "percent"),
        ),
        Column("tokens flipped", shows("tokens_flipped", "percent")),
        Column(
            "answer flip",
            with_interval("answer_flip", "answer_flip_low", "answer_flip_high", "percent"),
        ),
    ),
    shown=lambda row: row["rule"] is not None,
)

FREEZING = Spec(
    "freezing",
    "Token-wise freezing",
    _freezing_caption,
    freezing_rows,
    (
        *SET,
        Column("stable %", shows("stable_share", "percent")),
        Column("Thm 8 %", shows("certified_share", "percent")),
        Column("contracting %", shows("contracting_share", "percent")),
        Column("alpha, median", shows("alpha_median", "two")),
        Column("probes", shows("probes", "count")),
        Column("beta", shows("beta", "small")),
        Column("Thm 11 printed %", shows("safe_edit_share", "percent")),
        Column("Thm 11 sound %", shows("safe_share", "percent")),
    ),
    shown=lambda row: row["n"] is not None,
)
