"""Prompts as people have them, as lists of token ids.

Strings, ids, conversations, a tokenizer's output.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

EXPECTED = "expected a list of strings, of token lists or of conversations, or a tokenizer's output"


def prompt_tokens(tokenizer: Any, prompts: Any, vocabulary: int, mask_id: int) -> list[list[int]]:
    """Token lists of prompts.

    Args:
        tokenizer: With a chat template, which strings and conversations are put into.
        prompts: Strings, each a user turn; conversations, each a list of messages with `role` and
            `content`; token lists, arrays or tensors, taken as they are; or a mapping with
            `input_ids` and, where rows are padded, `attention_mask`.
        vocabulary: Ids are below it.
        mask_id: The token that no prompt may hold.

    Raises:
        ValueError: It is none of these, or an id cannot be; the message names the prompt and says
            what is expected.
    """
    if isinstance(prompts, str):
        raise ValueError(f"prompts are a list, got the string {prompts[:40]!r}; write [prompt]")
    rows = _unpadded(prompts) if isinstance(prompts, Mapping) else list(_iterated(prompts))
    if rows and all(_is_id(row) for row in rows):
        raise ValueError(
            "prompts are a list of token lists, got one list of token ids; write [ids]"
        )
    if rows and all(isinstance(row, Mapping) for row in rows):
        raise ValueError(
            "prompts are a list of conversations, got one list of messages; write [messages], or"
            " one string for each prompt"
        )
    tokens = []
    for number, row in enumerate(rows):
        ids = _tokens(tokenizer, row, number)
        _check_ids(tokenizer, ids, number, vocabulary, mask_id)
        tokens.append(ids)
    return tokens


def _iterated(prompts: Any) -> Iterable[Any]:
    if hasattr(prompts, "tolist"):
        return prompts.tolist()
    if not isinstance(prompts, Iterable):
        raise ValueError(f"prompts are {type(prompts).__name__}; {EXPECTED}")
    return prompts


def _unpadded(batch: Mapping[str, Any]) -> list[list[Any]]:
    """Rows of a tokenizer's output without their padding."""
    if "input_ids" not in batch:
        raise ValueError(
            f"prompts are a mapping with the keys {', '.join(map(str, batch))}, and no input_ids;"
            f" {EXPECTED}"
        )
    rows = _listed(batch["input_ids"])
    # A tokenizer called with one text returns one row, not a list of one.
    if rows and all(_is_id(row) for row in rows):
        rows = [rows]
    if "attention_mask" not in batch:
        return rows
    masks = _listed(batch["attention_mask"])
    if masks and not isinstance(masks[0], list):
        masks = [masks]
    if [len(row) for row in rows] != [len(mask) for mask in masks]:
        raise ValueError(
            "prompts: input_ids and attention_mask differ in shape; pass both as one call of the"
            " tokenizer returned them"
        )
    return [_real_tokens(row, mask) for row, mask in zip(rows, masks, strict=True)]


def _real_tokens(row: list[Any], mask: list[Any]) -> list[Any]:
    """The tokens of a row that its attention mask calls real."""
    return [token for token, is_real in zip(row, mask, strict=True) if is_real]


def _listed(values: Any) -> list[Any]:
    """Lists for an array or a tensor, or for a list of them."""
    if hasattr(values, "tolist"):
        return values.tolist()
    return [value.tolist() if hasattr(value, "tolist") else value for value in values]


def _tokens(tokenizer: Any, row: Any, number: int) -> list[Any]:
    if isinstance(row, str):
        return user_turn(tokenizer, str(row))
    if row is None or not isinstance(row, Iterable) or isinstance(row, Mapping | bytes):
        raise ValueError(f"prompt {number} is {row!r}; {EXPECTED}")
    values = _listed(row)
    if values and all(isinstance(message, Mapping) for message in values):
        for message in values:
            if not {"role", "content"} <= message.keys():
                raise ValueError(
                    f"prompt {number}: the message {dict(message)!r} lacks role or content"
                )
        return _templated(tokenizer, values)
    return values


def user_turn(tokenizer: Any, text: str) -> list[int]:
    """Tokens of a user turn with the assistant's turn opened."""
    return _templated(tokenizer, [{"role": "user", "content": text}])


def _templated(tokenizer: Any, messages: list[Any]) -> list[int]:
    return list(tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"])


def _check_ids(tokenizer: Any, ids: list[Any], number: int, vocabulary: int, mask_id: int) -> None:
    for token in ids:
        if not _is_id(token):
            raise ValueError(f"prompt {number} holds {token!r}, which is no token id; {EXPECTED}")
        if not 0 <= token < vocabulary:
            raise ValueError(
                f"prompt {number} holds the id {token}; the vocabulary of this model has ids 0 to"
                f" {vocabulary - 1}"
            )
        if token == mask_id:
            raise ValueError(
                f"prompt {number} holds the mask token ({mask_id}), which nothing would fill in"
                " there; take it out"
            )
    pad_id = tokenizer.pad_token_id
    # Where the same token also begins or ends texts, it says nothing.
    pads = pad_id is not None and pad_id not in (tokenizer.bos_token_id, tokenizer.eos_token_id)
    if ids and pads and pad_id in (ids[0], ids[-1]):
        raise ValueError(
            f"prompt {number} is padded (token {pad_id}) and its padding would be read as text;"
            " pass attention_mask too, that is, all that the tokenizer returned, or rows without"
            " padding"
        )


def _is_id(value: Any) -> bool:
    # True is an int to Python, and would pass for token 1.
    return isinstance(value, int | np.integer) and not isinstance(value, bool)
