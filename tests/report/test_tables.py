"""Numbers recomputed by hand, .csv and .tex in agreement, nothing hostile gets through, and the
result compiles.
"""

import dataclasses
import itertools
import json
import re
import shutil
import subprocess
import sys

import pytest

from tracedlm.report.contents import TABLES, TIMED_TABLES
from tracedlm.report.evidence import read_evidence
from tracedlm.report.layout import Cell, Grid, lay_out, number, pages
from tracedlm.report.write import SPECS, make_tables, read_csv, tex_escape

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
    files = {f"{name}.{suffix}" for name in TABLES + TIMED_TABLES for suffix in ("csv", "tex")}
    assert {path.name for path in folder.iterdir()} == files | {"certified_coverage.txt"}


def test_undefined_is_empty_with_a_reason(folder):
    (row,) = rows(
        folder, "certified_coverage", source="ours", dataset="countdown", pair="TRACE Table 2"
    )
    assert row["rho"] is None
    assert row["reason"] == "rho: every sample has the same score"
    (row,) = rows(folder, "profiles", dataset="countdown", statistic="LSCR, KL")
    assert (row["mean"], row["n"], row["undefined"]) == (None, 0, 12)
    assert row["reason"]


def test_published_coverage_stands_beside_ours(folder):
    (row,) = rows(folder, "certified_coverage", source="LLaDA-8B, published", dataset="countdown")
    assert (row["rho"], row["strict_paper"], row["tau_paper"], row["strict_pinsker"]) == (
        0.136,
        0.75,
        0.0625,
        None,
    )


def test_projection_ablation_marks_ties_and_no_best_of_nothing(folder):
    grid = lay_out(SPECS["projection_ablation"], rows(folder, "projection_ablation"))
    bold = {
        (cells[0].text, cells[1].text): [cell.text for cell in cells if cell.bold]
        for cells in grid.body
    }
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


def test_modules_stand_beside_edits_table_4(folder):
    (row,) = rows(
        folder,
        "module_ablation",
        source="ours",
        dataset="countdown",
        module="k, LoRA-B",
        reduction="row_mean",
    )
    assert (row["mean"], row["undefined"], row["samples"]) == (6e-6, 5, 8)
    (row,) = rows(
        folder,
        "module_ablation",
        source="LLaDA-8B, published",
        module="q, LoRA-B",
        reduction="row_energy",
    )
    assert (row["mean"], row["dataset"], row["seq_len"]) == (0.089, "gsm8k", None)
    (row,) = rows(
        folder, "module_ablation", dataset="sudoku", module="q, LoRA-A", reduction="row_energy"
    )
    assert row["mean"] is None and row["reason"] == "fewer than two steps have a defined D_t"
    grid = lay_out(SPECS["module_ablation"], rows(folder, "module_ablation"))
    assert [head for head, _ in grid.heads[-1]][-2:] == ["row energy", "row mean"] and len(
        grid.body
    ) == 3 * 4


def test_maps_of_different_spaces_are_not_compared(folder):
    found = rows(folder, "map_similarity")
    assert not [row for row in found if ("(A)" in row["module"]) != ("(A)" in row["against"])]
    grid = lay_out(SPECS["map_similarity"], found)
    assert [cells[0].text for cells in grid.body] == [
        "q outside raw",
        "k outside raw",
        "v outside raw",
    ]
    assert (
        grid.body[0][1].text == "1.000 (+1.00)"
        and grid.body[0][2].text == "0.980 (+0.98)"
        and "0.940" in grid.caption
    )


def test_what_bias_correction_changes_by_hand(folder):
    (row,) = rows(
        folder, "bias_correction", dataset="sudoku", readout="q", case="corrected, eps outside"
    )
    # Places 2 and 8 in the list of maps: D_t from 3e-6 to 9e-6, 2 and 8 of 8 samples certified, a
    # distance of 6.
    assert (row["kl_before"], row["kl_after"], row["kl_change"]) == (3e-6, 9e-6, 2)
    assert (row["share_before"], row["share_after"], row["cosine"], row["angle"]) == (
        0.25,
        1,
        0.94,
        pytest.approx(5.4),
    )
    assert len(lay_out(SPECS["bias_correction"], rows(folder, "bias_correction")).body) == 2 * 4


def test_maps_without_moments_have_no_bias_correction(evidence):
    facts = [
        {**one, "source": "adapter", "variant": "weights"}
        for one in evidence.maps["maps"]
        if one["variant"] == "outside_raw"
    ]
    found = SPECS["bias_correction"].build(
        dataclasses.replace(evidence, maps={**evidence.maps, "maps": facts})
    )
    assert {row["reason"] for row in found} == {
        "maps made from adapter have no such variants"
    } and found[0]["kl_before"] is None


@pytest.mark.parametrize("name", TABLES + TIMED_TABLES)
def test_tex_shows_the_numbers_of_its_csv(folder, name):
    grid = lay_out(SPECS[name], rows(folder, name))
    body = (
        (folder / f"{name}.tex")
        .read_text()
        .split(r"\midrule")[1]
        .split(r"\bottomrule")[0]
        .replace(r"\addlinespace", "")
    )
    written = [
        [cell.strip() for cell in re.split(r"(?<!\\)&", line)]
        for line in body.split(r"\\" + "\n")
        if line.strip()
    ]
    assert written == [
        [
            f"\\textbf{{{tex_escape(cell.text)}}}" if cell.bold else tex_escape(cell.text)
            for cell in cells
        ]
        for cells in grid.body
    ]


@pytest.mark.parametrize("sizes", [[5], [3, 3], [10, 10, 10, 10], [46, 1], [60, 2, 50], []])
def test_a_long_table_is_cut_between_groups_and_loses_nothing(sizes):
    """Whatever its groups.

    Every row once and in order, no page longer than it must be, each beginning with its own stubs.
    """
    body, groups = [], []
    for place, size in enumerate(sizes):
        groups += [len(body)] if body else []
        body += [
            [
                Cell("set" if not body else ""),
                Cell(f"{place}" if n == 0 else ""),
                Cell(f"{place}.{n}"),
            ]
            for n in range(size)
        ]
    grid = Grid(
        "t",
        "Title",
        "caption",
        (True,) * 3,
        [[("a", 1), ("b", 1), ("c", 1)]],
        body,
        frozenset(groups),
    )
    parts = pages(grid, longest=46)
    assert [row[2] for part in parts for row in part.body] == [row[2] for row in body]
    assert all(len(part.body) <= 46 or not part.groups for part in parts)
    assert all(len(a.body) + len(b.body) > 46 for a, b in itertools.pairwise(parts))
    starts = [[cell.text for cell in part.body[0]] for part in parts if part.body]
    assert all(first == "set" and third == f"{second}.0" for first, second, third in starts)
    assert len({part.name for part in parts}) == len(parts) and [
        part.caption for part in parts[1:]
    ] == ["Title, continued."] * (len(parts) - 1)
    assert sorted(len(part.groups) for part in parts) == sorted(
        sum(g > 0 for g in part.groups) for part in parts
    )


def test_latex_special_characters_cannot_act():
    escaped = tex_escape(HOSTILE)
    assert r"\input" not in escaped
    assert re.sub(
        r"\\(textbackslash\{\}|textasciitilde\{\}|textasciicircum\{\}|textless\{\}|textgreater\{\}|[{}$&#_%])",
        "",
        escaped,
    ).isprintable()
    assert not re.search(r"(?<!\\)[%&#$_]", escaped)


def test_hostile_labels_reach_no_table_as_commands(folder):
    for path in folder.glob("*.tex"):
        assert r"\input" not in path.read_text()


def test_two_runs_give_the_same_bytes(evidence, folder, tmp_path):
    make_tables(evidence, TABLES + TIMED_TABLES, tmp_path)
    assert all(
        (tmp_path / path.name).read_bytes() == path.read_bytes() for path in folder.iterdir()
    )


def test_mixed_code_is_refused(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "copy")
    path = copy / "certify/countdown/128/q/summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "code": "another"}))
    with pytest.raises(ValueError, match="2 versions of the code"):
        read_evidence(copy, ["countdown", "sudoku"], [128], ["q", "k"], ["full"], 0)


def test_certificates_at_another_setting_are_refused(study, tmp_path):
    copy = shutil.copytree(study, tmp_path / "copy")
    (copy / "certify/selection.json").write_text(
        json.dumps({"delta": 1e-8, "omega": 1, "sets": []})
    )
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
    modules = "tracedlm.report.write, tracedlm.report.pages.report, tracedlm.report.figures.draw"
    program = f"import sys, {modules}; print({{'torch', 'transformers'}} & {{*sys.modules}})"
    assert (
        subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "set()"
    )


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_tables_compile(folder, tmp_path):
    inputs = "\n".join(rf"\input{{{path}}}" for path in sorted(folder.glob("*.tex")))
    (tmp_path / "all.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,"
        rf" graphicx}}\begin{{document}}{inputs}\end{{document}}"
    )
    run = subprocess.run(
        ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-2000:]
