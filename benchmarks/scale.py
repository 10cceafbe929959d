"""What a study takes per sample, measured on a finished one, and what that comes to on another.

The tables of docs/scale.md.

    python benchmarks/scale.py results/tiny [--study config/paper.yaml] [--prompts 1000000]

Bytes are fitted as a sum over rows (one a forward) and recorded positions, by least squares over
the sets of the finished study. They depend on neither the model nor the machine, forwards only on
the settings. Seconds are those of the machine that ran the finished study.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from scipy.optimize import nnls

from tracedlm.config import Study, load_yaml
from tracedlm.theory.schedule import total_steps

KEYS = {"samples": "samples_table", "steps": "steps", "readouts": "readouts"}
"""Trace table -> where `measure` puts its bytes."""
PROJECTIONS = 3


def measure(root: Path) -> list[dict[str, float | str]]:
    """One row for each trace set.

    Samples, forwards, positions of one projection, bytes of each table and of a readout, seconds.
    """
    rows = []
    for folder in sorted(root.glob("traces/*/*/*")):
        dataset, length, split = folder.parts[-3:]
        files = {table: sorted((folder / table).glob("*.parquet")) for table in KEYS}
        views = sorted((root / "readouts" / dataset / length / split).glob("*.parquet"))
        nfe = [
            value
            for file in files["samples"]
            for value in pq.read_table(file, columns=["nfe"])["nfe"].to_pylist()
        ]
        positions = sum(
            len(pq.read_table(file, columns=["position"])["position"].combine_chunks().flatten())
            for file in files["readouts"]
        )
        rows.append(
            {
                "dataset": dataset,
                "seq_len": length,
                "split": split,
                "samples": len(nfe),
                "forwards": sum(pq.read_metadata(file).num_rows for file in files["steps"]),
                "positions": positions / PROJECTIONS,
                **{
                    KEYS[table]: sum(file.stat().st_size for file in paths)
                    for table, paths in files.items()
                },
                "view": sum(file.stat().st_size for file in views) / len(views),
                "seconds": seconds(root, f"trace/{dataset}-{length}-{split}-*"),
                "view_seconds": seconds(root, f"readout/{dataset}-{length}-{split}-*") / len(views),
                "certify_seconds": seconds(root, f"certify/{dataset}-{length}")
                if split == "test"
                else np.nan,
                "exit_forwards": exit_forwards(root / "exits" / dataset / length)
                / sum(nfe)
                * len(nfe)
                if split == "test"
                else np.nan,
            }
        )
    return rows


def seconds(root: Path, jobs: str) -> float:
    """Wall seconds of the latest run of some jobs, summed."""
    return sum(
        json.loads(path.read_text().splitlines()[-1])["s"]
        for path in root.glob(f"benchmarks/{jobs}.jsonl")
    )


def exit_forwards(folder: Path) -> float:
    """Mean forwards of a sample over all exit runs of a set, times the number of runs."""
    tables = [
        pq.read_table(path, columns=["nfe", "sample_id"]) for path in folder.glob("*.parquet")
    ]
    return sum(
        sum(table["nfe"].to_pylist()) / len(set(table["sample_id"].to_pylist())) for table in tables
    )


def fit(rows: list[dict], name: str, start: bool = False) -> np.ndarray:
    """Cost of (a forward, a position) and, with `start`, of a job.

    Least squares over the sets that have it, none below 0.
    """
    known = [row for row in rows if np.isfinite(row[name])]
    facts = np.array(
        [[row["forwards"], row["positions"], *([1.0] if start else [])] for row in known]
    )
    return nnls(facts, np.array([row[name] for row in known]))[0]


def demand(study: Study, seq_len: int) -> tuple[int, float, float]:
    """Forwards of full decoding, recorded forwards, and positions visible in them, of one sample.

    Positions are those of one projection.
    """
    steps = total_steps(seq_len, study.decode.tokens_per_step)
    refined = study.trace.refine_steps if study.trace.refine_policy != "none" else 0
    visible = np.arange(steps).sum() * seq_len / steps
    return steps, steps + refined, visible + refined * (seq_len - study.trace.remask_tokens)


def extrapolate(study: Study, rows: list[dict], test: int, validation: int) -> list[list[str]]:
    """Rows of the second table: what so many prompts take at each canvas length of a study."""
    trace, view = fit(rows, "readouts"), fit(rows, "view")
    analysis, certify = (
        fit(rows, name, start=True)[:2] for name in ("view_seconds", "certify_seconds")
    )
    per_sample, per_forward = (
        total(rows, "samples_table") / total(rows, "samples"),
        total(rows, "steps") / total(rows, "forwards"),
    )
    exits = float(np.nanmean([row["exit_forwards"] for row in rows]))
    views = test * len(study.readouts) + validation  # only q of the validation split
    lines = []
    for seq_len in study.seq_lens:
        full, forwards, positions = demand(study, seq_len)
        use = np.array([forwards, positions])
        stored = (test + validation) * (use @ trace + forwards * per_forward + per_sample)
        cpu = (views * (use @ analysis) + test * (use @ certify)) / 3600
        counts = [f"{(test + validation) * forwards:,}", f"{test * full * exits:,.0f}"]
        lines.append(
            [
                f"{seq_len}",
                f"{test + validation:,}",
                *counts,
                size(stored),
                size(views * (use @ view)),
                f"{cpu:,.1f}",
            ]
        )
    return lines


def total(rows: list[dict], name: str) -> float:
    """Sum over the sets."""
    return float(sum(row[name] for row in rows))


def measured(rows: list[dict]) -> list[list[str]]:
    """Rows of the first table: one sample of each set."""
    return [
        [
            f"{row['dataset']}, {row['seq_len']}, {row['split']}",
            f"{row['samples']}",
            f"{row['forwards'] / row['samples']:.0f}",
            size(
                sum(row[name] for name in ("samples_table", "steps", "readouts")) / row["samples"]
            ),
            size(row["view"] / row["samples"]),
            f"{row['seconds'] / row['samples']:.2f}",
            f"{row['exit_forwards']:.2f}" if np.isfinite(row["exit_forwards"]) else "",
        ]
        for row in rows
    ]


def size(count: float) -> str:
    """Bytes, two significant digits."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000 or unit == "TB":
            return f"{count:.2g} {unit}" if count < 100 else f"{count:.0f} {unit}"
        count /= 1000
    raise AssertionError


def table(head: list[str], lines: list[list[str]]) -> str:
    """A markdown table."""
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, ["---"] * len(head), *lines])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, help="results folder of a finished study")
    parser.add_argument(
        "--study", type=Path, default=Path("config/paper.yaml"), help="what to extrapolate to"
    )
    parser.add_argument(
        "--prompts",
        type=int,
        default=1_000_000,
        help="test prompts of the third table, at each canvas length",
    )
    options = parser.parse_args()
    rows, study = measure(options.results), load_yaml(options.study)
    used = [study.catalogue[name] for name in study.datasets]
    sizes = (
        sum(entry.test_samples for entry in used),
        sum(entry.validation_samples for entry in used),
    )
    head = [
        "canvas",
        "prompts",
        "forwards, traces",
        "forwards, exits",
        "traces",
        "readouts",
        "CPU hours, analysis",
    ]
    per_sample = [
        "set",
        "samples",
        "recorded forwards",
        "trace",
        "a readout",
        "seconds",
        "exit runs, in full decodings",
    ]
    print(f"One sample of {options.results}:\n\n{table(per_sample, measured(rows))}\n")
    print(f"{options.study}:\n\n{table(head, extrapolate(study, rows, *sizes))}\n")
    print(
        f"{options.prompts:,} test"
        f" prompts:\n\n{table(head, extrapolate(study, rows, options.prompts, 0))}"
    )


if __name__ == "__main__":
    main()
