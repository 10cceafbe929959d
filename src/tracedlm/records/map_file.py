"""Finished maps of other tools, in JSON or `.npz`, and our own map files.

TRACE App. H calls them `rrms/final_block_{Q,K,V}.json`.
"""

import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from tracedlm.records.json_text import parse_json
from tracedlm.records.rrm import PROJECTIONS, Rrm
from tracedlm.theory.moments import unit

VECTORS = ("u", "rrm", "map", "vector")
LAYERS = ("layer", "block")
SUFFIXES = (".json", ".npz")
LARGEST = 2**26
"""Bytes of a `.npz` file when unpacked.

The maps of every module of LLaDA-8B take a twentieth of it.
"""


@dataclass(frozen=True)
class Vector:
    """A vector found in a file.

    `projection` and `layer` are None where the file does not say them.
    """

    where: str
    values: np.ndarray
    projection: str | None
    layer: int | None


def read_foreign_map(path: Path) -> list[Vector]:
    """Vectors of one JSON or `.npz` file.

    A file is a vector, or a mapping with a vector under `u`, `rrm`, `map` or `vector` and maybe
    `projection` and `layer` (or `block`), or a mapping of such under names that say the projection:
    `Q`, `q_proj`, `layers.31.self_attn.q_proj`. Where nothing inside says the projection, the
    file's name may: `final_block_Q.json`.

    Raises:
        ValueError: The file is unreadable, or holds no vector.
    """
    try:
        content = _npz(path) if path.suffix == ".npz" else parse_json(path.read_bytes())
        vectors = list(_vectors(content, str(path), projection_in(path.stem)))
    except (ValueError, OSError, OverflowError, RecursionError) as error:
        raise ValueError(
            f"{path}: not a readable map file ({str(error)[:120]}); expected JSON, or .npz of plain"
            " arrays"
        ) from error
    if not vectors:
        raise ValueError(
            f"{path}: no vector; expected a list of numbers, or one under {', '.join(VECTORS)} or a"
            " projection's name"
        )
    return vectors


def projection_in(name: str) -> str | None:
    """The projection a name speaks of, or None.

    >>> [
    ...     projection_in(name)
    ...     for name in ("final_block_Q", "layers.31.self_attn.k_proj.lora_B", "vector")
    ... ]
    ['q', 'k', None]
    """
    projections = [part for part in re.split(r"[^a-z]+", name.lower()) if part in PROJECTIONS]
    return projections[-1] if projections else None


class MapFiles:
    """Finished maps, one for each projection at most.

    A map file of ours or of another tool, or a folder of either.

    Raises:
        ValueError: A file is unreadable, or two are for the same projection.
    """

    kind = "file"

    def __init__(self, path: Path) -> None:
        files = (
            sorted(file for file in path.iterdir() if is_map_file(file))
            if path.is_dir()
            else [path]
        )
        self.maps: dict[str | None, Rrm] = {}
        for file in files:
            for rrm, projection in _maps(file):
                if projection in self.maps:
                    raise ValueError(
                        f"{path}: more than one map of projection {projection or '(not said)'};"
                        " name one file"
                    )
                self.maps[projection] = rrm

    def rrm(self, projection: str, layer: int = -1) -> Rrm:
        """The map of a projection; one whose file says no projection is taken for any.

        Args:
            projection: `q`, `k` or `v`.
            layer: Needed where the file does not say it; elsewhere negative or the same.

        Raises:
            ValueError: There is none, or its layer is not known or another one.
        """
        rrm = self.maps.get(projection, self.maps.get(None) if len(self.maps) == 1 else None)
        if rrm is None:
            raise ValueError(
                f"no map of projection {projection!r}; there are"
                f" {', '.join(sorted(str(name) for name in self.maps))}"
            )
        if rrm.layer < 0 and layer < 0:
            raise ValueError(
                f"the map of {projection!r} does not say its layer; give it, counted from 0"
                " (LLaDA-8B's final block is 31)"
            )
        if 0 <= rrm.layer != layer >= 0:
            raise ValueError(f"the map of {projection!r} is of layer {rrm.layer}, not {layer}")
        return replace(rrm, projection=projection, layer=max(rrm.layer, layer))


def is_map_file(path: Path) -> bool:
    """Whether a file's name is one under which maps are kept."""
    return (path.suffix in SUFFIXES and projection_in(path.stem) is not None) or path.name in {
        f"{name}.safetensors" for name in PROJECTIONS
    }


def _maps(file: Path) -> Iterator[tuple[Rrm, str | None]]:
    if file.suffix == ".safetensors":
        rrm = Rrm.read(file)
        yield rrm, rrm.projection
        return
    for vector in read_foreign_map(file):
        try:
            u = unit(vector.values).astype(np.float32)
        except ValueError as error:
            raise ValueError(f"{vector.where}: {error}") from None
        layer = -1 if vector.layer is None else vector.layer
        rrm = Rrm(
            u=u,
            subspace=u[:, None],
            layer=layer,
            projection="",
            matrix="B",
            source="file",
            variant="given",
            reduction="given",
            basis="map",
        )
        yield rrm, vector.projection


def _vectors(
    content: Any, place: str, projection: str | None, layer: int | None = None
) -> Iterator[Vector]:
    if isinstance(content, list):
        values = (
            np.asarray(content, dtype=float)
            if all(isinstance(x, int | float) for x in content)
            else np.empty(0)
        )
        # A list of one number is a fact about a map, and no map.
        if len(values) > 1:
            yield Vector(place, values, projection, layer)
    elif isinstance(content, dict):
        layer = next(
            (
                int(value)
                for key in LAYERS
                if isinstance(value := content.get(key), int | float) and value % 1 == 0
            ),
            layer,
        )
        projection = projection_in(str(content.get("projection", ""))) or projection
        for key, inner in content.items():
            key_projection = projection_in(key)
            if key.lower() in VECTORS or key_projection is not None:
                yield from _vectors(inner, f"{place}: {key}", key_projection or projection, layer)


def _npz(path: Path) -> Any:
    try:
        # The archive states its sizes: they are known before anything is unpacked.
        with zipfile.ZipFile(path) as archive:
            if (size := sum(entry.file_size for entry in archive.infolist())) > LARGEST:
                raise ValueError(f"{size} bytes when unpacked, more than {LARGEST}")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name].tolist() for name in file.files}
    # zipfile, zlib and NumPy raise a dozen kinds; all mean a file that will not be used
    except Exception as error:
        raise ValueError(str(error) or type(error).__name__) from error
    # NumPy calls an array that was saved without a name arr_0.
    return next(iter(arrays.values())) if list(arrays) == ["arr_0"] else arrays
