"""Text of single tokens, from a checkpoint's tokenizer alone.

Loads neither its weights nor, where it can be helped, torch.
"""

from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError
from tokenizers import Tokenizer

from tracedlm.resources import located


class TokenText:
    """What token ids say.

    Attributes:
        special: Ids that are markup of the model (end, padding, turns) and no text.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._decode = tokenizer.decode
        self.special = frozenset(
            number
            for number, token in tokenizer.get_added_tokens_decoder().items()
            if token.special
        )

    def piece(self, token: int) -> str:
        """What the token adds to a text; part of a character is U+FFFD."""
        # A token that begins a text may lose its leading space: the second of two does not.
        single = self._decode([token], skip_special_tokens=False)
        double = self._decode([token] * 2, skip_special_tokens=False)
        return double[len(single) :]

    def text(self, tokens: Sequence[int]) -> str:
        """A text without its special tokens."""
        return self._decode(list(tokens), skip_special_tokens=True)


def read_token_text(path: str | Path) -> TokenText:
    """Text of a checkpoint's tokens.

    Args:
        path: Folder or hub id, as `load_denoiser` takes it.

    Raises:
        ValueError: The tokenizer is missing or unreadable.
    """
    folder = located(path)
    try:
        file = (
            folder / "tokenizer.json"
            if folder.is_dir()
            else Path(hf_hub_download(str(path), "tokenizer.json"))
        )
        return TokenText(Tokenizer.from_file(str(file)) if file.exists() else _slow(str(folder)))
    except EntryNotFoundError:
        return TokenText(_slow(str(path)))
    except Exception as error:  # tokenizers raises nothing more specific
        raise ValueError(
            f"{path}: no usable tokenizer: {' '.join(str(error).split())[:300]}; name a checkpoint"
            " in model.path"
        ) from error


def _slow(path: str) -> Tokenizer:
    """The tokenizer of a checkpoint without tokenizer.json, such as Dream.

    transformers puts it together, which does load torch.
    """
    import transformers

    from tracedlm.models.families import family_of

    family = family_of(transformers.PretrainedConfig.get_config_dict(path)[0])
    return (
        getattr(transformers, family.tokenizer if family else "AutoTokenizer")
        .from_pretrained(path)
        .backend_tokenizer
    )
