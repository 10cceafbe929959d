import random

import pytest
import torch

from tracedlm.models.training import IGNORED, NoisyBatches, resumable

MASK, PAD, END = 1, 0, 5
PROMPTS = [[2, 10, 4], [2, 11, 12, 13, 4], [2, 4]]


def draw(step):
    rng = random.Random(step)
    return [(prompt, [rng.randrange(20, 40) for _ in range(32)]) for prompt in PROMPTS]


def batches(seed=0, steps=200, **more):
    return NoisyBatches(draw, steps, MASK, PAD, seed, **more)


BLOCKS = {"block_length": 8, "block_share": 0.5}


@pytest.mark.parametrize("more", [{}, BLOCKS])
def test_the_prompt_is_never_masked_and_labels_are_only_where_masks_are(more):
    for step in range(50):
        item = batches(**more)[step]
        width = item["input_ids"].shape[1] - 32
        for row, (prompt, response) in enumerate(draw(step)):
            tokens = item["input_ids"][row].tolist()
            assert tokens[width - len(prompt) : width] == prompt
            assert item["attention_mask"][row].tolist() == [0] * (width - len(prompt)) + [1] * (len(prompt) + 32)
            labels, weights = item["labels"][row].tolist(), item["loss_weights"][row].tolist()
            assert labels[:width] == [IGNORED] * width and not any(weights[:width])
            for token, label, weight, truth in zip(tokens[width:], labels[width:], weights[width:], response, strict=True):
                assert token in (MASK, truth)
                assert (label != IGNORED) == (weight > 0)
                if weight > 0:
                    assert token == MASK and label == truth
                elif not more:
                    assert token == truth


def test_weights_are_one_over_the_masking_probability_and_sum_to_one_on_average():
    """600 samples; the standard deviation of a sum is below 0.45 at 32 tokens, so four standard errors are 0.075."""
    sums = torch.cat([batches()[step]["loss_weights"].sum(1) for step in range(200)])
    assert abs(sums.mean() - 1) < 0.075
    for step in range(20):
        for row in batches()[step]["loss_weights"]:
            used = row[row > 0]
            assert len(used) == 0 or (used[0] >= 1 / 32 and bool((used == used[0]).all()))


def test_block_noise_is_a_state_of_decoding():
    """Text, then the partly masked active block, then masks; the loss is on the active block alone, and its weights sum to 1."""
    for step in range(50):
        item = batches(block_length=8, block_share=1.0)[step]
        for tokens, weights in zip(item["input_ids"][:, -32:], item["loss_weights"][:, -32:], strict=True):
            masked = [block.tolist() for block in (tokens == MASK).reshape(4, 8)]
            states = ["none" if not any(block) else "all" if all(block) else "some" for block in masked]
            assert states == sorted(states, key=["none", "some", "all"].index) and states.count("some") <= 1
            used = weights.reshape(4, 8).sum(1)
            assert (used > 0).sum() <= 1 and (used.sum() == 0 or used.sum() == pytest.approx(1))
            if used.sum():
                assert all(state == "all" for state in states[int(used.argmax()) + 1 :])


@pytest.mark.parametrize("more", [{}, BLOCKS])
def test_an_item_is_a_function_of_seed_and_step_alone(more):
    torch.manual_seed(1)
    one = batches(**more)[7]
    torch.manual_seed(2)
    data = batches(**more)
    data[3]
    again, other_seed, other_step = data[7], batches(seed=1, **more)[7], data[8]
    assert all(torch.equal(one[name], again[name]) for name in one)
    assert not torch.equal(one["input_ids"], other_seed["input_ids"]) and not torch.equal(one["input_ids"], other_step["input_ids"])


def test_steps_beyond_the_last_are_an_error():
    assert len(batches()) == 200
    for step in (200, -1):
        with pytest.raises(IndexError):
            batches()[step]


def test_half_written_checkpoints_are_not_resumed_from(tmp_path):
    for step, complete in ((2, True), (4, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if complete:
            (tmp_path / f"checkpoint-{step}" / "last").touch()
    assert resumable(tmp_path, "last")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
    assert not resumable(tmp_path / "none", "last")
