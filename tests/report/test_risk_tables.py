"""Numbers of the risk, flip and freezing tables by hand.

What was not run has a reason and is not shown.
"""

from dataclasses import replace

import pytest

from tracedlm.records.card import ExitCard
from tracedlm.report.layout import lay_out
from tracedlm.report.write import SPECS, read_csv, write_table
from tracedlm.theory.certificate import BOUNDS
from tracedlm.theory.resampling import clopper_pearson

NAMES = ("risk_control", "flip_audit", "freezing")


def card(rule, settings, reason="", test=None):
    tried = [
        {
            "settings": {"delta": 1e-6},
            "risk": 0.0,
            "p_value": 0.01,
            "valid": settings is not None,
            "forwards": 50.0,
        },
        {
            "settings": {"delta": 1e-3},
            "risk": 0.25,
            "p_value": 0.6,
            "valid": False,
            "forwards": 30.0,
        },
    ]
    return ExitCard(
        rule=rule,
        settings=settings,
        label=f"{rule}(delta=1e-06)" if settings else None,
        reason=reason,
        guarantee="P(risk > 0.1) <= 0.05",
        epsilon=0.1,
        eta=0.05,
        method="ltt",
        loss="answer_flip",
        n=40,
        dataset="countdown",
        decoding={"gen_length": 128},
        model="m",
        adapter="a",
        map="r",
        tried=tried,
        full_forwards=64.0,
        test=test,
        code="c",
    )


def stop(sample, flips, answer_flip, certified, rule="rad"):
    flags = {f"certified_{bound}": certified for bound in BOUNDS}
    where = {
        "rule": rule,
        "label": f"{rule}(delta=0.05)",
        "sample_id": sample,
        "block": 0,
        "block_step": 7,
        "scheduled": 16,
    }
    return {**where, "filled": 10, "token_flips": flips, "answer_flip": answer_flip, **flags}


FREEZING = {
    "samples": 8,
    "token_delta": 1e-4,
    "token_omega": 3,
    "visible": 1000,
    "stable": 500,
    "certified": 400,
    "blocks": 32,
    "defined": 24,
    "contracting": 0,
    "alpha_median": 2.5,
    "beta": 1e-3,
    "probes": 96,
    "changed_commits": 0,
    "frozen": 50,
    "safe_edit": 0,
    "safe": 0,
}


@pytest.fixture(scope="module")
def folder(evidence, tmp_path_factory):
    realised = {
        "n": 12,
        "losses": 1,
        "risk": 1 / 12,
        "low": 0.002,
        "high": 0.385,
        "forwards": 48.0,
        "full_forwards": 64.0,
    }
    cards = (
        card("rad", {"delta": 1e-6}, test=realised),
        card("threshold", None, "6 samples cannot show a risk below 0.1: 29 are needed"),
    )
    stops = [
        stop(0, 3, True, True),
        stop(0, 0, False, False),
        stop(1, 1, False, False),
        stop(2, 0, False, None, "rank_softmax"),
    ]
    first, *others = evidence.sets
    made = replace(
        evidence, sets=(replace(first, cards=cards, flips=stops, freezing=FREEZING), *others)
    )
    path = tmp_path_factory.mktemp("tables")
    for name in NAMES:
        write_table(SPECS[name], SPECS[name].build(made), path)
    return path


def rows(folder, name, **chosen):
    return [
        row
        for row in read_csv(folder / f"{name}.csv", SPECS[name])
        if all(row[key] == value for key, value in chosen.items())
    ]


def test_a_card_is_a_row(folder):
    (row,) = rows(folder, "risk_control", rule="rad")
    assert (row["label"], row["n"], row["tried"], row["validation_risk"], row["p"]) == (
        "rad(delta=1e-06)",
        40,
        2,
        0,
        0.01,
    )
    assert (row["test_n"], row["test_losses"], row["saved"], row["reason"]) == (12, 1, 0.25, None)
    assert row["guarantee"] == "P(risk > 0.1) <= 0.05"


def test_no_valid_setting_has_a_reason_and_no_number(folder):
    (row,) = rows(folder, "risk_control", rule="threshold")
    assert (row["label"], row["validation_risk"], row["p"], row["test_risk"], row["saved"]) == (
        None,
    ) * 5
    assert row["reason"].endswith("29 are needed")


def test_flips_by_certificate(folder):
    (row,) = rows(folder, "flip_audit", rule="rad", case="all stops")
    assert (row["n"], row["samples"], row["tokens_filled"]) == (3, 2, 30) and row[
        "tokens_flipped"
    ] == pytest.approx(4 / 30, rel=1e-5)
    assert (row["token_flip"], row["answer_flip"]) == pytest.approx((2 / 3, 1 / 3), rel=1e-5)
    assert (row["answer_flip_low"], row["answer_flip_high"]) == pytest.approx(
        clopper_pearson(1, 3), rel=1e-5
    )
    for bound in BOUNDS:
        (certified,), (others,) = (
            rows(folder, "flip_audit", rule="rad", bound=bound, case=case)
            for case in ("certified", "not certified")
        )
        assert (certified["n"], certified["token_flip"], others["n"], others["token_flip"]) == (
            1,
            1,
            2,
            0.5,
        )
        (none,) = rows(folder, "flip_audit", rule="rank_softmax", bound=bound, case="certified")
        assert (
            none["n"] == 0
            and none["token_flip"] is None
            and none["reason"] == "the rule reads no alignment: nothing to certify"
        )


def test_freezing_says_why_nothing_is_certifiable(folder):
    (row,) = rows(folder, "freezing", n=8)
    assert (
        row["stable_share"],
        row["certified_share"],
        row["contracting_share"],
        row["safe_share"],
    ) == (0.5, 0.8, 0, 0)
    assert row["reason"] == "no block contracts (alpha < 1): Theorem 11 is not certifiable"


@pytest.mark.parametrize("name", NAMES)
def test_what_was_not_run_is_not_shown(folder, evidence, tmp_path, name):
    where = {"dataset": evidence.sets[1].dataset, "seq_len": evidence.sets[1].seq_len}
    (row,) = rows(folder, name, **where)
    assert row["reason"] and not SPECS[name].shown(row)
    write_table(SPECS[name], SPECS[name].build(evidence), tmp_path)
    assert not lay_out(SPECS[name], rows(tmp_path, name)).body
