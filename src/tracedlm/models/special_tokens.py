"""The tokens a tokenizer needs and some lack: what pads, and what ends a response."""

from typing import Any


def complete(tokenizer: Any, config: Any, path: str) -> None:
    """Give a tokenizer the padding and the end token that its files do not name.

    Llama's tokenizers, for one, have no padding token. Padding is masked in attention, so that any
    token can pad. After a response it is learnt as the end, so that the end token is the natural
    choice.

    Args:
        tokenizer: Changed in place.
        config: The model's; it may name the ids.
        path: Of the checkpoint, for the message.

    Raises:
        ValueError: Neither tokenizer nor config names a token that could end a response.
    """
    if tokenizer.eos_token_id is None:
        _name(tokenizer, "eos_token", _known(config, "eos_token_id"))
    if tokenizer.eos_token_id is None:
        _name(tokenizer, "eos_token", tokenizer.pad_token_id)
    if tokenizer.pad_token_id is None:
        _name(tokenizer, "pad_token", _known(config, "pad_token_id"))
    if tokenizer.pad_token_id is None:
        _name(tokenizer, "pad_token", tokenizer.eos_token_id)
    if tokenizer.pad_token_id is None or tokenizer.eos_token_id is None:
        raise ValueError(
            f"{path}: neither the tokenizer nor config.json names an end or a padding token, so"
            " that no response could end; set eos_token in tokenizer_config.json"
        )


def _known(config: Any, key: str) -> int | None:
    """An id that the config names and the vocabulary has; the first of several."""
    value = getattr(config, key, None)
    # Llama 3 ends a text by one of several tokens.
    if isinstance(value, list | tuple):
        value = value[0] if value else None
    return value if isinstance(value, int) and 0 <= value < config.vocab_size else None


def _name(tokenizer: Any, role: str, token_id: int | None) -> None:
    token = None if token_id is None else tokenizer.convert_ids_to_tokens(token_id)
    if token is not None:
        setattr(tokenizer, role, token)
