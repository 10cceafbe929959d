"""What a config names is there when it is rehearsed.

Itself where it exists, a stand-in of the published form where not.
"""

import pytest
import torch

from tracedlm.config import load_study
from tracedlm.config.sources import merge_layers, study_layers
from tracedlm.models.denoiser import load_denoiser
from tracedlm.rehearsal.places import settle
from tracedlm.rehearsal.sizes import shrink
from tracedlm.rehearsal.sources import WRITERS, write_source
from tracedlm.resources import ROOT
from tracedlm.stages.data.download import read_sources
from tracedlm.stages.data.problems import make_data
from tracedlm.tasks import get_task


def paper(**changes):
    config = shrink(
        load_study(merge_layers(study_layers(["config/paper.yaml"]))).model_dump(mode="json")
    )
    for key, value in changes.items():
        section, name = key.split("__")
        config[section][name] = value
    return config


def test_every_source_that_can_be_downloaded_has_a_stand_in():
    assert WRITERS.keys() == read_sources().keys()


@pytest.mark.parametrize("dataset", ["gsm8k", "math500", "gpqa", "countdown", "sudoku", "s1k"])
def test_stand_ins_are_read_by_the_stage_that_reads_the_real_files(tmp_path, monkeypatch, dataset):
    monkeypatch.chdir(tmp_path)
    config = paper()
    settle(config, tmp_path)
    entry = load_study(config).catalogue[dataset]
    out = {split: tmp_path / f"{split}.txt" for split in ("train", "validation", "test")}
    make_data(dataset, entry, 0, out, tmp_path / "manifest.json")
    sizes = {split: len(get_task(dataset).read(path)) for split, path in out.items()}
    assert sizes == {"train": 8, "validation": 2, "test": 0 if dataset == "s1k" else 2}


def test_an_absent_model_is_a_random_llada_of_the_official_layout_at_the_same_path(tmp_path):
    config = paper()
    sentences = settle(config, tmp_path)
    assert config["model"]["path"] == "GSAI-ML/LLaDA-8B-Instruct"
    assert any(
        "model.path GSAI-ML/LLaDA-8B-Instruct: a random LLaDA" in sentence for sentence in sentences
    )
    denoiser = load_denoiser(tmp_path / "GSAI-ML/LLaDA-8B-Instruct", device="cpu", dtype="bfloat16")
    assert denoiser.model.dtype == torch.bfloat16
    assert (tmp_path / "GSAI-ML/LLaDA-8B-Instruct/model.safetensors.index.json").is_file()


def test_a_small_model_that_is_there_is_rehearsed_with_itself(tmp_path):
    config = paper(model__path="resources/base")
    settle(config, tmp_path)
    assert config["model"]["path"] == str(ROOT / "resources/base")


def test_a_random_model_can_stand_for_a_small_one(tmp_path):
    config = paper(model__path="resources/base")
    settle(config, tmp_path, random_model=True)
    assert config["model"]["path"] == "resources/base"
    assert (tmp_path / "resources/base/model.safetensors.index.json").is_file()


def test_what_is_there_becomes_absolute_and_what_is_not_is_one_line(tmp_path):
    config = paper()
    config["catalogue"]["countdown"]["test"] = "resources/data/countdown_test.jsonl"
    settle(config, tmp_path)
    assert config["catalogue"]["countdown"]["test"] == str(
        ROOT / "resources/data/countdown_test.jsonl"
    )
    config = paper()
    config["catalogue"]["countdown"]["test"] = "nowhere/mine.jsonl"
    with pytest.raises(
        ValueError,
        match=r"^catalogue\.countdown\.test: nowhere/mine\.jsonl is not there; name a file",
    ):
        settle(config, tmp_path)


def test_an_adapter_of_a_model_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"^model\.adapter: mine was trained for GSAI-ML/LLaDA-8B-Instruct"
    ):
        settle(paper(model__adapter="mine"), tmp_path)


def test_a_source_of_another_name_has_no_stand_in(tmp_path):
    with pytest.raises(KeyError):
        write_source("gsm8k/dev.jsonl", tmp_path / "dev.jsonl")


def test_stand_ins_stay_below_the_folder_and_on_no_real_model(tmp_path, monkeypatch):
    folder = tmp_path / "one/two"
    config = paper(model__path="../../models/mine")
    settle(config, folder)
    assert config["model"]["path"] == "models/mine"
    assert (folder / "models/mine/config.json").is_file() and not (tmp_path / "models").exists()
    monkeypatch.setattr("tracedlm.rehearsal.places.SMALL_CHECKPOINT", 1)
    with pytest.raises(
        ValueError,
        match=r"^--folder .*: a model lies there at models/mine, where its stand-in would be",
    ):
        settle(paper(model__path="models/mine"), folder)


def test_stand_ins_of_an_earlier_rehearsal_stay(tmp_path):
    settle(paper(), tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    assert len(before) > 12
    settle(paper(), tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before
