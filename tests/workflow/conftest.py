import pytest

from smoke_study import prepare, snakemake, without_network


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """A finished smoke study, made without a network wherever one can be taken away."""
    where = prepare(tmp_path_factory.mktemp("study"))
    snakemake(where, inside=without_network())
    return where
