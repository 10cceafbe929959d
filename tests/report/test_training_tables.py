"""What corrupted labels move, and when pseudo-gradients settle.

The numbers of the records, and nothing where nothing was run.
"""

import pytest

from tracedlm.records.parquet import read_table
from tracedlm.records.pseudo_gradient import PSEUDO_GRADIENTS
from tracedlm.report.figures.pseudo_gradients import pseudo_gradient_rows
from tracedlm.report.layout import lay_out
from tracedlm.report.write import SPECS, read_csv, write_csv


def through_csv(tmp_path, name, evidence):
    write_csv(tmp_path / f"{name}.csv", SPECS[name].build(evidence))
    return read_csv(tmp_path / f"{name}.csv", SPECS[name])


def test_noise_by_hand(evidence, tmp_path):
    rows = through_csv(tmp_path, "noise", evidence)
    row = next(
        row for row in rows if row["run"] == "corrupted labels" and row["dataset"] == "sudoku"
    )
    assert (row["share"], row["cosine_q"], row["angle_q_1"], row["angle_q_2"], row["kl"]) == (
        0.5,
        0.9,
        10,
        5,
        2e-6,
    )
    assert (row["accuracy_full"], row["accuracy_rad"], row["forwards"], row["full_forwards"]) == (
        0.75,
        3 / 8,
        29,
        64,
    )
    assert row["low_rad"] < 3 / 8 < row["high_rad"] and row["correlation_v"] is None
    grid = lay_out(SPECS["noise"], rows)
    assert [cells[0].text for cells in grid.body if cells[0].text] == [
        "clean",
        "corrupted labels",
        "clean, another seed",
    ]
    assert len(grid.body) == 6 and "n = 8 problems" in grid.caption


def test_convergence_by_hand(evidence, tmp_path):
    rows = through_csv(tmp_path, "pseudo_gradients", evidence)
    rad, full = (row for row in rows if row["dataset"] == "countdown")
    assert (rad["converged"], rad["blocks"], rad["median_step"], rad["rho"], rad["dropped"]) == (
        3,
        4,
        2,
        -0.5,
        1,
    )
    assert full["rho"] is None and full["reason"] == "constant"
    shown = [cell.text for cell in lay_out(SPECS["pseudo_gradients"], rows).body[0]]
    assert shown[2:5] == ["2.0e-04 [1.0e-04, 3.0e-04]", "3 of 4", "2.0"] and shown[-2:] == [
        "-0.50 [-1.00, 1.00]",
        "3",
    ]


@pytest.mark.parametrize("name", ["noise", "pseudo_gradients"])
def test_what_was_not_run_shows_no_row_and_says_why(untuned, tmp_path, name):
    (row,) = through_csv(tmp_path, name, untuned)
    assert row["reason"] and lay_out(SPECS[name], [row]).body == []


def test_the_figure_shows_the_summarys_module_only(study, evidence):
    table = read_table(
        study / "pseudo_gradients/sudoku/128.parquet", PSEUDO_GRADIENTS, "pseudo-gradients"
    )
    rows = pseudo_gradient_rows(table, evidence.convergence[1])
    assert {row["module"] for row in rows} == {"1.q.B"} and len(rows) == 12
    # By block, then sample.
    assert [row["convergence_step"] for row in rows[::3]] == [
        1,
        None,
        2,
        3,
    ]
    assert [row["rms"] for row in rows[:3]] == pytest.approx([2e-4, 1e-4, 3e-4])
    assert {(row["band_low"], row["band_high"]) for row in rows} == {(1e-4, 3e-4)}
