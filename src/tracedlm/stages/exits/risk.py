"""Rule `risk`: exit cards.

The cheapest setting of each exit rule whose risk is controlled on validation, and what it does on
test.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracedlm.config import Risk
from tracedlm.decode.settings import settings_of
from tracedlm.progress import Progress
from tracedlm.records.card import ExitCard, adapter_digest, files_digest, map_digest
from tracedlm.records.manifest import code_digest
from tracedlm.records.rrm import Rrm
from tracedlm.resources import checkpoint_files
from tracedlm.stages.exits.decoding import Bench, Setup
from tracedlm.theory.resampling import clopper_pearson
from tracedlm.theory.risk import RiskControl, assess

Rows = list[dict[str, Any]]
"""Samples in their order, as in the table `samples`."""


def control_exits(setup: Setup, risk: Risk, threads: int, out: dict[str, Path]) -> None:
    """Write the exit card of every rule of `risk.rules`.

    `setup.data`: the splits `validation`, on which settings are tried, and `test`, on which the
    chosen one is run. Settings that do not vary are those of the config, never those that rule
    `tune` chose: it chooses on validation too, and would break the guarantee.
    """
    torch.set_num_threads(threads)
    setup = setup.of_set(rules=("full", *risk.rules))
    bench = Bench(setup, "validation")
    full = bench.rows(bench.run("full", {}))
    found = {}
    for name in risk.rules:
        candidates = [
            settings_of(name, **one).model_dump()
            for one in risk.candidates(name, setup.exits.settings(name), bench.plan.steps)
        ]
        found[name] = (candidates, *_control(bench, name, candidates, full, risk))
    tests = {}
    if any(control.index is not None for _, control, _ in found.values()):
        bench.take("test")
        baseline = bench.rows(bench.run("full", {}))
        for name, (candidates, control, _) in found.items():
            tests[name] = (
                None
                if control.index is None
                else _realised(bench, name, candidates[control.index], baseline, risk.loss)
            )
    digests = _digests(setup.model, setup.adapter)
    for name, (candidates, control, forwards) in found.items():
        reading = settings_of(name, **candidates[0]).reading
        observed = bench.observed(reading)
        chosen = None if control.index is None else candidates[control.index]
        ExitCard(
            rule=name,
            settings=chosen,
            label=None if chosen is None else settings_of(name, **chosen).label(name),
            reason=control.reason,
            guarantee=control.guarantee,
            epsilon=risk.epsilon,
            eta=risk.eta,
            method=risk.method,
            loss=risk.loss,
            n=control.n,
            dataset=setup.dataset,
            decoding=_decoding(bench) | ({"activation": observed["activation"]} if reading else {}),
            **digests,
            map=map_digest(*_listed(observed["rrm"])) if reading else "",
            tried=_tried(candidates, control, forwards),
            full_forwards=_mean_forwards(full),
            test=tests.get(name),
            code=code_digest("exits.risk"),
        ).write(out[name])


def _control(
    bench: Bench, name: str, candidates: list[dict[str, Any]], full: Rows, risk: Risk
) -> tuple[RiskControl, list[float]]:
    """Try settings in their order until one is not valid: none after it can be chosen.

    Also the mean forwards of those tried.
    """
    losses, forwards = [], []
    with Progress(f"risk {name}", len(candidates), "setting") as progress:
        while True:
            rows = bench.rows(bench.run(name, candidates[len(losses)]))
            losses.append(losses_of(rows, full, risk.loss))
            forwards.append(_mean_forwards(rows))
            progress.add()
            control = assess(
                np.stack(losses, axis=1), risk.epsilon, risk.eta, risk.method, forwards
            )
            if not control.valid[-1] or len(losses) == len(candidates):
                return control, forwards


def losses_of(rows: Rows, full: Rows, kind: str) -> np.ndarray:
    """Loss of each sample, 0 or 1.

    Its answer is not that of full decoding (`answer_flip`), or is wrong where that was right.
    """
    pairs = zip(rows, full, strict=True)
    if kind == "answer_flip":
        return np.array([float(row["answer"] != other["answer"]) for row, other in pairs])
    return np.array([float(other["correct"] and not row["correct"]) for row, other in pairs])


def _realised(
    bench: Bench, name: str, settings: dict[str, Any], full: Rows, kind: str
) -> dict[str, Any]:
    """What the chosen setting does on test."""
    rows = bench.rows(bench.run(name, settings))
    losses = losses_of(rows, full, kind)
    low, high = clopper_pearson(int(losses.sum()), len(losses))
    return {
        "n": len(losses),
        "losses": int(losses.sum()),
        "risk": float(losses.mean()),
        "low": low,
        "high": high,
        "forwards": _mean_forwards(rows),
        "full_forwards": _mean_forwards(full),
    }


def _tried(
    candidates: list[dict[str, Any]], control: RiskControl, forwards: list[float]
) -> list[dict[str, Any]]:
    return [
        {
            "settings": settings,
            "risk": float(control.risk[j]),
            "p_value": None if control.method == "crc" else float(control.p_values[j]),
            "valid": bool(control.valid[j]),
            "forwards": forwards[j],
        }
        for j, settings in enumerate(candidates[: len(forwards)])
    ]


def _decoding(bench: Bench) -> dict[str, Any]:
    """Arguments of `generate` under which the bench decodes."""
    plan = {
        name: getattr(bench.plan, name)
        for name in ("gen_length", "block_length", "steps", "schedule")
    }
    return {**plan, "reuse": bench.how["reuse"], "temperature": 0.0, "guidance": 0.0}


def _digests(model: dict[str, Any], adapter: Path) -> dict[str, str]:
    files = checkpoint_files(model["path"])
    return {
        "model": files_digest(files) if files else model["path"],
        "adapter": adapter_digest(adapter),
    }


def _listed(maps: Rrm | Sequence[Rrm]) -> list[Rrm]:
    return [maps] if isinstance(maps, Rrm) else list(maps)


def _mean_forwards(rows: Rows) -> float:
    return float(np.mean([row["nfe"] for row in rows]))
