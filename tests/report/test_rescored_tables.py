"""The table of recomputed outputs.

What differs is named, what is not known is empty, and shares are of EDIT's saving.
"""

import json

import pytest

from tracedlm.report.tables.rescored import RESCORED, SCHEDULE_ALONE, make_rescored_tables
from tracedlm.report.write import read_csv


def one_set(dataset, seq_len, accuracy, steps):
    full = seq_len // 2
    facts = {
        "n": 100,
        "low": 0.0,
        "high": 1.0,
        "strict": accuracy,
        "strict_n": 100,
        "only_d1": 0,
        "only_strict": 0,
    }
    reduction = None if steps is None else 1 - steps / full
    return {
        "dataset": dataset,
        "seq_len": seq_len,
        "accuracy": accuracy,
        "full_steps": full,
        "steps": steps,
        "reduction": reduction,
        **facts,
    }


def schedule(dataset, seq_len, skip):
    return {
        "dataset": dataset,
        "seq_len": seq_len,
        "full_steps": seq_len // 2,
        "skip_noop_steps": skip,
    }


@pytest.fixture
def tables(tmp_path):
    sets = [
        one_set("countdown", 128, 0.2891, 43.08),
        one_set("countdown", 256, 0.3164, 40.598),
        one_set("gsm8k", 512, 0.7, None),
        one_set("gsm8k", 1024, 0.7, 100.0),
    ]
    schedules = [
        schedule("countdown", 128, 47),
        schedule("math500", 512, 162),
        schedule("wordmath", 128, 20),
    ]
    (tmp_path / "scores.json").write_text(json.dumps({"sets": sets, "schedules": schedules}))
    make_rescored_tables(tmp_path / "scores.json", tmp_path)
    return {
        spec.name: read_csv(tmp_path / f"{spec.name}.csv", spec)
        for spec in (RESCORED, SCHEDULE_ALONE)
    } | {"tex": (tmp_path / "rescored.tex").read_text()}


def test_a_number_that_is_not_the_printed_one_to_its_digit_is_named(tables):
    assert [row["mark"] for row in tables["rescored"]] == ["steps", None, "accuracy", None]
    countdown = tables["rescored"][0]
    assert (
        countdown["published_accuracy"],
        countdown["published_steps"],
        countdown["published_reduction"],
    ) == (0.289, 40.4, 0.369)
    assert "43.08 & 40.4 & 32.7 & 36.9 & steps" in tables["tex"]


def test_what_is_not_released_or_not_printed_is_empty_with_a_reason(tables):
    no_steps, no_print = tables["rescored"][2:]
    assert no_steps["steps"] is None and no_steps["reason"] == "steps: not released or not printed"
    assert (
        no_print["published_accuracy"] is None
        and no_print["reason"] == "accuracy and steps: not released or not printed"
    )


def test_the_schedules_share_is_of_what_edit_saves(tables):
    countdown, math, unknown = tables["schedule_alone"]
    assert (
        countdown["share"] == pytest.approx((64 - 47) / (64 - 43.08), rel=1e-5)
        and countdown["source"] == "recomputed"
    )
    assert (
        math["share"] == pytest.approx((256 - 162) / (256 - 197.2), rel=1e-5)
        and math["source"] == "printed"
    )
    assert unknown["share"] is None and unknown["reason"]
