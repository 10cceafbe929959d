"""Figures are reproducible and carry their data; the page is self-contained, escapes what it did not write, and says what was found."""

import csv
import re
from html.parser import HTMLParser

import pytest

from tracedlm.config import load_yaml
from tracedlm.report.abstract import abstract
from tracedlm.report.figures import make_figures
from tracedlm.report.names import FIGURES, TABLES, TIMED_TABLES, pseudo_gradient_figures
from tracedlm.report.page import html_number, make_page
from tracedlm.report.tables import SPECS, make_tables, read_csv

DATASETS = ("countdown", "sudoku")
DRAWN = [*FIGURES, *pseudo_gradient_figures(DATASETS, 4).values()]


def draw(study, evidence, folder):
    readouts = {dataset: study / f"readouts/{dataset}/128/test/q.parquet" for dataset in DATASETS}
    replayed = {dataset: study / f"pseudo_gradients/{dataset}/128.parquet" for dataset in DATASETS}
    make_figures(evidence, readouts, study / "sft/gradients.parquet", replayed, {name: folder / f"{name}.png" for name in DRAWN})
    return folder


@pytest.fixture(scope="module")
def report(study, evidence, tmp_path_factory):
    root = tmp_path_factory.mktemp("report")
    draw(study, evidence, root / "figures")
    make_tables(evidence, TABLES + TIMED_TABLES, root / "tables")
    settings = load_yaml("config/smoke.yaml").model_dump(mode="json")
    settings["model"]["path"] = "<script>alert(3)</script>"
    make_page(settings, root / "tables", root / "figures", [study / "exits/countdown/128/manifest.json"], root / "report.html")
    return root


def data(report, name):
    with (report / f"figures/{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_two_runs_draw_the_same_bytes(report, study, evidence, tmp_path):
    again = draw(study, evidence, tmp_path)
    names = sorted(path.name for path in again.iterdir())
    assert names == sorted(f"{name}.{suffix}" for name in DRAWN for suffix in ("csv", "pdf", "png"))
    assert all((again / name).read_bytes() == (report / "figures" / name).read_bytes() for name in names)


def test_undefined_steps_are_empty_not_zero(report):
    first = next(row for row in data(report, "stability") if row["statistic"] == "kl" and row["step"] == "1")
    assert (first["median"], first["n"], first["undefined"]) == ("", "0", "3")
    last = next(row for row in data(report, "stability") if row["statistic"] == "kl" and row["step"] == "5")
    assert (last["median"], last["zeros"], last["phase"]) == ("0", "3", "refine")


def test_only_visible_positions_have_a_similarity(report):
    seen = [row for row in data(report, "similarity") if row["dataset"] == "countdown" and row["step"] == "2"]
    assert [row["position"] for row in seen] == [str(position) for position in range(16)]


def test_gradients_are_of_the_last_layers_b(report):
    rows = data(report, "gradients")
    assert {(row["layer"], row["rms"]) for row in rows} == {("1", "0.001")}
    assert len(rows) == 2 * 3


class Links(HTMLParser):
    """Collects what a browser would load, where links lead, and ids."""

    def __init__(self):
        super().__init__()
        self.loaded, self.hrefs, self.ids, self.tags = [], [], [], []

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.loaded += [found[key] for key in ("src", "srcset", "poster") if key in found]
        self.hrefs += [found["href"]] if "href" in found else []
        self.ids += [found["id"]] if "id" in found else []


@pytest.fixture(scope="module")
def page(report):
    parser = Links()
    parser.feed((report / "report.html").read_text())
    return parser


def test_page_loads_nothing(page, report):
    assert len(page.loaded) == len(DRAWN)
    assert all(source.startswith("data:image/png;base64,") for source in page.loaded)
    assert not re.search(r"@import|url\(", (report / "report.html").read_text())


def test_page_links_lead_somewhere(page, report):
    for href in page.hrefs:
        if href.startswith("#"):
            assert href[1:] in page.ids
        else:
            assert (report / href).is_file(), href
    assert len(page.ids) == len(set(page.ids))


def test_page_runs_nothing_that_a_model_wrote(page, report):
    assert "script" not in page.tags
    text = (report / "report.html").read_text()
    assert "&lt;script&gt;alert(3)" in text
    assert "/tmp/" not in text.split("data:image")[0]


def test_page_states_the_negative_result(report):
    tables = {name: read_csv(report / f"tables/{name}.csv", spec) for name, spec in SPECS.items()}
    text = " ".join(abstract(tables))
    assert "rad is worse than simply taking fewer fixed steps (truncate, at the same mean forwards) on countdown at 128 tokens" in text
    assert "rad is better" not in text
    assert "covers 3 of 24 samples" in text
    assert "undefined (every sample has the same score)" in text


def test_numbers_on_the_page_are_escaped_and_typeset():
    assert html_number("<b> -3.2") == "&lt;b&gt; \N{MINUS SIGN}3.2"
    assert html_number("1.7e-04") == "1.7×10<sup>\N{MINUS SIGN}4</sup>"
