"""Text of tokens without the model: the same text that the model's own tokenizer gives."""

import json

import pytest
from transformers import AutoTokenizer

from tracedlm.models.token_text import read_token_text

TEXT = "<reasoning>\n 86+ 74=160\n</reasoning>\n<answer>\\boxed{(85+48)-67} é</answer>"


def test_pieces_and_texts_are_those_of_the_tokenizer(checkpoint):
    tokenizer, text = AutoTokenizer.from_pretrained(checkpoint), read_token_text(checkpoint)
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    assert text.text([*ids, tokenizer.eos_token_id]) == TEXT
    ascii_ids = tokenizer(TEXT.replace("é", "e"), add_special_tokens=False)["input_ids"]
    assert "".join(map(text.piece, ascii_ids)) == TEXT.replace("é", "e")
    assert {tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.mask_token_id} <= text.special
    assert not text.special & set(ids)


def test_a_checkpoint_without_tokenizer_json_is_read_by_its_family(checkpoint, tmp_path):
    """Dream has vocab.json and merges.txt only, and asks for code of its own, which is not run."""
    raw = json.loads((checkpoint / "tokenizer.json").read_text())
    (tmp_path / "vocab.json").write_text(json.dumps(raw["model"]["vocab"]))
    (tmp_path / "merges.txt").write_text(
        "\n".join(" ".join(pair) for pair in raw["model"]["merges"])
    )
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "Dream", "auto_map": {"AutoTokenizer": ["x.X", None]}})
    )
    text = read_token_text(tmp_path)
    one = raw["model"]["vocab"]["7"]
    assert (text.piece(one), text.text([one, one])) == ("7", "77")


def test_a_missing_tokenizer_is_one_clear_message(tmp_path):
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(
        ValueError, match=r"no usable tokenizer: .*; name a checkpoint in model\.path"
    ):
        read_token_text(tmp_path)
