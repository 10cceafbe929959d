"""How many faults planted into an equation its own tests notice.

Mutation testing of src/tracedlm/theory.

    pip install mutmut==3.8.1 OMP_NUM_THREADS=1 python benchmarks/mutation.py rad risk      #
    without names: every module; 0.04 CPU-s a mutant

mutmut makes the mutants, each a copy of a function with one change. Its own loop starts pytest anew
for each; here pytest collects once, and every mutant runs in a fork, against those tests that call
its function, the quickest first, until one fails. A module is judged by
tests/theory/test_<module>.py (CHECKED_BY names those of others), test_array_libraries.py and its
doctests alone: what only another module's tests would notice survives. Hypothesis draws the same
examples for every mutant and does not shrink what fails. The texts of errors and decorated
functions (properties) are not mutated. docs/mutation.md says what was found.
"""

import argparse
import importlib
import os
import resource
import sys
import time
import types
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from difflib import unified_diff
from pathlib import Path
from typing import Any

import mutmut.configuration
import pytest
import torch  # noqa: F401  # once for all modules: each is tested in a fork of this process
from hypothesis import Phase, settings
from mutmut.mutation.file_mutation import MutatedFile, mutate_file_contents
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state
from mutmut.utils.format_utils import mangled_name_from_mutant_name

ROOT = Path(__file__).resolve().parents[1]
THEORY = ROOT / "src/tracedlm/theory"
CHECKED_BY = {"movement": "certificate"}
TEXTS_OF_ERRORS = [r"raise ValueError\(", r'^\s+f?"']
MEMORY = 8 * 2**30

settings.register_profile(
    "mutation",
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
)


def main() -> None:
    """Print one row a module, and every survivor as a difference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "modules", nargs="*", default=sorted(path.stem for path in THEORY.glob("[!_]*.py"))
    )
    os.chdir(ROOT)
    print(
        "| module | mutants | killed | of these by time | survivors | score |\n| --- | --- | --- |"
        " --- | --- | --- |",
        flush=True,
    )
    for module in parser.parse_args().modules:
        in_fork(lambda module=module: judge(module))


def judge(module: str) -> int:
    """Test all mutants of one module."""
    mutmut.configuration._config = mutmut.configuration._load_config()
    mutmut.configuration._config.do_not_mutate_patterns = TEXTS_OF_ERRORS
    path = THEORY / f"{module}.py"
    mutated = mutate_file_contents(str(path), path.read_text())
    install(f"tracedlm.theory.{module}", mutated.code, path)
    tests = [
        THEORY.parents[2] / f"tests/theory/test_{name}.py"
        for name in (CHECKED_BY.get(module, module), "array_libraries")
    ]
    loop = Loop(mutated, f"tracedlm.theory.{module}")
    options = ["--tb=no", "-p", "no:cacheprovider", "--confcutdir=tests/theory"]
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        pytest.main(
            [*options, str(path), *(str(test) for test in tests if test.exists())], plugins=[loop]
        )
    return 0


def install(name: str, code: str, path: Path) -> None:
    """Put a module's mutated text where every later import finds it."""
    module = types.ModuleType(name)
    module.__file__, module.__spec__ = str(path), importlib.util.find_spec(name)
    sys.modules[name] = module
    exec(compile(code, str(path), "exec"), module.__dict__)
    parent, _, attribute = name.rpartition(".")
    setattr(importlib.import_module(parent), attribute, module)


class Loop:
    """In place of pytest's loop over tests: once without a mutant, then once for each."""

    def __init__(self, mutated: MutatedFile, module: str) -> None:
        self.mutated, self.module = mutated, module
        self.callers: dict[str, list[Any]] = defaultdict(list)
        self.seconds: dict[Any, float] = {}

    def pytest_sessionstart(self) -> None:
        settings.load_profile("mutation")

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        # A doctest stands in every mutant of its function too: it is kept once.
        items[:] = [
            item
            for item in items
            if "__mutmut_" not in item.name or item.name.endswith("__mutmut_orig")
        ]

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        self.survey(session)
        function = {
            name: f"{self.module}.{mangled_name_from_mutant_name(name)}"
            for name in self.mutated.mutant_names
        }
        found = {name: self.fate(session, name, self.callers[function[name]]) for name in function}
        counts = Counter(found.values())
        killed = counts["killed"] + counts["timeout"]
        row = (
            len(found),
            killed,
            counts["timeout"],
            len(found) - killed,
            f"{100 * killed / len(found):.1f} %",
        )
        report("|", self.module.rpartition(".")[2], "|", *(f"{value} |" for value in row))
        for name, fate in found.items():
            if fate in ("survived", "no test"):
                report(f"\n{fate}: {name}", *self.difference(name), sep="\n")
        return True

    def survey(self, session: pytest.Session) -> None:
        """Which tests call which function, and how long each takes."""
        set_mutant_under_test("stats")
        for item in session.items:
            names = dict(item.dtest.globs) if isinstance(item, pytest.DoctestItem) else {}
            state()._stats.clear()
            start = time.process_time()
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
            self.seconds[item] = time.process_time() - start
            if names:
                item.dtest.globs.update(names)  # a doctest leaves none behind
            for function in state()._stats:
                self.callers[function].append(item)
        if session.testsfailed or self.fate(session, "nothing", session.items) != "survived":
            raise RuntimeError(f"tests of {self.module} fail without any mutant")

    def fate(self, session: pytest.Session, name: str, tests: list[Any]) -> str:
        """What becomes of one mutant."""
        if not tests:
            return "no test"
        limit = 5 + round(10 * sum(self.seconds[item] for item in tests))

        def run() -> int:
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
            set_mutant_under_test(f"{self.module}.{name}")
            for item in sorted(tests, key=self.seconds.__getitem__):
                session.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
                if session.testsfailed:
                    return 1
            return 0

        status = in_fork(run)
        return "survived" if status == 0 else "timeout" if os.WIFSIGNALED(status) else "killed"

    def difference(self, name: str) -> Iterator[str]:
        """Lines that a mutant changed."""
        function = mangled_name_from_mutant_name(name)
        lines, spans = self.mutated.code.splitlines(), self.mutated.line_span_by_function_name
        before, after = (
            [line.replace(key, function) for line in lines[spans[key].start - 1 : spans[key].end]]
            for key in (f"{function}__mutmut_orig", name)
        )
        yield from (
            line
            for line in unified_diff(before, after, n=0, lineterm="")
            if not line.startswith(("---", "+++", "@@"))
        )


def in_fork(work: Callable[[], int]) -> int:
    """Run in a copy of this process; its wait status. Signals, limits and memory stay there."""
    pid = os.fork()
    if pid == 0:
        status = 3
        try:
            status = work()
        finally:
            sys.stdout.flush()
            os._exit(status)
    return os.waitpid(pid, 0)[1]


def report(*words: object, sep: str = " ") -> None:
    """Print past pytest, which has taken the standard output."""
    print(*words, sep=sep, file=sys.__stdout__, flush=True)


if __name__ == "__main__":
    main()
