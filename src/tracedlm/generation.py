"""`generate`: prompts in, text out, with any exit rule.

A map observes the decoding if the rule or a recorder wants one.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from tracedlm.decode.engine import Engine
from tracedlm.decode.plan import Plan
from tracedlm.decode.rules import make_rule
from tracedlm.decode.settings import settings_of
from tracedlm.decode.slot import Decoded
from tracedlm.decode.step import Step
from tracedlm.models.denoiser import Denoiser
from tracedlm.models.observer import Observer, observing
from tracedlm.models.prompt_tokens import prompt_tokens
from tracedlm.models.reuse import Reuse
from tracedlm.records.card import ExitCard, map_digest
from tracedlm.records.rrm import Rrm

Reusing = Literal["none", "block", "prefix"]


@dataclass(frozen=True)
class Generation:
    """What decoding gave, in the order of the prompts.

    Attributes:
        tokens: int64 [n, gen_length].
        text: n strings, up to each response's end token.
        nfe: int [n]: forwards each sample took part in.
        token_forwards: int [n]: query tokens summed over them, padding excluded.
        stopped_at: n tuples: forwards spent in each block.
        seconds: [n]: share of the wall time.
    """

    tokens: np.ndarray
    text: list[str]
    nfe: np.ndarray
    token_forwards: np.ndarray
    stopped_at: list[tuple[int, ...]]
    seconds: np.ndarray


def generate(
    denoiser: Denoiser,
    prompts: Any,
    gen_length: int = 128,
    block_length: int | tuple[int, ...] = 32,
    steps: int = 64,
    exit: str | Path | ExitCard = "full",
    schedule: Literal["uniform", "gaussian"] = "uniform",
    rrm: Rrm | Sequence[Rrm] | None = None,
    batch_size: int = 16,
    record: Callable[[Step], None] | None = None,
    activation: str = "projection",
    temperature: float = 0.0,
    guidance: float = 0.0,
    seed: int = 0,
    reuse: Reusing = "none",
    **rule_settings: Any,
) -> Generation:
    """Decode prompts with an exit rule.

    Args:
        denoiser: From `load_denoiser`.
        prompts: Strings or conversations, to which the chat template is applied; token lists, taken
            as they are; or a tokenizer's output.
        gen_length: Tokens of the canvas G.
        block_length: Tokens per block, which must divide G; or the length of each block.
        steps: Total denoising steps T; must be a multiple of the number of blocks.
        exit: Exit rule, see `tracedlm.decode.rules`; or an exit card of rule `risk`, or its file
            (`.json`), which brings rule and settings with a guarantee. The card says how to decode:
            pass `**card.decoding`. That the model and the adapter are those it was made with
            (`card.model`, `card.adapter`) is not checked here; the map is.
        schedule: `uniform` or `gaussian`.
        rrm: Map or maps to observe; a rule that reads a map takes exactly one (`rank_softmax`: one
            or more).
        batch_size: Samples decoded together; does not change any sample's output.
        record: Called with every `Step`, for example a `TraceRecorder`.
        activation: What is compared with the map, see `models.observer.observing`.
        temperature: 0 takes the most likely tokens; above 0 they are drawn as in LLaDA
            (Gumbel-max), each sample from a generator of its own, so that a sample's output depends
            neither on its batch nor on its place.
        guidance: Scale of classifier-free guidance; each forward then costs two.
        seed: Seed of the draws.
        reuse: Compute only the active `block`, or everything but the `prefix` before it, at all but
            a block's first step, with the keys and values of the rest as they were. Faster, and
            approximate: tokens may change.
        **rule_settings: Settings of the rule (`tracedlm.decode.settings`), e.g. `delta=1e-6,
            omega=3`.

    Raises:
        ValueError: A setting is out of range, a rule needs a map and none is given, a map does not
            fit the model, or a card does not hold for this way of decoding.
    """
    plan = Plan(gen_length, block_length, steps, schedule)
    if isinstance(exit, Path) or (isinstance(exit, str) and exit.endswith(".json")):
        exit = ExitCard.read(exit)
    if isinstance(exit, ExitCard):
        decoding = {
            **vars(plan),
            "activation": activation,
            "reuse": reuse,
            "temperature": temperature,
            "guidance": guidance,
        }
        # The card's rule takes the place of the file, as if the caller had written it out.
        exit, rule_settings = _by_card(exit, rule_settings, decoding, _maps(rrm))
    done: list[Decoded] = list(
        decode_stream(
            denoiser,
            encode(denoiser, prompts),
            plan,
            exit,
            rrm=rrm,
            batch_size=batch_size,
            record=record,
            activation=activation,
            temperature=temperature,
            guidance=guidance,
            seed=seed,
            reuse=reuse,
            **rule_settings,
        )
    )
    # Samples finish in the order of their exits, not of their prompts.
    done.sort(key=lambda decoded: decoded.sample)
    return Generation(
        tokens=np.stack([decoded.tokens.numpy() for decoded in done]),
        text=[response_text(denoiser, decoded) for decoded in done],
        nfe=np.array([decoded.nfe for decoded in done]),
        token_forwards=np.array([decoded.token_forwards for decoded in done]),
        stopped_at=[decoded.stopped_at for decoded in done],
        seconds=np.array([decoded.seconds for decoded in done]),
    )


def decode_stream(
    denoiser: Denoiser,
    prompts: Sequence[Sequence[int]],
    plan: Plan,
    exit: str,
    *,
    rrm: Rrm | Sequence[Rrm] | None = None,
    batch_size: int = 16,
    record: Callable[[Step], None] | None = None,
    activation: str = "projection",
    observer: Observer | None = None,
    samples: Sequence[int] | None = None,
    temperature: float = 0.0,
    guidance: float = 0.0,
    seed: int = 0,
    reuse: Reusing = "none",
    **rule_settings: Any,
) -> Iterator[Decoded]:
    """Like `generate`, from token lists, yielding samples as they finish.

    A caller that has hooks in place passes its `observer`; `samples` numbers the prompts.
    """
    _check_length(denoiser, prompts, plan.gen_length)
    maps, reading = _maps(rrm), settings_of(exit, **rule_settings).reading
    if reuse not in get_args(Reusing):
        raise ValueError(f"unknown reuse {reuse!r}; known: {', '.join(get_args(Reusing))}")
    if reading and observer is None and (not maps or (len(maps) > 1 and reading != "columns")):
        raise ValueError(
            f"exit rule {exit!r} reads one map, got {len(maps)}: pass rrm=build_rrm(...), or --rrm"
            " FILE in a shell"
        )
    with ExitStack() as stack:
        # A caller's own observer has its hooks in place already, and keeps them afterwards.
        if observer is None and maps:
            observer = stack.enter_context(
                observing(denoiser, maps, activation, reading or "cosine")
            )
        engine = Engine(
            denoiser,
            prompts,
            plan,
            partial(make_rule, exit, plan, **rule_settings),
            mask_id=denoiser.mask_id,
            pad_id=denoiser.tokenizer.pad_token_id,
            batch_size=batch_size,
            device=denoiser.device,
            observer=observer,
            record=record,
            temperature=temperature,
            guidance=guidance,
            seed=seed,
            samples=samples,
            make_reuse=(
                None
                if reuse == "none"
                else lambda slots, length: Reuse(denoiser, slots, length, reuse, observer)
            ),
        )
        yield from engine.run()


def _maps(rrm: Rrm | Sequence[Rrm] | None) -> list[Rrm]:
    maps = [rrm] if isinstance(rrm, Rrm | str | Path) else list(rrm or ())
    # A string would pass for a sequence of characters, and deserves the same message.
    if wrong := [entry for entry in maps if not isinstance(entry, Rrm)]:
        raise ValueError(f"rrm is a map, got {wrong[0]!r}; of a file: rrm=build_rrm(path)")
    return maps


def _by_card(
    card: ExitCard, more: dict[str, Any], decoding: dict[str, Any], maps: list[Rrm]
) -> tuple[str, dict[str, Any]]:
    """Rule and settings of a card, if what it promises holds for this way of decoding."""
    if card.settings is None:
        raise ValueError(
            f"this exit card for {card.rule} allows no exit ({card.reason}); decode with"
            " exit='full'"
        )
    if more:
        raise ValueError(
            f"the settings of {card.rule} come from the exit card; leave out {', '.join(more)}"
        )
    if differing := [name for name, value in card.decoding.items() if value != decoding[name]]:
        promised = ", ".join(f"{name} {card.decoding[name]}" for name in differing)
        got = ", ".join(f"{name} {decoding[name]}" for name in differing)
        raise ValueError(
            f"this exit card was made for {promised}, got {got}: its guarantee does not carry over;"
            " pass **card.decoding"
        )
    # A rule that reads no map decodes alike with any.
    if settings_of(card.rule, **card.settings).reading and maps and map_digest(*maps) != card.map:
        raise ValueError(
            f"this exit card was made with another map ({card.map}, got {map_digest(*maps)}); pass"
            " the one beside the card"
        )
    return card.rule, card.settings


def encode(denoiser: Denoiser, prompts: Any) -> list[list[int]]:
    """Token lists of prompts, see `models.prompt_tokens`.

    Strings become a user turn with the assistant's turn opened.

    Raises:
        ValueError: They are no prompts; the message names the one that is none.
    """
    return prompt_tokens(
        denoiser.tokenizer, prompts, denoiser.causal_lm.config.vocab_size, denoiser.mask_id
    )


def _check_length(denoiser: Denoiser, prompts: Sequence[Sequence[int]], gen_length: int) -> None:
    """Refuse what is longer than the model has positions for: it would answer, and badly."""
    positions = getattr(denoiser.causal_lm.config, "max_position_embeddings", None)
    for number, prompt in enumerate(prompts):
        if positions is not None and len(prompt) + gen_length > positions:
            raise ValueError(
                f"prompt {number} of {len(prompt)} tokens and a canvas of {gen_length} are"
                f" {len(prompt) + gen_length}; this model is declared for {positions} positions"
                " (max_position_embeddings); shorten the prompt or the canvas"
            )


def response_tokens(denoiser: Denoiser, decoded: Decoded) -> list[int]:
    """Tokens before the response's end token."""
    # Models learn padding after a response as its end.
    ends = {denoiser.tokenizer.eos_token_id, denoiser.tokenizer.pad_token_id}
    tokens = decoded.tokens.tolist()
    return tokens[: next((at for at, token in enumerate(tokens) if token in ends), len(tokens))]


def response_text(denoiser: Denoiser, decoded: Decoded) -> str:
    """Text before the response's end token."""
    return denoiser.tokenizer.decode(response_tokens(denoiser, decoded), skip_special_tokens=True)
