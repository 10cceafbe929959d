"""The small tokenizer of the shipped base model.

byte-level BPE in which every digit and operator is one token.
"""

from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

BOS = "<|startoftext|>"
USER = "<|user|>"
ASSISTANT = "<|assistant|>"
EOT = "<|eot_id|>"
PAD = "<|endoftext|>"
MASK = "<|mdm_mask|>"
SPECIAL = (PAD, MASK, BOS, USER, ASSISTANT, EOT)
MARKUP = ("<reasoning>", "</reasoning>", "<answer>", "</answer>", r"\boxed{")
CHAT_TEMPLATE = (
    f"{BOS}{{% for message in messages %}}"
    f"{{% if message.role == 'user' %}}{USER}{{{{ message.content }}}}{EOT}"
    f"{{% else %}}{ASSISTANT}{{{{ message.content }}}}{EOT}{{% endif %}}{{% endfor %}}"
    f"{{% if add_generation_prompt %}}{ASSISTANT}{{% endif %}}"
)


def train_tokenizer(corpus: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train the tokenizer on a corpus.

    Any text encodes without loss: what is not in the corpus falls back to bytes.

    Args:
        corpus: Texts whose words should become single tokens.
        vocab_size: Size with specials and the 256 bytes; at least 268.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            # One token per character for everything but words: sums and grids must never merge.
            pre_tokenizers.Split(Regex(r" ?[A-Za-z]+|[^A-Za-z]"), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(MARKUP),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    # The trainer left room for these in `vocab_size`.
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in MARKUP])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOT,
        pad_token=PAD,
        mask_token=MASK,
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def word_tokenizer(vocabulary: Sequence[str]) -> PreTrainedTokenizerFast:
    """One token a word, for texts whose words are known and separated by spaces.

    Args:
        vocabulary: Every token by id; the first four are padding, begin, end and mask.
    """
    pad, bos = vocabulary[:2]
    eos, mask = vocabulary[2:4]
    tokenizer = Tokenizer(
        models.WordLevel({word: number for number, word in enumerate(vocabulary)}, unk_token=pad)
    )
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=pad, bos_token=bos, eos_token=eos, mask_token=mask
    )
