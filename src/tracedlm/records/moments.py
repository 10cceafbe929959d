"""Mean AdamW updates of a fine-tuning run (`sft/moments.safetensors`)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracedlm.records.footprint import by_layer
from tracedlm.records.tensors import StoredArrays, write_arrays

VARIANTS = ("outside_raw", "outside_corrected", "inside_raw", "inside_corrected")
"""Placement of eps (AdamW: outside; TRACE Eq. 2: inside) x raw or bias-corrected moments."""


@dataclass(frozen=True)
class Moments:
    """Mean updates Ubar per module and variant (TRACE Eq. 3). A `Footprint`.

    Attributes:
        mean_updates: `<module>/<variant>` -> float32 array of the parameter's shape, dimensionless. A module is named
            `<layer>.<projection>.<matrix>`, e.g. `5.q.B`.
        steps: Number K of optimiser steps averaged over.
        eps: AdamW's epsilon.
        betas: AdamW's decay rates.
    """

    mean_updates: Mapping[str, np.ndarray]
    steps: int
    eps: float
    betas: tuple[float, float]

    @property
    def kind(self) -> str:
        """`moments`."""
        return "moments"

    @property
    def variants(self) -> tuple[str, ...]:
        """Variants that were recorded."""
        found = {name.split("/")[1] for name in self.mean_updates}
        return tuple(variant for variant in VARIANTS if variant in found)

    def modules(self) -> list[str]:
        """Module names, by layer."""
        return by_layer(name.split("/")[0] for name in self.mean_updates)

    def matrices(self, modules: Sequence[str], variants: Sequence[str]) -> dict[str, np.ndarray]:
        """Mean updates of some modules and variants."""
        return {name: self.mean_updates[name] for module in modules for variant in variants for name in [f"{module}/{variant}"]}

    def write(self, path: str | Path) -> None:
        """Write to safetensors."""
        write_arrays(
            path,
            dict(self.mean_updates),
            {"steps": str(self.steps), "eps": repr(self.eps), "betas": json.dumps(self.betas), "format": "moments/1"},
        )

    @classmethod
    def read(cls, path: str | Path) -> "Moments":
        """Open and check; arrays are read from the file when they are used.

        Raises:
            ValueError: The file is unreadable or is not a moments file.
        """
        stored = StoredArrays(path, "moments")
        facts = stored.metadata
        if facts.get("format") != "moments/1":
            raise ValueError(f"{path}: not a moments file (format {facts.get('format')!r}, expected 'moments/1'); rule sft writes one")
        return cls(stored, int(facts["steps"]), float(facts["eps"]), tuple(json.loads(facts["betas"])))
