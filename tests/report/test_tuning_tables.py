"""Settings chosen on validation, settings carried over, and time.

By hand from the synthetic study.
"""

import json
import shutil

import pytest

from tracedlm.report.evidence import PHASES, read_evidence
from tracedlm.report.layout import lay_out
from tracedlm.report.pages.exit_sentences import carried, times
from tracedlm.report.write import SPECS, make_tables, read_csv


def rows(evidence, name, **chosen):
    return [
        row
        for row in SPECS[name].build(evidence)
        if all(row[key] == value for key, value in chosen.items())
    ]


def shown(evidence, name, folder):
    """The table as it is printed, from its csv."""
    make_tables(evidence, (name,), folder)
    return lay_out(SPECS[name], read_csv(folder / f"{name}.csv", SPECS[name]))


def test_hyperparameters_have_the_shape_of_edit_table_3(evidence, tmp_path):
    grid = shown(evidence, "hyperparameters", tmp_path)
    assert [head for head, _ in grid.heads[-1]] == [
        "source",
        "rule",
        "block",
        "parameter",
        "128",
        "128",
    ]
    body = [[cell.text for cell in cells] for cells in grid.body]
    assert body == [
        ["ours", "rad", "first", "delta", "0.1", "0.05"],
        ["", "", "", "omega", "6", "8"],
        ["", "", "later", "delta", "0.25", "0.05"],  # null: as in the first block
        ["", "", "", "omega", "8", "8"],
        ["", "", "validation", "samples", "8", "8"],
        ["", "", "", "accuracy %", "75.0", "75.0"],
        ["", "", "", "forwards", "24.0", "24.0"],
        ["", "", "", "settings tried", "3", "3"],
        ["", "", "", "as good", "2", "2"],
        ["LLaDA-8B, published", "rank_softmax", "first", "delta", "0.05", "0.05"],
        ["", "", "", "omega", "6", "6"],
        ["", "", "later", "delta", "0.05", "0.1"],
        ["", "", "", "omega", "6", "6"],
    ]


def test_other_rules_show_what_was_searched(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "copy")
    blocks = [
        [{"threshold": 0.05, "required_stable": 6}, {"threshold": later, "required_stable": 9}]
        for later in (0.1, 0.5)
    ]
    scored = {"accuracy": 0.5, "forwards": 8.0, "objective": 0.0625}
    tried = {
        "rank_softmax": [{"settings": {"blocks": one, "tau": 0.1}, **scored} for one in blocks],
        "sched": [
            {"settings": {"high": 7.5, "shape": shape, "rate": 4.0}, **scored}
            for shape in ("linear", "cosine")
        ],
    }
    record = {
        "n": 4,
        "chosen": {rule: found[1]["settings"] for rule, found in tried.items()},
        "tried": tried,
        "code": "0" * 12,
    }
    (copy / "exits/countdown/128/tuned.json").write_text(json.dumps(record))
    found = rows(
        read_evidence(copy, ["countdown"], [128], ["q"], ["full"], 0, tuned=True),
        "hyperparameters",
        source="ours",
    )
    values = [
        (row["rule"], row["block"], row["parameter"], row["value"] or row["choice"])
        for row in found
        if row["block"] != "validation"
    ]
    assert values == [
        ("rank_softmax", "first", "delta", 0.05),
        ("rank_softmax", "first", "omega", 6),
        ("rank_softmax", "later", "delta", 0.5),
        ("rank_softmax", "later", "omega", 9),
        ("sched", "all", "shape", "cosine"),
    ]


def test_carried_settings_are_found_by_label_and_compared_on_the_same_samples(evidence, tmp_path):
    (row,) = rows(evidence, "transfer", dataset="countdown")
    # Sudoku's choice solves 6 of 12 in 20 forwards where Countdown's own solves 9 in 24; 3 samples
    # differ: p = 2 / 2^3.
    assert (row["tuned_on"], row["label"], row["n"]) == (
        "sudoku",
        "rad(delta=0.05, omega=8, tau=1)",
        12,
    )
    assert (row["accuracy"], row["accuracy_own"]) == (0.5, 0.75)
    assert (row["difference"], row["p"]) == pytest.approx((-0.25, 0.25))
    assert (row["forwards"], row["forwards_own"], row["forwards_difference"]) == (20, 24, -4)
    assert (row["forwards_low"], row["forwards_high"], row["verdict"]) == (
        -4,
        -4,
        "no difference shown",
    )
    assert row["low"] < -0.25 < row["high"] and row["reason"] == ""
    grid = shown(evidence, "transfer", tmp_path)
    assert [[cell.text for cell in cells] for cells in grid.body] == [
        ["rad", "128", "sudoku", "-25.0 / -4.00", "--"],
        ["", "", "countdown", "--", "+25.0 / +4.00"],
    ]


def test_a_missing_run_is_null_with_a_reason(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "copy")
    record = json.loads((copy / "exits/sudoku/128/tuned.json").read_text())
    record["chosen"]["rad"] = record["tried"]["rad"][2]["settings"]
    (copy / "exits/sudoku/128/tuned.json").write_text(json.dumps(record))
    evidence = read_evidence(
        copy, ["countdown", "sudoku"], [128], ["q"], ["full", "rad"], 0, tuned=True
    )
    (row,) = rows(evidence, "transfer", dataset="countdown")
    assert (row["difference"], row["reason"]) == (
        None,
        "no run of rad at the settings chosen on sudoku",
    )
    (row,) = rows(evidence, "transfer", dataset="sudoku")
    assert (row["difference"], row["reason"]) == (
        None,
        "no run of rad at the settings chosen on sudoku",
    )
    alone = read_evidence(copy, ["countdown"], [128], ["q"], ["full", "rad"], 0, tuned=True)
    assert [row["reason"] for row in rows(alone, "transfer")] == ["no other dataset in this study"]


def test_without_tuning_nothing_is_shown_and_the_reason_is_given(untuned, tmp_path):
    for name in ("hyperparameters", "transfer"):
        assert {row["reason"] for row in rows(untuned, name)} == {
            "exits.tune is empty: no setting was chosen on validation"
        }
        assert shown(untuned, name, tmp_path).body == []
    assert carried({name: rows(untuned, name) for name in ("hyperparameters", "transfer")}) == ""


def test_sentences_say_what_validation_could_not_decide(evidence):
    text = carried({name: rows(evidence, name) for name in ("hyperparameters", "transfer")})
    assert (
        "Validation does not tell the best settings of rad apart on 2 of 2 sets (2 are as good)."
        in text
    )
    assert "accuracy changes by -25.0 to +25.0 points and forwards by -4.00 to +4.00" in text
    assert "0 of 2 changes of accuracy are resolved" in text


def test_time_stands_beside_forwards(evidence):
    row, *_ = rows(evidence, "latency", dataset="countdown", rule="rad")
    # 16 forwards at 10 ms, 32 tokens written: 0.16 s against 0.64 s.
    assert (row["seconds"], row["speed_up"], row["tokens_per_second"]) == (
        pytest.approx(0.16),
        pytest.approx(4),
        pytest.approx(200),
    )
    assert (row["forwards_saved"], row["time_saved"], row["kept"]) == (
        0.75,
        pytest.approx(0.75),
        pytest.approx(1),
    )
    assert row["over_truncate"] == pytest.approx(0)
    (row,) = rows(evidence, "latency", dataset="countdown", rule="rank_softmax")
    assert (row["over_truncate"], row["reason"]) == (
        None,
        "no other run of truncate with as many forwards",
    )
    text = times({"latency": rows(evidence, "latency")})
    assert (
        "rad saves 75.0 % of the forwards and 75.0 % of the time, rank_softmax saves 37.5 %" in text
    )
    # Every rule that saves, whether it reads a map or not.
    assert "threshold saves 75.0 %" in text and "full saves" not in text


def test_shares_of_a_step_where_it_was_profiled(evidence, tmp_path):
    ours, other = rows(evidence, "step_time")
    assert [ours[f"{phase}_share"] for phase in PHASES] == [0.6, 0.2, 0.1, 0.05, 0.05] and ours[
        "seconds"
    ] == 10
    assert (other["rule_share"], other["reason"]) == (None, "decoding was not profiled")
    grid = shown(evidence, "step_time", tmp_path)
    assert [[cell.text for cell in cells] for cells in grid.body] == [
        ["countdown", "128", "60.0", "20.0", "10.0", "5.0", "5.0"]
    ]
