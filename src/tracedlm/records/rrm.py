"""Reasoning Representation Maps.

One a file (`rrm/<projection>.safetensors`), or all that a study compares
(`rrm/modules.safetensors`).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tracedlm.records.formats import FORMATS, check_format
from tracedlm.records.json_text import parse_json
from tracedlm.records.lora_names import MODULE
from tracedlm.records.tensors import read_arrays, write_arrays

PROJECTIONS = ("q", "k", "v")
FACTS = ("layer", "projection", "matrix", "source", "variant", "reduction", "basis")


@dataclass(frozen=True)
class Rrm:
    """A map for one module (TRACE Eq. 4).

    Attributes:
        u: float32 [d], unit l2 norm: share of the mean update's energy in each output dimension;
            for matrix `A`, input dimension.
        subspace: float32 [d, k]: the same as a basis, see `basis`.
        layer: Transformer block it belongs to, from 0.
        projection: `q`, `k` or `v`.
        matrix: `A` or `B` of the LoRA pair. The map of `B` is compared with the module's output,
            that of `A` with its input.
        source: What it was made from: `moments`, `optimizer`, `snapshots`, `adapter` or `file`.
        variant: Variant of the mean update, e.g. `outside_raw`.
        reduction: How rows became `u`: `row_energy` or `row_mean`.
        basis: What `subspace` holds: `svd` (orthonormal, leading left singular vectors; EDIT App.
            D), `cca` (orthonormal; EDIT App. E), `columns` (the mean update's own columns, each of
            unit length; EDIT's released code) or `map` (u itself).
    """

    u: np.ndarray
    subspace: np.ndarray
    layer: int
    projection: str
    matrix: str
    source: str
    variant: str
    reduction: str = "row_energy"
    basis: str = "svd"

    @property
    def module(self) -> str:
        """`<layer>.<projection>.<matrix>`, e.g. `5.q.B`."""
        return f"{self.layer}.{self.projection}.{self.matrix}"

    def write(self, path: str | Path) -> None:
        """Write to safetensors."""
        described = {key: str(getattr(self, key)) for key in FACTS}
        write_arrays(
            path, {"u": self.u, "U": self.subspace}, {**described, "format": FORMATS["map"]}
        )

    @classmethod
    def read(cls, path: str | Path) -> "Rrm":
        """Read and check.

        Raises:
            ValueError: The file is unreadable, is not a map, or its vector is not of unit norm.
        """
        arrays, metadata = read_arrays(path, "a reasoning map")
        check_format(path, metadata.get("format"), "map", "a map; rule rrm writes one")
        # Facts that are younger than the format may be missing: they have defaults.
        return _made(path, arrays, "", {key: metadata[key] for key in FACTS if key in metadata})


def write_maps(path: str | Path, maps: Sequence[Rrm]) -> None:
    """Write several maps to one safetensors file, in their order."""
    arrays = {
        f"{n}/{name}": array
        for n, rrm in enumerate(maps)
        for name, array in (("u", rrm.u), ("U", rrm.subspace))
    }
    write_arrays(
        path,
        arrays,
        {"maps": json.dumps([facts_of(rrm) for rrm in maps]), "format": FORMATS["maps"]},
    )


def read_maps(path: str | Path) -> list[Rrm]:
    """Read maps that `write_maps` wrote.

    Raises:
        ValueError: The file is unreadable or does not hold maps, or one is not of unit norm.
    """
    arrays, metadata = read_arrays(path, "reasoning maps")
    check_format(path, metadata.get("format"), "maps", "a set of maps; rule rrm writes one")
    try:
        described = list(parse_json(metadata["maps"]))
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path}: does not say what its maps are of ({error!r}); rule rrm writes one that does"
        ) from None
    return [_made(path, arrays, f"{n}/", facts) for n, facts in enumerate(described)]


def facts_of(rrm: Rrm) -> dict[str, Any]:
    """What a map is a map of, without its arrays."""
    return {key: getattr(rrm, key) for key in FACTS}


def _made(
    path: str | Path, arrays: Mapping[str, np.ndarray], prefix: str, facts: Mapping[str, Any]
) -> Rrm:
    """A map from what a file holds.

    `reduction` and `basis`, which are younger than the format, may be missing.
    """
    # Metadata are texts, so that the layer may come back as one.
    try:
        rrm = Rrm(
            arrays[f"{prefix}u"], arrays[f"{prefix}U"], **{**facts, "layer": int(facts["layer"])}
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"{path}: not a map ({error!r}); rule rrm writes one") from None
    if (
        rrm.u.ndim != 1
        or rrm.subspace.ndim != 2
        or len(rrm.u) != len(rrm.subspace)
        or not MODULE.fullmatch(rrm.module)
    ):
        raise ValueError(
            f"{path}: arrays of shapes {rrm.u.shape} and {rrm.subspace.shape} for module"
            f" {rrm.module!r} are no map; rule rrm writes one"
        )
    # float32 rounds the norm of a unit vector far less than by 1e-4.
    norm = float(np.linalg.norm(rrm.u.astype(np.float64)))
    if not abs(norm - 1) < 1e-4:
        raise ValueError(
            f"{path}: the map's vector has norm {norm:.6g}, expected 1; make it anew with rule rrm"
        )
    return rrm
