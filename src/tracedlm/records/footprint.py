"""What training left in LoRA matrices, whatever it is read from.

The one interface that maps are made from.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

import numpy as np


class Footprint(Protocol):
    """One matrix per LoRA module and variant, read when it is asked for.

    A module is named `<layer>.<projection>.<matrix>`, e.g. `5.q.B`. Matrices have the parameter's
    shape: [d, r] for `B`, [r, d_in] for `A`.
    """

    @property
    def kind(self) -> str:
        """`moments`, `optimizer`, `snapshots` or `adapter`."""
        ...

    @property
    def variants(self) -> tuple[str, ...]:
        """What can be had of each module; the first is the default."""
        ...

    @property
    def steps(self) -> int:
        """Optimiser steps or snapshots that it rests on."""
        ...

    def modules(self) -> list[str]:
        """Module names, by layer."""
        ...

    def matrices(self, modules: Sequence[str], variants: Sequence[str]) -> dict[str, np.ndarray]:
        """`<module>/<variant>` -> matrix, in one pass over the files."""
        ...


def by_layer(modules: Iterable[str]) -> list[str]:
    """Module names without repeats, sorted by layer.

    >>> by_layer(["10.q.A", "2.q.B", "2.q.A", "2.q.A"])
    ['2.q.A', '2.q.B', '10.q.A']
    """
    # The layer as a number: as a text, 10 comes before 2.
    return sorted(set(modules), key=lambda name: (int(name.split(".")[0]), name))


def find_module(footprint: Footprint, layer: int, projection: str, matrix: str) -> str:
    """Name of a module that is there.

    Args:
        footprint: Where to look.
        layer: Transformer block; negative counts from the last one that is there.
        projection: `q`, `k` or `v`.
        matrix: `A` or `B`.

    Raises:
        ValueError: It is not there; the message says what is.
    """
    modules = footprint.modules()
    layers = sorted({int(name.split(".")[0]) for name in modules})
    # A layer out of range stays what it is, and the message names it.
    index = layers[layer] if layer < 0 and -layer <= len(layers) else layer
    name = f"{index}.{projection}.{matrix}"
    if name not in modules:
        kinds = sorted({name.split(".", 1)[1] for name in modules})
        raise ValueError(
            f"no {footprint.kind} of module {name}; there are layers {layers[0]}..{layers[-1]},"
            f" each with {', '.join(kinds)}"
        )
    return name


def find_variant(footprint: Footprint, variant: str | None) -> str:
    """A variant that can be had; None is the default one.

    Raises:
        ValueError: It cannot; the message says which can.
    """
    if variant is None:
        return footprint.variants[0]
    if variant not in footprint.variants:
        raise ValueError(
            f"no variant {variant!r} of {footprint.kind}; known: {', '.join(footprint.variants)}"
        )
    return variant
