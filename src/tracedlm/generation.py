"""`generate`: prompts in, text out, with any exit rule, observed by a map if the rule or a recorder wants one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import numpy as np

from tracedlm.decode.engine import Decoded, Engine
from tracedlm.decode.plan import Plan
from tracedlm.decode.rules import RULES, make_rule
from tracedlm.decode.step import Step
from tracedlm.models.denoiser import Denoiser
from tracedlm.models.observer import Observer, observing
from tracedlm.records.rrm import Rrm


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
    prompts: Sequence[str] | Sequence[Sequence[int]],
    gen_length: int = 128,
    block_length: int = 32,
    steps: int = 64,
    exit: str = "full",
    schedule: Literal["uniform", "gaussian"] = "uniform",
    rrm: Rrm | Sequence[Rrm] | None = None,
    batch_size: int = 16,
    record: Callable[[Step], None] | None = None,
    activation: str = "projection",
    **rule_settings: Any,
) -> Generation:
    """Decode prompts with an exit rule.

    Args:
        denoiser: From `load_denoiser`.
        prompts: Strings, to which the chat template is applied, or token lists, taken as they are.
        gen_length: Tokens of the canvas G.
        block_length: Tokens per block; must divide G.
        steps: Total denoising steps T; must be a multiple of the number of blocks.
        exit: Exit rule, see `tracedlm.decode.rules`.
        schedule: `uniform` or `gaussian`.
        rrm: Map or maps to observe; a rule that reads a map takes exactly one.
        batch_size: Samples decoded together; does not change any sample's output.
        record: Called with every `Step`, for example a `TraceRecorder`.
        activation: What is compared with the map, see `models.observer.observing`.
        **rule_settings: Settings of the rule, e.g. `delta=1e-6, omega=3`.

    Raises:
        ValueError: A setting is out of range, a rule needs a map and none is given, a map does not fit the model.
    """
    plan = Plan(gen_length, block_length, steps, schedule)
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
            **rule_settings,
        )
    )
    done.sort(key=lambda one: one.sample)
    return Generation(
        np.stack([one.tokens.numpy() for one in done]),
        [response_text(denoiser, one) for one in done],
        np.array([one.nfe for one in done]),
        np.array([one.token_forwards for one in done]),
        [one.stopped_at for one in done],
        np.array([one.seconds for one in done]),
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
    **rule_settings: Any,
) -> Iterator[Decoded]:
    """Like `generate`, from token lists, yielding samples as they finish. A caller that has hooks in place passes its `observer`."""
    maps = [rrm] if isinstance(rrm, Rrm) else list(rrm or ())
    if exit in RULES and RULES[exit].needs_map and len(maps) != 1 and observer is None:
        raise ValueError(f"exit rule {exit!r} reads one map, got {len(maps)}: pass rrm=build_rrm(...)")
    with ExitStack() as stack:
        if observer is None and maps:
            observer = stack.enter_context(observing(denoiser, maps, activation))
        engine = Engine(
            denoiser,
            prompts,
            plan,
            partial(_rule, exit, plan, rule_settings),
            mask_id=denoiser.mask_id,
            pad_id=denoiser.tokenizer.pad_token_id,
            batch_size=batch_size,
            device=denoiser.device,
            observer=observer,
            record=record,
        )
        yield from engine.run()


def encode(denoiser: Denoiser, prompts: Sequence[str] | Sequence[Sequence[int]]) -> list[list[int]]:
    """Token lists of prompts; strings become a user turn with the assistant's turn opened."""
    template = denoiser.tokenizer.apply_chat_template
    return [
        list(template([{"role": "user", "content": prompt}], add_generation_prompt=True)["input_ids"])
        if isinstance(prompt, str)
        else list(prompt)
        for prompt in prompts
    ]


def response_tokens(denoiser: Denoiser, decoded: Decoded) -> list[int]:
    """Tokens before the response's end token."""
    ends = {denoiser.tokenizer.eos_token_id, denoiser.tokenizer.pad_token_id}
    tokens = decoded.tokens.tolist()
    return tokens[: next((at for at, token in enumerate(tokens) if token in ends), len(tokens))]


def response_text(denoiser: Denoiser, decoded: Decoded) -> str:
    """Text before the response's end token."""
    return denoiser.tokenizer.decode(response_tokens(denoiser, decoded), skip_special_tokens=True)


def _rule(name: str, plan: Plan, settings: dict[str, Any], slots: int) -> Any:
    return make_rule(name, plan, slots, **settings)
