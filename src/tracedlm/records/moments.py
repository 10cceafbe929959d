"""Mean AdamW updates of a fine-tuning run (`sft/moments.safetensors`)."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracedlm.records.tensors import read_arrays, write_arrays

VARIANTS = ("outside_raw", "outside_corrected", "inside_raw", "inside_corrected")
"""Placement of eps (AdamW: outside; TRACE Eq. 2: inside) x raw or bias-corrected moments."""


@dataclass(frozen=True)
class Moments:
    """Mean updates Ubar per module and variant (TRACE Eq. 3).

    Attributes:
        mean_updates: `<module>/<variant>` -> float32 array of the parameter's shape, dimensionless. A module is named
            `<layer>.<projection>.<matrix>`, e.g. `5.q.B`.
        steps: Number K of optimiser steps averaged over.
        eps: AdamW's epsilon.
        betas: AdamW's decay rates.
    """

    mean_updates: dict[str, np.ndarray]
    steps: int
    eps: float
    betas: tuple[float, float]

    def modules(self) -> list[str]:
        """Module names, sorted by layer."""
        names = {name.split("/")[0] for name in self.mean_updates}
        return sorted(names, key=lambda name: (int(name.split(".")[0]), name))

    def mean_update(self, layer: int, projection: str, matrix: str, variant: str) -> np.ndarray:
        """Ubar of one module.

        Raises:
            ValueError: The module or variant was not recorded; the message lists what was.
        """
        layers = sorted({int(name.split(".")[0]) for name in self.modules()})
        index = layers[layer] if layer < 0 and -layer <= len(layers) else layer
        name = f"{index}.{projection}.{matrix}/{variant}"
        if name not in self.mean_updates:
            raise ValueError(
                f"no moments of {name}; recorded: layers {layers[0]}..{layers[-1]}, modules like {self.modules()[0]}, "
                f"variants {', '.join(VARIANTS)}"
            )
        return self.mean_updates[name]

    def write(self, path: str | Path) -> None:
        """Write to safetensors."""
        write_arrays(
            path,
            self.mean_updates,
            {"steps": str(self.steps), "eps": repr(self.eps), "betas": json.dumps(self.betas), "format": "moments/1"},
        )

    @classmethod
    def read(cls, path: str | Path) -> "Moments":
        """Read and check.

        Raises:
            ValueError: The file is unreadable or is not a moments file.
        """
        arrays, metadata = read_arrays(path, "moments")
        if metadata.get("format") != "moments/1":
            raise ValueError(f"{path}: not a moments file (format {metadata.get('format')!r}, expected 'moments/1'); rule sft writes one")
        return cls(arrays, int(metadata["steps"]), float(metadata["eps"]), tuple(json.loads(metadata["betas"])))
