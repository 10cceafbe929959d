"""How curves move with the map, on made-up measures, by hand."""

import pytest

from tracedlm.report.layout import lay_out
from tracedlm.report.pages.fine_tuning import SFT, curve_rows, together_rows
from tracedlm.report.write import read_csv, write_csv

CURVES = {
    ("update_rms", "5.q.B", ""): (None, 1.0, 0.8, 0.6, 0.5),
    ("map_cosine", "5.q.B", ""): (None, 0.7, 0.8, 0.9, 1.0),
    ("loss", "lora", "train"): (3.0, 2.5, 2.0, 1.5, 1.0),
    ("accuracy", "validation", ""): (0.5, 0.5, 0.5, 0.5, 0.5),
}


@pytest.fixture
def rows():
    return [
        {
            "metric": metric,
            "module": module,
            "label": label,
            "step": step,
            "value": value,
            "reason": "none yet" if value is None else "",
        }
        for (metric, module, label), values in CURVES.items()
        for step, value in zip((0, 1, 10, 50, 100), values, strict=True)
    ]


def test_a_curve_is_correlated_with_step_mass_and_cosine(rows):
    found = {(row["panel"], row["line"]): row for row in together_rows(rows)}
    loss = found["loss, nats", "loss, train"]
    assert (loss["start"], loss["end"]) == (3.0, 1.0)
    assert (loss["n"], loss["n_step"], loss["n_mass"]) == (5, 5, 4)  # the map has no step 0
    assert (
        loss["rho_step"] == pytest.approx(-1)
        and loss["rho_cosine"] == pytest.approx(-1)
        and loss["rho_mass"] == pytest.approx(1)
    )
    assert loss["p_step"] == pytest.approx(2 / 120) and loss["p_mass"] == pytest.approx(2 / 24)
    assert found["predictions", "accuracy, validation"]["rho_mass"] is None  # constant
    assert "rho_mass" not in found["map: mass", "q"]  # with itself


def test_undefined_snapshots_are_in_the_csv_with_their_reason_and_not_drawn_as_numbers(rows):
    first = next(
        row for row in curve_rows(rows) if row["panel"] == "map: mass" and row["step"] == 0
    )
    assert first["mean"] is None and first["reason"] == "none yet"


def test_the_table_survives_its_csv_and_warns_of_trends(rows, tmp_path):
    write_csv(tmp_path / "t.csv", SFT.build(rows))
    again = read_csv(tmp_path / "t.csv", SFT)
    assert lay_out(SFT, again) == lay_out(SFT, SFT.build(rows))
    assert "correlate by that alone" in lay_out(SFT, again).caption
