"""Rule `rrm`: maps per projection from the mean updates."""

import json
from pathlib import Path

from tracedlm.config import Rrm as RrmSettings
from tracedlm.records.atomic import write_text
from tracedlm.records.manifest import write_manifest
from tracedlm.records.moments import Moments
from tracedlm.records.rrm import PROJECTIONS, Rrm
from tracedlm.theory import moments as theory

SUBSPACE_RANK = 4
"""Singular vectors kept with each map (EDIT App. D: 2 to 4); fewer where LoRA's rank is lower."""


def build_rrm(
    source: str | Path | Moments,
    projection: str = "q",
    layer: int = -1,
    reduction: str = "row_energy",
    variant: str = "outside_raw",
    matrix: str = "B",
) -> Rrm:
    """The map of one module (TRACE Eq. 4).

    Args:
        source: `Moments`, or the path of a moments file.
        projection: `q`, `k` or `v`.
        layer: Transformer block; negative counts from the end.
        reduction: `row_energy` (TRACE Eq. 4) or `row_mean` (EDIT Table 4). For matrix `A` over its columns.
        variant: Variant of the mean update, see `records.moments.VARIANTS`.
        matrix: `A` or `B` of the LoRA pair.

    Raises:
        ValueError: Unknown module, variant or reduction; or the mean update is zero.
    """
    moments = source if isinstance(source, Moments) else Moments.read(source)
    mean_update = moments.mean_update(layer, projection, matrix, variant)
    oriented = mean_update.T if matrix == "A" else mean_update
    reductions = {"row_energy": theory.row_energy, "row_mean": theory.row_mean}
    if reduction not in reductions:
        raise ValueError(f"unknown reduction {reduction!r}; known: {', '.join(reductions)}")
    layers = sorted({int(name.split(".")[0]) for name in moments.modules()})
    return Rrm(
        u=theory.unit(reductions[reduction](oriented)).astype("float32"),
        subspace=theory.subspace(oriented, min(SUBSPACE_RANK, *oriented.shape)).astype("float32"),
        layer=layers[layer] if layer < 0 else layer,
        projection=projection,
        matrix=matrix,
        source="moments",
        variant=variant,
    )


def make_maps(moments_path: Path, settings: RrmSettings, out: dict[str, Path], manifest: Path) -> None:
    """Write the map of each projection, and the storage it takes (TRACE App. E)."""
    moments = Moments.read(moments_path)
    variant = f"{settings.placement}_{'corrected' if settings.bias_corrected else 'raw'}"
    maps = {projection: build_rrm(moments, projection, settings.layer, variant=variant) for projection in PROJECTIONS}
    for projection, rrm in maps.items():
        rrm.write(out[projection])
    write_manifest(manifest, "rrm", settings=settings.model_dump(), steps=moments.steps)


def storage(model_path: str, maps: dict[str, Path], out: Path) -> None:
    """Facts for the storage table: dimensions of the configured model, and bytes on disk of its maps."""
    from tracedlm.models.denoiser import load_denoiser

    model = load_denoiser(model_path).causal_lm
    facts = {
        "layers": model.config.num_hidden_layers,
        "width": model.config.hidden_size,
        "model_bytes": sum(weight.numel() * weight.element_size() for weight in model.parameters()),
        "map_file_bytes": {projection: path.stat().st_size for projection, path in maps.items()},
    }
    write_text(out, json.dumps(facts, indent=1) + "\n")
