"""Claims, early stopping and curves on made-up measures, by hand."""

import json

import pytest

from tracedlm.records.measures import Measure, write_measures
from tracedlm.report.figures.dynamics import draw_dynamics, dynamics_rows
from tracedlm.report.layout import lay_out
from tracedlm.report.tables.dynamics import CLAIMS, _order, claim_rows
from tracedlm.report.tables.dynamics_stopping import STOPPING, cost_rows, stopping_rows
from tracedlm.report.tables.trajectories import Trajectories, Which
from tracedlm.report.write import read_csv, write_csv

STEPS = (0, 10, 100, 200, 300)
LIMITS = {
    "causal": 2.5,
    "masked": {"0": 2.0, "0.5": 2.4, "1": 3.6},
    "ceiling_prefix": 0.9,
    "ceiling_sentence": 1.0,
}


def rows_of(step, seed):
    at, shift = STEPS.index(step), 0.01 * seed
    values = {
        ("nll", "", None, ""): (4.0, 3.5, 3.0, 2.8, 2.79)[at],
        ("excess_nll", "", None, ""): (1.5, 1.0, 0.5, 0.3, 0.29)[at],
        ("two_nn", "flat", 2, ""): (18.0, 14.0, 12.0, 19.0, 25.0)[at],
        ("two_nn", "token", 2, ""): (6.0, 5.0, 4.0, 4.0, 4.0)[at],
        ("lambda_max", "all", None, "train"): (1.0, 2.0, 3.0, 4.0, 5.0)[at],
        ("f1", "linear.role.sentence", 2, "Agent"): (0.2, 0.3, 0.4, 0.68, 0.69)[at],
        ("f1", "word.role.sentence", None, "Agent"): 0.3,
        ("f1", "ceiling.role.sentence", None, "Agent"): 0.68,
        ("f1", "linear.role.sentence", 2, "Action"): (0.2, 0.9, 0.9, 0.9, 0.9)[at],
        ("f1", "linear.role.sentence", 2, "Theme"): (0.2, 0.3, 0.3, 0.3, 0.9)[at],
        ("selectivity", "linear.role.sentence", 2, ""): (0.0, 0.1, 0.4, 0.4, 0.4)[at],
    }
    return [
        Measure(
            module,
            layer,
            metric,
            label,
            value + (0 if metric == "selectivity" else shift),
            0.01,
            10,
            0.5,
        )
        for (metric, module, layer, label), value in values.items()
    ]


@pytest.fixture
def found(tmp_path):
    write_measures(
        tmp_path / "m.parquet",
        "causal",
        {(seed, step): rows_of(step, seed) for seed in range(3) for step in STEPS},
    )
    summary = {
        "limits": LIMITS,
        "trainings": [],
        "skipped": [],
        "stopping": {"tolerance": 0.02, "patience": 2, "warmup": 5},
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    return Trajectories(tmp_path / "m.parquet", tmp_path / "summary.json")


def test_a_curve_that_falls_and_rises_again_is_called_so(found):
    row = next(
        row for row in claim_rows(found) if row["quantity"] == "TwoNN, sentences side by side"
    )
    assert (row["start"], row["turn"], row["end"]) == pytest.approx((18.01, 12.01, 25.01))
    assert (
        row["turn_step"] == 100
        and row["verdict"] == "falls, rises again"
        and row["n"] == 3
        and row["toolkit"].startswith("18, 12, 25")
    )
    assert row["turn_stderr"] == pytest.approx(0.01)


def test_curves_without_a_turn_are_not_given_one(found):
    rows = {row["quantity"]: row for row in claim_rows(found)}
    assert rows["lambda_max, train"]["verdict"] == "rises, decays: not resolved"
    assert rows["TwoNN, tokens"]["verdict"] == "falls, rises again: not resolved"
    assert (
        rows["trace, train"]["reason"] == "not among dynamics.metrics"
        and rows["trace, train"]["verdict"] is None
    )


def test_a_role_is_learnt_half_way_from_the_best_baseline_to_the_ceiling(found):
    (row,) = [row for row in claim_rows(found) if row["quantity"] == "F1 of role Agent"]
    # (0.32 + 0.7) / 2 = 0.51: above it from step 200 on; surely not at 100. The best baseline and
    # the ceiling are those of the third seed.
    assert (
        row["turn_step"] == 200
        and row["learnt_low"] == 100
        and row["learnt_high"] == 200
        and row["ceiling"] == pytest.approx(0.7)
    )


def test_an_interval_of_a_share_ends_where_shares_do(found):
    """Three seeds at 0, 0.1, 1: Student's interval alone is -1.0 to 1.7."""
    for one in found.rows:
        if (one["module"], one["label"], one["step"]) == (
            "linear.role.sentence",
            "Action",
            STEPS[-1],
        ):
            one["value"] = (0.0, 0.1, 1.0)[one["seed"]]
    (row,) = [row for row in claim_rows(found) if row["quantity"] == "F1 of role Action"]
    assert (row["end_low"], row["end_high"]) == (0, 1) and row["end"] == pytest.approx(1.1 / 3)


@pytest.mark.parametrize(
    ("agent", "action", "theme", "verdict"),
    [
        ((0, 10), (0, 10), (10, 100), "yes"),
        ((0, 10), (10, 100), (0, 10), "no: Theme before Action"),
        ((0, 10), (0, 100), (0, 10), "not resolved"),
        ((0, None), (0, 10), (10, 100), "not resolved"),
    ],
)
def test_the_order_of_roles_is_told_from_their_intervals(agent, action, theme, verdict):
    named = {"Agent": agent, "Action": action, "Theme": theme}
    roles = [
        {"quantity": f"F1 of role {name}", "learnt_low": low, "learnt_high": high, "n": 3}
        for name, (low, high) in named.items()
    ]
    assert _order("causal", roles)["verdict"] == verdict


def test_the_third_claim_has_a_verdict(found):
    (row,) = [
        row for row in claim_rows(found) if row["quantity"] == "Agent and Action before all others"
    ]
    assert row["verdict"] == "yes"  # Action by 10, Agent by 200, Theme after 200


def test_a_rule_does_not_stop_in_the_warm_up(found):
    found.summary["stopping"]["warmup"] = 200
    rows = {row["signal"]: row for row in stopping_rows(found)}
    # Two of its three still checkpoints are too early.
    assert rows["selectivity of the role probe"]["stopped"] == 0


def test_stopping_counts_what_was_saved_and_lost(found):
    rows = {row["signal"]: row for row in stopping_rows(found)}
    # 0.4 from step 100: still for two checkpoints at the last.
    row = rows["selectivity of the role probe"]
    assert (
        row["stopped"] == 3
        and row["step"] == 300
        and row["saved"] == 0
        and row["excess"] == pytest.approx(0)
    )
    assert (
        rows["held-out loss"]["stopped"] == 0
        and rows["held-out loss"]["reason"] == "the signal never rests"
    )


def test_tables_survive_their_csv_and_name_floor_and_ceiling(found, tmp_path):
    for spec in (CLAIMS, STOPPING):
        write_csv(tmp_path / "t.csv", spec.build(found))
        grid = lay_out(spec, read_csv(tmp_path / "t.csv", spec))
        assert (
            grid.body
            and "Entropy floor: 2.500 nats" in grid.caption
            and "0.900 of the prefix, 1.000" in grid.caption
        )


def test_costs_are_per_checkpoint(found):
    costs = {row["metric"]: row for row in cost_rows(found)}
    assert (
        costs["all"]["seconds"] == pytest.approx(5.5)
        and costs["probes"]["seconds"] == pytest.approx(3.0)
        and costs["all"]["n"] == 15
    )


def test_the_figure_has_the_floor_the_ceiling_and_one_axis(found):
    rows = dynamics_rows(found, "causal")
    levels = {(row["panel"], row["line"]): row["mean"] for row in rows if row["step"] is None}
    assert levels["nats per token", "floor"] == pytest.approx(2.5)
    figure = draw_dynamics(rows)
    assert len({axes.get_xlim() for axes in figure.axes}) == 1 and len(figure.axes) == 3


def test_the_last_layer_is_the_last(found):
    assert (
        found.curve("causal", Which("two_nn", "flat", -1)) is not None
        and found.curve("causal", Which("two_nn", "flat", 1)) is None
    )
