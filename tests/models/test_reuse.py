"""Key/value reuse is exact where nothing that is kept could have changed, and an approximation
elsewhere.
"""

import pytest
import torch

import tracedlm
from tracedlm.models.architecture import new_model
from tracedlm.models.denoiser import Denoiser
from tracedlm.models.tokenizer import train_tokenizer


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["Sudoku 4x4: 3102."], 300)


def denoiser(tokenizer, layers):
    torch.manual_seed(0)
    model = new_model(tokenizer, 24, 32, layers, 2)
    for weight in model.parameters():
        weight.data.mul_(8)  # far from uniform predictions, so that commits differ
    return Denoiser(model, tokenizer, tokenizer.mask_token_id)


PROMPTS = [[40, 41, 42], [50, 51, 52, 53, 54, 55], [60]]


@pytest.mark.parametrize("reuse", ["block", "prefix"])
@pytest.mark.parametrize("batch_size", [1, 3])
def test_with_one_layer_keys_depend_on_their_own_token_alone_so_reuse_is_exact(
    tokenizer, reuse, batch_size
):
    model = denoiser(tokenizer, 1)
    plain = tracedlm.generate(model, PROMPTS, 24, 8, 12)
    reused = tracedlm.generate(model, PROMPTS, 24, 8, 12, reuse=reuse, batch_size=batch_size)
    assert (
        reused.tokens.tolist() == plain.tokens.tolist()
        and len({tuple(row) for row in plain.tokens.tolist()}) > 1
    )


@pytest.mark.parametrize("reuse", ["block", "prefix"])
def test_at_a_blocks_first_step_everything_is_computed(tokenizer, reuse):
    model = denoiser(tokenizer, 3)
    plain = tracedlm.generate(model, PROMPTS, 24, 8, 3)
    assert (
        tracedlm.generate(model, PROMPTS, 24, 8, 3, reuse=reuse).tokens.tolist()
        == plain.tokens.tolist()
    )


def test_with_more_layers_it_is_an_approximation(tokenizer):
    model = denoiser(tokenizer, 3)
    plain, reused = (
        tracedlm.generate(model, PROMPTS, 24, 8, 24, reuse=reuse).tokens
        for reuse in ("none", "block")
    )
    assert (plain != reused).any()


def test_token_forwards_count_what_was_computed(tokenizer):
    model = denoiser(tokenizer, 1)
    how = ("none", "block", "prefix")
    counted = {
        reuse: tracedlm.generate(model, PROMPTS[:1], 24, 8, 12, reuse=reuse).token_forwards[0]
        for reuse in how
    }
    whole = 3 + 24  # three blocks of four steps, the first of each on the whole row
    assert counted == {
        "none": 12 * whole,
        "block": 3 * whole + 9 * 8,
        "prefix": 3 * whole + 3 * (24 + 16 + 8),
    }


def test_rules_that_read_the_whole_canvas_are_refused(tokenizer):
    with pytest.raises(ValueError, match="prophet, which reads the whole canvas"):
        tracedlm.generate(denoiser(tokenizer, 1), PROMPTS, 24, 8, 12, exit="prophet", reuse="block")
