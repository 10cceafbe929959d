"""Tables of prompt templates.

Accuracies, rank agreement and flips by hand from a synthetic evaluation.
"""

import dataclasses
import json
import shutil

import numpy as np
import pytest

from tracedlm.records.evaluation import EVALUATION
from tracedlm.records.parquet import write_table
from tracedlm.report.evaluated import read_evaluated
from tracedlm.report.evidence import read_evidence
from tracedlm.report.layout import lay_out
from tracedlm.report.write import SPECS, read_csv
from tracedlm.report.write import write_table as write_tex
from tracedlm.theory.resampling import clopper_pearson

N = 20
SOLVED = {
    # Under `plain` rad solves twelve problems more than truncate; under `odd` eleven fewer; under
    # `mild` one fewer, which is noise.
    "plain": {"full": range(20), "rad": range(16), "truncate@rad": range(4)},
    "odd": {"full": range(20), "rad": range(4), "truncate@rad": range(15)},
    "mild": {"full": range(20), "rad": range(9), "truncate@rad": range(10)},
}


def answer(template, seed, rule, sample):
    solved = sample in SOLVED[template][rule]
    facets = {
        "High-level domain": "Physics" if sample % 2 else "Biology",
        "Subdomain": ["Genetics", "Optics", "Cells", "Waves"][sample % 4],
    }
    row = {
        "template": template,
        "seed": seed,
        "rule": rule,
        "label": rule,
        "sample_id": sample,
        "facets": facets,
        "prompt": "p",
    }
    return {
        **row,
        "prompt_tokens": 9,
        "output_tokens": 9,
        "text": "t",
        "correct": solved,
        "score_d1": solved / 2,
        "nfe": 64 if rule == "full" else 16,
    }


def written(path, seeds=(0,), keep=lambda row: True, temperature="0"):
    rows = [
        answer(template, seed, rule, n)
        for template in SOLVED
        for seed in seeds
        for rule in SOLVED[template]
        for n in range(N)
    ]
    write_table(
        path,
        [row for row in rows if keep(row)],
        EVALUATION,
        {"temperature": temperature, "shots": "0"},
    )
    return path


@pytest.fixture
def evaluated(evidence, tmp_path):
    """Countdown was evaluated, sudoku was not."""
    found = read_evaluated(written(tmp_path / "128.parquet"))
    return dataclasses.replace(
        evidence, sets=(dataclasses.replace(evidence.sets[0], evaluated=found), *evidence.sets[1:])
    )


def rows(evidence, name, **chosen):
    return [
        row
        for row in SPECS[name].build(evidence)
        if all(row.get(key) == value for key, value in chosen.items())
    ]


def test_accuracy_under_each_template_and_over_all(evaluated):
    found = {
        row["template"]: row
        for row in rows(evaluated, "template_sensitivity", dataset="countdown", rule="rad")
    }
    assert list(found) == ["plain", "odd", "mild", "mean"]
    assert [row["accuracy"] for row in found.values()] == pytest.approx([0.8, 0.2, 0.45, 29 / 60])
    assert (found["plain"]["low"], found["plain"]["high"]) == pytest.approx(clopper_pearson(16, N))
    assert found["mean"]["answers"] == 3 and found["mean"]["low"] < 29 / 60 < found["mean"]["high"]
    # Problems, not answers, are what is sampled: 60 independent answers would give an interval of
    # +- 0.13.
    assert found["mean"]["high"] - found["mean"]["low"] > 0.28
    assert (found["odd"]["d1"], found["odd"]["forwards"], found["odd"]["mean_forwards"]) == (
        0.1,
        16,
        16,
    )
    assert (found["plain"]["seeds"], found["plain"]["seed_low"], found["plain"]["seed_high"]) == (
        1,
        None,
        None,
    )
    (full,) = rows(
        evaluated, "template_sensitivity", dataset="countdown", rule="full", template="mean"
    )
    assert full["low"] is None and "nothing to vary" in full["reason"]


def test_a_flip_is_two_resolved_gaps_and_noise_is_open(evaluated):
    pair = {"dataset": "countdown", "template": "plain", "rules": "rad less truncate@rad"}
    (flip,) = rows(evaluated, "template_flips", **pair, other_template="odd")
    (noise,) = rows(evaluated, "template_flips", **pair, other_template="mild")
    assert (flip["gap"], flip["other_gap"], flip["change"]) == pytest.approx(
        (12 / 20, -11 / 20, 23 / 20)
    )
    assert (
        flip["verdict"] == "flips"
        and flip["gap_low"] > 0 > flip["other_gap_high"]
        and flip["p"] == pytest.approx(2 / 2**12)
    )
    assert (noise["other_gap"], noise["other_p"]) == pytest.approx((-1 / 20, 1))
    assert noise["verdict"] == "open"
    (kept,) = rows(
        evaluated,
        "template_flips",
        dataset="countdown",
        template="odd",
        other_template="mild",
        rules="rad less truncate@rad",
    )
    assert kept["verdict"] == "not reversed"


def test_tau_counts_pairs_of_rules(evaluated):
    found = {
        row["other_template"]: row
        for row in rows(
            evaluated, "template_flips", dataset="countdown", template="plain", rules="ranking"
        )
    }
    # full > rad > truncate against full > truncate > rad: two pairs of three alike.
    assert found["odd"]["tau"] == found["mild"]["tau"] == pytest.approx(1 / 3)
    assert [found[name]["verdict"] for name in ("odd", "mild")] == [
        f"1 of 3 pairs in other order, {shown} shown" for shown in (1, 0)
    ]
    (same,) = rows(
        evaluated, "template_flips", dataset="countdown", template="odd", rules="ranking"
    )
    assert same["tau"] == pytest.approx(1)


def test_tables_show_rankings_and_reversed_pairs(evaluated, tmp_path):
    for name in ("template_sensitivity", "template_flips", "subdomains"):
        write_tex(SPECS[name], rows(evaluated, name), tmp_path)
    grids = {
        name: lay_out(SPECS[name], read_csv(tmp_path / f"{name}.csv", SPECS[name]))
        for name in ("template_sensitivity", "template_flips")
    }
    flips = grids["template_flips"].body
    assert [cells[3].text for cells in flips] == [
        "ranking",
        "rad less truncate@rad",
        "ranking",
        "rad less truncate@rad",
        "ranking",
    ]
    assert [cells[-1].text for cells in flips][1::2] == ["flips", "open"]
    heads = [head for head, _ in grids["template_sensitivity"].heads[-1]]
    assert (
        heads[-4:] == ["plain", "odd", "mild", "mean"]
        and len(grids["template_sensitivity"].body) == 3
    )
    assert (
        grids["template_sensitivity"].body[1][-4].text == "80.0"
        and "[" in grids["template_sensitivity"].body[1][-1].text
    )
    assert "at temperature 0 nothing is drawn" in grids["template_sensitivity"].caption
    assert "countdown" in (tmp_path / "subdomains.tex").read_text()


def test_kinds_of_problems_by_hand(evaluated):
    found = rows(evaluated, "subdomains", dataset="countdown", rule="rad")
    assert [(row["facet"], row["value"], row["n"]) for row in found] == [
        *(("High-level domain", value, 10) for value in ("Biology", "Physics")),
        *(("Subdomain", value, 5) for value in ("Cells", "Genetics", "Optics", "Waves")),
    ]
    even = sum(
        sample in SOLVED[template]["rad"] for template in SOLVED for sample in range(0, N, 2)
    )
    assert found[0]["accuracy"] == pytest.approx(even / 30)


def test_what_was_not_run_is_empty_with_a_reason(evaluated, tmp_path):
    for name in ("template_sensitivity", "template_flips", "subdomains"):
        (row,) = rows(evaluated, name, dataset="sudoku")
        assert row["reason"] == "not run: evaluation.templates is empty" and not SPECS[name].shown(
            {**row, "verdict": None}
        )
    bare = read_evaluated(written(tmp_path / "a.parquet"))
    bare = dataclasses.replace(
        bare, facets=({},) * N, templates=("plain",), correct=bare.correct[:1]
    )
    one = dataclasses.replace(
        evaluated, sets=(dataclasses.replace(evaluated.sets[0], evaluated=bare),)
    )
    (row,) = rows(one, "subdomains")
    assert (
        row["reason"]
        == "the problems of countdown are of one kind: its test file names no subdomain"
    )
    (row,) = rows(one, "template_flips")
    assert row["reason"] == "needs two templates and two rules"


def test_seeds_have_a_spread_and_widen_nothing_by_themselves(evaluated, tmp_path):
    found = read_evaluated(written(tmp_path / "a.parquet", seeds=(3, 4), temperature="0.5"))
    assert found.seeds == (3, 4) and found.correct.shape == (3, 3, N, 2)
    one = dataclasses.replace(
        evaluated, sets=(dataclasses.replace(evaluated.sets[0], evaluated=found),)
    )
    (row,) = rows(one, "template_sensitivity", rule="rad", template="plain")
    assert (row["seeds"], row["answers"], row["accuracy"], row["seed_low"], row["seed_high"]) == (
        2,
        2,
        0.8,
        0.8,
        0.8,
    )
    (pair,) = rows(
        one, "template_flips", template="plain", other_template="odd", rules="rad less truncate@rad"
    )
    assert pair["p"] is None and pair["verdict"] == "flips"


def test_an_evaluation_that_lacks_answers_is_refused(tmp_path):
    path = written(
        tmp_path / "a.parquet", keep=lambda row: (row["rule"], row["sample_id"]) != ("rad", 3)
    )
    with pytest.raises(
        ValueError,
        match=(
            r"a\.parquet: 177 answers, not one for each of 3 x 3 x 20 x 1; delete it and run"
            r" snakemake again"
        ),
    ):
        read_evaluated(path)
    assert np.isfinite(read_evaluated(written(tmp_path / "b.parquet")).forwards).all()


def test_a_study_reads_its_evaluations_and_refuses_mixed_code(study, tmp_path):
    root = shutil.copytree(study, tmp_path / "study")
    for dataset in ("countdown", "sudoku"):
        written(root / f"evaluation/{dataset}/128.parquet")
        (root / f"evaluation/{dataset}/128.json").write_text(json.dumps({"code": "one"}))
    how = (root, ["countdown", "sudoku"], [128], ["q"], ["full", "rad"])
    assert all(
        one.evaluated is not None for one in read_evidence(*how, seed=0, evaluated=True).sets
    )
    (root / "evaluation/sudoku/128.json").write_text(json.dumps({"code": "other"}))
    with pytest.raises(
        ValueError, match=r"evaluation: 2 versions of the code \(one, other\); run snakemake again"
    ):
        read_evidence(*how, seed=0, evaluated=True)
