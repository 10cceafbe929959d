"""Readouts and certificates from traces written by hand, where the answer is known."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import oracles
from tracedlm.config import Certify, ReadoutSettings
from tracedlm.records import trace as tables
from tracedlm.records.metrics import GRID, SAMPLES
from tracedlm.records.parquet import read_table, write_table
from tracedlm.stages.certify import certify_readout, select
from tracedlm.stages.readout import make_readout

LENGTH, BLOCK = 8, 4
META = {"plan": json.dumps({"gen_length": LENGTH})}


def trace(folder, samples=(3, 0)):
    """Two samples of 8 denoising steps, one token each, and 3 refine steps that hide another token each time."""
    rng, steps, readouts = np.random.default_rng(0), [], []
    for sample in samples:
        for t in range(11):
            refine = t >= 8
            seen = [p for p in range(LENGTH) if p != (t * 5 + sample) % LENGTH] if refine else list(range(t))
            block, facts = (-1 if refine else t // BLOCK), {"sample_id": sample, "step": t + 1}
            steps.append(
                {**facts, "block": block, "block_step": 1, "phase": "refine" if refine else "denoise", "masked": LENGTH - len(seen)}
                | {"committed_position": [], "committed_token": [], "mean_confidence": 1.0, "mean_entropy": 0.0, "predictive_kl": None}
            )
            for projection in "qkv":
                similarity = rng.uniform(-1, 1, len(seen)).astype(np.float32)
                readouts.append({**facts, "layer": 1, "projection": projection, "position": seen, "similarity": similarity})
    write_table(folder / "steps.parquet", steps, tables.STEPS, META)
    write_table(folder / "readouts.parquet", readouts, tables.READOUTS, META)
    return steps, readouts


def readout_rows(folder, readout, **settings):
    make_readout(folder / "steps.parquet", folder / "readouts.parquet", readout, ReadoutSettings(**settings), folder / "out.parquet")
    return read_table(folder / "out.parquet", tables.READOUT, "a readout").to_pylist()


def expected_rows(steps, readouts, readout, visible):
    """(positions, similarities) of each step by hand: aggregates token by token, refine steps on what all of them see."""
    rows = {}
    for sample in sorted({step["sample_id"] for step in steps}):
        own = [step for step in steps if step["sample_id"] == sample]
        shared = set.intersection(*(set(_seen(readouts, sample, step["step"], "q")) for step in own if step["phase"] == "refine"))
        for step in own:
            values = {projection: _seen(readouts, sample, step["step"], projection) for projection in "qkv"}
            kept = shared if step["phase"] == "refine" else set(values["q"])
            if visible == "block" and step["phase"] == "denoise":
                kept = {p for p in kept if p // BLOCK == step["block"]}
            merge = {"qkv_mean": lambda three: sum(three) / 3, "qkv_max": max}.get(readout)
            rows[sample, step["step"]] = {
                p: merge([values[name][p] for name in "qkv"]) if merge else values[readout][p] for p in sorted(kept)
            }
    return rows


def _seen(readouts, sample, step, projection):
    (row,) = [r for r in readouts if (r["sample_id"], r["step"], r["projection"]) == (sample, step, projection)]
    return dict(zip(row["position"], map(float, row["similarity"]), strict=True))


@pytest.mark.parametrize("visible", ["response", "block"])
@pytest.mark.parametrize("readout", ["q", "v", "qkv_mean", "qkv_max"])
def test_readouts_and_their_statistics_are_those_of_the_equations(tmp_path, readout, visible):
    steps, readouts = trace(tmp_path)
    rows = readout_rows(tmp_path, readout, visible=visible, tau=0.5)
    expected = expected_rows(steps, readouts, readout, visible)
    assert [(row["sample_id"], row["step"]) for row in rows] == sorted(expected)
    for row in rows:
        wanted = expected[row["sample_id"], row["step"]]
        assert row["position"] == list(wanted)
        np.testing.assert_allclose(row["similarity"], list(wanted.values()), rtol=1e-6)
    for sample in (0, 3):
        dense = [[expected[sample, t].get(p, 0.0) for p in range(LENGTH)] for t in range(1, 12)]
        seen = [[p in expected[sample, t] for p in range(LENGTH)] for t in range(1, 12)]
        for row, exact in zip([r for r in rows if r["sample_id"] == sample], oracles.step_statistics(dense, seen, tau=0.5), strict=True):
            for name in ("kl", "tv", "margin", "concentration"):
                assert row[name] == (None if exact[name] is None else pytest.approx(float(exact[name]), rel=1e-9, abs=1e-14)), name


def test_a_readout_that_was_not_collected_is_named(tmp_path):
    trace(tmp_path)
    rows = [row for row in pq.read_table(tmp_path / "readouts.parquet").to_pylist() if row["projection"] != "v"]
    write_table(tmp_path / "readouts.parquet", rows, tables.READOUTS, META)
    with pytest.raises(ValueError, match=r"no readout of projection 'v'; they hold \['k', 'q'\]"):
        readout_rows(tmp_path, "v")


def test_traces_that_disagree_are_refused(tmp_path):
    trace(tmp_path)
    rows = pq.read_table(tmp_path / "steps.parquet").to_pylist()
    write_table(tmp_path / "steps.parquet", rows[:-1], tables.STEPS, META)
    with pytest.raises(ValueError, match=r"trace tables disagree: 22 readout rows of 'q' against 21 steps"):
        readout_rows(tmp_path, "q")


# Certificates on two tokens: sample 0 never moves; sample 1 moves a little, with a KL of about 5e-7 a step.
SETTINGS = Certify(late_window=6, deltas=(1e-8, 1e-6, 1e-5), omegas=(1, 2, 3), strict_delta=1e-8, strict_omega=1)


def readout_of(path, wobbles, steps=7, meta=None):
    rows = []
    for sample, wobble in enumerate(wobbles):
        for t in range(steps):
            facts = {"sample_id": sample, "step": t + 1, "block": -1 if t else 0, "phase": "refine" if t else "denoise"}
            similarity = [1.0, -1.0 + wobble * (t % 2)]
            rows.append(
                {**facts, "position": [0, 1], "similarity": similarity, "kl": None, "tv": None, "margin": None, "concentration": None}
            )
    write_table(path, rows, tables.READOUT, {"gen_length": str(LENGTH)} if meta is None else meta)
    return path


def samples_of(path, scores):
    empty = dict.fromkeys(tables.SAMPLES.names)
    rows = [{**empty, "sample_id": n, "score": score, "correct": score == 1} for n, score in enumerate(scores)]
    write_table(path, rows[::-1], tables.SAMPLES)
    return path


def certified(tmp_path, wobbles, scores, chosen=(1e-6, 2)):
    readout, samples = readout_of(tmp_path / "r.parquet", wobbles), samples_of(tmp_path / "s.parquet", scores)
    (tmp_path / "selection.json").write_text(json.dumps({"delta": chosen[0], "omega": chosen[1]}))
    out = {"samples": tmp_path / "samples.parquet", "grid": tmp_path / "grid.parquet", "summary": tmp_path / "summary.json"}
    certify_readout(readout, samples, tmp_path / "selection.json", SETTINGS, 1.0, 0, out)
    return (
        read_table(out["samples"], SAMPLES, "s").to_pylist(),
        read_table(out["grid"], GRID, "g").to_pylist(),
        json.loads(out["summary"].read_text()),
    )


def test_the_pair_of_largest_coverage_is_selected_ties_to_small_delta_and_long_window(tmp_path):
    paths = [readout_of(tmp_path / "a.parquet", [0.0, 3e-3]), readout_of(tmp_path / "b.parquet", [3e-3, 3e-3])]
    select(paths, SETTINGS, 1.0, tmp_path / "selection.json")
    chosen = json.loads((tmp_path / "selection.json").read_text())
    assert (chosen["delta"], chosen["omega"], chosen["coverage"], chosen["sets"]) == (1e-6, 3, 1.0, 2)
    np.testing.assert_allclose(chosen["grid"], [[0.25] * 3, [1.0] * 3, [1.0] * 3])


def test_certificates_of_a_readout_whose_answer_is_known(tmp_path):
    samples, grid, summary = certified(tmp_path, [0.0, 3e-3, 3.0], [1.0, 0.5, 0.0])
    assert [row["certified_pinsker"] for row in samples] == [True, True, False]
    assert [row["certified_observed"] for row in samples] == [True, True, False]
    assert [row["certified_at"] for row in samples] == [3, 3, None]  # step 2 is the first late one; two KLs end at step 3
    assert [(row["sample_id"], row["score"], row["correct"]) for row in samples] == [(0, 1.0, True), (1, 0.5, False), (2, 0.0, False)]
    assert samples[0]["lscr_tv"] is None and samples[1]["lscr_tv"] == pytest.approx(1)
    margin = (np.exp(1) - np.exp(-1)) / (np.exp(1) + np.exp(-1))
    assert samples[0]["margin"] == pytest.approx(margin)
    counts = {(row["bound"], row["delta"], row["omega"]): row["certified"] for row in grid}
    assert len(counts) == 5 * 3 * 3 and {row["n"] for row in grid} == {3}
    assert [counts["pinsker", delta, 1] for delta in SETTINGS.deltas] == [1, 2, 2]
    assert summary["coverage"]["pinsker"]["certified"] == 2 and summary["coverage"]["pinsker"]["share"] == pytest.approx(2 / 3)
    assert summary["strict"]["pinsker"]["certified"] == 1 and summary["feasible"] is True
    assert summary["profile"]["lscr_tv"]["undefined"] == 1 and summary["n"] == 3


def test_an_infeasible_pair_certifies_nothing_and_says_so(tmp_path):
    _, _, summary = certified(tmp_path, [0.0, 0.0], [1.0, 0.0], chosen=(0.05, 6))
    assert summary["feasible"] is False
    assert summary["coverage"]["pinsker"]["certified"] == summary["coverage"]["paper"]["certified"] == 0


def test_a_correlation_that_is_undefined_is_null_with_a_reason(tmp_path):
    _, _, summary = certified(tmp_path, [0.0, 0.0, 0.0], [1.0, 1.0, 1.0])
    assert summary["spearman"]["rho"] is None and summary["spearman"]["reason"]


def test_samples_of_another_trace_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"s\.parquet and .*r\.parquet hold different samples"):
        certified(tmp_path, [0.0, 0.0, 0.0], [1.0, 1.0])


def test_a_readout_that_does_not_say_its_length_is_refused(tmp_path):
    path = readout_of(tmp_path / "r.parquet", [0.0], meta={})
    with pytest.raises(ValueError, match=r"r\.parquet: does not say its canvas length"):
        select([path], SETTINGS, 1.0, tmp_path / "selection.json")
