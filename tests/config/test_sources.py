"""The merged study says of each value where it comes from, and is the study that Snakemake runs."""

import re

import pytest
import yaml

from tracedlm.__main__ import main
from tracedlm.config import load_study
from tracedlm.config.sources import merge_layers, study_layers

STAND_ALONE = ["paper", "dynamics", "smoke"]


def printed(*arguments, capsys):
    assert main(["config", *arguments]) == 0
    return capsys.readouterr().out


def test_what_is_printed_is_the_study_itself(capsys):
    text = printed("config/paper.yaml", "config/edit.yaml", "--config", "seed=3", capsys=capsys)
    layers = study_layers(["config/paper.yaml", "config/edit.yaml"], ["seed=3"])
    assert load_study(yaml.safe_load(text)) == load_study(merge_layers(layers))


def test_each_value_names_the_last_that_sets_it(tmp_path, capsys):
    mine = tmp_path / "mine.yaml"
    mine.write_text("sft: {rank: 2}\nexits: {by_set: {sudoku: {128: {rad: {delta: 0.5}}}}}\n")
    text = printed(str(mine), "--config", "exits={rules: [full, rad]}", capsys=capsys)
    sources = dict(re.findall(r"^ *(\S+): .*?  # (.*)$", text, re.MULTILINE))
    assert sources["rank"] == str(mine)
    assert sources["alpha"] == "config/config.yaml"
    assert sources["weight_decay"] == "default"
    assert re.search(r"rules: \[full, rad\] +# --config$", text, re.MULTILINE)
    assert re.search(rf"sudoku:\n +'?128'?:\n +rad:\n +delta: 0\.5 +# {re.escape(str(mine))}", text)


def test_the_default_study_can_be_left_out(capsys):
    text = printed("config/paper.yaml", "--replace-workflow-config", capsys=capsys)
    assert "config/config.yaml" not in text


@pytest.mark.parametrize("name", STAND_ALONE)
def test_a_shipped_study_that_stands_alone_inherits_nothing_it_reads(name):
    """Over the default study and without it, it is the same but for keys that this study does not
    read.
    """
    over = load_study(merge_layers(study_layers([f"config/{name}.yaml"])))
    alone = load_study(merge_layers(study_layers([f"config/{name}.yaml"], replace_default=True)))
    used = {*alone.datasets, *alone.sft.datasets, *alone.ablation.tasks}
    unread = {"catalogue", "card", "pretrain"}
    if not alone.dynamics.enabled:
        unread.add("dynamics")
    if name == "dynamics":
        # Its target is `dynamics`, which reads one more section; the rest of a study is not run.
        unread |= {"exits", "sft"}
        assert over.sft.snapshot_every is None and alone.sft.snapshot_every is None
    for section in set(type(alone).model_fields) - unread:
        mine = getattr(over, section)
        if section == "sft" and alone.sft.epochs is not None:
            mine = mine.model_copy(update={"steps": alone.sft.steps})
        assert mine == getattr(alone, section), section
    if name != "dynamics":
        for dataset in used:
            assert over.catalogue[dataset] == alone.catalogue[dataset], dataset


def test_the_papers_study_follows_no_fine_tuning_and_trains_no_small_models():
    study = load_study(merge_layers(study_layers(["config/paper.yaml"])))
    assert study.sft.snapshot_every is None and not study.dynamics.enabled


def test_an_argument_that_is_no_setting_is_one_line(capsys):
    assert main(["config", "--config", "seed"]) == 2
    assert (
        capsys.readouterr().err == "error: --config seed: expected KEY=VALUE, for example seed=1\n"
    )
    assert main(["config", "--config", "seed=[1"]) == 2
    assert capsys.readouterr().err.startswith("error: --config seed=[1: not readable as YAML (")
