"""Figures are reproducible and carry their data.

The page is self-contained, escapes what it did not write, and says what was found.
"""

import csv
import re
from html.parser import HTMLParser

import pytest

from tracedlm.report.contents import FIGURES, pseudo_gradient_figures
from tracedlm.report.pages.abstract import PARAGRAPHS, abstract
from tracedlm.report.pages.report import html_number, read_rows

DATASETS = ("countdown", "sudoku")
DRAWN = [*FIGURES, *pseudo_gradient_figures(DATASETS, 4).values()]


def data(report, name):
    with (report / f"figures/{name}.csv").open() as file:
        return list(csv.DictReader(file))


def test_two_runs_draw_the_same_bytes(report, draw, tmp_path):
    again = draw(tmp_path)
    names = sorted(path.name for path in again.iterdir())
    assert names == sorted(f"{name}.{suffix}" for name in DRAWN for suffix in ("csv", "pdf", "png"))
    assert all(
        (again / name).read_bytes() == (report / "figures" / name).read_bytes() for name in names
    )


def test_undefined_steps_are_empty_not_zero(report):
    first = next(
        row for row in data(report, "stability") if row["statistic"] == "kl" and row["step"] == "1"
    )
    assert (first["median"], first["n"], first["undefined"]) == ("", "0", "3")
    last = next(
        row for row in data(report, "stability") if row["statistic"] == "kl" and row["step"] == "5"
    )
    assert (last["median"], last["zeros"], last["phase"]) == ("0", "3", "refine")


def test_only_visible_positions_have_a_similarity(report):
    seen = [
        row
        for row in data(report, "similarity")
        if row["dataset"] == "countdown" and row["step"] == "2"
    ]
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
    text = " ".join(abstract(read_rows(report / "tables")).values())
    assert (
        "rad is worse than simply taking fewer fixed steps (truncate, at the same mean forwards) on"
        " every set (" in text
    )
    assert "rad is better" not in text
    assert (
        "All samples stop after as many forwards on every set: at this setting its signal decides"
        " nothing." in text
    )
    assert "covers 0 to 3 of 12 samples of a set" in text
    assert "undefined (every sample has the same score)" in text


def test_numbers_on_the_page_are_escaped_and_typeset():
    assert html_number("<b> -3.2") == "&lt;b&gt; \N{MINUS SIGN}3.2"
    assert html_number("1.7e-04") == "1.7×10<sup>\N{MINUS SIGN}4</sup>"


TABLES_OF = {
    "Saved and lost": ("efficiency", "equal_cost_pooled"),
    "At equal cost": ("equal_cost", "equal_cost_pooled", "tally"),
    "Over all budgets": ("parallelism", "tally"),
    "Settings carried over": ("hyperparameters", "transfer", "tally"),
    "In time": ("latency",),
    "Certified": ("certificate_ladder", "tally"),
    "Sharper readouts": ("certified_coverage",),
    "Concentration": ("certified_coverage",),
    "After a stop": ("profiles", "forward_certificates"),
    "Cost of the study": ("stage_costs", "disk_use"),
}
"""Paragraph of the abstract -> the csv files that hold its numbers."""

NUMBER = re.compile(r"[-+]?\d+(?:\.\d+)?(?:e[-+]\d+)?")


def printed(report, names):
    """Every way in which a report prints a number of these csv files, as it stands and in percent,
    and numbers in their texts.
    """
    found = set()
    for name in names:
        with (report / f"tables/{name}.csv").open() as file:
            cells = {cell for row in csv.DictReader(file) for cell in row.values() if cell}
        for cell in cells:
            found.update(NUMBER.findall(cell))
            if NUMBER.fullmatch(cell):
                value = float(cell)
                found.update(
                    f"{value:{kind}}" for kind in ("g", ".0f", ".1f", ".2f", ".3f", "+.2f", ".1e")
                )
                found.update(f"{100 * value:{kind}}" for kind in (".1f", "+.1f"))
    return found


@pytest.mark.parametrize("title", TABLES_OF)
def test_every_number_of_the_abstract_is_in_a_csv(report, title):
    said = abstract(read_rows(report / "tables")).get(title)
    if said is None:
        pytest.skip("this study has nothing to say of it")
    constants = (
        "95 % interval",
        "p < 0.001",
        "p < 0.05",
        "up to one in twenty",
        "ratio exceeds 1 ",
        "includes 0",
        "below 1",
        "excludes 0",
        "without 0",
    )
    for words in constants:
        said = said.replace(words, "")
    numbers, known = NUMBER.findall(said), printed(report, TABLES_OF[title])
    assert (numbers or "undefined" in said) and not [
        number for number in numbers if number not in known
    ], said


def test_a_wrong_number_would_be_noticed(report):
    known = printed(report, TABLES_OF["Saved and lost"])
    said = abstract(read_rows(report / "tables"))["Saved and lost"]
    changed = [
        f"{float(number) + 0.1:{'+' if number[0] == '+' else ''}.1f}"
        for number in NUMBER.findall(said)
        if "." in number
    ]
    assert sum(number in known for number in changed) < len(changed) / 4


def test_every_paragraph_names_its_tables():
    assert set(TABLES_OF) == set(PARAGRAPHS)
