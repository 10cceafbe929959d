"""The validated study and what rules share. Imports no torch: every job parses this file again."""

import os
import sys

from tracedlm.config import load_study
from tracedlm.config.yaml_file import read_yaml
from tracedlm.records.manifest import code_digest, fingerprint
from tracedlm.records.rrm import PROJECTIONS
from tracedlm.resources import (
    adapter_files,
    checkpoint_files,
    files_state,
    located,
    resource,
    source_files,
)
from tracedlm.tasks import TASKS

try:
    # Snakemake keeps the last of two equal keys without a word; read by our loader, such a file is
    # refused.
    for file in workflow.configfiles if workflow.is_main_process else ():
        read_yaml(file)
    STUDY = load_study(config)
except ValueError as error:
    sys.exit(str(error))

# glibc gives freed tensors back to the kernel and asks for them again in the next layer: an eighth
# of decoding's time (docs/log.md).
for name, value in {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "67108864",
}.items():
    os.environ.setdefault(name, value)

for key, path in {"model.adapter": STUDY.model.adapter, "rrm.source": STUDY.rrm.source}.items():
    if path not in (None, "moments") and not located(path).exists():
        sys.exit(
            f"{key}: {path} is not there; "
            "name a path from here or from the repository, see docs/models.md"
        )


# `expand` for outputs on object storage: under --default-storage-provider Snakemake marks every
# output, and its own `expand` refuses marks.


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


THREADS = STUDY.resources.threads
MODEL = STUDY.model.model_dump(exclude={"adapter"})
TRAINED = STUDY.model.adapter is None
# A retry gets more: the second try of a job that ran out of memory or time asks for twice as much.
MODEL_JOB = dict(
    gpu=1,
    mem_mb=lambda wildcards, attempt: STUDY.resources.mem_mb * attempt,
    runtime=lambda wildcards, attempt: STUDY.resources.runtime * attempt,
)
READOUTS = STUDY.readouts
MODEL_FILES = [
    local(file) for file in checkpoint_files(STUDY.model.path)
]  # `local`: not on object storage, wherever the results are
# A folder's time does not change where a file in it is replaced, so what the study does not make
# itself is named file by file. And a file that is moved or copied into place may be older than the
# results: its size and time are a parameter of every rule that reads it.
FOREIGN_ADAPTER = [] if TRAINED else [local(file) for file in adapter_files(STUDY.model.adapter)]
FOREIGN_MAPS = (
    []
    if STUDY.rrm.source == "moments"
    else [local(file) for file in source_files(STUDY.rrm.source)]
)
WEIGHTS = fingerprint(files=files_state(map(str, MODEL_FILES)))
FILES = fingerprint(files=files_state(map(str, [*MODEL_FILES, *FOREIGN_ADAPTER, *FOREIGN_MAPS])))
READOUT_Q = "<results>/readouts/{dataset}/{seq_len}/validation/q.parquet"


def catalogue(wildcards):
    """Catalogue entry of a job's dataset."""
    return STUDY.catalogue[wildcards.dataset]


def over_sets(pattern, **more):
    """A pattern for every dataset and canvas length of the study."""
    return expand(
        pattern, dataset=STUDY.datasets, seq_len=STUDY.seq_lens, allow_missing=True, **more
    )


TRACE = "<results>/traces/{dataset}/{seq_len}/{split}/"
SHARDS = range(STUDY.trace.shards)
SHORTEST = min(STUDY.seq_lens)


def parts(table):
    """Every shard's part of a trace table."""
    return expand(f"{TRACE}{table}/part-{{shard}}.parquet", shard=SHARDS, allow_missing=True)


def traced(table):
    """The same of the test split at the shortest canvas, by dataset."""
    return {
        f"{dataset}_{table}": expand(parts(table), dataset=dataset, seq_len=SHORTEST, split="test")
        for dataset in STUDY.datasets
    }


def data_files(wildcards):
    """What decides a dataset's problems; rule data says what is missing, and what can be fetched
    is."""
    entry, task = catalogue(wildcards), TASKS[wildcards.dataset]
    named = [located(path) for path in (entry.test, entry.train, entry.prompt_template) if path]
    shipped = [
        resource("prompts", f"{task.name}.txt"),
        *(resource("held_out", f"{name}.txt") for name in (task.name, *task.held_out_with)),
    ]
    found = [str(path) for path in (*named, *shipped) if path.exists() or str(path) in FETCHED]
    return [path if path in FETCHED else local(path) for path in found]
