"""Finite differences against pushes by hand, one row at a time.

Courses against what a trace records.
"""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import oracles
from conftest import write_adapter, write_checkpoint
from tracedlm.config import Decode, Exits, FlipAudit
from tracedlm.decode.recorder import TraceRecorder
from tracedlm.models.probe import probing
from tracedlm.records.rrm import Rrm
from tracedlm.stages.exits import freezing
from tracedlm.stages.exits.decoding import Bench, Setup
from tracedlm.stages.exits.freezing import CourseRecorder, certify_freezing, push_tokens, summarised
from tracedlm.tasks import get_task

LENGTH, BLOCK = 24, 12


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    checkpoint = write_checkpoint(folder / "model", hidden=32, layers=2, masks=False)
    adapter, task = write_adapter(checkpoint, folder / "adapter"), get_task("sudoku")
    task.write(task.sample("validation", 3, 0), folder / "validation.txt")
    return SimpleNamespace(
        checkpoint=checkpoint, adapter=adapter, data=folder / "validation.txt", folder=folder
    )


def map_of(layer, projection):
    rng = np.random.default_rng(layer)
    u, U = rng.normal(size=32), np.linalg.qr(rng.normal(size=(32, 3)))[0]
    return Rrm(
        (u / np.linalg.norm(u)).astype(np.float32),
        U.astype(np.float32),
        layer,
        projection,
        "B",
        "moments",
        "raw",
    )


def bench_of(inputs, rrm):
    rrm.write(inputs.folder / "q.safetensors")
    model = {"path": str(inputs.checkpoint), "device": "cpu", "dtype": "float32"}
    how = (LENGTH, Decode(block_length=BLOCK, batch_size=2), Exits(rules=("full",)))
    maps = {"q": inputs.folder / "q.safetensors", "moments": inputs.folder / "none"}
    return Bench(
        Setup(
            model, inputs.adapter, maps, "projection", "sudoku", {"validation": inputs.data}, *how
        ),
        "validation",
    )


def decoded(bench, probe):
    recorder = CourseRecorder(probe, bench.rrm)
    final = bench.run("full", {}, recorder)
    return final, [recorder.course(one.sample) for one in final]


def test_a_course_is_what_the_trace_records(inputs):
    bench, trace = bench_of(inputs, map_of(1, "q")), TraceRecorder()
    with probing(bench.denoiser, bench.rrm) as probe:
        _, courses = decoded(bench, probe)
    bench.run("full", {}, trace)
    for sample, course in enumerate(courses):
        rows = trace.readouts[sample]
        assert (
            len(rows) == len(course.block) == LENGTH // 2
            and np.isnan(course.moved[0]).all()
            and (course.moved[1:] > 0).any()
        )
        for t, row in enumerate(rows):
            assert np.flatnonzero(course.visible[t]).tolist() == list(row["position"])
            np.testing.assert_allclose(
                course.similarity[t, row["position"]], row["similarity"], rtol=1e-4, atol=1e-5
            )


def test_a_probe_reads_and_pushes_and_leaves(inputs):
    bench = bench_of(inputs, map_of(0, "v"))
    tokens = torch.tensor([bench.prompts[0]])
    plain = bench.denoiser(tokens, torch.ones_like(tokens))
    with probing(bench.denoiser, bench.rrm) as probe:
        bench.denoiser(tokens, torch.ones_like(tokens))
        before = probe.latest
        probe.push = torch.zeros_like(before)
        probe.push[0, 2, 5] = 3.0
        pushed = bench.denoiser(tokens, torch.ones_like(tokens))
        torch.testing.assert_close(probe.latest - before, probe.push, atol=1e-5, rtol=0)
    assert (pushed - plain).abs().max() > 1e-3 and torch.equal(
        bench.denoiser(tokens, torch.ones_like(tokens)), plain
    )


@pytest.mark.parametrize(("layer", "projection", "recommits"), [(1, "q", False), (0, "v", True)])
def test_pushes_move_what_a_twin_moves(inputs, monkeypatch, layer, projection, recommits):
    """The last layer's query is read by its own token alone: no push of it changes a commit.

    The first layer's value is read by all.
    """
    bench, changed = bench_of(inputs, map_of(layer, projection)), []
    with probing(bench.denoiser, bench.rrm) as probe:
        (final, *_), (course, *_) = decoded(bench, probe)
        course.moved[:] *= 40  # long pushes, so that some of them change commits
        for seed in range(3):
            moved, pushed, recommitted = push_tokens(
                bench, probe, final, course, 4, 0.3, np.random.default_rng(seed)
            )
            assert probe.push is None and len(moved) == len(pushed) == 4 and (pushed > 0).all()
            changed += recommitted.tolist()
            for n, expected in enumerate(by_hand(bench, final, course, 4, seed)):
                assert moved[n] == pytest.approx(expected, rel=1e-3, abs=1e-7) and (
                    moved[n] > 0 or not recommitted[n]
                )
    assert any(changed) == recommits


def by_hand(bench, final, course, probes, seed):
    """Total variation of each probe.

    The draws repeated, then two forwards a row with a hook of its own.
    """
    rng, can_move = np.random.default_rng(seed), course.visible & (course.moved > 0)
    last_of_block = np.append(course.block[1:] != course.block[:-1], True)
    t = rng.choice(np.flatnonzero((can_move.sum(1) >= 2) & ~last_of_block))
    tokens = rng.choice(np.flatnonzero(can_move[t]), size=probes)
    directions = rng.normal(size=(probes, 32))
    directions[::2] = bench.rrm.u * rng.choice([-1, 1], size=(probes // 2, 1))
    prompt = bench.prompts[final.sample]
    plain, text = after(bench, prompt, course, final, t, None)
    for token, direction in zip(tokens, directions, strict=True):
        push = torch.zeros(len(prompt) + LENGTH, 32)
        push[len(prompt) + token] = torch.from_numpy(
            course.moved[t, token] * direction / np.linalg.norm(direction)
        ).float()
        other, other_text = after(bench, prompt, course, final, t, push)
        both = [
            at for at in range(LENGTH) if bench.denoiser.mask_id not in (text[at], other_text[at])
        ]
        yield float(
            oracles.total_variation(
                oracles.softmax(plain, both, 0.3), oracles.softmax(other, both, 0.3)
            )
        )


def after(bench, prompt, course, final, t, push):
    """Similarities in the forward after forward t, and the canvas it sees, under a push that is
    held.
    """
    layer, seen = bench.denoiser.causal_lm.model.layers[bench.rrm.layer].self_attn, []

    def hook(_, __, output):
        output = output if push is None else output + push
        seen.append(output[0, len(prompt) :].double())
        return output

    mask = bench.denoiser.mask_id
    canvas = [
        int(token) if visible else mask
        for token, visible in zip(final.tokens, course.visible[t], strict=True)
    ]
    handle = getattr(layer, f"{bench.rrm.projection}_proj").register_forward_hook(hook)
    for _ in range(2):
        line, shown = torch.tensor([[*prompt, *canvas]]), list(canvas)
        logits = bench.denoiser(line, torch.ones_like(line))[0, len(prompt) :].double().softmax(-1)
        block = range(course.block[t] * BLOCK, (course.block[t] + 1) * BLOCK)
        masked = sorted(
            (at for at in block if canvas[at] == mask), key=lambda at: -logits[at].max()
        )
        for at in masked[:2]:
            canvas[at] = int(logits[at].argmax())
    handle.remove()
    return [oracles_cosine(row, bench.rrm.u) for row in seen[-1]], shown


def oracles_cosine(f, u):
    return float((f.numpy() * u).sum() / (np.linalg.norm(f.numpy()) * np.linalg.norm(u)))


def test_the_whole_stage(inputs):
    rrm = map_of(1, "q")
    rrm.write(inputs.folder / "q.safetensors")
    model, out = (
        {"path": str(inputs.checkpoint), "device": "cpu", "dtype": "float32"},
        inputs.folder / "freezing.json",
    )
    exits = Exits.model_validate({"token_freeze": {"token_delta": 1e-3, "token_omega": 2}})
    maps = {"q": inputs.folder / "q.safetensors", "moments": inputs.folder / "none"}
    audit = FlipAudit(samples=2, probes=3)
    data, decode = {"validation": inputs.data}, Decode(block_length=BLOCK)
    setup = Setup(model, inputs.adapter, maps, "projection", "sudoku", data, LENGTH, decode, exits)
    certify_freezing(setup, audit, 1.0, 0, 1, out)
    found = json.loads(out.read_text())
    assert (found["samples"], found["probes"], found["changed_commits"], found["token_omega"]) == (
        2,
        6,
        0,
        2,
    )
    assert 0 <= found["certified"] <= found["stable"] < found["visible"] and found["beta"] > 0
    assert found["blocks"] == 4 and found["defined"] == 2 and found["safe"] <= found["frozen"]


def course_of(similarity, visible, coordinates, moved):
    return freezing.Course(
        np.zeros(len(visible), dtype=int), visible, similarity, coordinates, moved
    )


@pytest.mark.parametrize(("ratio", "contracting"), [(0.5, 1), (1.5, 0)])
def test_nothing_is_safe_without_contraction(ratio, contracting):
    """Similarities that swing less and less, or more and more, about a clear favourite.

    Tokens that stand all but still.
    """
    steps, swing = 6, 1e-4 * ratio ** np.arange(6) * (-1.0) ** np.arange(6)
    similarity = np.stack([1 + swing, np.zeros(steps), np.zeros(steps)], axis=1)
    visible = np.ones((steps, 3), dtype=bool)
    course = course_of(
        similarity, visible, np.tile([3.0, 0.0], (steps, 3, 1)), np.full((steps, 3), 1e-5)
    )
    exits, audit = Exits(), FlipAudit(delta=1e-3, omega=1)
    found = summarised([course], 0.1, exits.token_freeze, audit, 1.0)
    assert (found["blocks"], found["defined"], found["contracting"], found["frozen"]) == (
        1,
        1,
        contracting,
        3,
    )
    assert (found["safe_edit"], found["safe"]) == (3 * contracting, 3 * contracting)
    assert found["alpha_median"] == pytest.approx(ratio, rel=1e-3)
    quick = course_of(similarity, visible, course.coordinates, np.full((steps, 3), 2.0))
    found = summarised([quick], 0.1, exits.token_freeze, audit, 1.0)
    assert found["safe"] == 0  # tokens that may move on by 2 a step
