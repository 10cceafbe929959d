"""Rule `explorer`: one self-contained HTML file in which a reader replays the study's denoising.

Needs no network.

What models wrote is data here and never markup: it is embedded as JSON that cannot end its element,
is shown as text only, and the page's own script and style are the only ones that its content
security policy lets run.
"""

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup

from tracedlm.records.atomic import write_text
from tracedlm.records.formats import FORMATS
from tracedlm.records.replay import ReadoutReplay, SampleReplay, SetReplay, StudyReplay
from tracedlm.report.markup import html
from tracedlm.theory.certificate import BOUNDS

LIMIT = 5_000_000
"""Bytes of the whole file."""

LEVELS = (255, 63, 15)
"""Different similarities of one sample and readout that are told apart: 8 bits.

Fewer where the file would be too large.
"""

COLOURS = "cividis"
"""A colour map that reads the same with any colour vision, and in grey."""


def write_explorer(study: StudyReplay, code: str, out: Path, limit: int = LIMIT) -> None:
    """Write the file.

    Args:
        study: What to show.
        code: Digest of the code that made it.
        out: The file.
        limit: Bytes it may take. Where it would take more, similarities are rounded more coarsely,
            then fewer samples are shown; the page says so.

    Raises:
        ValueError: One sample of each set takes more than that.
    """
    write_text(out, _fitted(study, code, limit))


def _fitted(study: StudyReplay, code: str, limit: int) -> str:
    page = ""
    for levels in LEVELS:
        page = explorer_html(study, code, levels)
        if len(page.encode()) <= limit:
            return page
    while (size := len(page.encode())) > limit:
        if max(len(one.samples) for one in study.sets) == 1:
            raise ValueError(
                f"explorer: one sample of each set takes {size} bytes, more than {limit}; list"
                " fewer readouts in the config"
            )
        kept = 0.95 * limit / size
        study = replace(
            study,
            sets=[
                replace(one, samples=one.samples[: max(1, int(kept * len(one.samples)))])
                for one in study.sets
            ],
        )
        page = explorer_html(study, code, LEVELS[-1])
    return page


def explorer_html(study: StudyReplay, code: str, levels: int) -> str:
    """The page, with similarities rounded to so many levels."""
    templates = html()
    script, style = (
        templates.get_template(f"explorer.{name}").render() for name in ("js.j2", "css")
    )
    return templates.get_template("explorer.html.j2").render(
        study=study,
        code=code,
        script=Markup(script),
        style=Markup(style),
        script_hash=_hash(script),
        style_hash=_hash(style),
        data=embedded(_study(study, levels)),
    )


def embedded(value: Any) -> Markup:
    """JSON inside an element `script`, which no string in it can end."""
    return Markup(
        json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).replace(
            "<", "\\u003c"
        )
    )


def quantise(similarity: np.ndarray, levels: int) -> tuple[np.ndarray, float | None, float | None]:
    """Similarities as small whole numbers over their own range.

    Args:
        similarity: [steps, positions], NaN where not visible.
        levels: How many values are told apart, 2 to 255.

    Returns:
        uint8 of the same shape, 0 where not visible, else 1 (lowest) to `levels` (highest); lowest
            and highest similarity, None where
        nothing is visible. low + (code - 1) / (levels - 1) * (high - low) is off by at most half a
            level.

    >>> quantise(np.array([[np.nan, -1.0], [0.0, 1.0]]), 3)[0].tolist()
    [[0, 1], [2, 3]]
    """
    visible = ~np.isnan(similarity)
    if not visible.any():
        return np.zeros(similarity.shape, np.uint8), None, None
    low, high = float(similarity[visible].min()), float(similarity[visible].max())
    scaled = np.where(visible, similarity - low, 0) / ((high - low) or 1)
    return np.where(visible, 1 + np.rint(scaled * (levels - 1)), 0).astype(np.uint8), low, high


def packed(parts: Iterable[np.ndarray]) -> str:
    """Arrays one after the other, little-endian, as base64 of a zlib stream."""
    joined = b"".join(part.astype(part.dtype.newbyteorder("<")).tobytes() for part in parts)
    return base64.b64encode(zlib.compress(joined, 9)).decode("ascii")


def _study(study: StudyReplay, levels: int) -> dict[str, Any]:
    numbers = {token: place for place, token in enumerate(study.tokens)}
    ramp = (matplotlib.colormaps[COLOURS](np.arange(256), bytes=True)[:, :3]).astype(np.uint8)
    return {
        "format": FORMATS["explorer"],
        "readouts": study.readouts,
        "bounds": list(BOUNDS),
        "delta": study.delta,
        "omega": study.omega,
        "tau": study.tau,
        "margin": study.required_margin,
        "levels": levels,
        "colours": base64.b64encode(ramp.tobytes()).decode("ascii"),
        "tokens": [[text, int(special)] for text, special in study.tokens.values()],
        "sets": [_set(one, numbers, levels) for one in study.sets],
    }


def _set(one: SetReplay, numbers: dict[int, int], levels: int) -> dict[str, Any]:
    facts = {
        "dataset": one.dataset,
        "length": one.seq_len,
        "begins": one.begins,
        "total": one.total,
    }
    return {**facts, "samples": [_sample(sample, numbers, levels) for sample in one.samples]}


def _sample(sample: SampleReplay, numbers: dict[int, int], levels: int) -> dict[str, Any]:
    changes = [n for n, block in enumerate(sample.block) if n == 0 or sample.block[n - 1] != block]
    late = [n + 1 for n, inside in enumerate(sample.late) if inside]
    return {
        "id": sample.sample_id,
        "prompt": sample.prompt,
        "answer": sample.answer,
        "correct": sample.correct,
        "score": sample.score,
        "forwards": sample.forwards,
        "steps": len(sample.block),
        "blocks": [[n + 1, sample.block[n]] for n in changes],
        "late": [late[0], late[-1]] if late else None,
        "commits": [
            [
                [one.position for one in written],
                [numbers[one.token] for one in written],
                [_short(one.confidence) for one in written],
            ]
            for written in sample.commits
        ],
        "confidence": [_short(value) for value in sample.confidence],
        "entropy": [_short(value) for value in sample.entropy],
        "answers": [[one.step, one.answer, one.correct] for one in sample.answers],
        "exits": [
            [one.rule, one.forwards, one.spans, one.answer, one.correct, one.same]
            for one in sample.exits
        ],
        "readouts": {name: _readout(one, levels) for name, one in sample.readouts.items()},
    }


def _readout(one: ReadoutReplay, levels: int) -> dict[str, Any]:
    """Statistics as float32, certificates as bits, levels as differences.

    A level is stored as its change since the step before, modulo 256.
    """
    level, low, high = quantise(one.similarity, levels)
    bits = sum(
        (one.certified[bound].astype(np.uint8) << place for place, bound in enumerate(BOUNDS)),
        np.zeros(len(level), np.uint8),
    )
    change = np.diff(level, axis=0, prepend=np.zeros((1, level.shape[1]), np.uint8))
    statistics = np.stack([one.kl, one.margin, one.concentration]).astype(np.float32)
    return {"low": low, "high": high, "data": packed([statistics, bits, change])}


def _short(value: float | None) -> float | None:
    """Three decimals: more than can be seen."""
    return None if value is None else round(value, 3)


def _hash(text: str) -> str:
    """Source expression of a content security policy that lets this very text run."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
