"""Prompts side by side: what the mask lets through is each prompt, and nothing else."""

from hypothesis import given
from hypothesis import strategies as st

from tracedlm.decode.prompts import left_padded


@given(st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=5))
def test_what_is_real_is_the_prompt_and_ends_in_the_last_column(prompts):
    tokens, real = left_padded(prompts, 7)
    assert tokens.shape == real.shape == (len(prompts), max(map(len, prompts)))
    for row, mask, prompt in zip(tokens.tolist(), real.tolist(), prompts, strict=True):
        assert mask == [0] * (len(row) - len(prompt)) + [1] * len(prompt)
        assert row == [7] * (len(row) - len(prompt)) + prompt
