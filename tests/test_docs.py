"""The documentation keeps its word.

Its code runs, what it names exists, its reference is what the docstrings say.

Blocks of a page are one session. One that cannot run here stands behind `<!-- not run: reason -->`
and is only parsed. A YAML block whose first line is `# name.yaml` is that file. `python
tests/test_docs.py` writes docs/reference/ anew.
"""

import contextlib
import importlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
import yaml
from sybil import Document
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

import tracedlm
from conftest import write_adapter
from tracedlm.__main__ import main
from tracedlm.decode.rules import RULES
from tracedlm.decode.settings import SETTINGS
from tracedlm.records.moments import Moments
from tracedlm.tasks import GENERATED, TASKS

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted([*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")])
REFERENCE = ROOT / "docs/reference"
LANGUAGES = {"mermaid", "python", "sh", "text", "yaml"}
THEIR_MODEL = ("path/to/model", "models/LLaDA-8B-Instruct")
THEIR_ADAPTER = ("path/to/adapter", "models/their_adapter", "models/their_run")
"""What the pages call a reader's own; here it is the shipped model, and random weights."""


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A checkout to make a mess in."""
    folder = tmp_path_factory.mktemp("checkout")
    for entry in ROOT.iterdir():
        if not entry.name.startswith(".") and entry.name != "results":
            (folder / entry.name).symlink_to(entry)
    adapter = write_adapter(ROOT / "resources/base", folder / "adapter")
    for name in (*THEIR_MODEL, *THEIR_ADAPTER):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).symlink_to(adapter if name in THEIR_ADAPTER else ROOT / "resources/base")
    update = np.random.default_rng(0).standard_normal((192, 8)).astype(np.float32)
    Moments({"5.q.B/outside_raw": update}, steps=1, eps=1e-8, betas=(0.9, 0.999)).write(
        folder / "results/tiny/sft/moments.safetensors"
    )
    return folder


def is_only_parsed(example):
    return (
        re.search(r"<!-- not run: \S.* -->\n\Z", example.document.text[: example.region.start])
        is not None
    )


RUNS = re.compile(r"(python -m tracedlm .*--help|snakemake -n .*|make [\w-]+)(\s+#.*)?")
"""What may be run on the machine of whoever runs the tests; `make` only says what it would do."""


def run_shell(example):
    subprocess.run(["bash", "-n", "-c", example.parsed], check=True)
    if not is_only_parsed(example):
        assert all(RUNS.fullmatch(line) for line in example.parsed.splitlines()), (
            "put `<!-- not run: reason -->` before this block"
        )
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        shell = ["bash", "-euo", "pipefail", "-c", example.parsed]
        subprocess.run(
            shell,
            env={**os.environ, "PATH": path, "MAKEFLAGS": "n"},
            check=True,
            stdout=subprocess.DEVNULL,
        )


def read_yaml(example):
    yaml.safe_load(example.parsed)
    if name := re.match(r"# (\S+\.yaml)\n", example.parsed):
        Path(name[1]).write_text(example.parsed)


def blocks(page):
    return Document.parse(
        str(page),
        PythonCodeBlockParser(),
        CodeBlockParser("sh", run_shell),
        CodeBlockParser("yaml", read_yaml),
    ).examples()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_runs(page, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    with contextlib.ExitStack() as stack:
        for registry in (RULES, SETTINGS, TASKS, GENERATED):
            stack.enter_context(mock.patch.dict(registry))  # what a page registers is nobody else's
        for example in blocks(page):
            if example.region.lexemes.get("arguments") == "python" and is_only_parsed(example):
                compile(example.parsed, str(page), "exec")
            else:
                example.evaluate()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_no_block_is_of_a_language_that_nothing_runs(page):
    assert set(re.findall(r"^ *```([^\n`]+)$", page.read_text(), re.MULTILINE)) <= LANGUAGES


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def headings(page):
    """The anchors that GitHub gives a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_anchors_are_headings(page):
    links = re.findall(r"\]\(([^)#\s:]*)#([^)\s]+)\)", page.read_text())
    assert not [
        (name, anchor)
        for name, anchor in links
        if anchor not in headings((page.parent / name) if name else page)
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tests_and_equations_that_are_named_exist(page):
    text = page.read_text()
    assert not [
        path for path in re.findall(r"`(tests/[\w/]+\.py)", text) if not (ROOT / path).exists()
    ]
    for module, name in re.findall(r"`theory\.([a-z_]+)\.([A-Za-z_]+)`", text):
        assert hasattr(importlib.import_module(f"tracedlm.theory.{module}"), name), (
            f"no theory.{module}.{name}"
        )


# What the reference shows beside the names of `tracedlm.__all__`: what these return, take or call.
RECORDS = (
    "generation.Generation",
    "certification.Certification",
    "rescoring.Rescored",
    "theory.risk.RiskControl",
    "models.denoiser.Denoiser",
    "records.rrm.Rrm",
    "records.moments.Moments",
    "records.card.ExitCard",
    "decode.recorder.TraceRecorder",
    "decode.step.Step",
    "decode.rules.rule.ExitRule",
    "tasks.task.Task",
    "tasks.task.GeneratedTask",
)
COMMANDS = ("generate", "certify", "rescore", "rrm", "explore", "validate")
COMMANDS_TITLE = """# Commands

From their `--help`, by `python tests/test_docs.py`. `python -m tracedlm lm-eval` hands its
arguments to lm-evaluation-harness.
"""
LOOKS = {
    "show_if_no_docstring": False,
    "inherited_members": False,
    "members_order": "source",
    "line_length": 120,
    "show_signature_annotations": True,
    "show_root_members_full_path": False,
    "show_object_full_path": False,
    "show_bases": False,
    "show_submodules": False,
    "summary": False,
}


def reference():
    """Page -> text of docs/reference/, from the docstrings, by griffe2md."""
    griffe2md, griffe = pytest.importorskip("griffe2md"), pytest.importorskip("griffe")
    options = {"returns_multiple_items": False, "returns_named_value": False, "warnings": False}
    loader = griffe.GriffeLoader(
        search_paths=[str(ROOT / "src")],
        docstring_parser=griffe.Parser("google"),
        docstring_options=options,
    )
    package = loader.load("tracedlm")
    loader.resolve_aliases(external=False)

    def page(title, names):
        texts = [griffe2md.render_object_docs(package[name], LOOKS) for name in names]
        # Its anchors are not GitHub's.
        text = re.sub(r"\[([^\]]+)\]\(#[^)]*\)", r"\1", "\n".join(texts))
        text = re.sub(r"^>>> .*(?:\n.+)*", r"```python\n\g<0>\n```", text, flags=re.MULTILINE)
        return (
            f"# {title}\n\nFrom the docstrings, by `python"
            f" tests/test_docs.py`.\n\n{text.rstrip()}\n"
        )

    return {
        "package.md": page("The package", [*tracedlm.__all__, *RECORDS]),
        "theory.md": page(
            "The equations", [f"theory.{name}" for name in sorted(package["theory"].modules)]
        ),
        "dynamics.md": page("Training dynamics", ["dynamics"]),
        "commands.md": (
            COMMANDS_TITLE
            + "".join(f"\n## {name}\n\n```text\n{help_of(name)}```\n" for name in COMMANDS)
        ),
    }


def help_of(command):
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, COLUMNS="120"),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        main([command, "--help"])
    return printed.getvalue()


def test_the_reference_is_what_the_docstrings_say():
    stale = [name for name, text in reference().items() if (REFERENCE / name).read_text() != text]
    assert not stale, f"docs/reference/{', '.join(stale)}: stale; run python tests/test_docs.py"


if __name__ == "__main__":
    REFERENCE.mkdir(exist_ok=True)
    for name, text in reference().items():
        (REFERENCE / name).write_text(text)
