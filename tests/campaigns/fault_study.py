"""The study that the fault campaign harms.

How it is started, watched, killed, compared, kept and put back.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import yaml

from tracedlm.report.contents import TABLES

ROOT = Path(__file__).resolve().parents[2]
COPIED = (
    "Snakefile",
    "workflow",
    "config",
    "resources",
    "src",
    "pyproject.toml",
    "environment.yml",
)
RESULTS = "results/faults"
SMALLER = {"study": "faults", "datasets": ["countdown"], "readouts": ["q", "qkv_mean"]}
SECTIONS = {"trace": {"shards": 2}, "decode": {"batch_size": 2}}
SCRIPT = re.compile(r"\.snakemake/scripts/tmp[^.]+\.(\w+)\.py")
DAMAGED = re.compile(r"(results/\S+): damaged or edited")


@dataclass
class Study:
    """A copy of the checkout with a study small enough to be run many times.

    Attributes:
        folder: Where the copy is; one that is there already is used as it is.
        runs: Runs that were started, each with a log of its own.
        current: Their processes.
        reference: Tables of the undisturbed run, see `tables`.
    """

    folder: Path
    runs: int = 0
    current: list[subprocess.Popen[bytes]] = field(default_factory=list)
    reference: dict[str, bytes | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in () if (self.folder / "Snakefile").exists() else COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, self.folder / name)
        if not (self.folder / "revision").exists():
            describe = ["git", "describe", "--always", "--dirty= with edits"]
            (self.folder / "revision").write_text(
                subprocess.run(describe, cwd=ROOT, capture_output=True, text=True).stdout.strip()
            )
        config = yaml.safe_load((ROOT / "config/smoke.yaml").read_text()) | SMALLER
        for name, more in SECTIONS.items():
            config[name] = config.get(name, {}) | more
        (self.folder / "config/faults.yaml").write_text(yaml.safe_dump(config))

    @property
    def results(self) -> Path:
        return self.folder / RESULTS

    def start(self, *arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
        """A run in a process group of its own, and its log.

        What a dead run left locked is unlocked, as the Makefile does.
        """
        for lock in (self.folder / ".snakemake/locks").glob("*"):
            lock.unlink()  # `--unlock` does no more, and takes a start of Snakemake
        return self.start_beside(*arguments)

    def start_beside(self, *arguments: str) -> tuple[subprocess.Popen[bytes], Path]:
        """The same, whatever else is running."""
        self.runs += 1
        log = self.folder / f"run-{self.runs}.log"
        command = [
            Path(sys.executable).with_name("snakemake"),
            "--cores",
            "2",
            "--workflow-profile",
            "workflow/profiles/default",
        ]
        command += [
            "--rerun-incomplete",
            "--configfile",
            "config/faults.yaml",
            "--replace-workflow-config",
            *arguments,
        ]
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1"}
        with log.open("wb") as out:
            run = subprocess.Popen(
                command,
                cwd=self.folder,
                env=environment,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.current.append(run)
        return run, log

    def run(self, *arguments: str) -> tuple[int, str]:
        """Exit code and output of a whole run."""
        run, log = self.start(*arguments)
        return run.wait(), log.read_text(errors="replace")

    def finish(self, attempts: int = 6) -> tuple[int, list[str]]:
        """Run again, deleting what is named as damaged, until all is done.

        How many runs that took, and what was named.
        """
        named: list[str] = []
        for attempt in range(1, attempts + 1):
            code, output = self.run()
            found = sorted(set(DAMAGED.findall(output)))
            if not code and not found:
                return attempt, named
            for name in found:
                path = self.folder / name
                if path.is_dir():
                    shutil.rmtree(path)
                path.unlink(missing_ok=True)
            named += found
            if not found:
                print(output[-3000:])
        return attempts, named

    def tables(self) -> dict[str, bytes | None]:
        """What must be the same byte for byte.

        Tables without wall times, and the numbers that figures show; None where one is missing.
        """
        files = [
            self.results / f"tables/{name}.{suffix}" for name in TABLES for suffix in ("csv", "tex")
        ]
        files += sorted((self.results / "figures").glob("*.csv"))
        return {
            str(file.relative_to(self.results)): file.read_bytes() if file.exists() else None
            for file in files
        }

    def same(self) -> bool:
        """Whether the tables are the undisturbed run's, and nothing that was sealed is gone."""
        found = self.tables()
        differ = [
            f"differs: {name}"
            for name in sorted(found | self.reference)
            if found.get(name) != self.reference.get(name)
        ]
        differ += [f"gone: {path}" for path in self.sealed() if not path.exists()]
        for line in differ:
            print(f"  {line}")
        return not differ

    def sealed(self) -> list[Path]:
        """Files and folders that have a seal."""
        return [
            seal.with_name(seal.name.removeprefix(".").removesuffix(".sha256"))
            for seal in sorted(self.results.rglob(".*.sha256"))
        ]

    def wrong(self) -> set[str]:
        """Tables that are there and are not those of the undisturbed run."""
        return {
            name
            for name, content in self.tables().items()
            if content not in (None, self.reference.get(name))
        }

    def measured(self, quantity: str) -> dict[str, list[float]]:
        """What Snakemake measured of each job of a rule in the undisturbed run.

        `s`, seconds, or `max_vms`, MiB of address space.
        """
        found: dict[str, list[float]] = {}
        benchmarks = self.folder / "kept" / RESULTS / "benchmarks"
        for path in benchmarks.rglob("*.jsonl"):
            rule = path.relative_to(benchmarks).parts[0].removesuffix(".jsonl")
            rule = {"ablation": "module_ablation"}.get(rule, rule)
            found.setdefault(rule, []).extend(
                map(float, re.findall(rf'"{quantity}": ([\d.]+)', path.read_text()))
            )
        return found

    def keep(self) -> None:
        """Keep the finished study, so that a fault can start from it."""
        shutil.copytree(self.folder / "results", self.folder / "kept/results")
        shutil.copytree(self.folder / ".snakemake", self.folder / "kept/.snakemake")

    def restore(self) -> None:
        """Put back what `keep` kept."""
        for name in ("results", ".snakemake"):
            shutil.rmtree(self.folder / name)
            shutil.copytree(self.folder / "kept" / name, self.folder / name)

    def remove(self, *names: str) -> None:
        """Remove some results of the finished study, or all of them."""
        for path in [self.results / name for name in names] or [self.results]:
            shutil.rmtree(path, ignore_errors=True)

    def left_over(self) -> list[str]:
        """Temporary files and unfinished work that a finished study should no longer have."""
        names = (path.name for path in self.results.rglob(".*"))
        return sorted(
            name for name in names if name.endswith(".part") or name.startswith(".unfinished")
        )


def jobs(run: subprocess.Popen[bytes]) -> list[tuple[str, psutil.Process]]:
    """Rule and process of each script that runs below a run."""
    found = []
    for process in _below(run):
        try:
            found += [(rule, process) for rule in SCRIPT.findall(" ".join(process.cmdline()))]
        except psutil.Error:
            continue
    return found


def _below(run: subprocess.Popen[bytes]) -> list[psutil.Process]:
    try:
        return psutil.Process(run.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def kill(run: subprocess.Popen[bytes]) -> None:
    """SIGKILL for the run's process group and everything below it, wherever it put itself."""
    below = _below(run)
    os.killpg(run.pid, signal.SIGKILL)
    for process in below:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    run.wait()
    psutil.wait_procs(below, timeout=10)


@contextmanager
def mounted(*arguments: str, at: Path) -> Iterator[None]:
    """A file system mounted for a while."""
    at.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *arguments, str(at)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)
