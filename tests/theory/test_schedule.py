import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracles
from tracedlm.theory.schedule import (
    checkpoint_steps,
    effective_steps,
    gaussian,
    total_steps,
    uniform,
)

CONFIGS = (
    Path(os.environ.get("TRACEDLM_SHARED", Path(__file__).resolve().parents[2].parent / "shared"))
    / "data"
    / "edit_configs"
)


@given(st.integers(0, 600), st.integers(1, 300))
def test_uniform_is_even_and_exact(tokens, steps):
    counts = uniform(tokens, steps)
    assert counts.sum() == tokens
    assert counts.shape == (steps,)
    assert counts.max() - counts.min() <= 1
    assert (np.diff(counts) <= 0).all()


@given(st.integers(0, 600), st.integers(1, 300), st.floats(0, 1), st.floats(1e-4, 10))
def test_gaussian_sums_exactly_and_is_never_negative(tokens, steps, center, width):
    counts = gaussian(tokens, steps, center, width)
    assert counts.sum() == tokens
    assert counts.min() >= 0
    assert counts.dtype.kind == "i"


@given(
    st.integers(1, 64),
    st.integers(1, 40),
    st.sampled_from([1 / 4, 1 / 6, 0.5]),
    st.sampled_from([1 / 3, 1 / 5, 1.0]),
)
def test_gaussian_is_the_largest_remainder_method(tokens, steps, center, width):
    s = np.arange(steps) / steps
    exponent = -(((s - center) / width) ** 2) / 2
    expected = oracles.largest_remainder(tokens, np.exp(exponent - exponent.max()))
    exact = gaussian(tokens, steps, center, width)
    # steps symmetric about the centre tie in exact arithmetic but not in the oracle's rounded
    # weights, which may then pick the later
    assert np.abs(exact - expected).max() <= 1
    assert sorted(exact) == sorted(expected)


def test_gaussian_peaks_at_its_centre():
    assert gaussian(6400, 32, center=1 / 4, width=1 / 5).argmax() == 8
    assert gaussian(6400, 32, center=1 / 2, width=1 / 5).argmax() == 16
    assert effective_steps(gaussian(64, 32, width=1e-3)) == 1
    # 1/3 and 2/3 are equally far, and both weights underflow.
    assert gaussian(64, 3, center=0.5, width=1e-3).tolist() == [
        0,
        32,
        32,
    ]


@pytest.mark.parametrize("tokens", range(1, 64, 5))
def test_steps_as_far_from_the_centre_tie_and_the_earlier_one_commits_more(tokens):
    """Sixteen pairs: a sort that is stable for few entries only would part some of them the other
    way.
    """
    counts = gaussian(tokens, 32, center=1 / 2)
    before, after = counts[15:0:-1], counts[17:]
    assert ((before == after) | (before == after + 1)).all()


@pytest.mark.parametrize(
    ("tokens", "tokens_per_step", "steps"), [(1, 4.0, 1), (4, 4.0, 1), (32, 4.0, 8), (7, 2.0, 4)]
)
def test_a_canvas_takes_a_step_at_least(tokens, tokens_per_step, steps):
    assert total_steps(tokens, tokens_per_step) == steps


@given(st.integers(1, 60), st.integers(1, 20), st.integers(2, 4))
def test_a_checkpoint_is_kept_at_powers_before_the_first_interval_and_at_multiples_after(
    steps, interval, ratio
):
    def kept(step):
        power = any(step == ratio**e for e in range(6)) and step < interval
        return step in (0, steps) or step % interval == 0 or power

    assert checkpoint_steps(steps, interval, ratio) == [
        step for step in range(steps + 1) if kept(step)
    ]


def test_effective_steps():
    assert effective_steps(uniform(32, 64)) == 32
    assert effective_steps(uniform(0, 3)) == 0


def test_the_first_block_of_edits_settings():
    """method.md section 2: a 64-token block is full after 20-29 of its 32 steps.

    22 with EDIT's most common (4, 5).
    """
    assert effective_steps(gaussian(64, 32, 1 / 4, 1 / 5)) == 22


@pytest.mark.shared
@pytest.mark.skipif(
    not CONFIGS.is_dir(),
    reason=f"EDIT's released settings are not at {CONFIGS} (set TRACEDLM_SHARED)",
)
@pytest.mark.parametrize(
    ("name", "forwards"), [("math_seq512", 162), ("gsm8k_seq256", 97), ("gsm8k_seq512", 197)]
)
def test_forwards_of_edits_released_schedules_without_noops(name, forwards):
    blocks = json.loads((CONFIGS / f"EDIT_{name}.json").read_text())["token_schedule"]
    filled = [
        effective_steps(gaussian(64, 32, 1 / block["center"], 1 / block["std"])) for block in blocks
    ]
    assert len(blocks) == int(name.split("seq")[1]) // 64
    assert all(20 <= steps <= 29 for steps in filled)
    assert sum(filled) == forwards


@pytest.mark.parametrize("schedule", [uniform, gaussian])
@pytest.mark.parametrize(("tokens", "steps"), [(4, 0), (-1, 4)])
def test_schedule_errors(schedule, tokens, steps):
    with pytest.raises(ValueError, match="steps >= 1 and tokens >= 0"):
        schedule(tokens, steps)


def test_a_schedule_has_a_width():
    with pytest.raises(ValueError, match="width"):
        gaussian(8, 4, width=0)
