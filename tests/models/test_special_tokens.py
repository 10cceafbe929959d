"""Tokenizers without padding or end token decode.

Checkpoints whose weights are quantised are refused by name.
"""

import json
import shutil

import pytest

import tracedlm


def changed(checkpoint, folder, file, **changes):
    shutil.copytree(checkpoint, folder)
    raw = json.loads((folder / file).read_text()) | changes
    (folder / file).write_text(
        json.dumps({key: value for key, value in raw.items() if value is not None})
    )
    return folder


def tokens(folder):
    return tracedlm.generate(
        tracedlm.load_denoiser(folder, device="cpu"),
        ["1 + 1", "what is 2 + 3?"],
        gen_length=16,
        block_length=8,
        steps=4,
    ).tokens


@pytest.mark.parametrize("missing", ["pad_token", "eos_token"])
def test_a_token_that_the_tokenizer_lacks_is_the_configs(checkpoint, tmp_path, missing):
    folder = changed(checkpoint, tmp_path / "model", "tokenizer_config.json", **{missing: None})
    denoiser = tracedlm.load_denoiser(folder, device="cpu")
    assert getattr(denoiser.tokenizer, f"{missing}_id") == getattr(
        denoiser.causal_lm.config, f"{missing}_id"
    )
    assert (tokens(folder) == tokens(checkpoint)).all()


def test_without_any_padding_token_the_end_token_pads_and_nothing_else_changes(
    checkpoint, tmp_path
):
    changed(checkpoint, tmp_path / "one", "tokenizer_config.json", pad_token=None)
    folder = changed(tmp_path / "one", tmp_path / "two", "config.json", pad_token_id=None)
    tokenizer = tracedlm.load_denoiser(folder, device="cpu").tokenizer
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    assert (tokens(folder) == tokens(checkpoint)).all()


@pytest.mark.parametrize(
    "method", ["bitsandbytes", "gptq", "awq", "compressed-tensors", "fp8", "tomorrows"]
)
def test_quantised_weights_are_refused_by_their_method(checkpoint, tmp_path, method):
    folder = changed(
        checkpoint, tmp_path / "model", "config.json", quantization_config={"quant_method": method}
    )
    with pytest.raises(
        ValueError,
        match=(
            rf"its weights are quantised \({method}\), which is not supported; name the checkpoint"
        ),
    ):
        tracedlm.load_denoiser(folder, device="cpu")
