"""The rules of the house, as tests.

Sizes, names, the cost of an import, the staircase, the index of equations.
"""

import ast
import importlib
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = sorted((ROOT / "src").rglob("*.py"))
EMPTY_NAMES = {"utils", "common", "core", "helpers", "manager", "base", "misc"}
LONGEST_FILE, LONGEST_FUNCTION = 400, 60


def test_no_file_is_too_long():
    sizes = {path.relative_to(ROOT): len(path.read_text().splitlines()) for path in SOURCES}
    assert sizes
    assert not {path: size for path, size in sizes.items() if size > LONGEST_FILE}


def test_no_function_is_too_long():
    too_long = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
                and (size := lines_of_code(node)) > LONGEST_FUNCTION
            ):
                too_long[f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"] = size
    assert not too_long


def lines_of_code(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function without its docstring: explaining must never cost anything."""
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return lines
    docstring = function.body[0]
    return lines - ((docstring.end_lineno or docstring.lineno) - docstring.lineno + 1)


def test_every_module_has_a_name_that_says_something():
    assert not [
        path.relative_to(ROOT)
        for path in SOURCES
        if EMPTY_NAMES & set(path.relative_to(ROOT / "src").with_suffix("").parts)
    ]


def test_importing_the_package_costs_nothing():
    heavy = ["torch", "transformers", "peft", "matplotlib", "pyarrow", "scipy", "snakemake"]
    program = f"import sys, tracedlm; print([name for name in {heavy} if name in sys.modules])"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_imports_go_down_the_staircase():
    # A tool of the extra `dev`: `make lint` always runs it, `make test` where it happens to be
    # there.
    tool = shutil.which("lint-imports", path=Path(sys.executable).parent)
    if tool is None:
        pytest.skip("import-linter is not installed (extra `dev`)")
    run = subprocess.run(
        [tool, "--no-logo", "--no-cache"], cwd=ROOT, capture_output=True, text=True
    )
    assert run.returncode == 0, run.stdout + run.stderr


FUNCTION = re.compile(r"`(theory\.[A-Za-z_.]+)`")


def named(name: str) -> object:
    """What `theory.module.name` stands for, or None."""
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(f"tracedlm.{module}"), attribute, None)


def equation_rows() -> list[tuple[str, str, str]]:
    """(equation, function, test) of each table row of docs/equations.md that names a function."""
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (ROOT / "docs/equations.md").read_text().splitlines()
    ]
    return [(row[0], row[-2], row[-1]) for row in cells if len(row) >= 3 and "`" in row[-2]]


def test_every_equation_names_functions_that_exist():
    rows = equation_rows()
    assert rows
    for equation, functions, _ in rows:
        for name in FUNCTION.findall(functions):
            assert callable(named(name)), f"{equation}: no {name}"


def test_every_public_function_of_theory_has_an_equation():
    page = (ROOT / "docs/equations.md").read_text()
    for path in (ROOT / "src/tracedlm/theory").glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                assert f"`theory.{path.stem}.{node.name}`" in page, (
                    f"docs/equations.md has no row for {path.stem}.{node.name}"
                )


def test_every_equation_names_tests_that_exist():
    for equation, functions, tests in equation_rows():
        assert tests, f"{equation}: no test"
        if "doctest" in tests:
            assert all(">>>" in named(name).__doc__ for name in FUNCTION.findall(functions)), (
                f"{equation}: no doctest"
            )
        for name in re.findall(r"`([a-z_/]+\.py(?:::\w+)?)`", tests):
            path, _, function = name.partition("::")
            file = ROOT / "tests" / path
            assert file.is_file() and f"def {function}" in file.read_text(), (
                f"{equation}: no {name}"
            )
