"""Figures of single tasks and of updates.

Pairs by hand, every cell of every run, and a reason where there is nothing.
"""

import pytest

from tracedlm.records.metrics import read_json
from tracedlm.records.parquet import read_table
from tracedlm.records.update_magnitude import UPDATE_MAGNITUDE
from tracedlm.report.contents import FIGURES
from tracedlm.report.figures.cost import gradient_rows
from tracedlm.report.figures.draw import is_blank, make_figures
from tracedlm.report.figures.maps import (
    draw_magnitudes,
    draw_task_similarity,
    magnitude_rows,
    task_similarity_rows,
)


@pytest.fixture(scope="module")
def pairs(study):
    return task_similarity_rows(read_json(study / "task_maps/similarity.json", ("runs", "maps")))


@pytest.fixture(scope="module")
def cells(study):
    return magnitude_rows(
        [
            read_table(study / f"{folder}/update_magnitude.parquet", UPDATE_MAGNITUDE, "m")
            for folder in ("rrm", "task_maps")
        ]
    )


def test_runs_are_compared_projection_by_projection(pairs):
    assert len(pairs) == 3 * 5 * 5
    found = {(row["projection"], row["run"], row["against"]): row for row in pairs}
    row = found["k", "study", "sudoku-0"]
    assert (row["cosine"], row["correlation"], row["angle"], row["chance"]) == pytest.approx(
        (0.7, 0.7, 27, 0.94)
    )
    assert found["v", "sudoku-1", "sudoku-0"]["correlation"] == pytest.approx(0.9)


def test_one_matrix_a_projection_and_statistic_in_the_order_of_the_runs(pairs):
    panels = [axes for axes in draw_task_similarity(pairs).axes if axes.images]
    assert [axes.get_title() for axes in panels] == [
        f"{name}, {p}" for name in ("cosine", "correlation") for p in "qkv"
    ]
    image = panels[0].images[0].get_array()
    assert image[0].tolist() == pytest.approx([1, 0.9, 0.8, 0.7, 0.6])
    names = [label.get_text() for label in panels[0].get_yticklabels()]
    assert names == ["study", "countdown", "countdown, again", "sudoku", "sudoku, again"]


def test_every_run_shows_b_beside_a_on_one_scale(cells):
    panels = [axes for axes in draw_magnitudes(cells).axes if axes.images]
    assert [axes.get_title() for axes in panels[:3]] == [
        "study: block 1, q, LoRA-B",
        "study: block 1, q, LoRA-A",
        "countdown: block 1, q, LoRA-B",
    ]
    assert len(panels) == 6 and {axes.images[0].get_clim() for axes in panels} == {(0, 0.5)}
    assert panels[0].images[0].get_array()[1].tolist() == pytest.approx([0.2, 0.3, 0.4, 0.5])


@pytest.mark.parametrize(
    "rows", [task_similarity_rows(None), magnitude_rows([]), gradient_rows([])]
)
def test_what_a_study_has_nothing_for_says_why(rows):
    assert is_blank(rows) and len(rows) == 1 and len(rows[0]["reason"]) > 20


def test_a_study_with_anothers_adapter_draws_all_figures(study, evidence, tmp_path):
    readouts = {
        dataset: study / f"readouts/{dataset}/128/test/q.parquet"
        for dataset in ("countdown", "sudoku")
    }
    out = {name: tmp_path / f"{name}.png" for name in FIGURES}
    make_figures(evidence, readouts, None, {}, [], None, out)
    blank = {
        name for name in FIGURES if (tmp_path / f"{name}.csv").read_text().startswith("reason\n")
    }
    assert blank == {"gradients", "map_similarity", "update_magnitude"} and all(
        path.exists() for path in out.values()
    )
