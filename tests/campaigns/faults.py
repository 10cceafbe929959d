"""Fault campaign: a small study is killed, starved, damaged and confused.

Afterwards its tables must be those of an undisturbed run.

    python tests/campaigns/faults.py [--only kill,disk,...] [--kills 50] [--minutes 60] [--seed 0]
    [--folder F]

It works on a copy of this checkout in a temporary folder, or in F, and writes docs/faults.md. Not
part of `make test`: an hour on two cores, of which the undisturbed run takes two minutes and fifty
kills a third. `kill` makes the whole study again and again: in each study every rule is hit as
often as it has jobs, at least twice: at a random moment of the time that such a job takes,
Snakemake and all that runs below it are killed, and the study is started again, until it ends by
itself and its tables are compared. `disk` and `read-only` mount file systems and are skipped, with
the reason, where that is not allowed.
"""

import argparse
import atexit
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
from fault_page import Row, write_page
from fault_study import DAMAGED, ROOT, Study, jobs, kill, mounted

PAGE = ROOT / "docs/faults.md"
FAULTS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "truncated": lambda content, rng: content[: rng.randrange(1, len(content))],
    "empty": lambda content, rng: b"",
    "flipped": lambda content, rng: _flipped(content, rng.randrange(8 * len(content))),
}
DISKS = (0.1, 0.3, 0.45, 0.6, 0.9)  # of what the study takes
NO_MEMORY = re.compile(
    r"MemoryError|[Cc]an(?:no|')t allocate memory|bad_alloc|memory allocation of|out of"
    r" memory|failed to map"
)


def _flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def failed_rules(output: str) -> str:
    """Rules that Snakemake says have failed."""
    return ", ".join(sorted(set(re.findall(r"Error in rule (\w+)", output)))) or "none"


def kills(study: Study, options: argparse.Namespace, rng: random.Random) -> Iterator[Row]:
    """Studies that are killed on their way from nothing."""
    yield _killed(
        study,
        options,
        rng,
        Row("kill", "SIGKILL of Snakemake and its jobs, then started again", 0, "", None),
        study.remove,
        (),
    )


def changed(study: Study, options: argparse.Namespace, rng: random.Random) -> Iterator[Row]:
    """Finished studies that are killed while a changed setting makes them anew.

    Old results must not pass for new ones.
    """
    change = ("--config", "sft={steps: 5}")
    before = study.reference
    study.remove()
    study.run(*change)
    study.reference = study.tables()
    yield _killed(
        study,
        options,
        rng,
        Row("change", "the same while `sft.steps` is changed", 0, "", None),
        study.restore,
        change,
    )
    study.reference = before


def _killed(
    study: Study,
    options: argparse.Namespace,
    rng: random.Random,
    row: Row,
    begin: Callable[[], None],
    arguments: tuple[str, ...],
) -> Row:
    """SIGKILL at random moments.

    Within the time a running job takes, of a rule not yet hit often enough in this study.
    """
    seconds = study.measured("s")
    hits, studies, left = Counter[str](), 0, 0
    row.identical = True
    end = time.monotonic() + 60 * options.minutes
    while row.times < options.kills and time.monotonic() < end:
        begin()
        here, studies = Counter[str](), studies + 1
        while True:
            run, log = study.start(*arguments)
            caught = (
                _kill_one(run, hits, here, seconds, rng)
                if row.times < options.kills and time.monotonic() < end
                else None
            )
            if caught is None:
                break
            row.times, hits, here = (
                row.times + 1,
                hits + Counter(caught or ["(between jobs)"]),
                here + Counter(caught),
            )
            print(f"kill {row.times}: {', '.join(sorted(caught)) or 'between jobs'}", flush=True)
        if code := run.wait():
            print(log.read_text(errors="replace")[-3000:])
        row.identical = row.identical and not code and study.same()
        left += len(study.left_over())
        print(
            f"study {studies}: exit code {code}, tables the same so far: {row.identical}",
            flush=True,
        )
    listed = ", ".join(f"{rule} {n}" for rule, n in sorted(hits.items()))
    missed = ", ".join(sorted(set(seconds) - set(hits))) or "none"
    row.said, row.notes = (
        "resumed" if row.identical else "**see the log**",
        f"{studies} studies finished and compared",
    )
    row.more = (
        f"running when killed: {listed}; never hit: {missed}; temporary files left over: {left}"
    )
    return row


def _kill_one(
    run: subprocess.Popen[bytes],
    hits: Counter[str],
    here: Counter[str],
    seconds: dict[str, list[float]],
    rng: random.Random,
) -> set[str] | None:
    """Rules that were running when the run was killed.

    None if it ended by itself, all its rules having been hit often enough.
    """
    due = None
    while run.poll() is None:
        now = {rule for rule, _ in jobs(run)}
        if due is None and (
            wanted := [rule for rule in sorted(now) if here[rule] < max(2, len(seconds[rule]))]
        ):
            due = time.monotonic() + rng.uniform(
                0, max(seconds[min(wanted, key=lambda rule: hits[rule])])
            )
        if due is not None and time.monotonic() >= due:
            now = {rule for rule, _ in jobs(run)}
            kill(run)
            return now
        time.sleep(0.1)
    return None


def full_disk(study: Study, options: argparse.Namespace, rng: random.Random) -> Iterator[Row]:
    """Results and Snakemake's records on a file system that fills up at several stages, then is
    enlarged.
    """
    places = [study.folder / name for name in ("results", ".snakemake")]
    used = sum(512 * path.stat().st_blocks for place in places for path in place.rglob("*"))
    disk = study.folder / "disk"
    for share in DISKS:
        with ExitStack() as mounts:
            mounts.enter_context(
                mounted("-t", "tmpfs", "-o", f"size={int(share * used / 1024)}k", "tmpfs", at=disk)
            )
            for place in places:
                (disk / place.name).mkdir()
                mounts.enter_context(mounted("--bind", str(disk / place.name), at=place))
            code, output = study.run()
            logs = "".join(
                path.read_text(errors="replace") for path in study.results.rglob("*.log")
            )
            said = (
                "named" if code and "No space left on device" in output + logs else "**not named**"
            )
            subprocess.run(["mount", "-o", "remount,size=1g", str(disk)], check=True)
            again, named = study.finish()
            notes = f"failed: {failed_rules(output)}; {again} run(s) once it was enlarged"
            more = f"called damaged once there was room: {', '.join(named)}" if named else ""
            yield Row(
                "disk",
                f"a tmpfs of {share:.0%} of what the study takes",
                1,
                said,
                study.same(),
                notes,
                more,
            )


def read_only(study: Study, options: argparse.Namespace, rng: random.Random) -> Iterator[Row]:
    """Results that may not be written.

    Finished ones, ones to be made again, ones that are missing.
    """
    where = study.folder / "results"
    cases = {
        "a finished study": [],
        "one with tables to be made again": ["--forcerun", "tables"],
        "one without tables and page": [],
    }
    for what, arguments in cases.items():
        study.restore()
        if "without" in what:
            study.remove("tables")
            (study.results / "report.html").unlink()
        before = {path: path.stat().st_mtime_ns for path in where.rglob("*")}
        with mounted("--bind", str(where), at=where):
            subprocess.run(["mount", "-o", "remount,ro,bind", str(where)], check=True)
            code, output = study.run(*arguments)
        untouched = before == {path: path.stat().st_mtime_ns for path in where.rglob("*")}
        said = next(
            (
                line.strip()
                for line in output.splitlines()
                if "ead-only" in line or "rite-protected" in line
            ),
            "",
        )
        verdict = "named" if code and said else "**not named**" if code else "nothing to do"
        notes = f"exit code {code}, {'nothing changed' if untouched else '**changed**'}"
        study.finish()
        yield Row(
            "read-only",
            what,
            1,
            verdict,
            study.same(),
            notes,
            f"{what}: `{said[:120]}`" if said else "",
        )


def kinds_of(study: Study) -> dict[str, Path]:
    """One file of every kind that the study writes.

    Every sealed output, or file of one, with what only names a case left out.
    """
    found: dict[str, Path] = {}
    for sealed in study.sealed():
        for path in sorted(sealed.rglob("*")) if sealed.is_dir() else [sealed]:
            place = path.relative_to(study.results).as_posix()
            place = re.sub(r"^(tables|figures)/\w+", r"\1/*", place)
            place = re.sub(r"/(countdown|64|test|validation)(?=/|\.)", "/*", place)
            place = re.sub(
                r"/(q|k|v|qkv_mean|full|skip_noop|rad|truncate|random|train|part-\d|\d)(?=/|\.)",
                "/*",
                place,
            )
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
    """Every kind of file, damaged in every way: all at once, to see what is named.

    Then one at a time, to see what a reader does.
    """
    kinds = kinds_of(study)
    for fault in FAULTS:
        for bumped in (False, True):
            study.restore()
            for path in kinds.values():
                damage(path, fault, bumped, rng)
            named = set(DAMAGED.findall(study.run("--dry-run")[1]))
            unnamed = [
                kind
                for kind, path in kinds.items()
                if not any(str(path.relative_to(study.folder)).startswith(n) for n in named)
            ]
            said = "all named" if not unnamed else f"**unnamed: {', '.join(unnamed)}**"
            same, notes = None, "a dry run"
            if fault == "flipped" and bumped:
                runs, _ = study.finish()
                same, notes = study.same(), f"the named ones deleted: {runs} runs"
            yield Row(
                "corrupt",
                f"all kinds {fault}, time {'bumped' if bumped else 'kept'}",
                len(kinds),
                said,
                same,
                notes,
            )
    yield from _one_by_one(study, kinds, rng)


def _one_by_one(study: Study, kinds: dict[str, Path], rng: random.Random) -> Iterator[Row]:
    """One kind at a time, made to look new.

    A refusal may leave tables unmade; none may be there with other numbers.
    """
    refused, warned, silent, wrong = [], [], [], set[str]()
    for kind, path in kinds.items():
        study.restore()
        fault = rng.choice(sorted(FAULTS))
        damage(path, fault, True, rng)
        code, output = study.run()
        named = any(
            str(path.relative_to(study.folder)).startswith(name) for name in DAMAGED.findall(output)
        )
        by_a_job = code and re.search(r"^error: results/\S+: damaged", output, re.MULTILINE)
        (silent if not named else refused if by_a_job else warned).append(kind)
        differ = study.wrong() - {str(path.relative_to(study.results))}
        wrong |= differ
        print(
            f"{kind}, {fault}: {'refused' if by_a_job else 'warned of' if named else 'SILENT'};"
            f" wrong tables: {sorted(differ)}",
            flush=True,
        )
    said = "all named" if not silent else f"**silent: {', '.join(silent)}**"
    notes = (
        f"refused by a job: {len(refused)}; warned of: {len(warned)}; tables with other numbers:"
        f" {len(wrong)}"
    )
    more = (
        "read by no job that had to run, so only warned of:"
        f" {', '.join(f'`{kind}`' for kind in warned)}"
    )
    yield Row(
        "corrupt", "one kind at a time, a random fault", len(kinds), said, not wrong, notes, more
    )


def concurrent(study: Study, options: argparse.Namespace, rng: random.Random) -> Iterator[Row]:
    """A second run into the results of one that is at work."""
    study.remove("exits", "certify", "tables", "figures")
    first, _ = study.start()
    while first.poll() is None and not list((study.folder / ".snakemake/locks").glob("*")):
        time.sleep(0.05)
    second, log = study.start_beside()
    code, first_code = second.wait(), first.wait()
    said = "named" if code and "lock" in log.read_text().lower() else "**not named**"
    same = not first_code and study.same()
    yield Row(
        "concurrent",
        "a second `snakemake` beside the first",
        1,
        said,
        same,
        f"exit codes {first_code} and {code}",
    )


def clocks(study: Study, options: argparse.Namespace, rng: random.Random) -> Iterator[Row]:
    """Times of artefacts in the past and in the future, as a clock that jumps leaves them."""
    year = 365 * 86400
    cases: dict[str, Callable[[Path], float | None]] = {
        "all results in 1990": lambda path: 20 * year,
        "one intermediate file ten years ahead": lambda path: (
            time.time() + 10 * year if path.name == "selection.json" else None
        ),
        "readouts, certificates, tables between 1990 and 2040": lambda path: (
            rng.uniform(20, 70) * year
            if path.relative_to(study.results).parts[0] in ("readouts", "certify", "tables")
            else None
        ),
    }
    for what, moved in cases.items():
        study.restore()
        for path in filter(Path.is_file, study.results.rglob("*")):
            if (when := moved(path)) is not None:
                os.utime(path, (when, when))
        code, output = study.run()
        made, same = output.count("Finished jobid"), study.same()
        _, again = study.run("--dry-run")
        notes = (
            f"exit code {code}, {made} jobs; still to do:"
            f" {'nothing' if 'Nothing to be done' in again else 'some'}"
        )
        yield Row(
            "clock", what, 1, "made again" if made else "nothing to do", not code and same, notes
        )


def memory(study: Study, options: argparse.Namespace, rng: random.Random) -> Iterator[Row]:
    """Jobs that get less address space than they took, or are killed alone, as by a kernel whose
    memory runs out; then left in peace.
    """
    needed = study.measured("max_vms")
    for rule, share in (("trace", 0.3), ("certify", 0.3), ("figures", 0.3), ("readout", 0.0)):
        study.restore()
        run, log = study.start("--forcerun", rule)
        limit = int(share * max(needed[rule])) << 20
        while run.poll() is None:
            for process in (process for name, process in jobs(run) if name == rule):
                try:
                    process.rlimit(psutil.RLIMIT_AS, (limit, limit)) if limit else process.kill()
                except psutil.NoSuchProcess:
                    continue
            time.sleep(0.05)
        output = log.read_text(errors="replace")
        found = NO_MEMORY.search(output) if limit else re.search(r"SIGKILL", output)
        again, _ = study.finish()
        said = (
            "named"
            if run.returncode and found
            else "**not named**"
            if run.returncode
            else "**not reached**"
        )
        what = (
            f"`{rule}` with {share:.0%} of its address space"
            if limit
            else f"`{rule}` killed alone, as by the kernel"
        )
        notes = f"failed: {failed_rules(output)}; {again} run(s) in peace"
        yield Row(
            "memory", what, 1, said, study.same(), notes, f"`{rule}`: `{found[0]}`" if found else ""
        )


CAMPAIGNS = {
    "kill": kills,
    "change": changed,
    "memory": memory,
    "disk": full_disk,
    "read-only": read_only,
    "concurrent": concurrent,
    "clock": clocks,
    "corrupt": corruption,
}


def main() -> None:
    """Run the campaign and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--only",
        default=",".join(CAMPAIGNS),
        help=f"some of {', '.join(CAMPAIGNS)}, with commas; other rows are kept",
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument(
        "--minutes",
        type=float,
        default=60,
        help="after this time nothing is killed any more, and the study may finish",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--folder",
        type=Path,
        help="where to work and to leave the study for another call (default: temporary)",
    )
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
        revision = (study.folder / "revision").read_text()
        for kind in options.only.split(","):
            study.restore()
            rows: list[Row] = []
            try:
                for row in CAMPAIGNS[kind](study, options, random.Random(f"{kind}/{options.seed}")):
                    rows.append(row)
                    print(row, flush=True)
                    write_page(PAGE, revision, list(CAMPAIGNS), kind, rows)
            except subprocess.CalledProcessError as error:
                skipped = Row(
                    kind, f"skipped: `{error.cmd[0]}` is not permitted here", 0, "-", None
                )
                write_page(PAGE, revision, list(CAMPAIGNS), kind, [*rows, skipped])


if __name__ == "__main__":
    main()
