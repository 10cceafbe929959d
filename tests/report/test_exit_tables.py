"""Runs, baselines at equal cost, and the papers' tables.

Numbers recomputed by hand from the synthetic study.
"""

import dataclasses
import json
import math
import shutil

import numpy as np
import pytest
import scipy.stats

from tracedlm.report.evidence import read_evidence
from tracedlm.report.figures.cost import STYLES, draw_pareto, pareto_rows
from tracedlm.report.layout import lay_out
from tracedlm.report.pages.exit_sentences import saving
from tracedlm.report.tables import published
from tracedlm.report.tables.equal_cost import UNRESOLVED, matched, verdict
from tracedlm.report.write import SPECS
from tracedlm.tasks.names import TASK_NAMES


def rows(evidence, name, **chosen):
    return [
        row
        for row in SPECS[name].build(evidence)
        if all(row[key] == value for key, value in chosen.items())
    ]


def test_a_rule_that_loses_to_truncation_is_called_worse(evidence):
    (row,) = rows(evidence, "exit_rules", dataset="countdown", rule="rad", run=1)
    # 8 samples that only truncate solves, none that only rad solves: p = 2 / 2^8. One more than
    # random's 3: nothing is shown.
    assert (row["truncate_run"], row["truncate_accuracy"]) == ("truncate(forwards=16)", 1)
    assert row["truncate_difference"] == pytest.approx(4 / 12 - 1)
    assert row["truncate_p"] == pytest.approx(2 / 2**8)
    assert row["truncate_low"] < row["truncate_difference"] < row["truncate_high"] < 0
    assert (row["truncate_verdict"], row["random_verdict"]) == ("worse", UNRESOLVED)
    assert (row["random_difference"], row["random_p"]) == pytest.approx((1 / 12, 1))
    said = (
        "rad 33.3 % at 16.0 forwards: worse than truncate (100.0 %), no difference shown to random"
        " (25.0 %)"
    )
    assert row["sentence"] == said and row["reason"] == ""


def test_a_rule_that_beats_chance_and_equals_truncation(evidence):
    (row,) = rows(evidence, "equal_cost", dataset="sudoku", rule="threshold")
    assert (row["truncate_verdict"], row["truncate_p"], row["random_verdict"]) == (
        UNRESOLVED,
        1,
        "better",
    )
    assert row["random_p"] == pytest.approx(scipy.stats.binomtest(9, 9).pvalue)


def test_every_run_has_a_row_and_no_baseline_is_compared_with_itself(evidence):
    found = rows(evidence, "exit_rules", dataset="countdown")
    assert [(row["rule"], row["run"]) for row in found] == [
        (run.rule, run.place) for run in evidence.sets[0].runs
    ]
    for row in found:
        if row["rule"] in ("truncate", "full"):
            assert row["truncate_verdict"] is None and row["reason"].startswith(
                "truncate: the baseline itself"
            )
    (random,) = [row for row in found if row["label"] == "random(forwards=24, stop_seed=1)"]
    assert (random["truncate_verdict"], random["random_run"], random["reason"]) == (
        "worse",
        None,
        "random: the baseline itself",
    )


def test_unequal_cost_is_not_compared(evidence):
    (row,) = rows(evidence, "equal_cost", dataset="countdown", rule="rank_softmax")
    assert row["truncate_difference"] is None and row["random_p"] is None
    assert (
        row["reason"] == "truncate: no run within 0.5 of 40.0 forwards; the nearest takes 32.0; "
        "random: no run within 0.5 of 40.0 forwards; the nearest takes 24.0"
    )
    one = evidence.sets[0]
    near = dataclasses.replace(one.runs[-1], rule="rad", nfe=np.full(12, 24.5))
    assert matched(near, one, "random") is one.runs[-1]
    assert matched(dataclasses.replace(near, nfe=np.full(12, 24.51)), one, "random") is None


@pytest.mark.parametrize(
    ("gap", "low", "high", "p", "said"),
    [
        (0.1, 0.01, 0.2, 0.04, "better"),
        (-0.1, -0.2, -0.01, 0.04, "worse"),
        (0.1, 0.01, 0.2, 0.06, ""),
        (0.1, 0.0, 0.2, 0.04, ""),
    ],
)
def test_a_verdict_needs_the_interval_and_the_test(gap, low, high, p, said):
    assert verdict(gap, low, high, p) == (said or UNRESOLVED)


def test_tables_show_each_rule_once_and_the_csv_has_every_run(evidence):
    shown = [
        row["rule"]
        for row in rows(evidence, "exit_rules", dataset="sudoku")
        if SPECS["exit_rules"].shown(row)
    ]
    assert shown == ["full", "rad", "rank_softmax", "threshold"]
    grid = lay_out(SPECS["equal_cost"], rows(evidence, "equal_cost"))
    assert [cells[2].text for cells in grid.body] == ["rad", "rank_softmax", "threshold"] * 2
    # Rad against truncate, threshold against random, on both sets.
    assert "4 of 8 comparisons are resolved" in grid.caption


def test_efficiency_by_hand(evidence):
    row, released = rows(evidence, "efficiency", dataset="countdown")
    # 16 of 64 forwards: 75 % fewer. 4 of 12 against 12 of 12 solved: -66.7 points. EDIT Table 2,
    # Countdown, 128: 40.4 steps, 36.9 %.
    assert (row["rule"], row["full_steps"], row["forwards"], row["reduction"]) == (
        "rad",
        64,
        16,
        0.75,
    )
    assert (row["forwards_least"], row["forwards_most"]) == (16, 16)
    assert row["difference"] == pytest.approx(4 / 12 - 1)
    assert (row["published_steps"], row["published_reduction"], row["published_difference"]) == (
        40.4,
        36.9 / 100,
        2.3 / 100,
    )
    assert (row["accuracy_truncate"], row["truncate_forwards"], row["reason"]) == (1, 16, "")
    assert (released["rule"], released["reduction"], released["accuracy_truncate"]) == (
        "rank_softmax",
        0.375,
        None,
    )
    assert released["reason"] == "no truncate run at its forwards"


def test_a_paper_rule_that_was_not_run_is_null_with_a_reason(evidence):
    sets = tuple(
        dataclasses.replace(one, runs=tuple(run for run in one.runs if "ra" not in run.rule[:2]))
        for one in evidence.sets
    )
    (row,) = rows(dataclasses.replace(evidence, sets=sets), "efficiency", dataset="sudoku")
    assert (row["rule"], row["forwards"], row["reduction"], row["reason"]) == (
        "rad",
        None,
        None,
        "rad was not run",
    )


def test_published_accuracy_stands_beside_ours(evidence):
    found = rows(evidence, "accuracy", dataset="sudoku", scorer="d1")
    printed = {row["method"]: row["accuracy"] for row in found if row["source"] != "ours"}
    assert printed == pytest.approx({"LLaDA, no SFT": 0.104, "LLaDA, SFT": 0.114, "EDIT": 0.161})
    ours = [
        row["method"] for row in found if row["source"] == "ours" and SPECS["accuracy"].shown(row)
    ]
    assert ours == ["full", "rad", "rank_softmax"]


def test_published_numbers_agree_with_each_other_and_name_our_tasks():
    for dataset, steps in published.EDIT_STEPS.items():
        for taken, percent, whole in zip(
            steps, published.EDIT_REDUCTION[dataset], (64, 128, 256), strict=True
        ):
            assert 100 * (1 - taken / whole) == pytest.approx(percent, abs=0.06)
    tables = [
        *published.EDIT_ACCURACY.values(),
        published.EDIT_STEPS,
        published.EDIT_REDUCTION,
        *published.EDIT_SETTINGS.values(),
    ]
    assert all(table.keys() == published.EDIT_STEPS.keys() <= set(TASK_NAMES) for table in tables)
    assert all(len(values) == 3 for table in tables for values in table.values())


def test_published_settings_are_those_of_the_released_files(shared):
    """All but Sudoku-256's file, which is not what its released run used (README of the data)."""
    for path in (shared / "data/edit_configs").glob("*.json"):
        _, name, length = path.stem.split("_")
        blocks = json.loads(path.read_text())["token_schedule"]
        dataset, place = (
            {"math": "math500"}.get(name, name),
            (128, 256, 512).index(int(length.removeprefix("seq"))),
        )
        for block, found in (("first", blocks[0]), ("later", blocks[1])):
            printed = [
                published.EDIT_SETTINGS[block, key][dataset][place] for key in ("delta", "omega")
            ]
            if (name, length, block) != ("sudoku", "seq256", "later"):
                assert printed == [found["threshold"], found["required_stable"]], path.name


def test_area_under_parallelism_by_hand(evidence):
    (row,) = rows(evidence, "parallelism", dataset="countdown", rule="rad")
    # 128 tokens in 24, 20 and 16 forwards: 5.33, 6.4 and 8 tokens a forward, 9, 6 and 4 of 12
    # solved; truncate solves all everywhere.
    steps = (math.log(6.4 / (128 / 24)), math.log(8 / 6.4))
    area = (steps[0] * (9 + 6) / 24 + steps[1] * (6 + 4) / 24) / sum(steps)
    assert (row["points"], row["low"], row["high"]) == (3, pytest.approx(128 / 24), 8)
    assert row["area"] == pytest.approx(area) and row["truncate_area"] == pytest.approx(1)
    assert (
        row["difference"] == pytest.approx(area - 1)
        and row["difference_low"] < row["difference"] < row["difference_high"] < 0
    )
    assert row["random_area"] == pytest.approx(3 / 12)
    assert (row["common_low"], row["common_high"], row["common_area"]) == (
        row["low"],
        row["high"],
        pytest.approx(area),
    )


def test_one_point_is_no_curve(evidence):
    for rule in ("rank_softmax", "threshold"):
        (row,) = rows(evidence, "parallelism", dataset="countdown", rule=rule)
        assert row["area"] is None and row["reason"].startswith(
            "fewer than two distinct points: 1 run, at "
        )
    (row,) = rows(evidence, "parallelism", dataset="countdown", rule="truncate")
    assert (row["points"], row["low"], row["high"]) == (5, 2, 8)  # full decoding is its last point
    assert (row["area"], row["truncate_area"], row["difference"]) == (pytest.approx(1), None, None)
    # Runs half a forward apart cost the same: no curve, although their places differ.
    one = evidence.sets[0]
    close = tuple(
        dataclasses.replace(run, nfe=np.full(12, 16 + run.place / 5)) if run.rule == "rad" else run
        for run in one.runs
    )
    flat = dataclasses.replace(evidence, sets=(dataclasses.replace(one, runs=close),))
    (row,) = rows(flat, "parallelism", rule="rad")
    assert row["reason"] == "fewer than two distinct points: 3 runs, at 16.2 forwards"


def test_curves_that_do_not_meet_are_not_compared(evidence):
    one = evidence.sets[0]
    fast = tuple(
        dataclasses.replace(run, nfe=np.full(12, 4 + run.place)) if run.rule == "rad" else run
        for run in one.runs
    )
    apart = dataclasses.replace(evidence, sets=(dataclasses.replace(one, runs=fast),))
    (row,) = rows(apart, "parallelism", rule="rad")
    assert row["area"] is None and row["reason"] == "its parallelism and truncate's do not overlap"
    (row,) = rows(apart, "parallelism", rule="random")
    assert (
        row["common_area"] is None
        and row["reason"] == "no range of parallelism is common to all curves"
    )


def test_the_front_is_marked_and_every_rule_has_a_style_of_its_own(evidence, tmp_path):
    found = pareto_rows(evidence)
    front = {
        (row["rule"], row["forwards"])
        for row in found
        if row["dataset"] == "countdown" and row["on_front"]
    }
    assert front == {("threshold", 16), ("truncate", 16)}
    assert len(set(STYLES.values())) == len(STYLES)
    unknown = [{**row, "rule": row["rule"].replace("threshold", "mine")} for row in found]
    draw_pareto(unknown).savefig(tmp_path / "drawn.png")


def test_exits_of_mixed_code_are_refused(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "copy")
    path = copy / "exits/sudoku/128/manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "code": "another"}))
    with pytest.raises(ValueError, match="exits: 2 versions of the code"):
        read_evidence(copy, ["countdown", "sudoku"], [128], ["q"], ["full"], 0)


def test_an_interval_without_0_alone_is_not_a_loss(evidence):
    """4 of 12 lost: the bootstrap's interval excludes 0, the exact test (p = 0.125) does not.

    The abstract says so as the verdicts do.
    """
    lost = [
        dataclasses.replace(run, correct=np.arange(12) < 8) if run.rule == "rad" else run
        for run in evidence.sets[0].runs
    ]
    found = rows(
        dataclasses.replace(
            evidence, sets=(dataclasses.replace(evidence.sets[0], runs=tuple(lost)),)
        ),
        "efficiency",
        rule="rad",
    )
    assert found[0]["difference_high"] < 0 and found[0]["difference_verdict"] == UNRESOLVED
    assert found[0]["difference_p"] == pytest.approx(0.125)
    assert "no set alone resolves it" in saving({"efficiency": found, "equal_cost_pooled": []})
    resolved = rows(evidence, "efficiency", dataset="countdown", rule="rad")
    assert resolved[0]["difference_verdict"] == "worse"
    assert "it solves fewer on countdown at 128 tokens (95 % interval without 0" in saving(
        {"efficiency": resolved, "equal_cost_pooled": []}
    )


def test_twelve_of_twelve_is_not_certainty(evidence):
    """A score of 0 or 1 has the same interval under either scorer; equal shares have none."""
    found = {
        row["scorer"]: row
        for row in rows(evidence, "accuracy", dataset="countdown", method="full")
        if row["source"] == "ours"
    }
    assert (found["d1"]["low"], found["d1"]["high"]) == (
        found["solved"]["low"],
        found["solved"]["high"],
    )
    assert found["d1"]["low"] == pytest.approx(0.025 ** (1 / 12))
    one = evidence.sets[0]
    shares = dataclasses.replace(one.run("full"), score_d1=np.full(12, 0.5))
    half, _ = rows(
        dataclasses.replace(evidence, sets=(dataclasses.replace(one, runs=(shares,)),)),
        "accuracy",
        method="full",
    )[::-1]
    assert (half["accuracy"], half["low"], half["high"]) == (0.5, None, None) and half[
        "reason"
    ].startswith("no interval")


def test_captions_name_what_was_timed_and_what_has_no_curve(evidence):
    assert (
        "timed in one run a set, rad(delta=0.05)"
        in lay_out(SPECS["step_time"], rows(evidence, "step_time")).caption
    )
    caption = lay_out(SPECS["parallelism"], rows(evidence, "parallelism")).caption
    assert caption.endswith("out of truncate's reach: rank_softmax, threshold.")
