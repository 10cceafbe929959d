"""config/paper.yaml says what the papers say, also when it is laid over the default study."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tracedlm.config import load_study
from tracedlm.tasks import get_task
from tracedlm.tasks.task import INSTRUCTION
from tracedlm.tasks.templates import read_template, template_files

ROOT = Path(__file__).resolve().parents[1]
CONFIG = ROOT / "config"


def merged(base, changes):
    """As Snakemake merges config files: mapping by mapping."""
    both = {
        key: merged(base[key], value)
        for key, value in changes.items()
        if isinstance(value, dict) and isinstance(base.get(key), dict)
    }
    return {**base, **changes, **both}


@pytest.fixture(params=["alone", "over the default study"])
def study(request):
    paper, default = (
        yaml.safe_load((CONFIG / name).read_text()) for name in ("paper.yaml", "config.yaml")
    )
    return load_study(paper if request.param == "alone" else merged(default, paper))


def test_fine_tuning_is_the_papers(study):
    sft = study.sft
    assert (sft.rank, sft.alpha, sft.dropout, sft.learning_rate, sft.weight_decay, sft.clip) == (
        128,
        256,
        0.05,
        1e-5,
        0.1,
        1.0,
    )
    assert (sft.datasets, sft.epochs, sft.max_length, sft.optimizer) == (
        ("s1k",),
        2,
        4096,
        "adamw_torch",
    )
    assert (sft.precision, sft.fp32_moments, sft.gradient_checkpointing) == ("bfloat16", True, True)
    assert study.model.path == "GSAI-ML/LLaDA-8B-Instruct" and not study.model.allow_remote_code


def test_benchmarks_are_the_papers(study):
    sizes = {name: study.catalogue[name].test_samples for name in study.datasets}
    assert sizes == {"gsm8k": 1319, "math500": 500, "gpqa": 448, "countdown": 256, "sudoku": 256}
    assert study.seq_lens == (128, 256, 512)


def test_decoding_is_the_papers(study):
    assert (study.decode.block_length, study.decode.tokens_per_step, study.decode.schedule) == (
        32,
        2,
        "uniform",
    )
    assert (study.trace.refine_steps, study.certify.late_window, study.certify.deltas) == (
        24,
        24,
        (1e-6, 3e-6, 1e-5),
    )
    # EDIT Table 3: threshold and span of later blocks.
    table = {
        "countdown": [(0.05, 6), (0.55, 12), (0.45, 12)],
        "sudoku": [(0.1, 6), (0.45, 12), (0.05, 6)],
        "math500": [(0.1, 6), (0.05, 6), (0.025, 6)],
        "gsm8k": [(0.05, 6), (0.025, 6), (0.025, 6)],
        "gpqa": [(0.05, 6), (0.05, 6), (0.05, 8)],
    }
    assert study.exits.block_length == 64
    for dataset, rows in table.items():
        for length, (delta, omega) in zip(study.seq_lens, rows, strict=True):
            rad = study.exits.for_set(dataset, length).rad
            assert (rad.delta, rad.omega, rad.tau) == (0.05, 6, 1)
            assert (rad.later_delta or rad.delta, rad.later_omega or rad.omega) == (delta, omega), (
                dataset,
                length,
            )


def test_templates_are_the_default_and_two_others_with_seeds_that_matter(study):
    assert study.evaluation.templates == ("default", "brief", "question_first")
    assert study.evaluation.seeds == 3 and study.evaluation.temperature > 0


def test_every_benchmark_is_asked_in_the_papers_form(study):
    """The task, then reasoning and answer in blocks; the answer boxed, but for Sudoku's grid.

    No wording is used under two names.
    """
    for dataset in study.datasets:
        named = study.catalogue[dataset].prompt_template
        text = read_template(ROOT / named) if named else get_task(dataset).template()
        assert (
            "<reasoning>" in text
            and "<answer>" in text
            and (r"\boxed{" in text or dataset == "sudoku")
        )
        # The one line that the small model knows tells a stranger nothing.
        assert len(text) > len(INSTRUCTION) + 100
        others = template_files(dataset, study.evaluation.templates).values()
        assert text not in [read_template(path) for path in others]


SETS = 5 * 3
"""Five benchmarks at three canvas lengths."""

JOBS = {
    "data": 5 + 1,  # and s1K
    "sft": 1,
    "rrm": 1,
    "storage": 1,
    "trace": 2 * SETS,  # validation and test
    "readout": (5 + 1) * SETS,  # q, k, v and two aggregates on test, q on validation
    "select": 1,
    "certify": SETS,
    "exits": SETS,
    "evaluation": SETS,
    "module_ablation": 5,
    "pseudo_gradient": 1,
    "convergence": 5,
    "figures": 1,
    "tables": 1,
    "page": 1,
    "explorer": 1,
    "all": 1,
}


def test_a_dry_run_lists_every_job_of_the_papers_grid(tmp_path):
    command = [
        Path(sys.executable).with_name("snakemake"),
        "--snakefile",
        ROOT / "Snakefile",
        "--directory",
        tmp_path,
        "--cores",
        "1",
    ]
    run = subprocess.run(
        [*command, "--configfile", CONFIG / "paper.yaml", "--dry-run"],
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    jobs = {
        rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", run.stdout, re.MULTILINE)
    }
    assert jobs.pop("total") == sum(jobs.values())
    # What was downloaded before is not fetched again; the dynamics branch is another paper's,
    # whatever study it comes with.
    grid = {
        rule: count
        for rule, count in jobs.items()
        if rule != "fetch" and not rule.startswith("dynamics")
    }
    assert grid == JOBS
