"""`expand` for outputs on object storage: under --default-storage-provider Snakemake marks every
output, and its own `expand` refuses marks."""

import os

import snakemake.io


def as_written(path):
    """An output's path as its rule wrote it, without the storage's prefix."""
    marks = getattr(path, "flags", {})
    prefix = workflow.storage_settings.default_storage_prefix or ""
    return (
        marks["storage_object"].query.removeprefix(prefix).lstrip(os.sep)
        if "storage_object" in marks
        else str(path)
    )


def expand(patterns, **values):
    """Snakemake's, of paths as they were written."""
    patterns = [patterns] if isinstance(patterns, str) else patterns
    return snakemake.io.expand(
        [snakemake.io.strip_wildcard_constraints(as_written(pattern)) for pattern in patterns],
        **values,
    )
