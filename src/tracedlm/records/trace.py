"""Denoising traces: tables `samples`, `steps` and `readouts`.

One folder per dataset, length and split.
"""

from pathlib import Path
from typing import Any

import pyarrow as pa

from tracedlm.records.json_text import parse_json
from tracedlm.records.parquet import column, read_facts

SAMPLES = pa.schema(
    [
        column("sample_id", pa.int32(), "index in the split"),
        column("split", pa.string(), "validation or test"),
        column("prompt", pa.string(), "user turn"),
        column("prompt_tokens", pa.int32(), "tokens of the prompt, template included"),
        column("output_tokens", pa.int32(), "tokens of the response before its end token"),
        column("text", pa.string(), "decoded response"),
        column("answer", pa.string(), "extracted answer; null where there is none"),
        column("correct", pa.bool_(), "the whole problem is solved (strict scorer)"),
        column("score", pa.float64(), "share of the problem that is right, 0 to 1 (strict scorer)"),
        column("score_d1", pa.float64(), "the same by the published scorer"),
        column("tokens", pa.list_(pa.int32()), "response tokens, the whole canvas"),
        column("nfe", pa.int32(), "forwards this sample took part in"),
        column("token_forwards", pa.int64(), "query tokens summed over forwards, padding excluded"),
        column("seconds", pa.float64(), "seconds, share of each batch's wall time"),
    ]
)

STEPS = pa.schema(
    [
        column("sample_id", pa.int32(), "index in the split"),
        column("block", pa.int32(), "active block, from 0; -1 while refining"),
        column("step", pa.int32(), "forward of this sample, from 1"),
        column("block_step", pa.int32(), "forward within the block, from 1"),
        column("phase", pa.string(), "denoise or refine"),
        column(
            "committed_position",
            pa.list_(pa.int16()),
            "response positions written after this forward",
        ),
        column("committed_token", pa.list_(pa.int32()), "tokens written there"),
        column(
            "committed_confidence", pa.list_(pa.float32()), "their probabilities in this forward"
        ),
        column("masked", pa.int32(), "masked response positions before this forward"),
        column(
            "mean_confidence",
            pa.float64(),
            "mean top probability over masked positions of the active block",
        ),
        column("mean_entropy", pa.float64(), "mean predictive entropy there, nats"),
        # A block's first forward has none before it in the block.
        column(
            "predictive_kl",
            pa.float64(),
            "mean KL to the previous forward's predictions in the block, nats; null at its first"
            " step",
        ),
    ]
)

READOUTS = pa.schema(
    [
        column("sample_id", pa.int32(), "index in the split"),
        column("step", pa.int32(), "forward of this sample, from 1"),
        column("layer", pa.int16(), "transformer block of the map"),
        column(
            "projection",
            pa.string(),
            "q, k or v; q[0], q[1] and so on where several numbers are read of it",
        ),
        # int16: `LONGEST_CANVAS` keeps positions inside it.
        column("position", pa.list_(pa.int16()), "response positions visible before this forward"),
        column("similarity", pa.list_(pa.float32()), "cosine of activation and map there, -1 to 1"),
    ]
)

LONGEST_CANVAS = 2**15
"""Tokens: positions are int16."""

TABLES = {"samples": SAMPLES, "steps": STEPS, "readouts": READOUTS}
"""Tables of a trace set; each is a folder of parts, one part per shard."""

READOUT = pa.schema(
    [
        column("sample_id", pa.int32(), "index in the split"),
        column("step", pa.int32(), "forward of this sample, from 1"),
        column("block", pa.int32(), "active block; -1 while refining"),
        column("phase", pa.string(), "denoise or refine"),
        column("position", pa.list_(pa.int16()), "visible response positions"),
        column(
            "similarity",
            pa.list_(pa.float32()),
            "aggregated over projections where the readout is an aggregate",
        ),
        column(
            "kl",
            pa.float64(),
            "KL to the previous step on the matched support, nats; null where undefined",
        ),
        column(
            "tv",
            pa.float64(),
            "total variation to the previous step there, 0 to 1; null where undefined",
        ),
        column(
            "margin",
            pa.float64(),
            "top-2 probability margin on the matched support; null where undefined",
        ),
        column(
            "concentration",
            pa.float64(),
            "alignment concentration AC on the visible set; null where undefined",
        ),
    ]
)

# A run with exits: a sample, and what the rule spent and changed.
EXITS = SAMPLES.append(column("stopped_at", pa.list_(pa.int32()), "forwards spent in each block"))
EXITS = EXITS.append(
    column("token_flips", pa.int32(), "response tokens that differ from full decoding")
)
EXITS = EXITS.append(
    column("answer_flip", pa.bool_(), "the extracted answer differs from full decoding's")
)
EXITS = EXITS.append(column("rule", pa.string(), "exit rule with its settings"))


def read_plan(part: Path) -> tuple[dict[str, Any], int | None]:
    """How the samples of a part of a trace were decoded: the fields of `decode.plan.Plan`.

    And the mask's id, None where it is not said.

    Raises:
        ValueError: The file is unreadable, or does not say.
    """
    facts = read_facts(part, "a trace")
    try:
        # Without its plan a trace cannot be read; without the mask's id it can.
        plan, mask = parse_json(facts[b"plan"]), facts.get(b"mask_id")
        if not 0 < plan["gen_length"] <= LONGEST_CANVAS:
            raise ValueError(f"gen_length is {plan['gen_length']}")
        return plan, None if mask is None else int(mask)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{part}: does not say how it was decoded (metadata plan, mask_id: {error!r}); collect"
            " the trace anew"
        ) from None


def canvas_of(readout: str | Path) -> int:
    """Canvas length of a readout, tokens.

    Raises:
        ValueError: The file is unreadable, or does not say.
    """
    length = read_facts(readout, "a readout").get(b"gen_length", b"")
    # Nine digits show that a number is too large, however many there are.
    if not length.isdigit() or not 0 < int(length[:9]) <= LONGEST_CANVAS:
        raise ValueError(
            f"{readout}: does not say its canvas length (metadata gen_length); make it anew with"
            " rule readout"
        )
    return int(length)


def exit_block_lengths(exits: str | Path) -> list[int]:
    """Tokens of each block that the runs of an exit table were decoded in.

    A table of exits and a trace of the same problems may be cut into other blocks
    (`exits.block_length`), even into equally many. Their blocks are the same only where these
    lengths are.

    Raises:
        ValueError: The file is unreadable, or does not say.
    """
    facts = read_facts(exits, "exit runs")
    try:
        lengths = parse_json(facts[b"block_lengths"])
        return [int(length) for length in lengths]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{exits}: does not say its blocks (metadata block_lengths: {error!r}); make it anew"
            " with rule exits"
        ) from None
