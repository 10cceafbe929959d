"""A broken checkpoint is one clear message, and loading a sharded one never holds it twice."""

import ctypes
import gc
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tracedlm.models.denoiser import load_denoiser
from tracedlm.rehearsal.checkpoint import official_checkpoint, official_config


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    return official_checkpoint(tmp_path_factory.mktemp("official"), shards=3)


SHARD = "model-00002-of-00003.safetensors"


def reworked(folder, change):
    tensors = load_file(folder / SHARD)
    change(tensors)
    save_file(tensors, folder / SHARD, {"format": "pt"})


def configured(folder, **changes):
    (folder / "config.json").write_text(json.dumps(official_config(**changes)))


def tokenized(folder, **changes):
    described = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").write_text(json.dumps(described | changes))


BROKEN = {
    "a missing shard": (
        lambda folder: (folder / SHARD).unlink(),
        rf"the weights: No such file or directory: .*{SHARD}",
    ),
    "a cut shard": (
        lambda folder: (folder / SHARD).write_bytes((folder / SHARD).read_bytes()[:3000]),
        "the weights: .*deserializing header",
    ),
    "no index": (
        lambda folder: (folder / "model.safetensors.index.json").unlink(),
        "the weights: .*no file named model.safetensors",
    ),
    "a broken index": (
        lambda folder: (folder / "model.safetensors.index.json").write_text("{"),
        "the weights: Expecting property name",
    ),
    "a missing tensor": (
        lambda folder: reworked(folder, lambda tensors: tensors.pop(min(tensors))),
        r"the weights: they lack model\.layers\.0\.",
    ),
    "a tensor too many": (
        lambda folder: reworked(
            folder,
            lambda tensors: tensors.update(
                {"model.transformer.blocks.0.q_proj.bias": torch.zeros(48)}
            ),
        ),
        (
            "the weights: they hold model.layers.0.self_attn.q_proj.bias, which this architecture"
            " does not have"
        ),
    ),
    "another shape": (
        lambda folder: configured(folder, mlp_hidden_size=64),
        (
            r"the weights: model.layers.0.mlp.down_proj.weight has shape \[48, 80\], the config"
            r" asks for \[48, 64\]"
        ),
    ),
    "an impossible shape": (
        lambda folder: configured(folder, n_heads=5),
        "config.json: .*not a multiple of the number of attention heads",
    ),
    "a text for a number": (
        lambda folder: configured(folder, n_heads="four"),
        "config.json: .*num_attention_heads",
    ),
    "a broken config": (
        lambda folder: (folder / "config.json").write_text("{"),
        "config.json: Expecting property name",
    ),
    "no config": (lambda folder: (folder / "config.json").unlink(), "config.json: it is missing"),
    "no tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), "the tokenizer: "),
    "a broken tokenizer": (
        lambda folder: tokenized(folder, version="9.0"),
        "the tokenizer: Unknown tokenizer version '9.0'",
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_checkpoint_is_one_clear_message(official, tmp_path, how):
    folder = shutil.copytree(official, tmp_path / "copy")
    spoil, message = BROKEN[how]
    spoil(folder)
    with pytest.raises(ValueError, match=f"copy: no usable checkpoint: {message}") as error:
        load_denoiser(folder, device="cpu")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mask", [336, 126336, None])
def test_a_vocabulary_that_lacks_the_mask_token_is_refused(official, tmp_path, mask):
    folder = shutil.copytree(official, tmp_path / "copy")
    configured(folder, mask_token_id=mask)
    described = json.loads((folder / "tokenizer_config.json").read_text())
    del described["mask_token"]
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    with pytest.raises(
        ValueError,
        match=rf"copy: the vocabulary of 336 tokens has no mask token \(mask_token_id is {mask}\)",
    ):
        load_denoiser(folder, device="cpu")


def test_a_folder_that_is_not_there_says_so(tmp_path):
    with pytest.raises(
        ValueError, match="nowhere: no usable checkpoint: no folder of this name, and on the hub: "
    ):
        load_denoiser(tmp_path / "nowhere", device="cpu")


def resident(name):
    """Bytes of this process in memory: `VmRSS` now, `VmHWM` at its peak."""
    return (
        int(re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text()).group(1)) * 1024
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads peak memory from /proc")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_loading_a_sharded_checkpoint_does_not_hold_it_twice(tmp_path, dtype):
    """Peak memory over the weights' own is 1, where reading the shards and then copying them takes
    2.

    In another precision the files' pages come on top, which the kernel drops when it needs to: 1.5
    for bfloat16 files.
    """
    sizes = {"d_model": 384, "mlp_hidden_size": 1024, "n_layers": 6, "embedding_size": 12000}
    folder = official_checkpoint(tmp_path / "large", dtype=torch.bfloat16, shards=4, **sizes)
    gc.collect()
    # Else what tests before have freed would hide what is taken now.
    ctypes.CDLL(None).malloc_trim(0)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
    weights = list(load_denoiser(folder, device="cpu", dtype=dtype).model.parameters())
    # Every page is read, and nothing is copied.
    assert all(weight.view(-1)[::1024].sum().isfinite() for weight in weights)
    size = sum(weight.numel() * weight.element_size() for weight in weights)
    assert size > 35e6
    assert 0.8 < (resident("VmHWM") - before) / size < (1.4 if dtype == torch.bfloat16 else 1.75)
