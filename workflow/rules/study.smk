"""The validated study and what rules share. Imports no torch: every job parses this file again."""

import sys

from tracedlm.config import load_study
from tracedlm.records.manifest import code_digest
from tracedlm.records.rrm import PROJECTIONS

try:
    STUDY = load_study(config)
except ValueError as error:
    sys.exit(str(error))

THREADS = STUDY.resources.threads
READOUTS = STUDY.readouts
READOUT_Q = "<results>/readouts/{dataset}/{seq_len}/validation/q.parquet"


def catalogue(wildcards):
    """Catalogue entry of a job's dataset."""
    return STUDY.catalogue[wildcards.dataset]


def over_sets(pattern, **more):
    """A pattern for every dataset and canvas length of the study."""
    return expand(pattern, dataset=STUDY.datasets, seq_len=STUDY.seq_lens, allow_missing=True, **more)
