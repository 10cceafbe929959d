"""Trace tables as dense arrays.

[samples, steps, positions], padded where samples have fewer steps.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tracedlm.records.parquet import read_groups
from tracedlm.records.trace import READOUT, canvas_of


@dataclass(frozen=True)
class Series:
    """Similarities of one readout over steps.

    Attributes:
        sample_id: int [n], ascending.
        similarity: float64 [n, steps, positions]; 0 where not visible.
        visible: bool, same shape; False in padding.
        refine: bool [n, steps]: refine steps.
        block: int [n, steps]: active block, -1 while refining and in padding.
        recorded: bool [n, steps]: False in padding.
    """

    sample_id: np.ndarray
    similarity: np.ndarray
    visible: np.ndarray
    refine: np.ndarray
    block: np.ndarray
    recorded: np.ndarray

    def late(self, window: str, length: int) -> np.ndarray:
        """The last `length` steps of the phase (`refine`, or `tail` of denoising) of each sample.

        Bool [n, steps].
        """
        phase = self.recorded & (self.refine if window == "refine" else ~self.refine)
        from_end = np.flip(np.cumsum(np.flip(phase, 1), axis=1), 1)
        return phase & (from_end <= length)

    def on_common_support(self, steps: np.ndarray) -> np.ndarray:
        """Visible sets in which the given steps (bool [n, steps]) see only what all of them see.

        Source: method.md section 4.
        """
        common = (self.visible | ~steps[:, :, None]).all(axis=1, keepdims=True)
        return np.where(steps[:, :, None], self.visible & common, self.visible)


def read_late(
    path: Path, window: str, length: int
) -> Iterator[tuple[Series, np.ndarray, np.ndarray]]:
    """A readout's samples, one row group (a batch of samples) at a time.

    Yields:
        The series; its visible sets, with the late window on its common support; the late steps,
            bool [n, steps].

    Raises:
        ValueError: The file is not a readout, or does not say its canvas length.
    """
    for table in read_groups(path, READOUT, "a readout"):
        series = to_series(table, canvas_of(path), path)
        late = series.late(window, length)
        yield series, series.on_common_support(late), late


def to_series(table: pa.Table, positions: int, where: str | Path = "readout") -> Series:
    """Dense arrays of a table with columns sample_id, step, block, phase, position and similarity.

    Args:
        table: Its rows.
        positions: Canvas length, tokens.
        where: File that a refusal names.

    Raises:
        ValueError: A value is missing, or a step or a position cannot be.
    """
    if any(
        table[name].null_count
        for name in ("sample_id", "step", "block", "phase", "position", "similarity")
    ):
        raise ValueError(f"{where}: values are missing; make it anew with rule readout")
    samples, row = np.unique(table["sample_id"].to_numpy(), return_inverse=True)
    step = table["step"].to_numpy() - 1
    # Each row holds two lists, positions and similarities; flat, they are [visible tokens].
    lists = table["position"].combine_chunks()
    similarity_lists = table["similarity"].combine_chunks()
    place = lists.flatten().to_numpy(zero_copy_only=False)
    values = similarity_lists.flatten().to_numpy(zero_copy_only=False)
    fits = (
        lists.value_lengths().equals(similarity_lists.value_lengths())
        and ((place >= 0) & (place < positions)).all()
    )
    if (
        not fits
        or similarity_lists.flatten().null_count
        or not ((step >= 0) & (step < len(table))).all()
    ):
        raise ValueError(
            f"{where}: steps or positions that cannot be; make it anew with rule readout"
        )
    shape = (len(samples), int(step.max()) + 1 if len(step) else 0, positions)
    similarity, visible = np.zeros(shape), np.zeros(shape, dtype=bool)
    # seen: the table's row of each visible token.
    seen = np.repeat(np.arange(len(table)), np.diff(lists.offsets.to_numpy()))
    at = (row[seen], step[seen], place)
    visible[at], similarity[at] = True, values
    # [samples, steps]; padding keeps these values.
    refine = np.zeros(shape[:2], bool)
    block = np.full(shape[:2], -1)
    recorded = np.zeros(shape[:2], bool)
    refine[row, step] = table["phase"].to_numpy(zero_copy_only=False) == "refine"
    block[row, step], recorded[row, step] = table["block"].to_numpy(), True
    return Series(
        sample_id=samples,
        similarity=similarity,
        visible=visible,
        refine=refine,
        block=block,
        recorded=recorded,
    )
