"""Table `storage`: what the maps take (TRACE App. E)."""

from tracedlm.report.evidence import Evidence
from tracedlm.report.layout import Column, Row, Spec, Value, number, shows, text
from tracedlm.report.tables import published
from tracedlm.report.tables.certificates import SOURCE
from tracedlm.theory.moments import storage_bytes, storage_overhead

GIB = 2**30


def storage_rows(evidence: Evidence) -> list[Row]:
    """What maps take: TRACE App. E's examples recomputed, and the configured model."""
    rows: list[Row] = []
    for case, modules, entry, printed in published.TRACE_STORAGE:
        rows.append(
            _stored(
                "LLaDA-8B (8 GiB)",
                case,
                modules=modules,
                width=4096,
                entry=entry,
                size=storage_bytes(modules, 4096, entry),
                model=8 * GIB,
                printed=printed / 100,
            )
        )
    facts = evidence.storage
    layers, width = facts["layers"], facts["width"]
    for case, modules in (("one q map", 1), (f"q k v, {layers} blocks", 3 * layers)):
        rows.append(
            _stored(
                "this study's model",
                case,
                modules=modules,
                width=width,
                entry=4,
                size=storage_bytes(modules, width, 4),
                model=facts["model_bytes"],
                printed=None,
            )
        )
    on_disk = sum(facts["map_file_bytes"].values())
    rows.append(
        _stored(
            "this study's model",
            "map files on disk, with subspace",
            modules=len(facts["map_file_bytes"]),
            width=width,
            entry=4,
            size=on_disk,
            model=facts["model_bytes"],
            printed=None,
        )
    )
    return rows


def _stored(
    source: str,
    case: str,
    modules: int,
    width: int,
    entry: int,
    size: int,
    model: int,
    printed: float | None,
) -> Row:
    where: Row = {
        "source": source,
        "case": case,
        "modules": modules,
        "width": width,
        "bytes_per_entry": entry,
        "map_bytes": size,
        "model_bytes": model,
    }
    return {**where, "overhead": storage_overhead(size, model) / 100, "published_overhead": printed}


def _storage_caption(rows: list[Row]) -> str:
    return (
        "Bytes of the maps that stay at deployment (TRACE App. E): maps times width times bytes per"
        " entry, and their share of the model."
    )


STORAGE = Spec(
    "storage",
    "Storage",
    _storage_caption,
    storage_rows,
    (
        SOURCE,
        Column("kept", text("case"), numeric=False),
        Column("maps", shows("modules", "count")),
        Column("width", shows("width", "count")),
        Column("bytes each", shows("bytes_per_entry", "count")),
        Column("bytes", shows("map_bytes", "count")),
        Column("share %", lambda row: _percent_of_model(row["overhead"])),
        Column("published %", lambda row: _percent_of_model(row["published_overhead"])),
    ),
)


def _percent_of_model(value: Value) -> str:
    return number(None if not isinstance(value, int | float) else 100 * value, "small")
