import os

import pytest

from smoke_study import forked, prepare, snakemake, without_network


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A finished smoke study, made without a network wherever one can be taken away."""
    where = prepare(tmp_path_factory.mktemp("study"))
    if "ATEN_CPU_CAPABILITY" in os.environ:
        # `make test-plain` wants the numbers alone, which no launcher changes.
        forked(where)
    else:
        snakemake(where, inside=without_network())
    return where
