"""Rule `noise`: how far a map and its exits move under corrupted labels.

Also its D_t.
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from tracedlm.certification import certify
from tracedlm.config import Decode, Exits, ReadoutSettings
from tracedlm.config import Rrm as RrmSettings
from tracedlm.generation import decode_stream
from tracedlm.models.observer import observing
from tracedlm.progress import counted
from tracedlm.records.manifest import write_manifest
from tracedlm.records.moments import Moments
from tracedlm.records.rrm import PROJECTIONS, Rrm
from tracedlm.stages.exits.decoding import Bench, Setup
from tracedlm.stages.rrm.maps import configured_maps
from tracedlm.stages.rrm.module_ablation import SimilarityLog, summarised
from tracedlm.theory import map_comparison
from tracedlm.theory.subspaces import principal_angles


def compare_run(
    model: dict[str, Any],
    adapter: Path,
    moments: Path,
    clean: Path,
    settings: RrmSettings,
    data: dict[str, Path],
    samples: int,
    seq_len: int,
    decode: Decode,
    readout: ReadoutSettings,
    exits: Exits,
    run: dict[str, Any],
    threads: int,
    out: dict[str, Path],
) -> None:
    """Compare one fine-tuning run with the clean one.

    Test problems are decoded with its model and its map.

    Args:
        model: Path, precision and device of the base checkpoint.
        adapter: LoRA adapter of the run.
        moments: Moments of the run.
        clean: Moments of the run without corrupted labels.
        settings: Which map is made of them.
        data: Dataset -> test file.
        samples: Problems of each dataset, at most.
        seq_len: Canvas length, tokens.
        decode: How to decode.
        readout: How similarities become D_t.
        exits: Settings of `rad`.
        run: What the run is: its `name`, `share` of corrupted labels and `seed`, which is the
            bootstrap's too; kept in the result.
        threads: CPU threads.
        out: `map`, the run's map of q; `summary`, JSON.
    """
    torch.set_num_threads(threads)
    ours, theirs = (configured_maps(Moments.read(path), settings) for path in (moments, clean))
    ours["q"].write(out["map"])
    maps, activation = {"q": out["map"], "moments": moments}, settings.activation
    setups = [
        Setup(model, adapter, maps, activation, dataset, {"test": file}, seq_len, decode, exits)
        for dataset, file in data.items()
    ]
    sets = [_decoded(setup, samples, readout, run["seed"]) for setup in setups]
    write_manifest(
        out["summary"],
        "exits.noise",
        run=run,
        sets=sets,
        maps={name: difference(ours[name], theirs[name]) for name in PROJECTIONS},
    )


def difference(one: Rrm, other: Rrm) -> dict[str, Any]:
    """How far two maps of one module are apart.

    Returns:
        `cosine` and Pearson `correlation` of u, the latter None where undefined, and the principal
            `angles` of the subspaces in
        degrees, largest first.
    """
    pair = np.stack([one.u, other.u])
    correlation = float(map_comparison.correlations(pair)[0, 1])
    angles = np.degrees(principal_angles(one.subspace.astype(float), other.subspace.astype(float)))
    return {
        "cosine": float(map_comparison.cosines(pair)[0, 1]),
        "correlation": None if np.isnan(correlation) else correlation,
        "angles": angles.tolist(),
    }


def _decoded(setup: Setup, samples: int, readout: ReadoutSettings, seed: int) -> dict[str, Any]:
    """D_t over full decoding, and accuracy and forwards of `full` and `rad`.

    On one dataset.
    """
    setup = setup.of_set(rules=("full", "rad"))  # no rule that would need more than the one map
    bench = Bench(setup, "test", samples)
    log, divergences, full = SimilarityLog([bench.rrm], readout.visible), [], []
    with observing(bench.denoiser, log.stacked, setup.activation, "columns") as observer:
        stream = decode_stream(
            bench.denoiser,
            bench.prompts,
            bench.plan,
            "full",
            batch_size=setup.decode.batch_size,
            record=log,
            observer=observer,
        )
        for one in counted(
            stream, f"noise {setup.dataset} {setup.seq_len}", "sample", len(bench.prompts)
        ):
            ((similarity, visible),) = log.take(one.sample)
            divergences.append(certify(similarity, visible, readout.tau).kl)
            full.append(one)
    rad = bench.run("rad", setup.exits.settings("rad"))
    solved = {
        name: [row["correct"] for row in bench.rows(done)]
        for name, done in (("full", full), ("rad", rad))
    }
    return {
        "dataset": setup.dataset,
        "seq_len": setup.seq_len,
        "n": len(rad),
        "kl": summarised(divergences, seed),
        "forwards": float(np.mean([one.nfe for one in rad])),
        "full_forwards": bench.plan.steps,
        **{f"solved_{name}": int(sum(correct)) for name, correct in solved.items()},
    }
