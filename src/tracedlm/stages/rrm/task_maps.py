"""Rule `task_maps`: how alike the maps of fine-tunings on different tasks are (EDIT Figure 3)."""

from pathlib import Path

from tracedlm.config import Rrm as RrmSettings
from tracedlm.records.manifest import write_manifest
from tracedlm.records.moments import Moments
from tracedlm.records.parquet import write_table
from tracedlm.records.update_magnitude import UPDATE_MAGNITUDE
from tracedlm.stages.rrm.maps import configured_maps, configured_variant, magnitude_rows, similarity
from tracedlm.theory.map_comparison import chance_cosine


def compare_tasks(runs: dict[str, Path], settings: RrmSettings, out: dict[str, Path]) -> None:
    """Write how alike the maps of every two runs are, and the update magnitudes of each run.

    Args:
        runs: Name of each fine-tuning -> its moments. `<task>-<number>` is the run with that seed
            on one task; runs of one task tell how far seeds alone move a map.
        settings: Which maps are made of them.
        out: `similarity`, JSON with `runs` and, as of `stages.rrm.similarity`, each run's maps in
            their order; `magnitude`, of the runs' first seeds, Parquet.
    """
    recorded = {run: Moments.read(path) for run, path in runs.items()}
    maps = [
        rrm for moments in recorded.values() for rrm in configured_maps(moments, settings).values()
    ]
    first = [run for run in runs if run.endswith("-0")]
    rows = [
        row
        for run in first
        for row in magnitude_rows(
            recorded[run], run, settings.layer, configured_variant(recorded[run], settings)
        )
    ]
    write_table(out["magnitude"], rows, UPDATE_MAGNITUDE)
    any_run = next(iter(recorded.values()))
    module = maps[0].module
    rank = min(any_run.matrices([module], [maps[0].variant])[f"{module}/{maps[0].variant}"].shape)
    write_manifest(
        out["similarity"],
        "rrm.task_maps",
        runs=list(runs),
        **similarity(maps),
        chance=chance_cosine(rank),
    )
