"""The self-test catches a model that looks where it must not, and training snapshots are what they
say.
"""

import pytest
import torch

from tracedlm.models.architecture import new_model
from tracedlm.models.causality import ROUNDING, check_sight, influence
from tracedlm.models.snapshots import CausalBatches, MaskedBatches, read_snapshot
from tracedlm.models.tokenizer import word_tokenizer

VOCABULARY = ("<pad>", "<bos>", "<eos>", "<mask>", *(f"w{number}" for number in range(12)))
TOKENS = torch.tensor([1, 4, 9, 5, 12, 7])


class Inverted(torch.nn.Module):
    """A causal model read from right to left.

    Outputs depend on later tokens only, as under the toolkit's inverted mask.
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids):
        output = self.model(input_ids=input_ids.flip(1))
        output.logits = output.logits.flip(1)
        return output


def small(causal):
    torch.manual_seed(0)
    return new_model(word_tokenizer(VOCABULARY), 12, 24, 2, 2, causal).eval()


def test_a_causal_model_passes_and_its_past_outputs_do_not_move():
    model = small(causal=True)
    check_sight(model, TOKENS, 2, causal=True)
    changed = influence(model, TOKENS, 2)
    # Two rows of a batch may be summed in different order; `check_sight` passes ten times as much.
    assert changed.tril(-1).max() < 0.1 * ROUNDING and (changed.triu(1).sum(1)[:-1] > 0).all()


def test_an_inverted_mask_is_caught():
    with pytest.raises(
        ValueError,
        match=r"not a causal model: replacing a token changes earlier outputs by 0.0[1-9]",
    ):
        check_sight(Inverted(small(causal=True)), TOKENS, 2, causal=True)


def test_a_bidirectional_model_is_no_causal_one_and_a_causal_one_no_bidirectional_one():
    check_sight(small(causal=False), TOKENS, 2, causal=False)
    with pytest.raises(ValueError, match="not a causal model"):
        check_sight(small(causal=False), TOKENS, 2, causal=True)
    with pytest.raises(ValueError, match="not a bidirectional model"):
        check_sight(small(causal=True), TOKENS, 2, causal=False)


def test_causal_batches_predict_every_token_but_the_first():
    (batch,) = (
        CausalBatches(lambda step: [([], [1, 4, 5, 2]), ([], [1, 6, 2])], 1, 3, 0, seed=0)[0],
    )
    assert batch["input_ids"].tolist() == [[1, 4, 5, 2], [1, 6, 2, 0]] and batch["canvas"] == 4
    assert batch["labels"].tolist() == [[-100, 4, 5, 2], [-100, 6, 2, -100]]
    # Divided by two rows in the loss: the mean over tokens.
    assert float(batch["loss_weights"].sum()) == pytest.approx(2)


def test_masked_batches_spare_the_ends():
    batches = MaskedBatches(
        lambda step: [([], [1, 4, 5, 6, 2]), ([], [1, 7, 2])] * 20, 3, 3, 0, seed=0
    )
    for step in range(3):
        batch = batches[step]
        masked = batch["input_ids"] == 3
        assert (
            masked.any()
            and not masked[:, 0].any()
            and not masked[0::2, 4].any()
            and not masked[1::2, 2:].any()
        )
        assert ((batch["loss_weights"] > 0) == masked).all()


def test_a_half_written_snapshot_is_refused_by_name(tmp_path):
    whole, half = tmp_path / "8", tmp_path / "16"
    for folder in (whole, half):
        small(causal=True).save_pretrained(folder)
    assert read_snapshot(whole).config.is_causal and not read_snapshot(whole).training
    weights = half / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"16: no usable checkpoint"):
        read_snapshot(half)
    weights.unlink()
    with pytest.raises(ValueError, match=r"16: no usable checkpoint"):
        read_snapshot(half)
    with pytest.raises(ValueError, match=r"32: no usable checkpoint: no such folder"):
        read_snapshot(tmp_path / "32")
