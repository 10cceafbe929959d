"""docs/faults.md: rows of the fault campaign, kept from call to call, under a sentence that adds
them up.
"""

import os
import platform
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

HEAD = ["kind", "what was done", "times", "what was said", "tables identical", "notes", "run"]
PAGE = """# Faults

{verdict}

`python tests/campaigns/faults.py` runs the smallest study, harms it, runs it again as the Makefile
does, and compares its tables and the numbers of its figures, byte for byte, with those of an
undisturbed run; nothing that was made may be gone. It writes this page; edit the script instead.
"Named" means that the output says what was wrong: the file, the full disk, the memory, the lock.

{table}

{more}

How damage is noticed: every job seals what it wrote (`.<name>.sha256` beside each output, in the
format of `sha256sum`) and refuses an input that is not what was sealed, with one line that names
it; what no job reads again is checked as Snakemake starts, up to 4 MiB a file. A seal whose file
is gone, as a failed or killed job leaves it, makes the next run ask for the file; Snakemake alone
asks for nothing that only finished jobs read. Parquet pages carry checksums of their own, so that
batches of an unfinished job are covered too. Not covered: the Trainer's checkpoints of an
unfinished fine-tuning, results on object storage, whose copies have no seals, and a machine that
loses power.
"""


@dataclass
class Row:
    """One line of the page.

    What was done how often, what the product said, and whether the tables came out the same.

    What is bold in it, as `**not named**`, counts as a failure.
    """

    kind: str
    what: str
    times: int
    said: str
    identical: bool | None
    notes: str = ""
    more: str = ""
    """What is too long for a cell, and is listed below the table."""

    def __str__(self) -> str:
        same = {True: "yes", False: "**no**", None: "-"}[self.identical]
        return (
            "| "
            + " | ".join([self.kind, self.what, str(self.times), self.said, same, self.notes])
            + " |"
        )


def write_page(path: Path, revision: str, kinds: list[str], kind: str, rows: list[Row]) -> None:
    """Replace one kind's rows on the page; each row says itself on what it was run."""
    stamp = f"{datetime.now(UTC):%Y-%m-%d}, {revision}, {os.cpu_count()} cores {platform.machine()}"
    before = path.read_text().splitlines()
    lines = _merged(before, "| {} | ", kinds, kind, [f"{row} {stamp} |" for row in rows])
    more = _merged(
        before, "- {}: ", kinds, kind, [f"- {kind}: {row.more}" for row in rows if row.more]
    )
    table = ["| " + " | ".join(HEAD) + " |", "| " + " | ".join("---" for _ in HEAD) + " |", *lines]
    path.write_text(
        PAGE.format(verdict=_verdict(lines), table="\n".join(table), more="\n".join(more))
    )


def _merged(
    before: list[str], start: str, kinds: list[str], kind: str, new: list[str]
) -> list[str]:
    """Lines of all kinds in their order: `new` ones of this kind, those of the page of the others.

    `start` is how a kind's lines begin.
    """
    kept = {
        other: [line for line in before if line.startswith(start.format(other))] for other in kinds
    }
    return [line for other in kinds for line in (new if other == kind else kept[other])]


def _verdict(lines: list[str]) -> str:
    """The sentence at the top.

    How many kills and other faults there were, and which rows did not pass.
    """
    failed = sorted({line.split(" | ")[0][2:] for line in lines if "**" in line})
    times = {line.split(" | ")[0][2:]: 0 for line in lines}
    for line in lines:
        kind, _, count = line.split(" | ")[:3]
        times[kind[2:]] += int(count)
    counted = ", ".join(f"{kind} {count}" for kind, count in times.items())
    if failed:
        return f"**Not everything passes: see {', '.join(failed)}** ({counted})."
    return (
        f"**Everything passes** ({counted}): after another run all tables were identical, and what"
        " had happened was named."
    )
