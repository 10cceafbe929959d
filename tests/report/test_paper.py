"""One document of all that a study shows.

It compiles, nothing sticks out, nothing in it acts, and two runs give the same bytes.
"""

import re
import shutil

import pytest

from tracedlm.config import load_yaml
from tracedlm.report.layout import Cell, Grid
from tracedlm.report.pages.paper import compile_pdf, is_wide, make_paper

TEX = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
HOSTILE = (
    r"\input{/etc/passwd} \end{multicols} <a> % & $x$ # a_b ^ ~ { } \\ \write18{touch /tmp/x} ü"
)


def write(report, study, folder):
    settings = load_yaml("config/smoke.yaml").model_dump(mode="json")
    settings["model"]["path"] = HOSTILE
    for name in ("tables", "figures"):
        shutil.copytree(report / name, folder / name, dirs_exist_ok=True)
    out = folder / "paper.pdf"
    make_paper(
        settings,
        folder / "tables",
        folder / "figures",
        [study / "exits/countdown/128/manifest.json"],
        out,
    )
    return out


@pytest.mark.slow
@TEX
def test_everything_is_in_the_document_and_nothing_sticks_out(report, study, tmp_path, capsys):
    out = write(report, study, tmp_path / "first")
    assert out.read_bytes().startswith(b"%PDF")
    text = out.with_suffix(".tex").read_text()
    shown = {
        path.stem
        for path in (report / "tables").glob("*.tex")
        if r"\\" in path.read_text().split(r"\midrule")[1].split(r"\bottomrule")[0]
    }
    assert shown == set(re.findall(r"\\input\{tables/(\w+)\.tex\}", text))
    drawn = {
        path.stem
        for path in (report / "figures").glob("*.csv")
        if not path.read_text().startswith("reason\n")
    }
    assert drawn == set(re.findall(r"\\shown\{figures/(\w+)\.pdf\}", text))
    assert r"\write18" not in text and r"\input{/etc" not in text
    assert not re.findall(r"Overfull \\hbox \((\d{2,}\.\d+)pt", capsys.readouterr().out), (
        "more than 10 points too wide"
    )
    assert write(report, study, tmp_path / "second").read_bytes() == out.read_bytes()


@TEX
def test_what_tex_does_not_accept_is_one_message(tmp_path):
    (tmp_path / "paper.tex").write_text(
        r"\documentclass{article}\begin{document}\nonsense\end{document}"
    )
    with pytest.raises(ValueError, match="Undefined control sequence"):
        compile_pdf(tmp_path / "paper.tex", [], tmp_path / "paper.pdf")
    assert not (tmp_path / "paper.pdf").exists()


def test_without_tex_the_message_says_what_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ValueError, match="pdflatex is not installed"):
        compile_pdf(tmp_path / "paper.tex", [], tmp_path / "paper.pdf")


@pytest.mark.parametrize(
    ("columns", "length", "wide"), [(3, 20, False), (10, 12, False), (12, 30, True)]
)
def test_only_what_would_be_too_small_lies_on_its_side(columns, length, wide):
    body = [[Cell("x" * length)] * columns]
    assert (
        is_wide(
            Grid(
                "t",
                "T",
                "c",
                (True,) * columns,
                [[("several words", 1)] * columns],
                body,
                frozenset(),
            )
        )
        is wide
    )
