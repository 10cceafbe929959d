import json
import shutil

import pytest
import torch

from conftest import write_adapter, write_checkpoint
from tracedlm.models.denoiser import load_denoiser

PROMPT, OTHER = [2, 3, 40, 41, 42, 5, 4], [2, 3, 50, 5, 4]


def padded(prompts, width):
    tokens = torch.zeros(len(prompts), width, dtype=torch.long)
    attention = torch.zeros_like(tokens)
    for row, prompt in enumerate(prompts):
        tokens[row, width - len(prompt) :], attention[row, width - len(prompt) :] = (
            torch.tensor(prompt),
            1,
        )
    return tokens, attention


def test_logits_do_not_depend_on_padding_or_batch(denoiser):
    alone = denoiser(*padded([PROMPT], 7))
    together = denoiser(*padded([PROMPT, OTHER], 12))
    torch.testing.assert_close(together[:1, 5:], alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        together[1:, 7:], denoiser(*padded([OTHER], 5)), rtol=1e-4, atol=1e-5
    )


def test_padding_is_really_masked(denoiser):
    """The test above could pass if attention were so diffuse that nothing mattered.

    Another token there does matter.
    """
    tokens, attention = padded([PROMPT], 12)
    seen = denoiser(tokens, torch.ones_like(attention))
    assert not torch.allclose(seen[:, 5:], denoiser(tokens, attention)[:, 5:], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("says_so", [True, False])
@pytest.mark.parametrize("width", [7, 9])
def test_attention_is_bidirectional(checkpoint, tmp_path, width, says_so):
    """With and without padding, and whether or not the checkpoint's config says that it is not
    causal.
    """
    folder = shutil.copytree(checkpoint, tmp_path / "copy")
    config = json.loads((folder / "config.json").read_text())
    if not says_so:
        del config["is_causal"]
    (folder / "config.json").write_text(json.dumps(config))
    denoiser = load_denoiser(folder, device="cpu")
    before, after = (
        denoiser(*padded([prompt], width))[0, width - 7] for prompt in (PROMPT, [*PROMPT[:-1], 60])
    )
    assert (before - after).abs().max() > 1e-3


def test_some_positions_are_a_slice_of_all(denoiser):
    tokens, attention = padded([PROMPT, OTHER], 9)
    positions = torch.tensor([[8, 3], [5, 5]])
    everything = denoiser(tokens, attention)
    some = denoiser(tokens, attention, positions)
    assert some.dtype == torch.float32 and some.shape == (2, 2, everything.shape[-1])
    torch.testing.assert_close(
        some,
        torch.stack([everything[row, positions[row]] for row in range(2)]),
        rtol=1e-5,
        atol=1e-6,
    )


def test_loading_gives_the_mask_token_and_a_chat_template(denoiser):
    assert denoiser.tokenizer.convert_ids_to_tokens(denoiser.mask_id) == "<|mdm_mask|>"
    text = denoiser.tokenizer.apply_chat_template(
        [{"role": "user", "content": "1+1"}], add_generation_prompt=True, tokenize=False
    )
    assert text == "<|startoftext|><|user|>1+1<|eot_id|><|assistant|>"
    assert not denoiser.model.training


def test_merging_an_adapter_does_not_change_the_logits(checkpoint, adapter, denoiser):
    merged, apart = (
        load_denoiser(checkpoint, adapter, device="cpu", merge=merge) for merge in (True, False)
    )
    torch.testing.assert_close(
        merged(*padded([PROMPT], 7)), apart(*padded([PROMPT], 7)), rtol=1e-4, atol=1e-4
    )
    assert not torch.allclose(
        merged(*padded([PROMPT], 7)), denoiser(*padded([PROMPT], 7)), atol=1e-3
    )


def spoiled(checkpoint, folder, how):
    folder = shutil.copytree(checkpoint, folder)
    weights, config = folder / "model.safetensors", folder / "config.json"
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[:2000])
    elif how == "no weights":
        weights.unlink()
    elif how == "no config":
        config.unlink()
    elif how == "no mask":
        config.write_text(config.read_text().replace('"mask_token_id"', '"was_mask_token_id"'))
        tokenizer = folder / "tokenizer_config.json"
        tokenizer.write_text(tokenizer.read_text().replace('"mask_token"', '"was_mask_token"'))
    elif how == "wrong size":
        config.write_text(config.read_text().replace('"hidden_size": 32', '"hidden_size": 64'))
    elif how == "other names":
        from safetensors.torch import load_file, save_file

        save_file(
            {"transformer." + name: weight for name, weight in load_file(weights).items()},
            weights,
            {"format": "pt"},
        )
    return folder


@pytest.mark.parametrize(
    "how", ["truncated", "no weights", "no config", "wrong size", "other names"]
)
def test_an_unusable_checkpoint_is_one_clear_message(checkpoint, tmp_path, how):
    folder = spoiled(checkpoint, tmp_path / "copy", how)
    with pytest.raises(
        ValueError, match=r"copy: no usable checkpoint: (config.json|the weights): "
    ) as error:
        load_denoiser(folder, device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "value"), [("dtype", "float17"), ("dtype", "nn"), ("device", "gpu")]
)
def test_an_unknown_device_or_precision_is_named(checkpoint, name, value):
    with pytest.raises(ValueError, match=f"unknown {name} '{value}'; use "):
        load_denoiser(checkpoint, **{name: value})


def test_a_checkpoint_without_a_mask_token_is_refused(checkpoint, tmp_path):
    with pytest.raises(ValueError, match=r"copy: the vocabulary of \d+ tokens has no mask token"):
        load_denoiser(spoiled(checkpoint, tmp_path / "copy", "no mask"), device="cpu")


@pytest.mark.parametrize(("hidden", "layers"), [(64, 2), (32, 1), (32, 3)])
def test_an_adapter_of_another_model_is_one_clear_message(checkpoint, tmp_path, hidden, layers):
    other = write_checkpoint(tmp_path / "other", hidden, layers)
    foreign = write_adapter(other, tmp_path / "foreign")
    with pytest.raises(
        ValueError, match=r"foreign: does not fit this model .*it was made for"
    ) as error:
        load_denoiser(checkpoint, foreign, device="cpu")
    assert "\n" not in str(error.value)


def test_a_folder_that_is_no_adapter_says_so(checkpoint, tmp_path):
    with pytest.raises(
        ValueError, match=r"no adapter_config\.json; expected a PEFT adapter folder"
    ):
        load_denoiser(checkpoint, tmp_path, device="cpu")


def test_an_adapter_without_its_weights_says_so(checkpoint, adapter, tmp_path):
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    (folder / "adapter_model.safetensors").write_bytes(b"")
    with pytest.raises(ValueError, match=r"adapter: does not fit this model") as error:
        load_denoiser(checkpoint, folder, device="cpu")
    assert "\n" not in str(error.value)
