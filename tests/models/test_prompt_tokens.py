"""What people hand to `generate`.

Each form is what it means, or is refused by a line that names it.
"""

import numpy as np
import pytest
import torch

import tracedlm
from tracedlm.models.prompt_tokens import prompt_tokens

A, B = "1 + 1", "what is 2 + 3?"


@pytest.fixture(scope="module")
def denoiser(checkpoint):
    return tracedlm.load_denoiser(checkpoint, device="cpu")


@pytest.fixture(scope="module")
def rows(denoiser):
    return [ids_of(denoiser, A), ids_of(denoiser, B)]


def ids_of(denoiser, text):
    return list(
        denoiser.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True
        )["input_ids"]
    )


def read(denoiser, prompts):
    return prompt_tokens(
        denoiser.tokenizer, prompts, denoiser.causal_lm.config.vocab_size, denoiser.mask_id
    )


@pytest.mark.parametrize(
    "form",
    [
        lambda d, rows: [A, B],
        lambda d, rows: (text for text in (A, B)),
        lambda d, rows: np.array([A, B]),
        lambda d, rows: rows,
        lambda d, rows: tuple(map(tuple, rows)),
        lambda d, rows: [np.array(row) for row in rows],
        lambda d, rows: [torch.tensor(row) for row in rows],
        lambda d, rows: [[{"role": "user", "content": A}], [{"role": "user", "content": B}]],
        lambda d, rows: d.tokenizer.pad({"input_ids": rows}, return_tensors="pt"),
        lambda d, rows: d.tokenizer.pad(
            {"input_ids": rows}, padding_side="right", return_tensors="np"
        ),
        lambda d, rows: {"input_ids": rows},
    ],
)
def test_each_form_is_the_same_prompts(denoiser, rows, form):
    assert len(rows[0]) != len(rows[1])
    assert read(denoiser, form(denoiser, rows)) == rows


def test_one_text_through_the_tokenizer_is_one_prompt(denoiser):
    ids = denoiser.tokenizer(A)
    assert read(denoiser, ids) == [ids["input_ids"]]


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (lambda d, rows: A, r"got the string '1 \+ 1'; write \[prompt\]"),
        (lambda d, rows: rows[0], r"got one list of token ids; write \[ids\]"),
        (lambda d, rows: torch.tensor(rows[0]), r"got one list of token ids"),
        (
            lambda d, rows: [{"role": "user", "content": A}],
            r"got one list of messages; write \[messages\]",
        ),
        (lambda d, rows: [[{"role": "user"}]], r"prompt 0: the message .* lacks role or content"),
        (lambda d, rows: [A, None], r"prompt 1 is None; expected a list of strings"),
        (lambda d, rows: 5, r"prompts are int; expected"),
        (lambda d, rows: {"text": [A]}, r"the keys text, and no input_ids"),
        (
            lambda d, rows: [[*rows[0], 10_000]],
            r"prompt 0 holds the id 10000; the vocabulary of this model has ids 0 to",
        ),
        (lambda d, rows: [rows[0], [-100]], r"prompt 1 holds the id -100"),
        (lambda d, rows: [[1.5]], r"prompt 0 holds 1\.5, which is no token id"),
        (lambda d, rows: [[*rows[0], d.mask_id]], r"prompt 0 holds the mask token"),
        (
            lambda d, rows: d.tokenizer.pad({"input_ids": rows}, return_tensors="pt")["input_ids"],
            r"prompt 0 is padded .*pass attention_mask",
        ),
        (
            lambda d, rows: {"input_ids": rows, "attention_mask": [[1]]},
            r"input_ids and attention_mask differ in shape",
        ),
    ],
)
def test_what_is_no_prompt_is_refused(denoiser, rows, form, message):
    with pytest.raises(ValueError, match=message):
        read(denoiser, form(denoiser, rows))


def test_more_tokens_than_positions_are_refused(denoiser):
    positions = denoiser.causal_lm.config.max_position_embeddings
    with pytest.raises(
        ValueError,
        match=(
            rf"prompt 0 of \d+ tokens and a canvas of {positions} .* declared for {positions}"
            r" positions"
        ),
    ):
        tracedlm.generate(denoiser, [A], gen_length=positions, block_length=positions, steps=1)
