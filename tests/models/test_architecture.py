"""A model given another tokenizer knows what it knew."""

import pytest
import torch

from tracedlm.models.architecture import new_model, retokenized
from tracedlm.models.tokenizer import train_tokenizer

OLD = train_tokenizer(["Solve sudoku"] * 3, 275)
NEW = train_tokenizer(["Solve sudoku, share apples"] * 3, 290)


@pytest.fixture
def models():
    torch.manual_seed(0)
    before = new_model(OLD, 8, 8, 1, 2).eval()
    after = new_model(OLD, 8, 8, 1, 2).eval()
    after.load_state_dict(before.state_dict())
    return before, retokenized(after, OLD, NEW)


def logits(model, tokenizer, words):
    ids = torch.tensor([tokenizer.convert_tokens_to_ids(words)])
    with torch.no_grad():
        return model(input_ids=ids).logits[0]


def test_tokens_that_both_know_are_predicted_as_before(models):
    before, after = models
    both = sorted(OLD.get_vocab().keys() & NEW.get_vocab().keys())
    assert len(both) > 256 and {"<reasoning>", OLD.mask_token} <= set(both)
    sentence = ["S", "o", OLD.mask_token, "<reasoning>", OLD.eos_token]
    old, new = logits(before, OLD, sentence), logits(after, NEW, sentence)
    torch.testing.assert_close(
        old[:, OLD.convert_tokens_to_ids(both)], new[:, NEW.convert_tokens_to_ids(both)]
    )


def test_a_new_token_starts_as_the_mean_of_its_pieces(models):
    before, after = models
    (token,) = {" apples", "Ġapples"} & NEW.get_vocab().keys()
    pieces = OLD(" apples", add_special_tokens=False)["input_ids"]
    assert len(pieces) > 1
    torch.testing.assert_close(
        after.get_input_embeddings().weight[NEW.get_vocab()[token]],
        before.get_input_embeddings().weight[pieces].mean(0),
    )


def test_config_and_output_follow_the_new_tokenizer(models):
    _, after = models
    assert after.config.vocab_size == len(NEW) == after.get_output_embeddings().weight.shape[0]
    assert (
        after.get_output_embeddings().weight.data_ptr()
        == after.get_input_embeddings().weight.data_ptr()
    )
    assert (
        after.config.mask_token_id == NEW.mask_token_id
        and after.config.pad_token_id == NEW.pad_token_id
    )
