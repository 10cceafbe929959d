"""A study's metrics in memory: exit runs, certificate summaries and grids of every dataset and canvas length."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tracedlm.records import trace
from tracedlm.records.metrics import GRID, read_json
from tracedlm.records.parquet import read_table

SUMMARY_KEYS = ("n", "tau", "delta", "omega", "coverage", "strict", "calibrated", "profile", "spearman", "code")
MEASURED = ("sample_id", "correct", "score_d1", "nfe", "token_forwards", "seconds", "token_flips", "answer_flip", "rule")


@dataclass(frozen=True)
class Run:
    """One exit rule with one setting, on the samples of one set; arrays [n], in the order of sample_id.

    Attributes:
        rule: Family, e.g. `truncate`.
        label: Rule with its settings, e.g. `truncate(steps=18.10)`.
        correct: bool, solved under the strict scorer.
        score_d1: Published scorer, 0 to 1.
        nfe: Forwards.
        token_forwards: Query tokens summed over forwards.
        seconds: Wall time.
        token_flips: Response tokens that differ from full decoding.
        answer_flip: bool, the answer differs from full decoding's.
    """

    rule: str
    label: str
    correct: np.ndarray
    score_d1: np.ndarray
    nfe: np.ndarray
    token_forwards: np.ndarray
    seconds: np.ndarray
    token_flips: np.ndarray
    answer_flip: np.ndarray

    @property
    def n(self) -> int:
        """Samples."""
        return len(self.correct)


@dataclass(frozen=True)
class ResultSet:
    """Results on one dataset at one canvas length.

    Attributes:
        dataset: Task name.
        seq_len: Canvas length, tokens.
        steps: Forwards of full decoding, summed over blocks.
        runs: Runs in the order of the config; `truncate` holds several, the first at `rad`'s mean forwards.
        summaries: Certificate summary of each readout.
        grids: Coverage grid of each readout, one row per bound, delta and omega.
    """

    dataset: str
    seq_len: int
    steps: int
    runs: tuple[Run, ...]
    summaries: dict[str, dict[str, Any]]
    grids: dict[str, list[dict[str, Any]]]

    def run(self, rule: str) -> Run | None:
        """First run of a rule; None where the study does not run it."""
        return next((run for run in self.runs if run.rule == rule), None)


@dataclass(frozen=True)
class Evidence:
    """Everything the tables are made of.

    Attributes:
        sets: One per dataset and canvas length, in the order of the config.
        readout: Readout of the main tables: q, or the first one where q is not certified.
        storage: Dimensions of the model and bytes of its maps (`rrm/storage.json`).
        seed: Seed of the bootstrap.
    """

    sets: tuple[ResultSet, ...]
    readout: str
    storage: dict[str, Any]
    seed: int


def read_evidence(root: Path, datasets: list[str], seq_lens: list[int], readouts: list[str], rules: list[str], seed: int) -> Evidence:
    """Read a study's metrics from its results folder.

    Raises:
        ValueError: A file is missing or unreadable, or results were made by different versions of the code or settings.
    """
    sets = tuple(_read_set(root, dataset, length, readouts, rules) for dataset in datasets for length in seq_lens)
    codes = {summary["code"] for one in sets for summary in one.summaries.values()}
    if len(codes) > 1:
        raise ValueError(
            f"{root / 'certify'}: summaries of {len(codes)} versions of the code ({', '.join(sorted(codes))}); run snakemake again"
        )
    chosen = read_json(root / "certify/selection.json", ("delta", "omega"))
    if {(summary["delta"], summary["omega"]) for one in sets for summary in one.summaries.values()} != {(chosen["delta"], chosen["omega"])}:
        raise ValueError(f"{root / 'certify'}: summaries are not at the (delta, omega) of selection.json; run snakemake again")
    return Evidence(
        sets=sets,
        readout="q" if "q" in readouts else readouts[0],
        storage=read_json(root / "rrm/storage.json", ("layers", "width", "model_bytes", "map_file_bytes")),
        seed=seed,
    )


def _read_set(root: Path, dataset: str, seq_len: int, readouts: list[str], rules: list[str]) -> ResultSet:
    certify, exits = root / "certify" / dataset / str(seq_len), root / "exits" / dataset / str(seq_len)
    runs = [run for rule in rules for run in read_runs(exits / f"{rule}.parquet", rule)]
    return ResultSet(
        dataset=dataset,
        seq_len=seq_len,
        steps=int(pq.read_schema(exits / f"{rules[0]}.parquet").metadata[b"steps"]),
        runs=tuple(runs),
        summaries={readout: read_json(certify / readout / "summary.json", SUMMARY_KEYS) for readout in readouts},
        grids={readout: read_table(certify / readout / "grid.parquet", GRID, "a certificate grid").to_pylist() for readout in readouts},
    )


def read_runs(path: Path, rule: str) -> list[Run]:
    """Runs of one exit rule's table, one per setting, in the order they were made."""
    table = read_table(path, trace.EXITS, f"the exit runs of {rule}", columns=list(MEASURED))
    labels = list(dict.fromkeys(table["rule"].to_pylist()))
    chosen = np.array(table["rule"].to_pylist(), dtype=object)
    parts = {label: table.filter(chosen == label).sort_by("sample_id") for label in labels}
    return [
        Run(rule, label, *(np.array(part[name].to_pylist()) for name in MEASURED if name not in ("sample_id", "rule")))
        for label, part in parts.items()
    ]
