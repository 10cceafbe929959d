"""docs/models.md says what the code does: its families, its config snippets, its Python."""

import ast
import importlib
import inspect
import re
from pathlib import Path

import pytest
import yaml

from tracedlm.config import load_study
from tracedlm.models.families import FAMILIES
from tracedlm.models.layout import LAYOUTS

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs/models.md").read_text()


def snippets(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def rows():
    """Cells of each row of the table of families."""
    table = PAGE.split("## Families")[1].split("\n\n")[1]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]
    ]


def test_every_family_has_its_row_and_its_class():
    shown = {name: row for row in rows() for name in re.findall(r"`([\w-]+)`", row[1])}
    assert shown.keys() == {*FAMILIES, "diffusion_gemma"}
    for name, family in FAMILIES.items():
        assert shown[name][2] in (f"`{family.model}`", "the class of its name", "likewise"), name


def test_the_table_says_where_lora_is_not_supported():
    refused = {
        name
        for row in rows()
        if row[4].startswith("no: ")
        for name in re.findall(r"`([\w-]+)`", row[1])
    }
    assert refused == {name for name, layout in LAYOUTS.items() if layout.no_lora}


@pytest.mark.parametrize("snippet", snippets("yaml"))
def test_config_snippets_are_valid_over_the_smallest_study(snippet):
    changes, raw = yaml.safe_load(snippet), yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    study = load_study(
        {
            **raw,
            **{section: {**raw.get(section, {}), **values} for section, values in changes.items()},
        }
    )
    for section, values in changes.items():
        for key, value in values.items():
            given = getattr(getattr(study, section), key)
            assert given == (tuple(value) if isinstance(value, list) else value)


@pytest.mark.parametrize("snippet", snippets("python"))
def test_calls_in_python_snippets_take_these_arguments(snippet):
    tree = ast.parse(snippet)
    known = {"tracedlm": importlib.import_module("tracedlm")}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            known |= {
                alias.name: getattr(importlib.import_module(node.module), alias.name)
                for alias in node.names
            }
    calls = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[0] in known
    ]
    assert calls
    for call in calls:
        root, *attributes = ast.unparse(call.func).split(".")
        function = known[root]
        for attribute in attributes:
            function = getattr(function, attribute)
        inspect.signature(function).bind(
            *call.args, **{keyword.arg: keyword.value for keyword in call.keywords}
        )


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", PAGE))
def test_links_lead_somewhere(link):
    assert (ROOT / "docs" / link).exists()
