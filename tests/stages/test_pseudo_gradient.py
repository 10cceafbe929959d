"""The replay gives the model what decoding gave it. Convergence is told from the tables alone."""

import json

import numpy as np
import pytest
import torch

from tracedlm.decode.plan import Plan
from tracedlm.decode.recorder import TraceRecorder
from tracedlm.generation import decode_stream, encode
from tracedlm.models.denoiser import Denoiser, load_denoiser
from tracedlm.models.pseudo_gradient import pseudo_gradients
from tracedlm.records import trace
from tracedlm.records.metrics import GRADIENTS
from tracedlm.records.parquet import read_table, write_table
from tracedlm.records.pseudo_gradient import PSEUDO_GRADIENTS
from tracedlm.stages.trace import pseudo_gradient as stage
from tracedlm.stages.trace.convergence import summarise

PLAN = Plan(gen_length=16, block_length=8, steps=8)
TEXTS = ["1 + 1", "what is 2 + 3?", "7"]


@pytest.fixture(scope="module")
def adapted(checkpoint, adapter):
    return load_denoiser(checkpoint, adapter, device="cpu")


class NeverMasks(Denoiser):
    """Random weights may well predict the mask; decoding then shows nothing."""

    def __call__(self, *args):
        logits = super().__call__(*args)
        logits[..., self.mask_id] = -1e9
        return logits


@pytest.fixture(scope="module")
def traced(adapted, tmp_path_factory):
    """Trace tables of three prompts in two parts, and what the denoiser got in each forward."""
    folder, given, recorder = tmp_path_factory.mktemp("trace"), {}, TraceRecorder()

    def record(step):
        for row, (sample, number) in enumerate(
            zip(step.sample_r.tolist(), step.nfe_r.tolist(), strict=True)
        ):
            given[sample, number] = step.visible_rg[row].clone()
        recorder(step)

    decoder = NeverMasks(adapted.model, adapted.tokenizer, adapted.mask_id)
    for one in decode_stream(decoder, encode(adapted, TEXTS), PLAN, "full", record=record):
        steps, _ = recorder.take(one.sample)
        where, meta = f"part-{one.sample % 2}.parquet", {"plan": json.dumps(vars(PLAN))}
        parts = {
            "samples": [
                {
                    **dict.fromkeys(trace.SAMPLES.names),
                    "sample_id": one.sample,
                    "prompt": TEXTS[one.sample],
                }
            ],
            "steps": steps,
        }
        for name, rows in parts.items():
            path = folder / name / where
            before = read_table(path, trace.TABLES[name], name).to_pylist() if path.exists() else []
            write_table(path, before + rows, trace.TABLES[name], meta)
    return {name: sorted((folder / name).iterdir()) for name in ("samples", "steps")}, given


def replayed(checkpoint, adapter, parts, out, samples=3, batch_size=4):
    model = {"path": str(checkpoint), "device": "cpu", "dtype": "float32"}
    stage.replay_traces(
        model, adapter, -1, {"sudoku": parts}, samples, batch_size, 1, {"sudoku": out}
    )
    return read_table(out, PSEUDO_GRADIENTS, "pseudo-gradients").to_pylist()


def test_replayed_canvases_are_those_that_were_decoded(adapted, traced):
    parts, given = traced
    _, prompts, pairs = stage._read(adapted, parts, 3)
    assert list(prompts.values()) == encode(adapted, TEXTS)
    assert [(pair.sample, pair.block, pair.block_step) for pair in pairs] == [
        (s, b, t) for s in range(3) for b in (0, 1) for t in (1, 2, 3)
    ]
    for pair in pairs:
        number = pair.block * 4 + pair.block_step
        for canvas, step in ((pair.before, number), (pair.after, number + 1)):
            assert torch.equal(canvas != adapted.mask_id, given[pair.sample, step])


def test_rows_are_those_of_each_pair_alone_whatever_the_batch(
    adapted, checkpoint, adapter, traced, tmp_path
):
    parts, _ = traced
    rows, again = (
        replayed(checkpoint, adapter, parts, tmp_path / f"{size}.parquet", batch_size=size)
        for size in (4, 13)
    )
    assert len(rows) == 3 * 2 * 3 * 3 and rows[0].keys() == again[0].keys()
    for one, other in zip(rows, again, strict=True):
        assert {**one, "rms": 0, "kl": 0} == {**other, "rms": 0, "kl": 0}
        assert (one["rms"], one["kl"]) == pytest.approx((other["rms"], other["kl"]), rel=1e-3)
    _, prompts, pairs = stage._read(adapted, parts, 3)
    pair = pairs[
        4
        # Second block, second step of the first sample: the canvas behind its prompt alone.
    ]
    before, after = (
        torch.tensor([prompts[0] + canvas.tolist()]) for canvas in (pair.before, pair.after)
    )
    positions = torch.arange(8)[None] + len(prompts[0]) + 8
    visible = after.gather(1, positions) != adapted.mask_id
    divergence, rms = pseudo_gradients(
        adapted, 1, "qkv", before, after, torch.ones_like(before), positions, visible
    )
    found = {
        row["module"]: row
        for row in rows
        if (row["sample_id"], row["block"], row["block_step"]) == (0, 1, 2)
    }
    for projection, value in rms.items():
        row = found[f"1.{projection}.B"]
        assert (row["kl"], row["rms"]) == pytest.approx((float(divergence), float(value)), rel=1e-3)
        assert row["visible"] == int(visible.sum()) == 4


def test_only_the_first_samples_are_replayed(checkpoint, adapter, traced, tmp_path):
    assert {
        row["sample_id"]
        for row in replayed(checkpoint, adapter, traced[0], tmp_path / "t.parquet", samples=2)
    } == {0, 1}


# Gradients of SFT on q: 1, 2, 3, so the band is [1, 3]. Blocks settle at step 1, 2 and 3, and the
# last never does.
CURVES = {(0, 0): [2, 1, 3], (0, 1): [9, 2, 2], (1, 0): [2, 9, 3], (1, 1): [2, 2, 0.5]}
STOPPED = {"rad(a)": [[1, 2], [3, 3]], "fixed": [[3, 3], [3, 3]]}


@pytest.fixture
def summary(tmp_path):
    return summarised(tmp_path, exit_blocks=[8, 8])


def summarised(tmp_path, exit_blocks):
    """Of traces in two blocks of eight tokens, and of exits in blocks of their own."""

    def modules(rms):
        return [
            (f"4.{projection}.B", value * rms)
            for projection, value in zip("qkv", (1, 10, 100), strict=True)
        ]

    rows = [
        {
            "sample_id": s,
            "block": b,
            "block_step": t,
            "module": module,
            "visible": t,
            "kl": 0.1,
            "rms": rms,
        }
        for (s, b), curve in CURVES.items()
        for t, value in enumerate(curve, start=1)
        for module, rms in modules(value)
    ]
    write_table(
        tmp_path / "p.parquet",
        rows[::-1],
        PSEUDO_GRADIENTS,
        {"layer": "4", "plan": json.dumps(vars(PLAN))},
    )
    log = [
        {"step": k, "module": module, "rms": rms, "loss": 1.0, "lr": 1e-4}
        for k in (1, 2, 3)
        for module, rms in modules(float(k))
    ]
    log += [{"step": 1, "module": "3.q.B", "rms": 99.0, "loss": 1.0, "lr": 1e-4}]
    write_table(tmp_path / "g.parquet", log, GRADIENTS)
    runs = [
        {
            **dict.fromkeys(trace.EXITS.names),
            "sample_id": sample,
            "rule": label,
            "stopped_at": stops,
        }
        for label, both in STOPPED.items()
        for sample, stops in reversed(list(enumerate(both)))
    ]
    write_table(
        tmp_path / "e.parquet", runs, trace.EXITS, {"block_lengths": json.dumps(exit_blocks)}
    )
    summarise(
        tmp_path / "p.parquet",
        tmp_path / "g.parquet",
        {"rad": tmp_path / "e.parquet"},
        "sudoku",
        16,
        0,
        tmp_path / "s.json",
    )
    return json.loads((tmp_path / "s.json").read_text())


def test_blocks_settle_where_they_stay_in_the_band_of_their_own_module(summary):
    assert {
        name: (band["mean"], band["low"], band["high"]) for name, band in summary["bands"].items()
    } == {
        "4.q.B": (2, 1, 3),
        "4.k.B": (20, 10, 30),
        "4.v.B": (200, 100, 300),
    }
    for module in summary["bands"]:
        own = {
            (row["sample_id"], row["block"]): row
            for row in summary["steps"]
            if row["module"] == module
        }
        assert [own[key]["step"] for key in CURVES] == [1, 2, 3, None]
        assert [own[key]["nearest"] for key in CURVES] == [1, 2, 1, 1]
        assert [bool(own[key]["reason"]) for key in CURVES] == [False, False, False, True]
    assert (summary["blocks"], summary["converged"], summary["median_step"]) == (4, 3, 2)


def test_convergence_is_correlated_with_each_runs_exits_block_by_block(summary):
    rad, fixed = summary["correlation"]
    assert (rad["label"], rad["n"], rad["dropped"]) == ("rad(a)", 3, 1) and rad[
        "rho"
    ] == pytest.approx(1)
    assert rad["low"] <= rad["rho"] <= rad["high"] and not np.isnan(rad["low"])
    assert fixed["rho"] is None and fixed["reason"] == "the exit step is constant"


@pytest.mark.parametrize("exit_blocks", [[16], [4, 12], [4, 4, 4, 4]])
def test_exits_in_other_blocks_than_the_trace_are_not_paired_with_it(tmp_path, exit_blocks):
    """Nor where there are equally many; config/paper.yaml has blocks of 64 beside blocks of 32."""
    for run in summarised(tmp_path, exit_blocks)["correlation"]:
        assert (run["rho"], run["low"], run["high"], run["n"], run["dropped"]) == (
            None,
            None,
            None,
            0,
            4,
        )
        assert run["reason"].startswith(
            f"the runs were decoded in blocks of {exit_blocks} tokens, the trace in blocks of"
            " [8, 8]"
        )


def test_exits_that_do_not_say_their_blocks_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match=r"e\.parquet: does not say its blocks .* make it anew with rule exits"
    ):
        summarised(tmp_path, exit_blocks="unknown")
