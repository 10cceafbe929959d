"""What a path holds that a map can be made from (TRACE App. H).

Imports no torch until a `.pt` file must be read.
"""

from pathlib import Path

from tracedlm.records.adapter import ADAPTER_FILE, Adapter, Snapshots
from tracedlm.records.checkpoints import RELEASED_STATE, TRAINER_STATE, checkpoints, optimizer_files
from tracedlm.records.footprint import Footprint
from tracedlm.records.formats import is_of_kind
from tracedlm.records.map_file import SUFFIXES, MapFiles, is_map_file
from tracedlm.records.moments import MOMENTS_FILE, Moments
from tracedlm.records.tensors import StoredArrays
from tracedlm.resources import located

KINDS = ("moments", "optimizer", "snapshots", "adapter", "file")


def open_source(
    source: str | Path | Footprint | MapFiles,
    kind: str | None = None,
    names: str | Path | None = None,
) -> Footprint | MapFiles:
    """Open what maps are made from.

    Args:
        source: Opened already; or a path, relative to here or to the repository. In this order it
            is taken for moments (a file, or a folder with `moments.safetensors`), optimiser
            checkpoints, adapter snapshots, one adapter, finished maps.
        kind: One of `KINDS` where a folder holds several, e.g. `snapshots` for a Trainer's
            checkpoints.
        names: Name map of a Trainer's `optimizer.pt`, see `models.optimizer_dump.OptimizerDumps`.

    Raises:
        ValueError: Nothing fits; the message says what was looked for.
    """
    if not isinstance(source, str | Path):
        return source
    if kind is not None and kind not in KINDS:
        raise ValueError(f"unknown kind {kind!r} of a map's source; known: {', '.join(KINDS)}")
    path = located(source)
    if not path.exists():
        raise ValueError(f"{source}: not found; a map is made from {_looked_for()}")
    for candidate in KINDS if kind is None else (kind,):
        if (opened := _open(candidate, path, None if names is None else Path(names))) is not None:
            return opened
    raise ValueError(
        f"{path}: nothing to make a map from{f' of kind {kind!r}' if kind else ''}; looked for"
        f" {_looked_for()}"
    )


def _open(kind: str, path: Path, names: Path | None) -> Footprint | MapFiles | None:
    """The path as a source of one kind, None where it is none."""
    if kind == "moments":
        file = path / MOMENTS_FILE if path.is_dir() else path
        return Moments.read(file) if is_of_kind(_format(file), "moments") else None
    if kind == "optimizer":
        files = [[path]] if path.suffix == ".pt" else optimizer_files(path) if path.is_dir() else []
        return _dumps(files, names) if files else None
    snapshots = (
        [folder for folder in checkpoints(path) if (folder / ADAPTER_FILE).exists()]
        if path.is_dir()
        else []
    )
    if kind == "snapshots":
        return Snapshots(snapshots) if len(snapshots) > 1 else None
    if kind == "adapter":
        if (path / ADAPTER_FILE).exists():
            return Adapter(path)
        return (
            Adapter(snapshots[0])
            if len(snapshots) == 1
            else Adapter(path)
            if path.name == ADAPTER_FILE
            else None
        )
    if path.is_dir():
        return MapFiles(path) if any(map(is_map_file, path.iterdir())) else None
    return MapFiles(path) if path.suffix in SUFFIXES or is_of_kind(_format(path), "map") else None


def _dumps(files: list[list[Path]], names: Path | None) -> Footprint:
    from tracedlm.models.optimizer_dump import OptimizerDumps

    return OptimizerDumps(files, names)


def _format(file: Path) -> str | None:
    return (
        StoredArrays(file, "moments or maps").metadata.get("format")
        if file.suffix == ".safetensors" and file.exists()
        else None
    )


def _looked_for() -> str:
    return (
        f"{MOMENTS_FILE}; optimiser checkpoints checkpoint-N/{TRAINER_STATE} or"
        f" checkpoint-N/[rank-R/]{RELEASED_STATE}; snapshots checkpoint-N/{ADAPTER_FILE}, two at"
        f" least; an adapter's {ADAPTER_FILE}; finished maps q.safetensors, *_Q.json, *_Q.npz"
    )
