"""All sets together, by hand.

A problem on several canvases is one draw, and what one set cannot show all of them may.
"""

import dataclasses

import numpy as np
import pytest
import scipy.stats

from tracedlm.report.pages.abstract import abstract
from tracedlm.report.pages.exit_sentences import pooled, saving
from tracedlm.report.pages.report import read_rows
from tracedlm.report.tables.equal_cost import UNRESOLVED, comparisons
from tracedlm.report.tables.pooled import POOLED, pooled_rows


def with_runs(one, **right):
    """The set with these runs' first `right[rule]` samples solved."""
    runs = (
        dataclasses.replace(run, correct=np.arange(12) < right.get(run.rule, run.correct.sum()))
        for run in one.runs
    )
    return dataclasses.replace(one, runs=tuple(runs))


def found(evidence, sets, rule, against):
    (row,) = [
        row
        for row in pooled_rows(dataclasses.replace(evidence, sets=tuple(sets)))
        if (row["rule"], row["against"]) == (rule, against)
    ]
    return row


def test_two_datasets_are_as_many_problems(evidence):
    row = found(evidence, evidence.sets, "rad", "truncate")
    # 4 of 12 against 12 of 12, twice: 16 problems that only truncate solves.
    assert (row["sets"], row["problems"], row["n"], row["solved"], row["against_solved"]) == (
        2,
        24,
        24,
        8,
        24,
    )
    assert row["difference"] == pytest.approx(-16 / 24) and row["p"] == pytest.approx(2 / 2**16)
    assert row["low"] < row["difference"] < row["high"] < 0 and row["verdict"] == "worse"


def test_a_problem_on_three_canvases_is_one_problem(evidence):
    one = with_runs(evidence.sets[0], rad=7)
    three = [dataclasses.replace(one, seq_len=length) for length in (128, 192, 256)]
    row = found(evidence, three, "rad", "truncate")
    # 5 problems are lost on every canvas: 15 answers, which as independent ones would give 2 /
    # 2^15.
    assert (row["problems"], row["n"], row["against_solved"] - row["solved"]) == (12, 36, 15)
    assert row["p"] == pytest.approx(2 / 2**5) and row["verdict"] == UNRESOLVED
    single = found(evidence, [one], "rad", "truncate")
    assert (row["difference"], row["low"], row["high"]) == pytest.approx(
        (single["difference"], single["low"], single["high"])
    )


def test_what_no_set_shows_all_may_show(evidence):
    sets = [with_runs(one, rad=8) for one in evidence.sets]
    for one in sets:
        # 4 of 4 disagreements: p = 0.125.
        assert comparisons(one.run("rad"), one, 0)["truncate_verdict"] == UNRESOLVED
    row = found(evidence, sets, "rad", "truncate")
    assert row["verdict"] == "worse" and row["p"] == pytest.approx(
        scipy.stats.binomtest(0, 8).pvalue
    )


def test_no_interval_where_nothing_differs_and_no_row_without_a_pair(evidence):
    alike = found(
        evidence, [with_runs(one, threshold=12) for one in evidence.sets], "threshold", "truncate"
    )
    assert (alike["difference"], alike["low"], alike["high"], alike["p"], alike["verdict"]) == (
        0,
        None,
        None,
        1,
        UNRESOLVED,
    )
    assert alike["reason"] == "no interval: every problem shows the same difference"
    none = found(evidence, evidence.sets, "rank_softmax", "truncate")
    assert (
        none["sets"] == 0
        and none["difference"] is None
        and none["reason"].startswith("no set has a run of truncate")
    )
    assert not POOLED.shown(none)


def test_full_decoding_under_another_name_is_no_comparison(evidence):
    one = evidence.sets[0]
    again = dataclasses.replace(one.run("full"), rule="skip_noop")
    row = comparisons(again, dataclasses.replace(one, runs=(*one.runs, again)), 0)
    assert row["truncate_run"] is None and row["reason"].startswith(
        "truncate: it is full decoding, token by token"
    )
    moved = dataclasses.replace(again, token_flips=np.array([1, *[0] * 11]))
    assert comparisons(moved, one, 0)["truncate_run"] == "full"


def test_the_abstract_names_every_rule(report):
    tables = read_rows(report / "tables")
    said = pooled(tables, "truncate")
    assert (
        "worse than truncate at equal forwards: rad (8 against 24 of 24 answers right, p < 0.001)"
        in said
    )
    assert (
        "not told apart from truncate at equal forwards: threshold (24 against 24 of 24 answers"
        " right, p = 1.000)" in said
    )
    assert (
        "better than random stops at equal forwards: threshold (24 against 6 of 24 answers right"
        in pooled(tables, "random")
    )
    whole = abstract(tables)
    assert all(
        "threshold" in whole[title] for title in ("Saved and lost", "At equal cost", "In time")
    )
    assert (
        "not told apart from full decoding: threshold (24 against 24 of 24 answers right in 16.0 of"
        " 64.0 forwards" in saving(tables)
    )
