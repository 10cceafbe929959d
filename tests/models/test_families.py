"""Every family behind the same call.

What it scores, with padding and without, what it refuses by name, and what can be observed.
"""

import json

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import save_file

from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.families import FAMILIES
from tracedlm.models.lora import attach_lora
from tracedlm.models.observer import observing
from tracedlm.records.rrm import Rrm
from tracedlm.rehearsal.checkpoint import small_tokenizer

TOKENS = torch.randint(6, 260, (2, 12), generator=torch.Generator().manual_seed(1))
REAL = torch.ones_like(TOKENS)
SIZES = {
    "vocab_size": 320,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 2,
    "eos_token_id": 5,
}
GROUPED = {**SIZES, "num_key_value_heads": 2, "tie_word_embeddings": False}
SAYS = {"is_causal": False}
MODELS = {
    "llama": ("LlamaForCausalLM", {**GROUPED, **SAYS}),
    "qwen2": ("Qwen2ForCausalLM", {**GROUPED, **SAYS}),
    "qwen3": ("Qwen3ForCausalLM", {**GROUPED, **SAYS, "head_dim": 16}),
    "modernbert": (
        "ModernBertForMaskedLM",
        {**SIZES, "local_attention": 6, "cls_token_id": 2, "sep_token_id": 5},
    ),
    "eurobert": ("EuroBertForMaskedLM", {**GROUPED, "mask_token_id": 1}),
}


def model_of(kind, name, **fields):
    """A transformers model with random weights, biases and norms that are not the defaults."""
    torch.manual_seed(0)
    model = getattr(transformers, name)(transformers.CONFIG_MAPPING[kind](**fields)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            (
                parameter.mul_(5)
                if parameter.ndim == 2
                else parameter.add_(torch.randn_like(parameter) * 0.1)
            )
    return model


def write(folder, kind, name, fields, **says):
    """The folder of such a model, its config.json changed by `says` (None removes a key)."""
    model = model_of(kind, name, **fields)
    model.save_pretrained(folder)
    small_tokenizer().save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text()) | says
    (folder / "config.json").write_text(
        json.dumps({key: value for key, value in config.items() if value is not None})
    )
    return folder, model


def write_dream(folder):
    """A Dream-7B folder as published.

    Its own model type and code, and a tokenizer class that transformers does not have.
    """
    says = {
        "model_type": "Dream",
        "architectures": ["DreamModel"],
        "auto_map": {"AutoModel": "modeling_dream.DreamModel"},
        "is_causal": None,
        "mask_token_id": 1,
        "rope_theta": 1000000.0,
        "rope_parameters": None,
        "rope_scaling": None,
        "use_mrope": False,
        "use_sliding_window": False,
    }
    rope = {"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}}
    folder, model = write(folder, "qwen2", "Qwen2ForCausalLM", {**GROUPED, **SAYS, **rope}, **says)
    tokenizer = json.loads((folder / "tokenizer.json").read_text())
    (folder / "tokenizer.json").unlink()
    (folder / "vocab.json").write_text(json.dumps(tokenizer["model"]["vocab"]))
    (folder / "merges.txt").write_text(
        "#version: 0.2\n" + "\n".join(" ".join(pair) for pair in tokenizer["model"]["merges"])
    )
    described = json.loads((folder / "tokenizer_config.json").read_text())
    described["added_tokens_decoder"] = {
        str(token.pop("id")): token for token in tokenizer["added_tokens"]
    }
    described |= {
        "tokenizer_class": "DreamTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_dream.DreamTokenizer", None]},
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(described))
    return folder, model


@pytest.fixture(scope="module", params=[*MODELS, "Dream"])
def family(request, tmp_path_factory):
    """Name, denoiser, and the model of transformers that the folder was written from."""
    folder = tmp_path_factory.mktemp(request.param)
    path, model = (
        write_dream(folder)
        if request.param == "Dream"
        else write(folder, request.param, *MODELS[request.param])
    )
    return request.param, load_denoiser(path, device="cpu"), model


def test_position_i_is_scored_by_the_model_itself_or_in_dream_by_the_position_before(family):
    name, denoiser, model = family
    with torch.inference_mode():
        own = model(input_ids=TOKENS, attention_mask=REAL).logits
    expected = torch.cat([own[:, :1], own[:, :-1]], dim=1) if name == "Dream" else own
    found = denoiser(TOKENS, REAL)
    assert (
        found.dtype == torch.float32
        and denoiser.mask_id == 1
        and not torch.allclose(own[:, 0], own[:, 1], atol=0.1)
    )
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_attention_looks_both_ways(family):
    _, denoiser, _ = family
    other = TOKENS.clone()
    other[:, -1] = 7
    assert (denoiser(TOKENS, REAL)[:, 0] - denoiser(other, REAL)[:, 0]).abs().max() > 1e-3


@pytest.mark.parametrize("padding", [3, 30])
def test_a_sample_does_not_depend_on_padding_or_batch(family, padding):
    """30 is beyond ModernBERT's local window, where a padded row attends to nothing at all."""
    _, denoiser, _ = family
    tokens = torch.cat([torch.zeros(2, padding, dtype=torch.long), TOKENS], dim=1)
    attention = torch.cat([torch.zeros(2, padding, dtype=torch.long), REAL], dim=1)
    tokens[1, :padding], attention[1, :padding] = 9, 1
    torch.testing.assert_close(
        denoiser(tokens, attention)[:1, padding:],
        denoiser(TOKENS[:1], REAL[:1]),
        rtol=1e-4,
        atol=1e-5,
    )


def test_some_positions_are_a_slice_of_all(family):
    _, denoiser, _ = family
    tokens = torch.cat([torch.zeros(2, 4, dtype=torch.long), TOKENS], dim=1)
    attention = torch.cat([torch.zeros(2, 4, dtype=torch.long), REAL], dim=1)
    positions = torch.tensor([[15, 4, 5], [9, 9, 4]])
    everything = denoiser(tokens, attention)
    expected = torch.stack([everything[row, positions[row]] for row in range(2)])
    torch.testing.assert_close(
        denoiser(tokens, attention, positions), expected, rtol=1e-4, atol=1e-5
    )


def test_the_tokenizer_is_the_checkpoints(family):
    _, denoiser, _ = family
    text = "<reasoning>one and two</reasoning>"
    assert (
        denoiser.tokenizer(text, add_special_tokens=False)["input_ids"]
        == small_tokenizer()(text)["input_ids"]
    )
    assert denoiser.tokenizer.padding_side == "left"


def test_a_saved_copy_scores_the_same(family, tmp_path):
    _, denoiser, _ = family
    denoiser.model.save_pretrained(tmp_path)
    denoiser.tokenizer.save_pretrained(tmp_path)
    assert torch.equal(load_denoiser(tmp_path, device="cpu")(TOKENS, REAL), denoiser(TOKENS, REAL))


@pytest.mark.parametrize("letter", ["q", "k", "v"])
def test_each_projection_is_observed_where_the_family_keeps_it(family, letter):
    """The activation compared with the map is what the attention uses.

    With bias and, in ModernBERT, a part of one matrix.
    """
    name, denoiser, model = family
    layer, seen = model.model.layers[1], {}
    attention = layer.attn if name == "modernbert" else layer.self_attn
    module = attention.Wqkv if name == "modernbert" else getattr(attention, f"{letter}_proj")
    handle = module.register_forward_hook(lambda _, inputs, output: seen.update(output=output))
    with torch.inference_mode():
        model(input_ids=TOKENS, attention_mask=REAL)
    handle.remove()
    activation = (
        seen["output"].reshape(2, 12, 3, 32)[:, :, "qkv".index(letter)]
        if name == "modernbert"
        else seen["output"]
    )
    u = np.random.default_rng(0).normal(size=activation.shape[-1]).astype(np.float32)
    rrm = Rrm(
        u / np.linalg.norm(u), np.eye(len(u), 2, dtype=np.float32), 1, letter, "B", "test", "raw"
    )
    with observing(denoiser, [rrm]) as observer:
        denoiser(TOKENS, REAL)
    expected = torch.nn.functional.cosine_similarity(
        activation.double(), torch.from_numpy(rrm.u).double(), dim=-1
    )
    np.testing.assert_allclose(observer.latest[1, letter].numpy(), expected.numpy(), atol=1e-5)


def test_lora_goes_to_q_k_and_v_or_says_why_not(family, tmp_path):
    name, denoiser, _ = family
    if name == "modernbert":
        with pytest.raises(
            ValueError,
            match="LoRA on q, k and v of ModernBertForMaskedLM is not supported: Wqkv holds",
        ):
            attach_lora(denoiser.model, rank=2, alpha=4, dropout=0.0)
        return
    adapted = attach_lora(
        load_denoiser(denoiser.model.name_or_path, device="cpu").model, rank=2, alpha=4, dropout=0.0
    )
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    assert len(trained) == 3 * 3 * 2
    with torch.no_grad():
        for parameter in trained:
            parameter.normal_(std=0.3)
    adapted.save_pretrained(tmp_path)
    again = load_denoiser(denoiser.model.name_or_path, tmp_path, device="cpu", merge=True)
    assert not torch.allclose(again(TOKENS, REAL), denoiser(TOKENS, REAL), atol=0.1)


@pytest.mark.parametrize("kind", ["llama", "qwen2", "qwen3"])
def test_a_causal_model_is_refused_unless_its_config_says_that_it_was_converted(tmp_path, kind):
    name, fields = MODELS[kind]
    folder, _ = write(tmp_path / "plain", kind, name, fields, is_causal=None)
    with pytest.raises(
        ValueError,
        match=(
            f"a {kind} is a causal model unless it says is_causal: false or names a mask_token_id"
        ),
    ):
        load_denoiser(folder, device="cpu")
    logits = []
    for says in ({"is_causal": False}, {"mask_token_id": 1}, {"model_type": f"a2d-{kind}"}):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | says))
        logits.append(load_denoiser(folder, device="cpu")(TOKENS, REAL))
        (folder / "config.json").write_text(json.dumps(config))
    assert torch.equal(logits[0], logits[1]) and torch.equal(logits[0], logits[2])


@pytest.mark.parametrize(
    ("says", "message"),
    [
        ({"use_sliding_window": True}, "use_sliding_window is True, supported is False"),
        (
            {"architectures": ["DreamForCausalLM"]},
            r"architectures is \['DreamForCausalLM'\], supported is \['DreamModel'\]",
        ),
        (
            {"mask_token_id": 151666},
            r"the vocabulary of 320 tokens has no mask token \(mask_token_id is 151666\)",
        ),
    ],
)
def test_another_dream_is_refused_by_the_field_that_differs(tmp_path, says, message):
    folder, _ = write_dream(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | says))
    with pytest.raises(ValueError, match=message):
        load_denoiser(folder, device="cpu")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            {"model_type": "mixtral"},
            f"model_type 'mixtral' is not supported; supported: {', '.join(FAMILIES)}$",
        ),
        (
            {"model_type": "bert"},
            "model_type 'bert' is not supported; supported: llada, Dream, llama",
        ),
        ({}, "model_type None is not supported; supported: llada"),
        (
            {"model_type": "new", "auto_map": {}},
            "'new' is not supported; allow_remote_code: true runs the code it brings along",
        ),
        (
            {"model_type": "diffusion_gemma"},
            (
                "DiffusionGemma denoises in its own generate .*"
                " tracedlm.models.diffusion_gemma.stopping"
            ),
        ),
        (
            {"model_type": "llada", "architectures": ["LLaDAMoEModelLM"]},
            r"architectures is \['LLaDAMoEModelLM'\], supported is",
        ),
    ],
)
def test_what_is_not_supported_says_so_by_name(tmp_path, raw, message):
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(ValueError, match=message) as error:
        load_denoiser(tmp_path, device="cpu")
    assert "\n" not in str(error.value)


CODE = """
import pathlib
import torch
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import MaskedLMOutput

pathlib.Path({marker!r}).touch()


class NewConfig(PretrainedConfig):
    model_type = "new"


class NewModel(PreTrainedModel):
    config_class = NewConfig

    def __init__(self, config):
        super().__init__(config)
        self.table = torch.nn.Embedding(config.vocab_size, config.vocab_size)
        self.post_init()

    def forward(self, input_ids, attention_mask=None):
        return MaskedLMOutput(logits=self.table(input_ids))
"""


def test_a_checkpoints_own_code_runs_only_where_that_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(
        "transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules")
    )
    folder, marker = tmp_path / "checkpoint", tmp_path / "ran"
    folder.mkdir()
    (folder / "modeling_new.py").write_text(CODE.format(marker=str(marker)))
    raw = {
        "model_type": "new",
        "vocab_size": 320,
        "mask_token_id": 1,
        "architectures": ["NewModel"],
    }
    raw["auto_map"] = {
        "AutoConfig": "modeling_new.NewConfig",
        "AutoModelForMaskedLM": "modeling_new.NewModel",
    }
    (folder / "config.json").write_text(json.dumps(raw))
    table = torch.randn(320, 320, generator=torch.Generator().manual_seed(0))
    save_file({"table.weight": table}, folder / "model.safetensors", {"format": "pt"})
    small_tokenizer().save_pretrained(folder)
    with pytest.raises(
        ValueError, match="'new' is not supported; allow_remote_code: true runs the code"
    ):
        load_denoiser(folder, device="cpu")
    assert not marker.exists()
    with pytest.warns(
        UserWarning,
        match=(
            r"checkpoint: running the code that this checkpoint brings along \(allow_remote_code\)"
        ),
    ):
        denoiser = load_denoiser(folder, device="cpu", allow_remote_code=True)
    assert marker.exists()
    assert torch.equal(
        denoiser(TOKENS, REAL, torch.tensor([[3, 1], [0, 0]])),
        table[TOKENS.gather(1, torch.tensor([[3, 1], [0, 0]]))],
    )
    rrm = Rrm(
        np.ones(4, dtype=np.float32) / 2, np.eye(4, 2, dtype=np.float32), 0, "q", "B", "test", "raw"
    )
    with (
        pytest.raises(
            ValueError,
            match=r"the modules of NewModel \(model_type new\) are not known; known: llama",
        ),
        observing(denoiser, [rrm]),
    ):
        pass
