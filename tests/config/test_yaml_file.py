"""A config is read as it is written, or refused with the line."""

import subprocess
import sys
from pathlib import Path

import pytest

from tracedlm.config import load_study, load_yaml
from tracedlm.config.yaml_file import parse_yaml, read_yaml
from tracedlm.resources import ROOT

SMALL = {"study": "s", "datasets": ["sudoku"], "seq_lens": [64], "catalogue": {"sudoku": {}}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: 1\nb: 2\na: 3\n",
            r"^f\.yaml: 'a' is set twice, in line 1 and in line 3, and only the second would count",
        ),
        ("s:\n  x: 1\n  x: 2\n", r"'x' is set twice, in line 2 and in line 3"),
        ("s: {x: 1, x: 2}\n", r"'x' is set twice, in line 1 and in line 1"),
        ("s: [{128: a, 128: b}]\n", r"128 is set twice"),
        (
            "t: 24:00:00\n",
            (
                r"^f\.yaml: line 1: 24:00:00 is a number to the base of 60 in YAML, 86400; write a"
                r" plain number"
            ),
        ),
        ("t: 1:30.5\n", r"line 1: 1:30\.5 is a number to the base of 60"),
        (
            "\nn: 010\n",
            r"line 2: 010 is octal in YAML, 8; write it without the leading 0, or in quotes",
        ),
        ("a:\n\t- 1\n", r"f\.yaml: not readable as YAML"),
        (
            "a: !!python/object:os.system {}\n",
            r"f\.yaml: not readable as YAML \(could not determine a constructor",
        ),
    ],
)
def test_what_would_be_read_otherwise_than_it_is_written_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_yaml(text, "f.yaml")


def test_what_means_the_same_to_everybody_is_read(tmp_path):
    file = tmp_path / "f.yaml"
    file.write_text(
        "\ufeffa: 0\nb: 0.5\nc: '010'\nd: '24:00'\ne: 1_000\nf: &x {y: 1}\ng: *x\nh: {<<: *x, y:"
        " 2}\ni: 0x10\n"
    )
    assert read_yaml(file) == {
        "a": 0,
        "b": 0.5,
        "c": "010",
        "d": "24:00",
        "e": 1000,
        "f": {"y": 1},
        "g": {"y": 1},
        "h": {"y": 2},
        "i": 16,
    }


def test_a_file_that_is_not_there_is_one_line(tmp_path):
    with pytest.raises(ValueError, match=r"nothing\.yaml: not readable as YAML"):
        read_yaml(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("name", ["config", "smoke", "paper", "edit", "dynamics"])
def test_shipped_files_are_read(name):
    assert read_yaml(ROOT / f"config/{name}.yaml")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"datasets": ["sudoku", "sudoku"]}, r"datasets: 'sudoku' is named 2 times; name it once"),
        ({"seq_lens": [64, 128, 64]}, r"seq_lens: 64 is named 2 times"),
        ({"readouts": ["q", "q"]}, r"readouts: 'q' is named 2 times"),
        ({"exits": {"rules": ["full", "rad", "rad"]}}, r"exits: rules: 'rad' is named 2 times"),
        ({"exits": {"budgets": [0.5, 0.5]}}, r"exits: budgets: 0\.5 is named 2 times"),
        ({"certify": {"deltas": [1e-6, 0.000001]}}, r"certify: deltas: 1e-06 is named 2 times"),
        ({"noise": {"shares": [0.1, 0.1]}}, r"noise: shares: 0\.1 is named 2 times"),
        ({"sft": {"datasets": ["sudoku", "sudoku"]}}, r"sft: datasets: 'sudoku' is named 2 times"),
        (
            {"dynamics": {"runs": ["causal", "causal"]}},
            r"dynamics: runs: 'causal' is named 2 times",
        ),
        ({"sft": {"steps": True}}, r"sft: steps: true is a switch"),
        ({"seed": False}, r"seed: false is a switch"),
        ({"model": {"device": True}}, r"model: device: true is a switch"),
        ({"sft": {"learning_rate": float("inf")}}, r"sft\.learning_rate: .*finite number"),
        ({"exits": {"rad": {"delta": float("inf")}}}, r"exits\.rad\.delta: .*finite number"),
        ({"readout": {"tau": float("nan")}}, r"readout\.tau: .*finite number"),
    ],
)
def test_twice_in_a_set_a_switch_for_a_number_and_infinity_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        load_study({**SMALL, **changes})


def test_lists_whose_places_mean_something_may_repeat():
    study = load_study(
        {**SMALL, "exits": {"block_length": [32, 32]}, "pretrain": {"canvases": [64, 64]}}
    )
    assert study.exits.block_length == (32, 32) and study.pretrain.canvases == (64, 64)
    assert (
        load_study({**SMALL, "sft": {"gradient_checkpointing": 1}}).sft.gradient_checkpointing
        is True
    )


def test_a_package_and_snakemake_refuse_the_same_file(tmp_path):
    file = tmp_path / "twice.yaml"
    file.write_text("seed: 1\nseed: 2\n")
    with pytest.raises(ValueError, match="'seed' is set twice"):
        load_yaml(ROOT / "config/config.yaml", file)
    snakemake = [
        Path(sys.executable).with_name("snakemake"),
        "--snakefile",
        ROOT / "Snakefile",
        "--directory",
        tmp_path,
    ]
    (tmp_path / "config").symlink_to(ROOT / "config")
    run = subprocess.run(
        [*snakemake, "--dry-run", "--configfile", file], capture_output=True, text=True
    )
    assert (
        run.returncode == 1
        and f"{file}: 'seed' is set twice, in line 1 and in line 2" in run.stderr
    )
