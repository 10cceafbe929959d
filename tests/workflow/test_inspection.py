"""Looking at the workflow without running it.

Plans, graphs, mistyped targets, other Snakefiles, the catalog, and two runs at once.
"""

import json
import re
import subprocess
import sys
import time
from collections import Counter
from html import unescape
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
SNAKEMAKE = Path(sys.executable).with_name("snakemake")
PROFILES = ("slurm", "cluster-generic")
# Writes what the rules are to rules.json, once all of them are read.
PROBE = f"""
include: "{ROOT}/Snakefile"
import json
facts = {{
    one.name: dict(
        products=[str(path) for path in one.products()], resources=sorted(one.resources)
    )
    for one in workflow.rules
}}
open("rules.json", "w").write(json.dumps(facts))
"""
MODULE = f"""
configfile: "{ROOT}/config/smoke.yaml"
module tracedlm:
    snakefile: "{ROOT}/Snakefile"
    config: config
use rule * from tracedlm as early_exit_*
rule mine:
    default_target: True
    input: rules.early_exit_page.output,
    output: "mine.txt",
    shell: "cp {{input}} {{output}}"
"""
# The real workflow and a job that lasts until a file `go` appears.
HELD = f"""
include: "{ROOT}/Snakefile"
rule held:
    default_target: True
    input: "results/smoke/data/sudoku/test.txt",
    output: "results/smoke/held.txt",
    shell: "while [ ! -e go ]; do sleep 0.1; done; cp {{input}} {{output}}"
"""


def snakemake(where, *arguments, check=True):
    run = subprocess.run([SNAKEMAKE, *arguments], capture_output=True, text=True, cwd=where)
    assert not check or run.returncode == 0, run.stdout + run.stderr
    return run


def jobs(text):
    """Jobs that a dry run lists, by rule."""
    return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", text, re.MULTILINE)}


@pytest.fixture(scope="module")
def rules(tmp_path_factory):
    where = tmp_path_factory.mktemp("probe")
    (where / "Snakefile").write_text(PROBE)
    (where / "config").symlink_to(ROOT / "config")
    snakemake(where, "--list-rules")
    return json.loads((where / "rules.json").read_text())


def test_every_wildcard_is_constrained(rules):
    loose = {
        (name, wildcard)
        for name, rule in rules.items()
        for path in rule["products"]
        for wildcard in re.findall(r"\{(\w+)\}", path)
    }
    assert not loose


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_group_analyses_and_never_a_rule_that_runs_a_model(rules, profile):
    settings = yaml.safe_load((ROOT / f"workflow/profiles/{profile}/profile.yaml").read_text())
    grouped = dict(pair.split("=") for pair in settings["groups"])
    assert set(grouped) <= set(rules) and not any(
        "gpu" in rules[name]["resources"] for name in grouped
    )
    assert {pair.split("=")[0] for pair in settings["group-components"]} <= set(grouped.values())


def test_rules_that_run_a_model_say_what_they_need(rules):
    models = {name for name, rule in rules.items() if "gpu" in rule["resources"]}
    assert {
        "sft",
        "trace",
        "exits",
        "tune",
        "module_ablation",
        "flip_audit",
        "noise",
        "pseudo_gradient",
    } <= models
    assert all({"mem_mb", "runtime"} <= set(rules[name]["resources"]) for name in models)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (
            "tabels",
            (
                "there is no rule or file 'tabels'. Did you mean 'tables'? Rules that can be a"
                " target: all, "
            ),
        ),
        (
            "results/tiny/certify/sudoko/128/q/summary.json",
            (
                "results/tiny/certify/sudoko/128/q/summary.json: unknown dataset 'sudoko'; known:"
                " countdown, sudoku"
            ),
        ),
        (
            "results/tiny/readouts/sudoku/128/test/qkv_min.parquet",
            "unknown readout 'qkv_min'; known: q, k, v, qkv_mean, qkv_max. Did you",
        ),
    ],
)
def test_a_mistyped_target_is_one_line_with_the_known_values(target, message):
    run = snakemake(ROOT, "--dry-run", target, check=False)
    assert run.returncode != 0 and "Traceback" not in run.stderr
    (line,) = [line for line in run.stderr.splitlines() if target in line]
    assert message in line


def test_the_papers_grid_is_planned(tmp_path):
    (tmp_path / "config").symlink_to(ROOT / "config")
    planned = jobs(
        snakemake(
            tmp_path,
            "--dry-run",
            "--snakefile",
            ROOT / "Snakefile",
            "--configfile",
            ROOT / "config/paper.yaml",
        ).stdout
    )
    assert (
        planned["trace"] == 5 * 3 * 2
        and planned["readout"] == 5 * 3 * 6
        and planned["exits"] == planned["certify"] == 15
    )
    assert planned["data"] == 6 and planned["fetch"] == 9


@pytest.mark.parametrize(
    ("option", "shown"), [("--dag", "digraph"), ("--summary", "results/smoke/report.html")]
)
def test_inspection(tmp_path, option, shown):
    (tmp_path / "config").symlink_to(ROOT / "config")
    run = snakemake(
        tmp_path,
        option,
        "--snakefile",
        ROOT / "Snakefile",
        "--configfile",
        ROOT / "config/smoke.yaml",
    )
    assert shown in run.stdout


def test_the_picture_of_the_workflow_is_current():
    """Needs no Graphviz: the picture names its nodes and edges in text."""
    dot = snakemake(ROOT, "--rulegraph").stdout
    label = dict(re.findall(r'^\s*(\d+)\[label = "(\w+)"', dot, re.MULTILINE))
    graph = Counter(
        (label[begin], label[end])
        for begin, end in re.findall(r"^\s*(\d+) -> (\d+)", dot, re.MULTILINE)
    )
    picture = (ROOT / "docs/dag.svg").read_text()
    shown = dict(
        re.findall(
            r'<g id="node\d+" class="node">\s*<title>(\d+)</title>.*?<text[^>]*>(\w+)</text>',
            picture,
            re.DOTALL,
        )
    )
    edges = [
        unescape(title).split("->")
        for title in re.findall(r'class="edge">\s*<title>([^<]+)</title>', picture)
    ]
    assert Counter((shown[begin], shown[end]) for begin, end in edges) == graph, (
        "run: snakemake --rulegraph | dot -Tsvg > docs/dag.svg"
    )


def test_another_workflow_uses_this_one_as_a_module(tmp_path):
    (tmp_path / "Snakefile").write_text(MODULE)
    planned = jobs(snakemake(tmp_path, "--dry-run").stdout)
    assert planned["mine"] == 1 and {
        "early_exit_sft",
        "early_exit_trace",
        "early_exit_certify",
        "early_exit_page",
    } <= set(planned)


def test_the_catalog_finds_the_workflow(tmp_path):
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert (
        set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
        and (ROOT / "config/README.md").exists()
    )
    assert "make reproduce" in usage["mandatory-flags"]["desc"] and usage["report"] is True
    (tmp_path / "config").symlink_to(ROOT / "config")
    planned = jobs(
        snakemake(tmp_path, "--dry-run", "--snakefile", ROOT / "workflow/Snakefile").stdout
    )
    assert planned["tables"] == planned["page"] == 1 and planned["total"] > 20


@pytest.mark.slow
def test_a_second_run_into_the_same_results_is_refused_and_the_first_finishes(tmp_path):
    (tmp_path / "Snakefile").write_text(HELD)
    (tmp_path / "config").symlink_to(ROOT / "config")
    arguments = ["--configfile", ROOT / "config/smoke.yaml", "--cores", "1"]
    first = subprocess.Popen(
        [SNAKEMAKE, *arguments],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        while not list((tmp_path / ".snakemake").glob("locks/*")) and first.poll() is None:
            time.sleep(0.1)
        second = snakemake(tmp_path, *arguments, check=False)
    finally:
        (tmp_path / "go").touch()
        _, log = first.communicate(timeout=300)
    assert second.returncode != 0 and "Directory cannot be locked" in second.stdout + second.stderr
    assert first.returncode == 0, log
    made = tmp_path / "results/smoke"
    assert (made / "held.txt").read_bytes() == (made / "data/sudoku/test.txt").read_bytes()
    assert not list(tmp_path.glob(".snakemake/locks/*"))
