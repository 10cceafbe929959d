"""config/edit.yaml: EDIT's released settings, as overrides of a study."""

import json
import os
from itertools import product
from pathlib import Path

import pytest
import yaml

from tracedlm.config import load_study
from tracedlm.decode.plan import Plan
from tracedlm.decode.rules import make_rule

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = Path(os.environ.get("TRACEDLM_SHARED", ROOT.parent / "shared")) / "data" / "edit_configs"
SETS = list(product(("countdown", "sudoku", "math500", "gsm8k"), (128, 256, 512)))


def merged(base, changes):
    """As Snakemake merges config files: mappings key by key, anything else is replaced."""
    if not isinstance(base, dict) or not isinstance(changes, dict):
        return changes
    return base | {key: merged(base.get(key), value) for key, value in changes.items()}


@pytest.fixture(scope="module", params=["config.yaml", "smoke.yaml"])
def exits(request):
    raw = merged(
        *(
            yaml.safe_load((ROOT / "config" / name).read_text())
            for name in (request.param, "edit.yaml")
        )
    )
    study = load_study(raw)
    assert {"gsm8k", "math500"}.isdisjoint(study.catalogue), (
        "a set that the study does not have does no harm"
    )
    return study.exits


@pytest.mark.parametrize(("dataset", "length"), SETS)
def test_every_setting_makes_a_rule(exits, dataset, length):
    own = exits.for_set(dataset, length)
    plan = Plan(length, own.block_length, length // 2)
    rule = make_rule("rank_softmax", plan, 2, **own.settings("rank_softmax"))
    assert [rule.counts(0, block).sum() for block in range(plan.blocks)] == list(own.block_length)
    assert own.rad == exits.rad and own.rules == exits.rules


def test_no_other_set_is_touched(exits):
    assert {
        (dataset, length) for dataset, lengths in exits.by_set.items() for length in lengths
    } == set(SETS)
    assert exits.for_set("countdown", 64) == exits and exits.block_length is None


def test_it_leaves_the_papers_own_overrides_in_place():
    raw = merged(
        *(
            yaml.safe_load((ROOT / "config" / name).read_text())
            for name in ("paper.yaml", "edit.yaml")
        )
    )
    own = load_study(raw).exits.for_set("countdown", 256)
    assert (
        own.block_length == (64, 192)
        and own.rank_softmax.blocks[1].threshold == own.rad.later_delta == 0.55
    )


@pytest.mark.shared
@pytest.mark.skipif(
    not CONFIGS.is_dir(),
    reason=f"EDIT's released settings are not at {CONFIGS} (set TRACEDLM_SHARED)",
)
@pytest.mark.parametrize(("dataset", "length"), SETS)
def test_it_is_what_edit_released(exits, dataset, length):
    name = {"math500": "math"}.get(dataset, dataset)
    released = json.loads((CONFIGS / f"EDIT_{name}_seq{length}.json").read_text())
    own, blocks, first = (
        exits.for_set(dataset, length),
        released["num_blocks"],
        released["first_block_length"],
    )
    assert own.block_length == (first,) + ((length - first) // (blocks - 1),) * (blocks - 1)
    settings = [block.model_dump() for block in own.rank_softmax.blocks]
    settings += settings[-1:] * (blocks - len(settings))  # the last one also serves later blocks
    assert settings == released["token_schedule"]
