"""A study's metrics in memory.

Exit runs, certificate summaries and grids of every dataset and canvas length.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tracedlm.records import trace
from tracedlm.records.card import ExitCard
from tracedlm.records.flip_audit import FLIPS
from tracedlm.records.metrics import GRID, TEMPERATURE, read_json
from tracedlm.records.parquet import read_table
from tracedlm.report.evaluated import Evaluated, read_evaluated

SUMMARY_KEYS = (
    "n",
    "tau",
    "delta",
    "omega",
    "window",
    "dual",
    "digest",
    "profile",
    "spearman",
    "code",
)
AFTER_STOP_KEYS = ("stops", "forward", "observables", "calibration", "exits")
MEASURED = (
    "sample_id",
    "correct",
    "score_d1",
    "nfe",
    "token_forwards",
    "output_tokens",
    "seconds",
    "token_flips",
    "answer_flip",
    "rule",
)
ALL_SUMMARY_KEYS = SUMMARY_KEYS + AFTER_STOP_KEYS
NOISE_KEYS = ("run", "sets", "maps", "code")
CONVERGENCE_KEYS = ("module", "bands", "steps", "correlation", "code")
STORAGE_KEYS = ("layers", "width", "model_bytes", "map_file_bytes")
SIMILARITY_KEYS = ("maps", "cosine", "correlation", "angle", "chance")
ABLATION_KEYS = ("maps", "samples", "code")
TUNED_KEYS = ("n", "chosen", "tried", "code")
FREEZING_KEYS = ("samples", "frozen", "beta", "code")
PHASES = ("forward", "head_and_softmax", "rule", "commit", "host")
"""Parts of a decoding step that a profile tells apart."""


@dataclass(frozen=True)
class Run:
    """One exit rule with one setting, on the samples of one set.

    Arrays [n], in the order of sample_id.

    Attributes:
        rule: Family, e.g. `truncate`.
        place: Its place among the runs of its rule, from 1: the setting chosen on validation,
            configured ones, others.
        label: Rule with its settings, e.g. `truncate(forwards=18.1)`.
        correct: bool, solved under the strict scorer.
        score_d1: Published scorer, 0 to 1.
        nfe: Forwards.
        token_forwards: Query tokens summed over forwards.
        output_tokens: Tokens written before the end token: no prompt, no padding.
        seconds: Wall time.
        token_flips: Response tokens that differ from full decoding.
        answer_flip: bool, the answer differs from full decoding's.
    """

    rule: str
    place: int
    label: str
    correct: np.ndarray
    score_d1: np.ndarray
    nfe: np.ndarray
    token_forwards: np.ndarray
    output_tokens: np.ndarray
    seconds: np.ndarray
    token_flips: np.ndarray
    answer_flip: np.ndarray

    @property
    def n(self) -> int:
        """Samples."""
        return len(self.correct)

    @property
    def forwards(self) -> float:
        """Mean forwards per sample."""
        return float(self.nfe.mean())

    @property
    def accuracy(self) -> float:
        """Share of samples solved."""
        return float(self.correct.mean())


@dataclass(frozen=True)
class ResultSet:
    """Results on one dataset at one canvas length.

    Attributes:
        dataset: Task name.
        seq_len: Canvas length, tokens.
        steps: Forwards of full decoding, summed over blocks.
        runs: Runs, rule by rule in the order of the config; a rule's first is the one that tables
            without room for all of them show.
        summaries: Certificate summary of each readout.
        grids: Coverage grid of each readout, one row per bound, calibration, delta and omega.
        ablation: D_t and coverage under other modules' maps (`ablation/<dataset>/<seq_len>.json`);
            None but at the shortest canvas.
        tuned: What rule `tune` tried and chose (`exits/<dataset>/<seq_len>/tuned.json`); None where
            nothing is tuned.
        profile: Mean seconds of each of `PHASES` in a step of a batch, and the `label` of the run
            that was timed (`exits/<dataset>/<seq_len>/profile.json`); None where not profiled.
        cards: Exit cards, rule by rule (`risk/<dataset>-<seq_len>-<rule>.json`).
        flips: Exits that were undone (`flip_audit/<dataset>-<seq_len>.parquet`); None where none
            were.
        freezing: What token-wise freezing could certify
            (`flip_audit/<dataset>-<seq_len>-freezing.json`); None likewise.
        evaluated: Rules under several prompt templates (`evaluation/<dataset>/<seq_len>.parquet`);
            None where none were compared.
    """

    dataset: str
    seq_len: int
    steps: int
    runs: tuple[Run, ...]
    summaries: dict[str, dict[str, Any]]
    grids: dict[str, list[dict[str, Any]]]
    ablation: dict[str, Any] | None
    tuned: dict[str, Any] | None
    profile: dict[str, Any] | None
    cards: tuple[ExitCard, ...]
    flips: list[dict[str, Any]] | None
    freezing: dict[str, Any] | None
    evaluated: Evaluated | None = None

    def run(self, rule: str) -> Run | None:
        """First run of a rule; None where the study does not run it."""
        return next((run for run in self.runs if run.rule == rule), None)


@dataclass(frozen=True)
class Evidence:
    """Everything the tables are made of.

    Attributes:
        sets: One per dataset and canvas length, in the order of the config.
        readout: Readout of the main tables: q, or the first one where q is not certified.
        selection: What validation decided (`certify/selection.json`).
        temperature: D_t and margin over steps at several readout temperatures, validation
            (`certify/temperature.parquet`).
        storage: Dimensions of the model and bytes of its maps (`rrm/storage.json`).
        maps: How alike the maps are that the ablation compares (`rrm/similarity.json`).
        seed: Seed of the bootstrap.
        noise: Fine-tuning runs with corrupted labels, the clean one first (`noise/<run>.json`);
            empty where there are none.
        convergence: When pseudo-gradients settle, by dataset
            (`pseudo_gradients/<dataset>/<seq_len>.json`); empty where not replayed.
    """

    sets: tuple[ResultSet, ...]
    readout: str
    selection: dict[str, Any]
    temperature: list[dict[str, Any]]
    storage: dict[str, Any]
    maps: dict[str, Any]
    seed: int
    noise: tuple[dict[str, Any], ...] = ()
    convergence: tuple[dict[str, Any], ...] = ()


def read_evidence(
    root: Path,
    datasets: list[str],
    seq_lens: list[int],
    readouts: list[str],
    rules: list[str],
    seed: int,
    tuned: bool = False,
    cards: Sequence[str] = (),
    audits: Sequence[str] = (),
    noise: Sequence[str] = (),
    pseudo_gradients: bool = False,
    evaluated: bool = False,
) -> Evidence:
    """Read a study's metrics from its results folder.

    Args:
        root: The folder.
        datasets: Datasets of the study.
        seq_lens: Canvas lengths.
        readouts: Readouts that are certified.
        rules: Exit rules that were run.
        seed: Seed of the bootstrap.
        tuned: Settings of exit rules were chosen on validation.
        cards: Exit rules that have exit cards.
        audits: `flips` and `freezing` where those were made; at the shortest canvas.
        noise: Fine-tuning runs with corrupted labels, and what they are compared with.
        pseudo_gradients: Traces of the shortest canvas were replayed with gradients.
        evaluated: Rules were compared under several prompt templates.

    Raises:
        ValueError: A file is missing or unreadable, or results were made by different versions of
            the code or settings.
    """
    sets = []
    for dataset in datasets:
        for length in seq_lens:
            shortest = length == min(seq_lens)
            sets.append(
                _read_set(
                    root,
                    dataset,
                    length,
                    readouts=readouts,
                    rules=rules,
                    cards=cards,
                    audits=audits if shortest else (),
                    tuned=tuned,
                    evaluated=evaluated,
                    ablated=shortest,
                )
            )
    noisy = [read_json(root / f"noise/{run}.json", NOISE_KEYS) for run in noise]
    convergence = []
    if pseudo_gradients:
        folder = root / "pseudo_gradients"
        for dataset in datasets:
            record = read_json(folder / dataset / f"{min(seq_lens)}.json", CONVERGENCE_KEYS)
            convergence.append(record)
    _check_one_code(root, sets, noisy, convergence)
    selection = read_json(root / "certify/selection.json", ("delta", "omega", "sets"))
    _check_selection(root, sets, selection)
    temperature = read_table(
        root / "certify/temperature.parquet", TEMPERATURE, "temperature curves"
    )
    return Evidence(
        sets=tuple(sets),
        readout="q" if "q" in readouts else readouts[0],
        selection=selection,
        temperature=temperature.to_pylist(),
        storage=read_json(root / "rrm/storage.json", STORAGE_KEYS),
        maps=read_json(root / "rrm/similarity.json", SIMILARITY_KEYS),
        seed=seed,
        noise=tuple(noisy),
        convergence=tuple(convergence),
    )


def _check_one_code(
    root: Path,
    sets: Sequence[ResultSet],
    noisy: Sequence[dict[str, Any]],
    convergence: Sequence[dict[str, Any]],
) -> None:
    """Raise a ValueError where results of one kind were made by different versions of the code."""
    codes: dict[str, set[str]] = defaultdict(set)
    codes["noise"] = {record["code"] for record in noisy}
    codes["pseudo_gradients"] = {record["code"] for record in convergence}
    for result_set in sets:
        place = f"{result_set.dataset}/{result_set.seq_len}"
        for summary in result_set.summaries.values():
            codes["certify"].add(summary["code"])
            codes["traces"].add(summary.get("trace_code", "unknown"))
        codes["exits"].add(read_json(root / f"exits/{place}/manifest.json", ("code",))["code"])
        codes["risk"] |= {card.code for card in result_set.cards}
        if result_set.ablation:
            codes["ablation"].add(result_set.ablation["code"])
        if result_set.tuned:
            codes["exits/*/*/tuned.json"].add(result_set.tuned["code"])
        if result_set.freezing:
            codes["flip_audit"].add(result_set.freezing["code"])
        if result_set.evaluated:
            codes["evaluation"].add(read_json(root / f"evaluation/{place}.json", ("code",))["code"])
    for folder, versions in codes.items():
        if len(versions) > 1:
            raise ValueError(
                f"{root / folder}: {len(versions)} versions of the code"
                f" ({', '.join(sorted(versions))}); run snakemake again"
            )


def _check_selection(root: Path, sets: Sequence[ResultSet], selection: dict[str, Any]) -> None:
    """Raise a ValueError where a certificate was made at another pair than the selected one."""
    selected = (selection["delta"], selection["omega"])
    for result_set in sets:
        for summary in result_set.summaries.values():
            if (summary["delta"], summary["omega"]) != selected:
                raise ValueError(
                    f"{root / 'certify'}: summaries are not at the (delta, omega) of"
                    " selection.json; run snakemake again"
                )


def _read_set(
    root: Path,
    dataset: str,
    seq_len: int,
    *,
    readouts: Sequence[str],
    rules: Sequence[str],
    cards: Sequence[str],
    audits: Sequence[str],
    tuned: bool,
    evaluated: bool,
    ablated: bool,
) -> ResultSet:
    """Results on one dataset at one canvas length; what was not made there is None or empty."""
    place = f"{dataset}/{seq_len}"
    certify = root / "certify" / place
    exits = root / "exits" / place
    audit = root / "flip_audit" / f"{dataset}-{seq_len}"
    runs: list[Run] = []
    for rule in rules:
        runs += read_runs(exits / f"{rule}.parquet", rule)
    summaries = {}
    grids = {}
    for readout in readouts:
        summaries[readout] = read_json(certify / readout / "summary.json", ALL_SUMMARY_KEYS)
        grid = read_table(certify / readout / "grid.parquet", GRID, "a certificate grid")
        grids[readout] = grid.to_pylist()
    result_set = ResultSet(
        dataset=dataset,
        seq_len=seq_len,
        steps=int(pq.read_schema(exits / f"{rules[0]}.parquet").metadata[b"steps"]),
        runs=tuple(runs),
        summaries=summaries,
        grids=grids,
        ablation=None,
        tuned=None,
        profile=None,
        cards=tuple(
            ExitCard.read(root / f"risk/{dataset}-{seq_len}-{rule}.json") for rule in cards
        ),
        flips=None,
        freezing=None,
    )
    parts: dict[str, Any] = {}
    if ablated:
        parts["ablation"] = read_json(root / f"ablation/{place}.json", ABLATION_KEYS)
    if tuned:
        parts["tuned"] = read_json(exits / "tuned.json", TUNED_KEYS)
    if (exits / "profile.json").exists():
        parts["profile"] = read_json(exits / "profile.json", ("label", *PHASES))
    if "flips" in audits:
        parts["flips"] = read_table(f"{audit}.parquet", FLIPS, "a flip audit").to_pylist()
    if "freezing" in audits:
        parts["freezing"] = read_json(f"{audit}-freezing.json", FREEZING_KEYS)
    if evaluated:
        parts["evaluated"] = read_evaluated(root / f"evaluation/{place}.parquet")
    return replace(result_set, **parts)


def read_runs(path: Path, rule: str) -> list[Run]:
    """Runs of one exit rule's table, one per setting, in the order they were made."""
    table = read_table(path, trace.EXITS, f"the exit runs of {rule}", columns=list(MEASURED))
    label_of_row = np.array(table["rule"].to_pylist(), dtype=object)
    runs = []
    for place, label in enumerate(dict.fromkeys(label_of_row), start=1):
        rows = table.filter(label_of_row == label).sort_by("sample_id")
        measured = {}
        for name in MEASURED:
            if name not in ("sample_id", "rule"):
                measured[name] = np.array(rows[name].to_pylist())
        runs.append(Run(rule=rule, place=place, label=label, **measured))
    return runs
