import os
import random

import pytest
import torch

from tracedlm.models import training
from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.training import (
    IGNORED,
    DiffusionTrainer,
    NoisyBatches,
    grouped_by_length,
    only_item,
    reporting,
    resumable,
    training_arguments,
)

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
            assert item["attention_mask"][row].tolist() == [0] * (width - len(prompt)) + [1] * (
                len(prompt) + 32
            )
            labels, weights = item["labels"][row].tolist(), item["loss_weights"][row].tolist()
            assert labels[:width] == [IGNORED] * width and not any(weights[:width])
            for token, label, weight, truth in zip(
                tokens[width:], labels[width:], weights[width:], response, strict=True
            ):
                assert token in (MASK, truth)
                assert (label != IGNORED) == (weight > 0)
                if weight > 0:
                    assert token == MASK and label == truth
                elif not more:
                    assert token == truth


def test_weights_are_one_over_the_masking_probability_and_sum_to_one_on_average():
    """600 samples; the standard deviation of a sum is below 0.45 at 32 tokens, so four standard
    errors are 0.075.
    """
    sums = torch.cat([batches()[step]["loss_weights"].sum(1) for step in range(200)])
    assert abs(sums.mean() - 1) < 0.075
    for step in range(20):
        for row in batches()[step]["loss_weights"]:
            used = row[row > 0]
            assert len(used) == 0 or (used[0] >= 1 / 32 and bool((used == used[0]).all()))


def test_block_noise_is_a_state_of_decoding():
    """Text, then the partly masked active block, then masks.

    The loss is on the active block alone, and its weights sum to 1.
    """
    for step in range(50):
        item = batches(block_length=8, block_share=1.0)[step]
        for tokens, weights in zip(
            item["input_ids"][:, -32:], item["loss_weights"][:, -32:], strict=True
        ):
            masked = [block.tolist() for block in (tokens == MASK).reshape(4, 8)]
            states = [
                "none" if not any(block) else "all" if all(block) else "some" for block in masked
            ]
            assert (
                states == sorted(states, key=["none", "some", "all"].index)
                and states.count("some") <= 1
            )
            used = weights.reshape(4, 8).sum(1)
            assert (used > 0).sum() <= 1 and (used.sum() == 0 or used.sum() == pytest.approx(1))
            if used.sum():
                assert all(state == "all" for state in states[int(used.argmax()) + 1 :])


def test_no_block_of_padding_alone_is_active():
    """A response of 10 tokens and 22 of padding, blocks of 8.

    What is trained on lies in the first two.
    """

    def short(step):
        return [(prompt, response[:10] + [PAD] * 22) for prompt, response in draw(step)]

    data = NoisyBatches(short, 100, MASK, PAD, 0, block_length=8, block_share=1.0)
    trained = torch.cat([data[step]["loss_weights"][:, -32:] for step in range(100)]).sum(0)
    assert (trained[:16] > 0).all() and not trained[16:].any()


@pytest.mark.parametrize("more", [{}, BLOCKS])
def test_an_item_is_a_function_of_seed_and_step_alone(more):
    torch.manual_seed(1)
    one = batches(**more)[7]
    torch.manual_seed(2)
    data = batches(**more)
    data[3]
    again, other_seed, other_step = data[7], batches(seed=1, **more)[7], data[8]
    assert all(
        torch.equal(torch.as_tensor(one[name]), torch.as_tensor(again[name])) for name in one
    )
    assert not torch.equal(one["input_ids"], other_seed["input_ids"]) and not torch.equal(
        one["input_ids"], other_step["input_ids"]
    )


@pytest.mark.parametrize("more", [{}, BLOCKS])
def test_the_parts_of_a_batch_are_its_rows(more):
    """Whatever a batch is divided into, each row sees the same tokens and noise.

    Only the padding left of the prompts differs.
    """
    for step in range(10):
        whole, parts = (
            batches(**more)[step],
            [batches(parts=3, **more)[3 * step + part] for part in range(3)],
        )
        assert [part["input_ids"].shape[0] for part in parts] == [1, 1, 1]
        for row, part in enumerate(parts):
            real = part["attention_mask"][0].bool()
            for name in ("input_ids", "labels", "loss_weights"):
                assert torch.equal(
                    part[name][0, real], whole[name][row, whole["attention_mask"][row].bool()]
                )


def test_steps_beyond_the_last_are_an_error():
    assert len(batches()) == 200 and len(batches(parts=3)) == 600
    for step in (200, -1):
        with pytest.raises(IndexError):
            batches()[step]


@pytest.mark.parametrize("shift", [0, 1], ids=["LLaDA", "Dream"])
def test_the_loss_is_the_papers(checkpoint, tmp_path, shift):
    """Cross-entropy of every masked response token over t and the response's length, from all
    logits, token by token; then the mean.
    """
    denoiser = load_denoiser(checkpoint, device="cpu")
    denoiser.model.config.logit_shift = shift
    data = NoisyBatches(draw, 1, denoiser.mask_id, denoiser.tokenizer.pad_token_id, 0)
    trainer = DiffusionTrainer(
        model=denoiser.model,
        args=training_arguments(tmp_path, 0),
        train_dataset=data,
        data_collator=only_item,
    )
    item, examples = data[0], draw(0)
    with torch.no_grad():
        loss = trainer.compute_loss(denoiser.model, item)
        logits = denoiser.model(
            input_ids=item["input_ids"], attention_mask=item["attention_mask"]
        ).logits.double()
    uniform = torch.rand(3, generator=torch.Generator().manual_seed(0))
    total, width = 0.0, item["input_ids"].shape[1] - 32
    for row, (_, response) in enumerate(examples):
        t = 1e-3 + (1 - 1e-3) * float(uniform[row])
        for position, token in enumerate(response):
            if item["input_ids"][row, width + position] == denoiser.mask_id:
                scores = logits[row, width + position - shift]
                total += float(scores.logsumexp(0) - scores[token]) / (t * len(response))
    assert total > 0 and float(loss) == pytest.approx(total / len(examples), rel=1e-5)


def test_groups_of_similar_length_are_whole_batches_and_the_longest_comes_first():
    lengths = [(17 * n) % 101 for n in range(50)]
    batches = grouped_by_length(lengths, 8, seed=0)
    assert [len(batch) for batch in batches] == [8] * 6 and len(
        {index for batch in batches for index in batch}
    ) == 48
    assert max(lengths) in [lengths[index] for index in batches[0]]
    assert batches == grouped_by_length(lengths, 8, seed=0) != grouped_by_length(lengths, 8, seed=1)


def test_a_tracker_that_is_not_installed_is_one_clear_message(monkeypatch, tmp_path):
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        ValueError, match=r"sft.report_to: trackio is not installed; run `pip install trackio`"
    ):
        reporting(["trackio"], tmp_path / "runs")


def test_trackers_write_where_their_own_variables_say_or_beside_the_adapter(monkeypatch, tmp_path):
    monkeypatch.setattr(training.importlib.util, "find_spec", lambda name: name)
    for name, value in {
        "TENSORBOARD_LOGGING_DIR": "/elsewhere",
        "WANDB_DIR": None,
        "WANDB_PROJECT": None,
    }.items():
        monkeypatch.setenv(name, value or "")
        if value is None:
            monkeypatch.delenv(name)
    asked = reporting(["tensorboard", "wandb"], tmp_path / "sft/runs")
    assert (asked["report_to"], asked["project"]) == (["tensorboard", "wandb"], "tracedlm")
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == "/elsewhere" and os.environ["WANDB_DIR"] == str(
        tmp_path / "sft/runs"
    )
    for name in ("WANDB_DIR", "WANDB_PROJECT"):
        monkeypatch.delenv(name)


def test_by_default_nothing_is_reported(tmp_path):
    assert training_arguments(tmp_path, 0, **reporting([], tmp_path / "runs")).report_to == []
    assert not (tmp_path / "runs").exists()


def test_half_written_checkpoints_are_not_resumed_from(tmp_path):
    for step, complete in ((2, True), (4, False)):
        (tmp_path / f"checkpoint-{step}").mkdir()
        if complete:
            (tmp_path / f"checkpoint-{step}" / "last").touch()
    assert resumable(tmp_path, "last")
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-2"]
    assert not resumable(tmp_path / "none", "last")
