"""Rule `module_ablation`.

How much the RAD moves under the maps of other modules, reductions and variants (EDIT Table 4, TRACE
App. D).
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracedlm.certification import Certification, certify
from tracedlm.config import Ablation, Certify, Decode, ReadoutSettings
from tracedlm.decode.plan import Plan
from tracedlm.decode.step import Step
from tracedlm.generation import decode_stream, encode
from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.observer import key_of, observing
from tracedlm.progress import counted
from tracedlm.records.manifest import write_manifest
from tracedlm.records.rrm import Rrm, facts_of, read_maps
from tracedlm.tasks import get_task
from tracedlm.theory.resampling import bootstrap_interval, clopper_pearson
from tracedlm.theory.schedule import total_steps


def ablate(
    model: dict[str, Any],
    adapter: Path,
    maps_file: Path,
    activation: str,
    dataset: str,
    data_file: Path,
    seq_len: int,
    decode: Decode,
    readout: ReadoutSettings,
    ablation: Ablation,
    settings: Certify,
    seed: int,
    threads: int,
    out: Path,
) -> None:
    """Decode validation problems once, and write D_t and coverage of every map.

    All maps are observed in the same forwards.
    """
    torch.set_num_threads(threads)
    denoiser = load_denoiser(**model, adapter=adapter, merge=activation == "projection")
    task = get_task(dataset)
    prompts = encode(
        denoiser, [task.prompt(problem) for problem in task.read(data_file)[: ablation.samples]]
    )
    steps = total_steps(seq_len, decode.tokens_per_step)
    plan = Plan(seq_len, decode.block_length, steps, decode.schedule)
    maps = read_maps(maps_file)
    log = SimilarityLog(maps, readout.visible)
    divergences: list[list[np.ndarray]] = [[] for _ in maps]  # [maps][samples] of [steps]
    certified = np.zeros((len(prompts), len(maps)), dtype=bool)
    with observing(denoiser, log.stacked, activation, "columns") as observer:
        done = decode_stream(
            denoiser,
            prompts,
            plan,
            "full",
            batch_size=decode.batch_size,
            record=log,
            observer=observer,
        )
        for decoded in counted(done, f"ablation {dataset} {seq_len}", "sample", len(prompts)):
            for n, (similarity, visible) in enumerate(log.take(decoded.sample)):
                certification = _strictly(similarity, visible, readout, settings)
                divergences[n].append(certification.kl)
                certified[decoded.sample, n] = certification.certified_at is not None
    results = []
    for n, rrm in enumerate(maps):
        coverage = _share(certified[:, n])
        results.append({**facts_of(rrm), **summarised(divergences[n], seed), **coverage})
    write_manifest(
        out,
        "rrm.module_ablation",
        dataset=dataset,
        seq_len=seq_len,
        samples=len(prompts),
        tau=readout.tau,
        visible=readout.visible,
        delta=settings.strict_delta,
        omega=settings.strict_omega,
        activation=activation,
        maps=results,
    )


def _strictly(
    similarity: np.ndarray, visible: np.ndarray, readout: ReadoutSettings, settings: Certify
) -> Certification:
    """Certificates of one sample at the strict pair of TRACE Table 2."""
    return certify(
        similarity,
        visible,
        tau=readout.tau,
        delta=settings.strict_delta,
        omega=settings.strict_omega,
        late_window=settings.late_window,
    )


class SimilarityLog:
    """Records the visible tokens and their similarity with every map, step by step.

    Until a sample is taken.

    Attributes:
        stacked: One map a module for the observer, whose columns are all the maps of that module.
    """

    def __init__(self, maps: Sequence[Rrm], visible: str) -> None:
        self.visible, self.count = visible, len(maps)
        self._own: dict[tuple[int, str], list[int]] = defaultdict(list)
        for n, rrm in enumerate(maps):
            self._own[key_of(rrm)].append(n)
        self.stacked = [
            replace(maps[own[0]], subspace=np.stack([maps[n].u for n in own], axis=1))
            for own in self._own.values()
        ]
        self._steps: dict[int, list[tuple[np.ndarray, np.ndarray]]] = defaultdict(list)

    def __call__(self, step: Step) -> None:
        """Record one forward of every active row."""
        visible_rg = step.visible_rg
        if self.visible == "block":
            in_block_rg = torch.zeros_like(visible_rg, dtype=torch.long).scatter_add_(
                1, step.position_rk, step.in_block_rk.long()
            )
            visible_rg = visible_rg & (in_block_rg > 0)
        similarity_rgn = torch.empty((*visible_rg.shape, self.count))
        for key, own in self._own.items():
            similarity_rgn[..., own] = step.readings[key].float().cpu()
        for row, sample in enumerate(step.sample_r.tolist()):
            self._steps[sample].append((visible_rg[row].cpu().numpy(), similarity_rgn[row].numpy()))

    def take(self, sample: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """(similarity [steps, positions], visible) of a finished sample under each map.

        The sample is then forgotten.
        """
        steps = self._steps.pop(sample)
        visible = np.stack([visible for visible, _ in steps])
        similarity = np.stack([similarity for _, similarity in steps])
        for n in range(self.count):
            yield similarity[..., n], visible


def summarised(divergences: Sequence[np.ndarray], seed: int) -> dict[str, Any]:
    """Mean and spread of D_t over all steps of all samples, nats.

    Args:
        divergences: D_t of each sample, NaN where undefined.
        seed: Seed of the bootstrap.

    Returns:
        `mean`, `sd` over steps and samples; `low`, `high`: 95 % bootstrap interval of the mean over
            samples of their means; `n` and
        `undefined` steps. Numbers that are not defined are None.
    """
    every = np.concatenate(divergences)
    defined = every[~np.isnan(every)]
    counts = {"n": len(defined), "undefined": len(every) - len(defined)}
    if len(defined) < 2:
        return {"mean": None, "sd": None, "low": None, "high": None, **counts}
    means = np.array([float(np.nanmean(one)) for one in divergences if not np.isnan(one).all()])
    low, high = bootstrap_interval(means, rng=np.random.default_rng(seed))
    return {
        "mean": float(defined.mean()),
        "sd": float(defined.std(ddof=1)),
        "low": low,
        "high": high,
        **counts,
    }


def _share(flags: np.ndarray) -> dict[str, Any]:
    low, high = clopper_pearson(int(flags.sum()), len(flags))
    return {
        "certified": int(flags.sum()),
        "samples": len(flags),
        "share": float(flags.mean()),
        "share_low": low,
        "share_high": high,
    }
