from itertools import product

import numpy as np
import pytest

from tracedlm.theory.masking import block_context, mask_ratio, masked_positions, sft_weights


def test_ratios_fill_the_interval_from_eps_to_one():
    np.testing.assert_allclose(mask_ratio(np.array([0.0, 0.5, 1.0])), [1e-3, (1 + 1e-3) / 2, 1])


def test_a_position_is_masked_with_its_samples_probability_and_the_prompt_never():
    uniform = np.tile(np.arange(1000) / 1000, (2, 1))
    maskable = np.ones((2, 1000), dtype=bool)
    assert masked_positions(np.array([0.25, 0.5]), uniform, maskable).mean(axis=1).tolist() == [
        0.25,
        0.5,
    ]
    maskable[:, :100] = False
    assert not masked_positions(np.array([0.25, 1.0]), uniform, maskable)[:, :100].any()


def test_every_response_token_is_before_in_or_after_the_active_block():
    active, future = block_context(np.array([0, 1]), np.arange(-3, 6), 2)
    assert active.tolist() == [
        [False] * 3 + [True] * 2 + [False] * 4,
        [False] * 5 + [True] * 2 + [False] * 2,
    ]
    assert future.tolist() == [[False] * 5 + [True] * 4, [False] * 7 + [True] * 2]


@pytest.mark.parametrize("ratio", [0.1, 0.7, 1.0])
def test_the_weights_of_a_sample_sum_to_one_on_average(ratio):
    """Over all masks of three response tokens, each with its probability."""
    masks = np.array(list(product([False, True], repeat=3)))
    probability = np.where(masks, ratio, 1 - ratio).prod(axis=1)
    weights = sft_weights(masks, np.full(8, ratio), np.full(8, 3))
    assert probability @ weights.sum(axis=1) == pytest.approx(1)
    assert not weights[~masks].any()
