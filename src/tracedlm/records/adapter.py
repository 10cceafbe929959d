"""LoRA matrices of PEFT adapters: of one, or along the snapshots of a run (TRACE App. H)."""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tracedlm.records.footprint import by_layer
from tracedlm.records.lora_names import modules_of
from tracedlm.records.tensors import StoredArrays
from tracedlm.theory.moments import SquaredDeltas

ADAPTER_FILE = "adapter_model.safetensors"
DELTAS = ("root_deltas", "squared_deltas")
"""The root of the accumulated squared deltas, in the unit of the weights.

Or the sum itself, which TRACE's sentence also allows.
"""


class Adapter:
    """The matrices of one adapter. A `Footprint` of kind `adapter`, in the one variant `weights`.

    Attributes:
        others: Names of its tensors that are not LoRA matrices of q, k or v.

    Raises:
        ValueError: The file is unreadable or holds no LoRA matrix of q, k or v.
    """

    kind, variants, steps = "adapter", ("weights",), 1

    def __init__(self, path: Path) -> None:
        """Open an adapter folder or its file."""
        file = path / ADAPTER_FILE if path.is_dir() else path
        self._arrays = StoredArrays(file, "a PEFT adapter")
        self._names = modules_of(self._arrays, str(file))
        self.others = sorted(set(self._arrays) - set(self._names.values()))
        if not self._names:
            raise ValueError(
                f"{file}: no LoRA matrix of a q, k or v projection among its tensors, such as"
                f" {self.others[:1]}"
            )

    def modules(self) -> list[str]:
        """Module names, by layer."""
        return by_layer(self._names)

    def shape(self, module: str) -> tuple[int, ...]:
        """Shape of a matrix, without reading it."""
        return self._arrays.shape(self._names[module])

    def matrices(
        self, modules: Sequence[str], variants: Sequence[str] = variants
    ) -> dict[str, np.ndarray]:
        """Weights of some modules, float32."""
        # Adapters are often kept in bfloat16, whose sums would lose most of their digits.
        return {
            f"{module}/weights": self._arrays[self._names[module]].astype(np.float32)
            for module in modules
        }


class Snapshots:
    """How far each matrix moved between the adapters of a run's checkpoints.

    A `Footprint` of kind `snapshots`, see `DELTAS`.

    Raises:
        ValueError: A snapshot is unreadable.
    """

    kind, variants = "snapshots", DELTAS

    def __init__(self, folders: Sequence[Path]) -> None:
        """Take adapter folders in the order of training, two at least."""
        self.folders, self.steps = folders, len(folders)

    def modules(self) -> list[str]:
        """Module names, by layer."""
        return Adapter(self.folders[-1]).modules()

    def matrices(self, modules: Sequence[str], variants: Sequence[str]) -> dict[str, np.ndarray]:
        """Accumulated movement of some modules; one snapshot is open at a time.

        Raises:
            ValueError: A snapshot lacks a module or has it in another shape.
        """
        deltas: dict[str, SquaredDeltas] = defaultdict(SquaredDeltas)
        # The last snapshot says what is expected: the matrices of a run keep their shapes.
        expected = {module: Adapter(self.folders[-1]).shape(module) for module in modules}
        for folder in self.folders:
            adapter = Adapter(folder)
            shapes = {
                module: adapter.shape(module) if module in adapter.modules() else None
                for module in modules
            }
            for module in modules:
                if shapes[module] != expected[module]:
                    raise ValueError(
                        f"{folder}: {module} has shape {shapes[module]}, in the last snapshot"
                        f" {expected[module]}: not snapshots of one run"
                    )
            for name, weights in adapter.matrices(modules).items():
                deltas[name.split("/")[0]].add(weights)
        transforms = {"root_deltas": np.sqrt, "squared_deltas": np.asarray}
        return {
            f"{module}/{variant}": transforms[variant](deltas[module].value)
            for module in modules
            for variant in variants
        }
