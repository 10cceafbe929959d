"""Rule `freezing`: what token-wise freezing can certify (EDIT App. D).

On validation, where nothing is frozen.

Lemma 7 and Theorem 8 are read off the tokens' subspace components. Theorem 11 also needs a coupling
beta_s, from finite differences, and a contraction alpha < 1, which each block of each sample shows
or does not.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracedlm.config import FlipAudit
from tracedlm.decode.commit import most_confident, predict
from tracedlm.decode.settings import TokenFreezeSettings
from tracedlm.decode.slot import Decoded
from tracedlm.decode.step import Step
from tracedlm.models.probe import Probe, probing
from tracedlm.records.manifest import write_manifest
from tracedlm.records.rrm import Rrm
from tracedlm.stages.exits.decoding import Bench, Setup
from tracedlm.theory.certificate import certificates
from tracedlm.theory.contraction import contraction_rate
from tracedlm.theory.divergence import total_variation
from tracedlm.theory.freezing import coupling, local_stability, safe_to_freeze, safe_to_freeze_edit
from tracedlm.theory.rad import alignment, cosine_similarity
from tracedlm.theory.stability import step_statistics


@dataclass(frozen=True)
class Course:
    """One sample's decoding; arrays [forwards, gen_length, ...].

    Attributes:
        block: int [forwards].
        visible: bool, unmasked before the forward.
        similarity: Cosine with the map.
        coordinates: Subspace coordinates U^T f, [forwards, gen_length, k].
        moved: l2 length of each activation's step since the forward before; NaN at the first.
    """

    block: np.ndarray
    visible: np.ndarray
    similarity: np.ndarray
    coordinates: np.ndarray
    moved: np.ndarray


class CourseRecorder:
    """Collects the course of every sample from the activations that a probe reads."""

    def __init__(self, probe: Probe, rrm: Rrm) -> None:
        self.probe, self.u, self.U = probe, torch.from_numpy(rrm.u), torch.from_numpy(rrm.subspace)
        self._rows: dict[int, list[tuple[np.ndarray, ...]]] = defaultdict(list)
        self._before: dict[int, torch.Tensor] = {}

    def __call__(self, step: Step) -> None:
        """Record one forward of every active row."""
        f_rgd = self.probe.latest[:, -step.visible_rg.shape[1] :].float().cpu()
        similarity, coordinates = cosine_similarity(f_rgd, self.u), f_rgd @ self.U
        for row, (sample, block) in enumerate(
            zip(step.sample_r.tolist(), step.block_r.tolist(), strict=True)
        ):
            before = self._before.get(sample, torch.full_like(f_rgd[row], torch.nan))
            moved = (f_rgd[row] - before).norm(dim=-1)
            self._before[sample] = f_rgd[row]
            values = (
                step.visible_rg[row].cpu(),
                similarity[row].double(),
                coordinates[row].double(),
                moved.double(),
            )
            self._rows[sample].append((np.array(block), *(value.numpy() for value in values)))

    def course(self, sample: int) -> Course:
        """A finished sample's."""
        return Course(*(np.stack(column) for column in zip(*self._rows[sample], strict=True)))


def certify_freezing(
    setup: Setup, audit: FlipAudit, tau: float, seed: int, threads: int, out: Path
) -> None:
    """Decode validation problems in full and write what could be certified.

    Tokens' activations are pushed, to see what follows.
    """
    torch.set_num_threads(threads)
    decode, exits = (
        setup.decode.model_copy(update={"reuse": "none"}),
        setup.exits.model_copy(update={"rules": ("full",)}),
    )
    bench = Bench(replace(setup, decode=decode, exits=exits), "validation", audit.samples)
    rng = np.random.default_rng(seed)
    with probing(bench.denoiser, bench.rrm, setup.activation) as probe:
        recorder = CourseRecorder(probe, bench.rrm)
        final = bench.run("full", {}, recorder)
        courses = [recorder.course(one.sample) for one in final]
        pushes = [
            push_tokens(
                bench, probe, final=one, course=course, probes=audit.probes, tau=tau, rng=rng
            )
            for one, course in zip(final, courses, strict=True)
        ]
    moved, pushed, recommitted = (np.concatenate(column) for column in zip(*pushes, strict=True))
    beta = float(coupling(moved, pushed)) if len(moved) else None
    facts = summarised(courses, beta, exits.token_freeze, audit, tau)
    probes = {"probes": len(moved), "changed_commits": int(recommitted.sum()), "beta": beta}
    settings = {
        **exits.token_freeze.model_dump(include={"token_delta", "token_omega", "token_tau"}),
        "delta": audit.delta,
        "omega": audit.omega,
    }
    write_manifest(
        out,
        "exits.freezing",
        dataset=setup.dataset,
        seq_len=setup.seq_len,
        samples=len(final),
        **settings,
        **probes,
        **facts,
    )


def push_tokens(
    bench: Bench,
    probe: Probe,
    final: Decoded,
    course: Course,
    probes: int,
    tau: float,
    rng: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Push one visible token's activation in each row, at one forward.

    The push is held over the next forward, as freezing would (EDIT Eq. 27).

    A push is as long as the token's own last step, along the map or at random by turns.

    Returns:
        Total variation between the next distributions with and without, on what both see; lengths
            of the pushes; whether other tokens
        were committed in between. [probes], or empty where no forward has two visible tokens that
            moved and one to follow.
    """
    can_move = course.visible & (course.moved > 0)
    eligible = np.flatnonzero((can_move.sum(1) >= 2)[:-1] & (course.block[1:] == course.block[:-1]))
    if not len(eligible):
        return np.empty(0), np.empty(0), np.empty(0, dtype=bool)
    t = rng.choice(eligible)
    block, commits = int(course.block[t]), int((course.visible[t + 1] & ~course.visible[t]).sum())
    tokens = rng.choice(np.flatnonzero(can_move[t]), size=probes)
    pushed = course.moved[t, tokens]
    canvas = torch.where(torch.from_numpy(course.visible[t]), final.tokens, bench.denoiser.mask_id)
    line = torch.cat([torch.tensor(bench.prompts[final.sample]), canvas]).to(bench.denoiser.device)
    rows = line.expand(probes + 1, -1)  # the first is not pushed
    probe.push = torch.zeros(*rows.shape, len(bench.rrm.u), device=rows.device)
    at = torch.arange(1, probes + 1), torch.from_numpy(tokens) + len(line) - len(canvas)
    probe.push[at] = torch.from_numpy(pushed[:, None] * _directions(bench.rrm.u, probes, rng)).to(
        probe.push
    )
    rows = _committed(bench, rows, block, commits)
    _committed(bench, rows, block, commits)  # the next forward, for what the probe reads
    probe.push = None
    after, f_rgd = (
        rows[:, -len(canvas) :].cpu().numpy(),
        probe.latest[:, -len(canvas) :].float().cpu(),
    )
    similarity = cosine_similarity(f_rgd, torch.from_numpy(bench.rrm.u)).double().numpy()
    both = (after != bench.denoiser.mask_id) & (after[0] != bench.denoiser.mask_id)
    apart = total_variation(
        alignment(similarity, both, tau),
        alignment(np.broadcast_to(similarity[0], similarity.shape), both, tau),
    )
    return apart[1:], pushed, (after != after[0]).any(axis=1)[1:]


def _directions(u: np.ndarray, probes: int, rng: np.random.Generator) -> np.ndarray:
    """[probes, d] of unit length: along the map, with either sign, and at random by turns."""
    directions = rng.normal(size=(probes, len(u)))
    directions[::2] = u * rng.choice([-1, 1], size=(len(directions[::2]), 1))
    return directions / np.linalg.norm(directions, axis=1, keepdims=True)


def _committed(bench: Bench, rows: torch.Tensor, block: int, count: int) -> torch.Tensor:
    """Rows after one forward and the commit of the most confident masks of a block."""
    begin = rows.shape[1] - bench.plan.gen_length + bench.plan.begins[block]
    positions = torch.arange(begin, begin + bench.plan.lengths[block], device=rows.device).expand(
        len(rows), -1
    )
    prediction, log_confidence = predict(
        bench.denoiser(rows, torch.ones_like(rows), positions), 0.0, []
    )
    view = rows.gather(1, positions)
    chosen = most_confident(
        log_confidence,
        view == bench.denoiser.mask_id,
        torch.full((len(rows),), count, device=rows.device),
    )
    return rows.scatter(1, positions, torch.where(chosen, prediction, view))


def summarised(
    courses: list[Course],
    beta: float | None,
    local: TokenFreezeSettings,
    audit: FlipAudit,
    tau: float,
) -> dict[str, Any]:
    """Counts of visible tokens by step, stable and certified ones (Theorem 8).

    Contraction by block; tokens safe to freeze (Theorem 11).
    """
    visible = stable = certified = 0
    rates, asked, printed, sound = [], 0, 0, 0
    for course in courses:
        found = local_stability(
            course.coordinates,
            course.visible,
            local.token_delta,
            local.token_omega,
            local.token_tau,
        )
        visible, stable, certified = (
            visible + course.visible.sum(),
            stable + found.stable.sum(),
            certified + found.certified.sum(),
        )
        for block in np.unique(course.block):
            rate, safe = _block(
                course, found.stable, course.block == block, beta, local.token_omega, audit, tau
            )
            rates.append(rate)
            asked, printed, sound = (
                asked + len(safe),
                printed + int(safe[:, 0].sum()),
                sound + int(safe[:, 1].sum()),
            )
    defined = np.array([rate for rate in rates if not np.isnan(rate)])
    return {
        "visible": int(visible),
        "stable": int(stable),
        "certified": int(certified),
        "blocks": len(rates),
        "defined": len(defined),
        "contracting": int((defined < 1).sum()),
        "alpha_median": float(np.median(defined)) if len(defined) else None,
        "frozen": asked,
        "safe_edit": printed,
        "safe": sound,
    }


def _block(
    course: Course,
    stable: np.ndarray,
    steps: np.ndarray,
    beta: float | None,
    token_omega: int,
    audit: FlipAudit,
    tau: float,
) -> tuple[float, np.ndarray]:
    """Contraction of one block, on what it sees throughout.

    For each token that may freeze in it: whether that is safe when it first may.

    Returns:
        alpha, NaN where the block sees fewer than two tokens throughout; [tokens, 2]: as EDIT Eq.
            30 has it, and as it must be.
    """
    first, support = (
        int(np.flatnonzero(steps)[0]),
        np.broadcast_to(course.visible[steps][0], course.visible[steps].shape),
    )
    statistics = step_statistics(course.similarity[steps], support, tau)
    alpha = float(contraction_rate(statistics.tv))
    held = certificates(course.similarity[steps], support, audit.delta, audit.omega, tau).paper
    safe = []
    # A block's first step has nothing to compare with.
    later = stable[steps] & support & (np.arange(len(support)) > 0)[:, None]
    for token in np.flatnonzero(later.any(axis=0)):
        at = int(np.argmax(later[:, token]))
        epsilon = float(
            np.max(course.moved[max(first + at - token_omega + 1, 1) : first + at + 1, token])
        )
        margin, tv, left = (
            float(statistics.margin[at]),
            float(statistics.tv[at]),
            len(support) - at - 1,
        )
        # Without contraction neither theorem promises anything. NaN counts as no contraction.
        if beta is None or not alpha < 1:
            safe.append((False, False))
            continue
        edit = bool(held[at]) and safe_to_freeze_edit(
            margin, audit.delta, omega=audit.omega, beta=beta, alpha=alpha, epsilon=epsilon
        )
        safe.append(
            (edit, safe_to_freeze(margin, tv, beta=beta, alpha=alpha, epsilon=epsilon, steps=left))
        )
    return alpha, np.array(safe, dtype=bool).reshape(-1, 2)
