"""Mean AdamW updates of a fine-tuning run (`sft/moments.safetensors`)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tracedlm.records.footprint import by_layer
from tracedlm.records.formats import FORMATS, check_format
from tracedlm.records.json_text import parse_json
from tracedlm.records.lora_names import MODULE
from tracedlm.records.tensors import StoredArrays, write_arrays

MOMENTS_FILE = "moments.safetensors"

VARIANTS = ("outside_raw", "outside_corrected", "inside_raw", "inside_corrected")
"""Placement of eps (AdamW: outside; TRACE Eq. 2: inside) x raw or bias-corrected moments."""


@dataclass(frozen=True)
class Moments:
    """Mean updates Ubar per module and variant (TRACE Eq. 3). A `Footprint`.

    Attributes:
        mean_updates: `<module>/<variant>` -> float32 array of the parameter's shape, dimensionless.
            A module is named `<layer>.<projection>.<matrix>`, e.g. `5.q.B`.
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
        recorded = {name.split("/")[1] for name in self.mean_updates}
        # In the order of VARIANTS, for the first one is the default.
        return tuple(variant for variant in VARIANTS if variant in recorded)

    def modules(self) -> list[str]:
        """Module names, by layer."""
        return by_layer(name.split("/")[0] for name in self.mean_updates)

    def matrices(self, modules: Sequence[str], variants: Sequence[str]) -> dict[str, np.ndarray]:
        """Mean updates of some modules and variants."""
        return {
            name: self.mean_updates[name]
            for module in modules
            for variant in variants
            for name in [f"{module}/{variant}"]
        }

    def write(self, path: str | Path) -> None:
        """Write to safetensors."""
        write_arrays(
            path,
            dict(self.mean_updates),
            {
                "steps": str(self.steps),
                # repr reads back as the same float.
                "eps": repr(self.eps),
                "betas": json.dumps(self.betas),
                "format": FORMATS["moments"],
            },
        )

    @classmethod
    def read(cls, path: str | Path) -> "Moments":
        """Open and check; arrays are read from the file when they are used.

        Raises:
            ValueError: The file is unreadable or is not a moments file.
        """
        stored = StoredArrays(path, "moments")
        facts = stored.metadata
        check_format(path, facts.get("format"), "moments", "a moments file; rule sft writes one")
        try:
            beta1, beta2 = map(float, parse_json(facts["betas"]))
            moments = cls(stored, int(facts["steps"]), float(facts["eps"]), (beta1, beta2))
            modules = moments.modules()
            if not stored or set(stored) != {
                f"{module}/{variant}" for module in modules for variant in moments.variants
            }:
                raise ValueError("not every module has every variant")
            if strange := [module for module in modules if not MODULE.fullmatch(module)]:
                raise ValueError(f"no module is called {strange[0]!r}")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path}: not the moments of LoRA modules ({error!r}); make it anew with rule sft"
            ) from None
        return moments
