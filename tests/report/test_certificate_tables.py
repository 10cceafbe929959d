"""Tables of certificates.

What a cell rests on is in its csv, and sentences say no more than the rows they are made from.
"""

from dataclasses import replace

import pytest

from tracedlm.report.layout import Cell, Grid, lay_out
from tracedlm.report.pages import certificate_sentences as said
from tracedlm.report.preview import preview
from tracedlm.report.write import SPECS, make_tables, read_csv, write_csv

NAMES = (
    "certified_coverage",
    "certificate_ladder",
    "projection_ablation",
    "certificate_grid",
    "profiles",
    "temperature",
)
NAMES += ("forward_certificates", "observables")


@pytest.fixture(scope="module")
def folder(evidence, tmp_path_factory):
    path = tmp_path_factory.mktemp("tables")
    make_tables(evidence, NAMES, path)
    return path


@pytest.fixture(scope="module")
def tables(folder):
    return {name: read_csv(folder / f"{name}.csv", SPECS[name]) for name in NAMES}


def only(rows, **chosen):
    (row,) = [row for row in rows if all(row[key] == value for key, value in chosen.items())]
    return row


@pytest.mark.parametrize("name", NAMES)
def test_every_row_says_what_it_rests_on(tables, name):
    assert tables[name]
    for row in tables[name]:
        assert row["inputs"] and row["n"] is not None
        missing = None in [row.get(key, 0) for key in ("rho", "mean", "bound_median")]
        assert row["reason"] or not missing, row
        if row.get("share") is not None and row.get("certified") is not None:
            assert row["share"] == pytest.approx(row["certified"] / row["n"], rel=1e-5)


def test_strict_stands_beside_both_calibrations_at_both_of_the_papers_pairs(tables):
    ours = [
        row
        for row in tables["certified_coverage"]
        if row["source"] == "ours" and row["dataset"] == "sudoku"
    ]
    assert {(row["pair"], row["delta"], row["omega"]) for row in ours} >= {
        ("TRACE Table 2", 1e-8, 1),
        ("TRACE Table 4", 0.05, 6),
    }
    row = only(ours, pair="TRACE Table 2")
    assert (row["strict_tau"], row["tau_tau"], row["gamma_gamma"]) == (1, 0.5, 1.5)
    assert (
        row["strict_paper_certified"],
        row["tau_paper_certified"],
        row["gamma_paper_certified"],
    ) == (9, 1, 9)
    assert row["strict_paper"] == 0.75 and row["strict_paper_low"] < 0.75 < row["strict_paper_high"]


def test_a_pair_that_can_certify_nothing_is_named_not_numbered(tables):
    rows = [row for row in tables["certificate_ladder"] if row["pair"] == "TRACE Table 4"]
    assert {row["bound"] for row in rows if row["mark"] == "infeasible"} == {"paper", "pinsker"}
    assert all(row["required_margin"] > 1 for row in rows)
    grid = lay_out(SPECS["certificate_ladder"], rows)
    assert [cell.text for cell in grid.body[0]][4:6] == ["infeasible", "infeasible"]


def test_a_pair_that_validation_had_no_reason_to_choose_is_called_so(evidence):
    blind = replace(evidence, selection={**evidence.selection, "coverage": 0.0})
    spec = SPECS["certificate_ladder"]
    captions = [spec.caption(spec.build(one)) for one in (evidence, blind)]
    assert ["first of equals" in caption for caption in captions] == [False, True]


def test_the_grid_shows_the_strict_readout_and_keeps_the_rest_in_the_csv(tables):
    rows = tables["certificate_grid"]
    assert {row["calibration"] for row in rows} == {"tau", "gamma"}
    shown = [row for row in rows if SPECS["certificate_grid"].shown(row)]
    assert {(row["bound"], row["calibration"], row["tau"]) for row in shown} == {
        ("pinsker", "tau", 1)
    }


def test_the_ablation_holds_the_papers_pair_and_the_selected_one(tables):
    body = lay_out(SPECS["projection_ablation"], tables["projection_ablation"]).body
    bold = {
        tuple(cell.text for cell in line[:5]): [cell.text for cell in line if cell.bold]
        for line in body
    }
    # K and qkv_mean tie.
    assert bold["ours", "countdown", "128", "pinsker", "(3e-06, 3)"] == [
        "50.0",
        "50.0",
    ]
    # All tie: sudoku, where none is certified at the selected pair.
    assert bold["", "", "", "paper", "(0.05, 6)"] == ["91.7"] * 5
    assert bold["", "sudoku", "128", "pinsker", "(3e-06, 3)"] == []  # best of nothing


def test_no_forward_certificate_without_contraction(tables):
    rows = [row for row in tables["forward_certificates"] if row["dataset"] == "countdown"]
    trace = only(rows, statistic="for ever, TRACE Eq. 12, measured contraction")
    assert (trace["share"], trace["certified"], trace["n"], trace["excluded"]) == (None, 0, 0, 12)
    assert trace["reason"].startswith("not certifiable")
    sharp = only(rows, statistic="for ever, sharp tail, measured contraction")
    assert (sharp["share"], sharp["n"], sharp["excluded"]) == (0.5, 4, 8)
    exits = only(rows, statistic="exits that satisfy Cor. B.2")
    assert (exits["share"], exits["excluded"], exits["published"]) == (
        None,
        20,
        0.723,
    ) and "not below 1" in exits["reason"]
    assert only(rows, statistic="Cor. B.2 on validation, sound quantile")["mark"] == "no promise"
    assert all(row["share"] is None or row["share"] >= 0 for row in rows)


def test_what_a_lower_temperature_does(tables):
    rows = [row for row in tables["temperature"] if row["dataset"] == "countdown"]
    assert [(row["tau"], row["kl_median"], row["margin_median"]) for row in rows] == [
        (0.5, 4e-6, 2e-4),
        (1, 1e-6, 1e-4),
        (2, 2.5e-7, 5e-5),
    ]
    assert all(row["reason"] and row["undefined"] == 3 for row in rows)


def test_the_preview_is_the_table_and_what_it_shows(folder):
    text = (folder / "certified_coverage.txt").read_text()
    assert text.isascii() and max(map(len, text.splitlines())) <= 220
    assert "LLaDA-8B, published" in text and "+0.14 [-0.12, +0.36]" in text
    flowing = " ".join(text.split())
    assert "undefined (every sample has the same score)" in flowing
    assert "temperature 0.5 certifies fewer on every set" in flowing
    assert "power 1.5 certifies as many on every set" in flowing


def test_a_preview_aligns_its_columns():
    cells = [
        [Cell("a", False), Cell("1.5")],
        [Cell("", False), Cell("22.0", bold=True)],
        [Cell("b", False), Cell("3.0")],
    ]
    grid = Grid(
        "x", "Title", "Caption.", (False, True), [[("set", 1), ("share", 1)]], cells, frozenset({2})
    )
    table = "set  share\n---  -----\na      1.5\n     22.0*\n\nb      3.0"
    assert preview(grid, ["Said."]) == f"Title\n\n{table}\n\nCaption.\n\nSaid.\n"


def test_sentences_follow_the_rows(tables):
    assert "promise nothing about the steps after a stop" in said.forward(tables)
    assert said.forward(tables).endswith("(alpha_hat = 2.50 on every set).")
    assert said.certified(tables).startswith(
        "At delta = 3e-06 and omega = 3, chosen on validation,"
    )
    nothing = [{**row, "certified": 0} for row in tables["certificate_ladder"]]
    assert (
        said.certified({**tables, "certificate_ladder": nothing})
        .split(". ")[-2:][0]
        .startswith("The sound rule certifies no late step")
    )
    unearned = [{**row, "validation_coverage": 0.0} for row in tables["certificate_ladder"]]
    assert "the first of equals" in said.certified({**tables, "certificate_ladder": unearned})
    promises = [dict(row) for row in tables["forward_certificates"]]
    for row in promises:
        if row["failure"] is not None and row["dataset"] == "sudoku":
            row["mark"] = "holds"
    calm = [{**row, "mean": 0.5} for row in tables["profiles"]]
    kept = said.forward({**tables, "forward_certificates": promises, "profiles": calm})
    assert kept.endswith(
        "an unchanged argmax after the stop on sudoku at 128 tokens (failing with probability 0.20"
        " at most)."
    )
    # LSCR is a sample's largest ratio: above 1 it denies that every change shrinks, not that
    # changes shrink on average.
    assert "A sample's largest late-step change ratio (LSCR) exceeds 1 in the mean" in said.forward(
        tables
    )
    assert "grow" not in said.forward(tables)
    assert "late-step change ratio" in said.forward(tables) and "late-step change ratio" not in kept


@pytest.mark.parametrize(
    ("low", "ending"),
    [
        (0.1, "the interval excludes 0 and rho is positive on countdown at 128 tokens."),
        (-0.1, "every interval includes 0."),
    ],
)
def test_a_resolved_correlation_is_told_from_an_open_one(tables, tmp_path, low, ending):
    row = only(
        tables["certified_coverage"], source="ours", dataset="countdown", pair="TRACE Table 2"
    )
    write_csv(
        tmp_path / "c.csv", [{**row, "rho": 0.4, "rho_low": low, "rho_high": 0.6, "reason": None}]
    )
    again = read_csv(tmp_path / "c.csv", SPECS["certified_coverage"])
    assert said.association({"certified_coverage": again}).endswith(f"rho = +0.40; {ending}")
