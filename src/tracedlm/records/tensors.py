"""Named arrays with text metadata in safetensors.

A file that cannot be used gets one clear message.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import ml_dtypes  # noqa: F401  (tells NumPy what bfloat16 is: adapters are often kept in it)
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from tracedlm.records.atomic import replacing


def write_arrays(path: str | Path, arrays: dict[str, np.ndarray], metadata: dict[str, str]) -> None:
    """Write arrays, whole or not at all."""
    with replacing(path) as temporary:
        save_file(
            {name: np.ascontiguousarray(array) for name, array in arrays.items()},
            temporary,
            metadata=metadata,
        )
        _sort_metadata(temporary)


def _sort_metadata(path: Path) -> None:
    """Put the metadata in a fixed order, in place.

    Safetensors writes it in hash order, and equal results shall be equal files.
    """
    with path.open("r+b") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header.get("__metadata__", {}).items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
        # Spaces after the header are allowed, so that the arrays stay where they are.
        if len(text) <= size:
            file.seek(8)
            file.write(text.ljust(size))


class StoredArrays(Mapping[str, np.ndarray]):
    """Named arrays of a safetensors file, each read when it is asked for.

    Of gigabytes of moments a map needs two megabytes.

    Attributes:
        metadata: The file's text metadata.

    Raises:
        ValueError: The file is missing, truncated or not safetensors.
    """

    def __init__(self, path: str | Path, what: str) -> None:
        try:
            self._file = safe_open(path, framework="numpy")
        except FileNotFoundError:
            raise ValueError(
                f"{path}: not found ({what}); run the rule that makes it, or correct the path"
            ) from None
        except (SafetensorError, OSError) as error:
            raise ValueError(
                f"{path}: not a readable safetensors file of {what} ({str(error)[:120]}); delete it"
                " and make it anew"
            ) from error
        self._names = tuple(self._file.keys())
        self.metadata: dict[str, str] = dict(self._file.metadata() or {})

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._names:
            raise KeyError(name)
        return self._file.get_tensor(name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of an array, without reading it."""
        return tuple(self._file.get_slice(name).get_shape())


def read_arrays(path: str | Path, what: str) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata.

    Raises:
        ValueError: The file is missing, truncated or not safetensors.
    """
    stored = StoredArrays(path, what)
    return dict(stored), stored.metadata
