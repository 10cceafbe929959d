"""Rule `rrm`: maps from what training left.

For every projection and for the comparison of modules.
"""

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tracedlm.config import Rrm as RrmSettings
from tracedlm.records.adapter import Adapter
from tracedlm.records.footprint import Footprint, find_module, find_variant
from tracedlm.records.manifest import write_manifest
from tracedlm.records.map_file import MapFiles
from tracedlm.records.parquet import write_table
from tracedlm.records.rrm import PROJECTIONS, Rrm, facts_of, write_maps
from tracedlm.records.update_magnitude import UPDATE_MAGNITUDE
from tracedlm.stages.rrm.source import open_source
from tracedlm.theory import map_comparison, moments, subspaces
from tracedlm.theory.magnitude import eight_bits, magnitude_grid

SUBSPACE_RANK = 4
"""Dimensions kept of each map's subspace (EDIT App. D: 2 to 4).

Fewer where the mean update has fewer.
"""
REDUCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "row_energy": moments.row_energy,
    "row_mean": moments.row_mean,
}
TABLE_4 = (("q", "A"), ("q", "B"), ("k", "B"), ("v", "B"))
"""Modules of EDIT Table 4."""


def build_rrm(
    source: str | Path | Footprint | MapFiles,
    projection: str = "q",
    layer: int = -1,
    reduction: str = "row_energy",
    matrix: str = "B",
    variant: str | None = None,
    *,
    basis: str = "svd",
    activations: np.ndarray | None = None,
    kind: str | None = None,
    names: str | Path | None = None,
) -> Rrm:
    """The map of one module (TRACE Eq. 4), from whatever its training left (TRACE App. H).

    Args:
        source: `Moments`, or a path: moments, a folder of optimiser checkpoints or of adapter
            snapshots, one adapter, or finished maps; see `stages.map_source.open_source`. Finished
            maps are taken as they are: of what follows, only projection and layer apply.
        projection: `q`, `k` or `v`.
        layer: Transformer block; negative counts from the last that the source has.
        reduction: `row_energy` (TRACE Eq. 4) or `row_mean` (EDIT Table 4). For matrix `A` over its
            columns.
        matrix: `B`, compared with the module's output, or `A`, compared with its input.
        variant: Of moments and optimiser checkpoints `outside_raw` (default), `outside_corrected`,
            `inside_raw` or `inside_corrected`; of snapshots `root_deltas` (default) or
            `squared_deltas`; of an adapter `weights`.
        basis: Of the map's subspace: `svd`, `cca` with the activations given, or `columns`; see
            `records.rrm.Rrm`.
        activations: [n, d] activations of the module, one row a token, for `cca`.
        kind: What to take a folder for that holds several sources.
        names: Name map of a Trainer's `optimizer.pt`.

    Raises:
        ValueError: Nothing at the path can be used; an unknown module, variant, reduction or basis;
            or the matrix is zero.
    """
    opened = open_source(source, kind, names)
    if isinstance(opened, MapFiles):
        return opened.rrm(projection, layer)
    module, variant = find_module(opened, layer, projection, matrix), find_variant(opened, variant)
    array = opened.matrices([module], [variant])[f"{module}/{variant}"]
    return _map(
        array,
        module,
        kind=opened.kind,
        variant=variant,
        reduction=reduction,
        basis=basis,
        activations=activations,
    )


def build_rrms(
    source: str | Path | Footprint,
    reduction: str = "row_energy",
    matrix: str | None = None,
    variant: str | None = None,
    *,
    basis: str = "svd",
    kind: str | None = None,
    names: str | Path | None = None,
) -> list[Rrm]:
    """The map of every module, by layer; files are read once.

    Arguments and errors are those of `build_rrm`; without `matrix` the maps of both LoRA matrices.
    Finished maps have no modules.
    """
    opened = open_source(source, kind, names)
    if isinstance(opened, MapFiles):
        raise ValueError(
            f"{source} holds finished maps; what needs every module, such as the exit rule"
            " rank_softmax, takes moments, optimiser checkpoints, snapshots or an adapter"
        )
    variant = find_variant(opened, variant)
    modules = [
        module for module in opened.modules() if matrix is None or module.endswith(f".{matrix}")
    ]
    arrays = opened.matrices(modules, [variant])
    return [
        _map(
            arrays[f"{module}/{variant}"],
            module,
            kind=opened.kind,
            variant=variant,
            reduction=reduction,
            basis=basis,
        )
        for module in modules
    ]


def prepare_maps(source: str | Path, projection: str = "q", layer: int = -1) -> list[Rrm]:
    """Finished maps of another tool, standardised.

    Of unit length, by projection (TRACE App. H, `prep`).

    Args:
        source: JSON or `.npz` file, or a folder of such, see `records.map_file`.
        projection: Projection of a single vector of which nothing says it.
        layer: Transformer block, from 0, where the files do not say it.

    Raises:
        ValueError: There is no map, or its layer is not known.
    """
    opened = open_source(source, "file")
    assert isinstance(opened, MapFiles)
    return [opened.rrm(known or projection, layer) for known in opened.maps]


def _map(
    array: np.ndarray,
    module: str,
    kind: str,
    variant: str,
    reduction: str,
    basis: str = "svd",
    activations: np.ndarray | None = None,
) -> Rrm:
    layer, projection, matrix = module.split(".")
    if reduction not in REDUCTIONS:
        raise ValueError(f"unknown reduction {reduction!r}; known: {', '.join(REDUCTIONS)}")
    oriented = array.T if matrix == "A" else array
    try:
        u = moments.unit(REDUCTIONS[reduction](oriented))
    except ValueError as error:
        raise ValueError(f"{module}/{variant} of {kind}: {error}") from None
    subspace = _subspace(oriented, basis, activations)
    return Rrm(
        u.astype(np.float32),
        subspace.astype(np.float32),
        int(layer),
        projection,
        matrix,
        kind,
        variant,
        reduction,
        basis,
    )


def _subspace(oriented: np.ndarray, basis: str, activations: np.ndarray | None) -> np.ndarray:
    if (basis == "cca") != (activations is not None):
        raise ValueError(f"activations go with basis 'cca' and only with it, got basis {basis!r}")
    if activations is not None:
        return subspaces.cca_subspace(
            oriented, activations, min(SUBSPACE_RANK, subspaces.rank_of(oriented))
        )
    if basis == "svd":
        return subspaces.subspace(oriented, min(SUBSPACE_RANK, subspaces.rank_of(oriented)))
    if basis != "columns":
        raise ValueError(f"unknown basis {basis!r}; known: svd, cca, columns")
    lengths = np.linalg.norm(oriented, axis=0)
    return oriented / np.where(lengths == 0, 1, lengths)


def make_maps(
    source: Path, adapter: Path, settings: RrmSettings, out: dict[str, Path], manifest: Path
) -> None:
    """Write the map of each projection; the maps that the ablations compare; how alike those are.

    And where updates were large.

    Args:
        source: What maps are made from.
        adapter: Adapter whose activations will be compared with them.
        settings: Which maps.
        out: `q`, `k`, `v`, `modules`, `similarity`, `magnitude`; the last has no rows where the
            source holds finished maps.
        manifest: Written last.

    Raises:
        ValueError: The source holds no such maps, or they do not fit the adapter.
    """
    opened, theirs = open_source(source), Adapter(adapter)
    if isinstance(opened, MapFiles):
        chosen = compared = [opened.rrm(projection, settings.layer) for projection in PROJECTIONS]
        chance, magnitudes = None, []
    else:
        variant = configured_variant(opened, settings)
        chosen, compared, rank = _in_one_pass(opened, settings, variant)
        chance, magnitudes = (
            map_comparison.chance_cosine(rank),
            magnitude_rows(opened, "study", settings.layer, variant),
        )
        if rank != (adapted := min(theirs.shape(theirs.modules()[0]))):
            warnings.warn(
                f"{source} is of rank {rank}, {adapter} of rank {adapted}: they come from different"
                " runs",
                stacklevel=2,
            )
    check_fit(chosen, theirs, f"{source} does not fit the adapter {adapter}")
    for rrm in chosen:
        rrm.write(out[rrm.projection])
    write_maps(out["modules"], compared)
    write_manifest(out["similarity"], "rrm.maps", **similarity(compared), chance=chance)
    write_table(out["magnitude"], magnitudes, UPDATE_MAGNITUDE)
    write_manifest(
        manifest,
        "rrm.maps",
        settings=settings.model_dump(),
        source=str(source),
        kind=opened.kind,
        steps=getattr(opened, "steps", None),
    )


def check_fit(maps: Sequence[Rrm], adapter: Adapter, what: str) -> None:
    """Refuse maps of modules that an adapter does not have.

    Raises:
        ValueError: A map's layer is not among the adapter's, or its module has another width;
            begins with `what`.
    """
    for rrm in maps:
        try:
            width = adapter.shape(find_module(adapter, rrm.layer, rrm.projection, "B"))[0]
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from None
        if len(rrm.u) != width:
            raise ValueError(
                f"{what}: the map of {rrm.module} has width {len(rrm.u)}, the adapter's module"
                f" {width}"
            )


def configured_variant(opened: Footprint, settings: RrmSettings) -> str:
    """The configured variant of a source that holds moments; elsewhere its default one."""
    variant = f"{settings.placement}_{'corrected' if settings.bias_corrected else 'raw'}"
    return find_variant(opened, variant if opened.kind in ("moments", "optimizer") else None)


def configured_maps(opened: Footprint, settings: RrmSettings) -> dict[str, Rrm]:
    """The map of each projection, as configured."""
    variant = configured_variant(opened, settings)
    return {
        name: build_rrm(opened, name, settings.layer, settings.reduction, variant=variant)
        for name in PROJECTIONS
    }


def _in_one_pass(
    opened: Footprint, settings: RrmSettings, variant: str
) -> tuple[list[Rrm], list[Rrm], int]:
    """Maps of q, k, v as configured; those of EDIT Table 4 and of every variant.

    And the rank of the LoRA matrices.

    A source may be gigabytes: it is read once.
    """
    wanted = [
        (find_module(opened, settings.layer, projection, "B"), variant, settings.reduction)
        for projection in PROJECTIONS
    ]
    there = set(opened.modules())
    layer = wanted[0][0].split(".")[0]
    compared = [
        *(
            (f"{layer}.{projection}.{matrix}", variant, reduction)
            for projection, matrix in TABLE_4
            for reduction in REDUCTIONS
        ),
        *((module, other, "row_energy") for module, _, _ in wanted for other in opened.variants),
    ]
    compared = [spec for spec in dict.fromkeys(compared) if spec[0] in there]
    specs = [*wanted, *compared]
    arrays = opened.matrices(
        list(dict.fromkeys(spec[0] for spec in specs)),
        list(dict.fromkeys(spec[1] for spec in specs)),
    )
    maps = [
        _map(arrays[f"{module}/{which}"], module, opened.kind, which, reduction)
        for module, which, reduction in specs
    ]
    return maps[: len(wanted)], maps[len(wanted) :], min(arrays[f"{specs[0][0]}/{variant}"].shape)


def similarity(maps: Sequence[Rrm]) -> dict[str, Any]:
    """How alike maps are, of one study's modules or of several runs and tasks.

    Args:
        maps: Maps of any modules, runs or tasks.

    Returns:
        `maps`: what each is; `cosine`, `correlation` of u and the largest principal `angle` of the
            subspaces in degrees: nested lists
        [m][m], None where widths differ or a number is undefined.
    """
    empty: list[list[float | None]] = [[None] * len(maps) for _ in maps]
    found = {name: [row.copy() for row in empty] for name in ("cosine", "correlation", "angle")}
    for i, a in enumerate(maps):
        for j, b in enumerate(maps):
            if len(a.u) != len(b.u):
                continue
            pair = np.stack([a.u, b.u])
            values = {
                "cosine": map_comparison.cosines(pair)[0, 1],
                "correlation": map_comparison.correlations(pair)[0, 1],
            }
            values["angle"] = np.degrees(
                subspaces.principal_angles(a.subspace.astype(float), b.subspace.astype(float))[0]
            )
            for name, value in values.items():
                found[name][i][j] = None if np.isnan(value) else float(value)
    return {"maps": [facts_of(rrm) for rrm in maps], **found}


SHOWN_PROJECTION = "q"
"""The one EDIT shows."""


def magnitude_rows(
    footprint: Footprint, run: str, layer: int, variant: str
) -> list[dict[str, Any]]:
    """Rows of `records.update_magnitude` for LoRA-B of the queries.

    And for LoRA-A where it is there.

    Args:
        footprint: What the run left.
        run: Its name.
        layer: Transformer block; negative counts from the end.
        variant: Variant of the mean update.

    Raises:
        ValueError: There is no LoRA-B of this layer.
    """
    module = find_module(footprint, layer, SHOWN_PROJECTION, "B")
    modules = [name for name in (module, f"{module[:-1]}A") if name in footprint.modules()]
    rows = []
    for name, update in footprint.matrices(modules, [variant]).items():
        grid = magnitude_grid(update)
        scaled = eight_bits(grid)
        rows += [
            {
                "run": run,
                "module": name.split("/")[0],
                "row": i,
                "column": j,
                "magnitude": float(grid[i, j]),
                "scaled": float(scaled[i, j]),
            }
            for i in range(grid.shape[0])
            for j in range(grid.shape[1])
        ]
    return rows
