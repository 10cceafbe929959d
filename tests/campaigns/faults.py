"""Fault campaign: a small study is killed, starved, damaged and confused; afterwards its tables must be those of an undisturbed run.

    python tests/campaigns/faults.py [--only kill,disk,...] [--kills 50] [--seed 0]

It works on a copy of this checkout in a temporary folder and writes docs/faults.md. Not part of `make test`: an hour on two cores.
`disk` and `read-only` mount file systems and are skipped, with the reason, where that is not allowed.
"""

import argparse
import atexit
import os
import platform
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import psutil
import yaml

from tracedlm.report.names import TABLES

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("Snakefile", "workflow", "config", "resources", "src", "pyproject.toml", "environment.yml")
RESULTS = "results/faults"
SMALLER = {"study": "faults", "datasets": ["countdown"], "readouts": ["q", "qkv_mean"]}
SECTIONS = {"trace": {"shards": 2}, "decode": {"batch_size": 2}}
SCRIPT = re.compile(r"\.snakemake/scripts/tmp[^.]+\.(\w+)\.py")
DAMAGED = re.compile(r"(results/\S+): damaged or edited")
FAULTS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "truncated": lambda content, rng: content[: rng.randrange(1, len(content))],
    "empty": lambda content, rng: b"",
    "flipped": lambda content, rng: _flipped(content, rng.randrange(8 * len(content))),
}

PAGE = """# Faults

`python tests/campaigns/faults.py` runs the smallest study, harms it, runs it again as the Makefile does, and compares its tables
and the numbers of its figures, byte for byte, with those of an undisturbed run. It writes this page; edit the script instead.

{table}

How damage is noticed: every job seals what it wrote (`.<name>.sha256` beside each output, in the format of `sha256sum`) and refuses
an input that is not what was sealed, with one line that names it; what no job reads again is checked as Snakemake starts. Parquet
pages carry checksums of their own, so that batches of an unfinished job are covered too. Not covered: the Trainer's checkpoints of an
unfinished fine-tuning, and results on object storage, whose copies have no seals.
"""


@dataclass
class Row:
    """One line of the page: what was done how often, what the product said, and whether the tables came out the same."""

    kind: str
    what: str
    moments: int
    said: str
    identical: bool | None
    notes: str = ""

    def __str__(self) -> str:
        same = {True: "yes", False: "**no**", None: "-"}[self.identical]
        return "| " + " | ".join([self.kind, self.what, str(self.moments), self.said, same, self.notes]) + " |"


@dataclass
class Study:
    """A copy of the checkout with a study small enough to be run many times."""

    folder: Path
    runs: int = 0
    current: list[subprocess.Popen[bytes]] = field(default_factory=list)
    reference: dict[str, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in () if (self.folder / "Snakefile").exists() else COPIED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy2
            copy(ROOT / name, self.folder / name)
        config = yaml.safe_load((ROOT / "config/smoke.yaml").read_text()) | SMALLER
        for name, more in SECTIONS.items():
            config[name] = config.get(name, {}) | more
        (self.folder / "config/faults.yaml").write_text(yaml.safe_dump(config))

    @property
    def results(self) -> Path:
        return self.folder / RESULTS

    def start(self, *arguments: str, memory: int | None = None) -> tuple[subprocess.Popen[bytes], Path]:
        """A run in a process group of its own, and its log. What a dead run left locked is unlocked, as the Makefile does."""
        for lock in (self.folder / ".snakemake/locks").glob("*"):
            lock.unlink()  # `--unlock` does no more, and takes a start of Snakemake
        return self.start_beside(*arguments, memory=memory)

    def start_beside(self, *arguments: str, memory: int | None = None) -> tuple[subprocess.Popen[bytes], Path]:
        """The same, whatever else is running."""
        self.runs += 1
        log = self.folder / f"run-{self.runs}.log"
        command = [Path(sys.executable).with_name("snakemake"), "--cores", "2", "--workflow-profile", "workflow/profiles/default"]
        command += ["--rerun-incomplete", "--configfile", "config/faults.yaml", "--replace-workflow-config", *arguments]
        environment = {**os.environ, "PYTHONPATH": str(self.folder / "src"), "OMP_NUM_THREADS": "1"}
        with log.open("wb") as out:
            run = subprocess.Popen(
                command, cwd=self.folder, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
                preexec_fn=None if memory is None else lambda: resource.setrlimit(resource.RLIMIT_AS, (memory, memory)),
            )  # fmt: skip
        self.current.append(run)
        return run, log

    def run(self, *arguments: str, memory: int | None = None) -> tuple[int, str]:
        """Exit code and output of a whole run."""
        run, log = self.start(*arguments, memory=memory)
        return run.wait(), log.read_text(errors="replace")

    def tables(self) -> dict[str, bytes]:
        """What must be the same byte for byte: tables without wall times, and the numbers that figures show."""
        files = [self.results / f"tables/{name}.{suffix}" for name in TABLES for suffix in ("csv", "tex")]
        files += sorted((self.results / "figures").glob("*.csv"))
        return {str(file.relative_to(self.results)): file.read_bytes() if file.exists() else b"(not there)" for file in files}

    def same(self) -> bool:
        """Whether the tables are those of the undisturbed run."""
        found = self.tables()
        for name in sorted(found):
            if found[name] != self.reference.get(name):
                print(f"  differs: {name}")
        return found == self.reference

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

    def finish(self, attempts: int = 6) -> tuple[int, list[str]]:
        """Run again, deleting what is named as damaged, until all is done; how many runs that took, and what was named."""
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


def _flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def running_rules(run: subprocess.Popen[bytes]) -> set[str]:
    """Rules whose script is a process below a run."""
    found = set()
    for process in _below(run):
        try:
            found |= set(SCRIPT.findall(" ".join(process.cmdline())))
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


def seconds_of(study: Study) -> dict[str, float]:
    """How long a job of each rule took, as Snakemake measured it."""
    found = {}
    for path in (study.results / "benchmarks").rglob("*.jsonl"):
        rule = path.relative_to(study.results / "benchmarks").parts[0].removesuffix(".jsonl")
        rule = {"ablation": "module_ablation"}.get(rule, rule)
        found[rule] = max(found.get(rule, 0.0), *(float(re.findall(r'"s": ([\d.]+)', line)[0]) for line in path.open()))
    return found


def kills(study: Study, options: argparse.Namespace, rng: random.Random) -> Iterator[Row]:
    """SIGKILL at random moments: within the time a running job takes, of a rule not yet hit twice in this study."""
    seconds, rules, hits, dead, passes, same, left = seconds_of(study), set[str](), Counter[str](), 0, 0, True, 0
    end = time.monotonic() + 60 * options.minutes
    while dead < options.kills and time.monotonic() < end:
        study.remove()
        here, passes = Counter[str](), passes + 1
        while True:
            run, log = study.start()
            caught = _kill_one(run, hits, here, seconds, rng) if dead < options.kills and time.monotonic() < end else None
            rules |= set(re.findall(r"^(\w+) +\d+$", log.read_text(), re.MULTILINE)) - {"all", "total"}
            if caught is None:
                break
            dead, hits, here = dead + 1, hits + Counter(caught or ["(between jobs)"]), here + Counter(caught)
            print(f"kill {dead}: {', '.join(sorted(caught)) or 'between jobs'}", flush=True)
        code = run.wait()
        same = same and not code and study.same()
        left += len([path for path in study.results.rglob(".*") if path.name.endswith(".part") or path.name.startswith(".unfinished")])
        print(f"pass {passes}: exit code {code}, tables the same so far: {same}", flush=True)
    missed = sorted(rules - set(hits))
    listed = ", ".join(f"{rule} {n}" for rule, n in sorted(hits.items()))
    notes = f"{passes} whole studies; running when killed: {listed}; never hit: {', '.join(missed) or 'none'}; files left over: {left}"
    yield Row("kill", "SIGKILL of Snakemake and its jobs, started again until finished", dead, "resumed", same, notes)


def _kill_one(
    run: subprocess.Popen[bytes], hits: Counter[str], here: Counter[str], seconds: dict[str, float], rng: random.Random
) -> set[str] | None:
    """Rules that were running when the run was killed; None if it ended by itself, all its rules having been hit often enough."""
    due = None
    while run.poll() is None:
        now = running_rules(run)
        if due is None and (wanted := [rule for rule in sorted(now) if here[rule] < 2]):
            due = time.monotonic() + rng.uniform(0, seconds[min(wanted, key=lambda rule: hits[rule])])
        if due is not None and time.monotonic() >= due:
            now = running_rules(run)
            kill(run)
            return now
        time.sleep(0.1)
    return None


@contextmanager
def mounted(*arguments: str, at: Path) -> Iterator[None]:
    """A file system mounted for a while."""
    at.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", *arguments, str(at)], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(at)], check=True)


def full_disk(study: Study, options: argparse.Namespace, rng: random.Random) -> Iterator[Row]:
    """Results on a file system that fills up at several stages, then is enlarged."""
    used = sum(path.stat().st_size for path in study.results.rglob("*") if path.is_file())
    for share in (0.1, 0.6):
        study.remove()
        where = study.folder / "results"
        with mounted("-t", "tmpfs", "-o", f"size={max(64, int(share * used / 1024))}k", "tmpfs", at=where):
            code, output = study.run()
            logs = "".join(path.read_text(errors="replace") for path in where.rglob("*.log"))
            failed = sorted(set(re.findall(r"Error in rule (\w+)", output)))
            said = "named" if code and "No space left on device" in output + logs else "**not named**"
            subprocess.run(["mount", "-o", "remount,size=1g", str(where)], check=True)
            again, _ = study.finish()
            notes = f"failed: {', '.join(failed) or 'Snakemake itself'}; {again} run(s) after it was enlarged"
            yield Row("disk", f"tmpfs of {share:.0%} of what the study takes", 1, said, study.same(), notes)


def read_only(study: Study, options: argparse.Namespace, rng: random.Random) -> Iterator[Row]:
    """Results that may not be written."""
    study.restore()
    where = study.folder / "results"
    before = {path: path.stat().st_mtime_ns for path in where.rglob("*")}
    with mounted("--bind", str(where), at=where):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(where)], check=True)
        done, _ = study.run()
        code, output = study.run("--forcerun", "tables")
        lines = [line for line in output.splitlines() if "ead-only" in line or "rite-protected" in line]
        untouched = before == {path: path.stat().st_mtime_ns for path in where.rglob("*")}
    traceback = "with a traceback" if "Traceback" in output else "no traceback"
    notes = f"finished study: exit code {done}; with work to do: exit code {code}, {len(lines)} line(s) say so, {traceback}"
    study.finish()
    yield Row("read-only", "results bound read-only", 2, "named" if code and lines else "**not named**", study.same() and untouched, notes)


def kinds_of(study: Study) -> dict[str, Path]:
    """One file of every kind that the study writes: every sealed output, or file of one, with what only names a case left out."""
    found: dict[str, Path] = {}
    for seal in sorted(study.results.rglob(".*.sha256")):
        sealed = seal.with_name(seal.name.removeprefix(".").removesuffix(".sha256"))
        for path in sorted(sealed.rglob("*")) if sealed.is_dir() else [sealed]:
            place = path.relative_to(study.results).as_posix()
            place = re.sub(r"^(tables|figures)/\w+", r"\1/*", place)
            place = re.sub(r"/(countdown|64|test|validation)(?=/|\.)", "/*", place)
            place = re.sub(r"/(q|k|v|qkv_mean|full|skip_noop|rad|truncate|random|train|part-\d|\d)(?=/|\.)", "/*", place)
            if path.is_file() and path.stat().st_size:
                found.setdefault(place, path)
    return found


def damage(path: Path, fault: str, bumped: bool, rng: random.Random) -> None:
    """Damage a file; keep its time, or make it look new."""
    was = path.stat()
    path.write_bytes(FAULTS[fault](path.read_bytes(), rng))
    if not bumped:
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


def corruption(study: Study, options: argparse.Namespace, rng: random.Random) -> Iterator[Row]:
    """Every kind of file, damaged in every way: all at once, to see what is named; then one at a time, to see what a reader does."""
    study.restore()
    kinds = kinds_of(study)
    for fault in FAULTS:
        for bumped in (False, True):
            study.restore()
            for path in kinds.values():
                damage(path, fault, bumped, rng)
            named = set(DAMAGED.findall(study.run("--dry-run")[1]))
            unnamed = [kind for kind, path in kinds.items() if not any(str(path.relative_to(study.folder)).startswith(n) for n in named)]
            said = "all named" if not unnamed else f"**unnamed: {', '.join(unnamed)}**"
            same, notes = None, f"{len(kinds)} kinds of file"
            if fault == "flipped" and bumped:
                runs, _ = study.finish()
                same, notes = study.same(), f"{notes}; the named ones deleted, {runs} run(s) until nothing was left to do"
            yield Row("corrupt", f"{fault}, time {'bumped' if bumped else 'kept'}, all kinds at once", len(kinds), said, same, notes)
    yield from _one_by_one(study, kinds, rng)


def _one_by_one(study: Study, kinds: dict[str, Path], rng: random.Random) -> Iterator[Row]:
    refused, unread, silent = [], [], []
    for kind, path in kinds.items():
        study.restore()
        damage(path, rng.choice(sorted(FAULTS)), True, rng)
        code, output = study.run()
        errors = re.findall(r"error: (results/\S+): damaged", output)
        same = study.tables() == study.reference
        if code and errors:
            refused.append(kind)
        elif same or DAMAGED.search(output):
            unread.append(kind)
        else:
            silent.append(kind)
        print(f"{kind}: {'refused' if code and errors else 'not read again'}, tables the same: {same}", flush=True)
    said = "all named" if not silent else f"**silent: {', '.join(silent)}**"
    notes = f"refused by the job that reads it: {len(refused)}; read by no job, warned of: {', '.join(f'`{kind}`' for kind in unread)}"
    yield Row("corrupt", "a random fault, time bumped, one kind at a time", len(kinds), said, not silent, notes)


def concurrent(study: Study, options: argparse.Namespace, rng: random.Random) -> Iterator[Row]:
    """A second run into the results of one that is at work."""
    study.restore()
    study.remove("exits", "certify", "tables", "figures")
    first, _ = study.start()
    while first.poll() is None and not list((study.folder / ".snakemake/locks").glob("*")):
        time.sleep(0.05)
    second, log = study.start_beside()
    code, first_code = second.wait(), first.wait()
    said = "named" if code and "lock" in log.read_text().lower() else "**not named**"
    yield Row(
        "concurrent", "a second `snakemake` beside the first", 1, said, not first_code and study.same(), f"the second: exit code {code}"
    )


def clocks(study: Study, options: argparse.Namespace, rng: random.Random) -> Iterator[Row]:
    """Times of artefacts in the past and in the future, as a clock that jumps leaves them."""
    day = 86400
    cases: dict[str, Callable[[Path], float | None]] = {
        "all results in 1990": lambda path: 20 * 365 * day,
        "one intermediate file ten years ahead": lambda path: time.time() + 3650 * day if path.name == "selection.json" else None,
        "readouts, certificates and tables at random times, 1990 to 2040": lambda path: (
            rng.uniform(20, 70) * 365 * day if path.relative_to(study.results).parts[0] in ("readouts", "certify", "tables") else None
        ),
    }
    for what, moved in cases.items():
        study.restore()
        for path in filter(Path.is_file, study.results.rglob("*")):
            if (when := moved(path)) is not None:
                os.utime(path, (when, when))
        code, output = study.run()
        jobs = output.count("Finished jobid")
        yield Row("clock", what, 1, "run again" if jobs else "nothing to do", not code and study.same(), f"exit code {code}, {jobs} jobs")


def memory(study: Study, options: argparse.Namespace, rng: random.Random) -> Iterator[Row]:
    """Jobs that may not have the memory they need, then may."""
    for rule, limit in (("module_ablation", 1200), ("certify", 600)):
        study.restore()
        code, output = study.run("--forcerun", rule, memory=limit << 20)
        failed = sorted(set(re.findall(r"Error in rule (\w+)", output)))
        again, _ = study.finish()
        said = "the job failed" if code and failed else f"exit code {code}"
        notes = f"failed: {', '.join(failed) or 'none'}; {again} run(s) without the limit"
        yield Row("memory", f"`{rule}` with an address space of {limit} MiB", 1, said, study.same(), notes)


CAMPAIGNS = {
    "corrupt": corruption,
    "read-only": read_only,
    "concurrent": concurrent,
    "clock": clocks,
    "memory": memory,
    "disk": full_disk,
    "kill": kills,
}


def main() -> None:
    """Run the campaign and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default=",".join(CAMPAIGNS), help=f"some of {', '.join(CAMPAIGNS)}, with commas; other rows are kept")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=60, help="after this time nothing is killed any more, and the study may finish")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work and to leave the study for another call (default: temporary)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="faults-") as temporary:
        study = Study(options.folder or Path(temporary))
        atexit.register(lambda: [kill(run) for run in study.current if run.poll() is None])
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        if not (study.folder / "kept").exists():
            started = time.monotonic()
            code, output = study.run()
            if code:
                sys.exit(f"the undisturbed run failed:\n{output[-3000:]}")
            print(f"undisturbed run: {time.monotonic() - started:.0f} s", flush=True)
            study.keep()
        study.restore()
        study.reference = study.tables()
        for kind in options.only.split(","):
            study.restore()
            rows: list[Row] = []
            try:
                for row in CAMPAIGNS[kind](study, options, random.Random(f"{kind}/{options.seed}")):
                    rows.append(row)
                    print(row, flush=True)
                    write_page(ROOT / "docs/faults.md", kind, rows)
            except subprocess.CalledProcessError as error:
                skipped = Row(kind, "skipped", 0, f"`{error.cmd[0]}` is not permitted here", None)
                write_page(ROOT / "docs/faults.md", kind, [*rows, skipped])


def write_page(path: Path, kind: str, rows: list[Row]) -> None:
    """Replace one kind's rows on the page; each kind says itself on what it was run."""
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty=, with edits"], cwd=ROOT, capture_output=True, text=True
    ).stdout.strip()
    machine = f"{os.cpu_count()} cores {platform.machine()}, {psutil.virtual_memory().total / 2**30:.0f} GiB, {platform.system()}"
    stamp = f"{datetime.now(UTC):%Y-%m-%d}, {revision}, {machine}"
    before = path.read_text().splitlines() if path.exists() else []
    kept = [line for line in before if (match := re.match(r"\| ([a-z-]+) \|", line)) and match[1] in CAMPAIGNS and match[1] != kind]
    lines = sorted([*kept, *(f"{row} {stamp} |" for row in rows)], key=lambda line: list(CAMPAIGNS).index(line.split(" | ")[0][2:]))
    head = ["kind", "what was done", "moments", "what was said", "tables identical", "notes", "when, commit, machine"]
    table = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |", *lines]
    path.write_text(PAGE.format(table="\n".join(table)))


if __name__ == "__main__":
    main()
