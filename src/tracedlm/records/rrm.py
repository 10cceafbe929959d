"""Reasoning Representation Maps (`rrm/<projection>.safetensors`)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracedlm.records.tensors import read_arrays, write_arrays

PROJECTIONS = ("q", "k", "v")


@dataclass(frozen=True)
class Rrm:
    """A map for one module (TRACE Eq. 4).

    Attributes:
        u: float32 [d], unit l2 norm: share of the mean update's energy in each output dimension.
        subspace: float32 [d, k], orthonormal columns: top left singular vectors of the mean update (EDIT App. D).
        layer: Transformer block it belongs to, from 0.
        projection: `q`, `k` or `v`.
        matrix: `A` or `B` of the LoRA pair.
        source: What it was made from, e.g. `moments`.
        variant: Variant of the mean update, e.g. `outside_raw`.
    """

    u: np.ndarray
    subspace: np.ndarray
    layer: int
    projection: str
    matrix: str
    source: str
    variant: str

    def write(self, path: str | Path) -> None:
        """Write to safetensors."""
        described = {
            "layer": str(self.layer),
            "projection": self.projection,
            "matrix": self.matrix,
            "source": self.source,
            "variant": self.variant,
        }
        write_arrays(path, {"u": self.u, "U": self.subspace}, {**described, "format": "rrm/1"})

    @classmethod
    def read(cls, path: str | Path) -> "Rrm":
        """Read and check.

        Raises:
            ValueError: The file is unreadable, is not a map, or its vector is not of unit norm.
        """
        arrays, metadata = read_arrays(path, "a reasoning map")
        if metadata.get("format") != "rrm/1" or not {"u", "U"} <= set(arrays):
            raise ValueError(f"{path}: not a map (format {metadata.get('format')!r}, expected 'rrm/1'); rule rrm writes one")
        norm = float(np.linalg.norm(arrays["u"].astype(np.float64)))
        if not abs(norm - 1) < 1e-4:
            raise ValueError(f"{path}: the map's vector has norm {norm:.6g}, expected 1; make it anew with rule rrm")
        return cls(
            arrays["u"], arrays["U"], int(metadata["layer"]), *(metadata[key] for key in ("projection", "matrix", "source", "variant"))
        )
