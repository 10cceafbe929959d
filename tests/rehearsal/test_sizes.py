"""A rehearsal changes sizes, and nothing else."""

import pytest
import yaml

from tracedlm.config import load_study
from tracedlm.config.sources import merge_layers, study_layers
from tracedlm.rehearsal.sizes import LARGEST, shrink

STUDIES = ["paper", "dynamics", "smoke", "config"]


def complete(name):
    return load_study(merge_layers(study_layers([f"config/{name}.yaml"]))).model_dump(mode="json")


def leaves(value, path=()):
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    else:
        yield path, value


@pytest.mark.parametrize("name", STUDIES)
def test_only_the_numbers_of_the_list_change_and_none_grows(name):
    before = complete(name)
    after = dict(leaves(shrink(before)))
    for path, value in leaves(before):
        key = ".".join(["catalogue", "*", *path[2:]] if path[0] == "catalogue" else path)
        if key in LARGEST and value is not None:
            assert after[path] == min(value, LARGEST[key]), key
        else:
            assert after[path] == value, key


@pytest.mark.parametrize("name", STUDIES)
def test_a_shrunk_study_is_a_study(name):
    shrunk = shrink(complete(name))
    assert load_study(yaml.safe_load(yaml.safe_dump(shrunk))).study


def test_every_size_is_a_key_of_the_config():
    keys = {".".join(path) for path, _ in leaves(complete("smoke"))}
    for key in LARGEST:
        assert key.replace("*", "sudoku") in keys, key
