"""Tables do not depend on how many jobs run at once, nor on their order.

    PYTHONPATH=tests python tests/campaigns/job_orders.py [STUDY]

Makes the smoke study in a new folder (or copies STUDY, which an earlier run left), then makes its
analyses again, from readouts to tables: one job at a time, two with the greedy scheduler, and two
with jobs moved forward at random; and compares every readout, certificate and table byte for byte.
Exit status 1 if anything differs.
"""

import random
import shutil
import sys
import tempfile
from pathlib import Path

from smoke_study import RESULTS, prepare, snakemake
from tracedlm.report.contents import TABLES

ANALYSES = ("readout", "storage", "convergence")
"""What all other analyses follow from; none of them runs a model."""
COMPARED = ("readouts/**/*.parquet", "certify/**/*", "tables/*.csv", "tables/*.tex")


def contents(study):
    """Path -> bytes of everything that must not depend on the order.

    Tables of times are left out.
    """
    made = study / RESULTS
    paths = (path for pattern in COMPARED for path in made.glob(pattern) if path.is_file())
    return {
        str(path.relative_to(made)): path.read_bytes()
        for path in paths
        if path.parent.name != "tables" or path.stem in TABLES
    }


def orders(study):
    """Name -> arguments of Snakemake; a later `--cores` overrides the one before."""
    targets = sorted(
        str(path.relative_to(study))
        for pattern in COMPARED
        for path in (study / RESULTS).glob(pattern)
        if path.is_file()
    )
    moved = ("--prioritize", *random.Random(0).sample(targets, 8))
    return {
        "one job at a time": ("--cores", "1"),
        "greedy scheduler": ("--scheduler", "greedy"),
        "random order": moved,
    }


def main():
    with tempfile.TemporaryDirectory(prefix="tracedlm-orders-") as folder:
        study = Path(folder) / "study"
        if len(sys.argv) > 1:
            shutil.copytree(sys.argv[1], study, symlinks=True)
        else:
            study.mkdir()
            snakemake(prepare(study))
        first, failed = contents(study), False
        for name, arguments in orders(study).items():
            snakemake(study, *arguments, "--forcerun", *ANALYSES, "--", "tables")
            again = contents(study)
            differ = sorted(
                path for path in first.keys() | again.keys() if first.get(path) != again.get(path)
            )
            failed |= bool(differ)
            print(
                f"{name}: {len(first)} files, {len(differ)} differ {' '.join(differ)}", flush=True
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
