"""Numbers recomputed by hand, .csv and .tex in agreement, nothing hostile gets through, and the result compiles."""

import json
import re
import shutil
import subprocess
import sys

import pytest

from tracedlm.report.evidence import read_evidence
from tracedlm.report.layout import lay_out, number
from tracedlm.report.names import TABLES, TIMED_TABLES
from tracedlm.report.tables import SPECS, make_tables, read_csv, tex_escape

HOSTILE = r"\input{/etc/passwd} <script>alert(1)</script> % & $x$ # a_b ^ ~ { } \\"


@pytest.fixture(scope="module")
def folder(evidence, tmp_path_factory):
    path = tmp_path_factory.mktemp("tables")
    make_tables(evidence, TABLES + TIMED_TABLES, path)
    return path


def rows(folder, name, **chosen):
    found = read_csv(folder / f"{name}.csv", SPECS[name])
    return [row for row in found if all(row[key] == value for key, value in chosen.items())]


def test_every_table_has_both_files(folder):
    assert {path.name for path in folder.iterdir()} == {f"{name}.{suffix}" for name in TABLES + TIMED_TABLES for suffix in ("csv", "tex")}


def test_efficiency_by_hand(folder):
    (row,) = rows(folder, "efficiency", dataset="countdown")
    # 16 of 64 forwards: 75 % fewer. 4 of 12 against 12 of 12 solved: -66.7 points. EDIT Table 2, Countdown, 128: 36.9 %.
    assert (row["full_steps"], row["rad_forwards"], row["reduction"]) == (64, 16, 0.75)
    assert row["difference"] == pytest.approx(4 / 12 - 1, abs=1e-6)
    assert row["published_reduction"] == pytest.approx(0.369)
    assert row["accuracy_truncate"] == 1


def test_a_rule_that_loses_to_truncation_is_called_worse(folder):
    (row,) = rows(folder, "exit_rules", dataset="countdown", rule="rad")
    # 8 samples that only truncate solves, none that only rad solves: p = 2 / 2^8.
    assert row["p"] == pytest.approx(2 / 2**8, abs=1e-6)
    assert row["difference_high"] < 0
    assert row["verdict"] == "worse"
    assert row["sentence"] == "rad 33.3 % vs truncate 100.0 % at 16.0 forwards: worse"
    assert row["against"] == "truncate(steps=16.00)"


def test_the_baseline_is_not_compared_with_itself(folder):
    for row in rows(folder, "exit_rules", rule="truncate"):
        assert row["verdict"] is None
        assert row["reason"] == "the baseline itself"


def test_undefined_is_empty_with_a_reason(folder):
    (row,) = rows(folder, "certified_coverage", source="ours", dataset="countdown")
    assert row["rho"] is None
    assert row["reason"] == "rho: every sample has the same score"
    (row,) = rows(folder, "profiles", dataset="countdown", statistic="LSCR, KL")
    assert (row["mean"], row["n"], row["undefined"]) == (None, 0, 12)
    assert row["reason"]


def test_published_coverage_stands_beside_ours(folder):
    (row,) = rows(folder, "certified_coverage", source="LLaDA-8B, published", dataset="countdown")
    assert (row["rho"], row["strict_paper"], row["calibrated_paper"], row["strict_pinsker"]) == (0.136, 0.75, 0.0625, None)


def test_projection_ablation_marks_ties_and_no_best_of_nothing(folder):
    grid = lay_out(SPECS["projection_ablation"], rows(folder, "projection_ablation"))
    bold = {(cells[0].text, cells[1].text): [cell.text for cell in cells if cell.bold] for cells in grid.body}
    assert bold["ours", "countdown"] == ["50.0", "50.0"]  # k and qkv_mean: 6 of 12
    ours = next(cells for cells in grid.body if cells[1].text == "sudoku")
    assert not any(cell.bold for cell in ours)
    text = (folder / "projection_ablation.tex").read_text()
    assert text.count(r"\textbf{50.0}") == 2
    assert r"\textbf{95.3}" in text  # TRACE Table 4, Countdown, V


def test_infeasible_settings_are_marked(folder):
    text = (folder / "certificate_grid.tex").read_text()
    assert "infeasible" in text.split(r"\midrule")[1]
    assert {row["delta"] for row in rows(folder, "certificate_grid", mark="infeasible")} == {0.05}


def test_storage_reproduces_the_papers_examples(folder):
    for row in rows(folder, "storage", source="LLaDA-8B (8 GiB)"):
        assert row["overhead"] == pytest.approx(row["published_overhead"], rel=0.03)
    (row,) = rows(folder, "storage", case="q k v, 2 blocks")
    assert row["map_bytes"] == 6 * 64 * 4


@pytest.mark.parametrize("name", TABLES + TIMED_TABLES)
def test_tex_shows_the_numbers_of_its_csv(folder, name):
    grid = lay_out(SPECS[name], rows(folder, name))
    body = (folder / f"{name}.tex").read_text().split(r"\midrule")[1].split(r"\bottomrule")[0].replace(r"\addlinespace", "")
    written = [[cell.strip() for cell in re.split(r"(?<!\\)&", line)] for line in body.split(r"\\" + "\n") if line.strip()]
    assert written == [
        [f"\\textbf{{{tex_escape(cell.text)}}}" if cell.bold else tex_escape(cell.text) for cell in cells] for cells in grid.body
    ]


def test_latex_special_characters_cannot_act():
    escaped = tex_escape(HOSTILE)
    assert r"\input" not in escaped
    assert re.sub(
        r"\\(textbackslash\{\}|textasciitilde\{\}|textasciicircum\{\}|textless\{\}|textgreater\{\}|[{}$&#_%])", "", escaped
    ).isprintable()
    assert not re.search(r"(?<!\\)[%&#$_]", escaped)


def test_hostile_labels_reach_no_table_as_commands(folder):
    for path in folder.glob("*.tex"):
        assert r"\input" not in path.read_text()


def test_two_runs_give_the_same_bytes(evidence, folder, tmp_path):
    make_tables(evidence, TABLES + TIMED_TABLES, tmp_path)
    assert all((tmp_path / path.name).read_bytes() == path.read_bytes() for path in folder.iterdir())


def test_mixed_code_is_refused(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "copy")
    path = copy / "certify/countdown/128/q/summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "code": "another"}))
    with pytest.raises(ValueError, match="2 versions of the code"):
        read_evidence(copy, ["countdown", "sudoku"], [128], ["q", "k"], ["full"], 0)


def test_certificates_at_another_setting_are_refused(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "copy")
    (copy / "certify/selection.json").write_text(json.dumps({"delta": 1e-8, "omega": 1}))
    with pytest.raises(ValueError, match=r"not at the \(delta, omega\) of selection"):
        read_evidence(copy, ["countdown"], [128], ["q"], ["full"], 0)


@pytest.mark.parametrize(
    ("value", "kind", "shown"),
    [
        (1 / 3, "percent", "33.3"),
        (-1e-9, "points", "0.0"),
        (None, "percent", "--"),
        (0.0183, "small", "0.018"),
        (1e-8, "setting", "1e-08"),
        (1e-5, "p", "<0.001"),
    ],
)
def test_numbers_print_one_way(value, kind, shown):
    assert number(value, kind) == shown


def test_powers_and_minus_signs_are_mathematics():
    assert tex_escape("-3.2 [-5.0, 1.0]") == "$-$3.2 [$-$5.0, 1.0]"
    assert tex_escape("1e-08") == "$10^{-8}$"
    assert tex_escape("1.7e-04") == r"$1.7 \times 10^{-4}$"
    assert tex_escape("LLaDA-8B") == "LLaDA-8B"


def test_the_report_needs_no_torch():
    modules = "tracedlm.report.tables, tracedlm.report.page, tracedlm.report.figures"
    program = f"import sys, {modules}; print({{'torch', 'transformers'}} & {{*sys.modules}})"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip() == "set()"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_tables_compile(folder, tmp_path):
    inputs = "\n".join(rf"\input{{{path}}}" for path in sorted(folder.glob("*.tex")))
    (tmp_path / "all.tex").write_text(rf"\documentclass{{article}}\usepackage{{booktabs}}\begin{{document}}{inputs}\end{{document}}")
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"], cwd=tmp_path, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout[-2000:]
