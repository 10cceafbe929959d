"""Exit cards, `risk/<dataset>-<seq_len>-<rule>.json`.

A setting of an exit rule, the guarantee it carries, what it was made with.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from tracedlm.records.atomic import write_text
from tracedlm.records.formats import FORMATS, check_format
from tracedlm.records.manifest import fingerprint
from tracedlm.records.metrics import read_json
from tracedlm.records.rrm import Rrm


@dataclass(frozen=True)
class ExitCard:
    """What `generate(..., exit=card)` needs, and what a reader needs to trust it.

    Attributes:
        rule: Exit rule.
        settings: All its settings; None where none is valid: decode in full.
        label: Rule and settings, to be shown; None likewise.
        reason: Why there is none; "" otherwise.
        guarantee: What is promised of new samples like those it was made from, in words.
        epsilon, eta, method: Risk allowed, probability with which it may be exceeded, and how it
            was controlled (`theory.risk`).
        loss: What counts as a loss of one sample: `answer_flip` or `lost_answer`, against full
            decoding.
        n: Validation samples.
        dataset: Task whose problems those were.
        decoding: Arguments of `generate` that it holds for: gen_length, block_length, steps,
            schedule and others.
        model, adapter, map: Digests of the checkpoint's files (its name, if it is not on disk), of
            the adapter's, and of the map.
        tried: The settings tried, in their order: settings, risk, p_value (null with `crc`), valid,
            forwards.
        full_forwards: Mean forwards of full decoding on validation.
        test: Realised on test: n, losses, risk with its exact 95 % interval low and high, forwards,
            full_forwards; None without settings.
        code: Digest of the code that made it.
    """

    rule: str
    settings: dict[str, Any] | None
    label: str | None
    reason: str
    guarantee: str
    epsilon: float
    eta: float
    method: str
    loss: str
    n: int
    dataset: str
    decoding: dict[str, Any]
    model: str
    adapter: str
    map: str
    tried: list[dict[str, Any]]
    full_forwards: float
    test: dict[str, Any] | None
    code: str

    def write(self, path: str | Path) -> None:
        """Write to JSON."""
        write_text(path, json.dumps({"format": FORMATS["card"], **asdict(self)}, indent=1) + "\n")

    @classmethod
    def read(cls, path: str | Path) -> "ExitCard":
        """Read and check.

        Raises:
            ValueError: The file is missing, unreadable or not a card.
        """
        record = read_json(path, tuple(cls.__annotations__))
        check_format(path, record.get("format"), "card", "an exit card; rule risk writes one")
        try:
            card = TypeAdapter(cls).validate_python(
                {name: record[name] for name in cls.__annotations__}
            )
        except ValidationError as error:
            wrong = error.errors()[0]
            raise ValueError(
                f"{path}: not an exit card ({'.'.join(map(str, wrong['loc']))}: {wrong['msg']});"
                " rule risk writes one"
            ) from None
        # JSON has no tuples: lengths of blocks come back as a list.
        return replace(
            card,
            decoding={
                name: tuple(value) if isinstance(value, list) else value
                for name, value in card.decoding.items()
            },
        )

    def check_adapter(self, folder: str | Path | None) -> None:
        """Refuse another adapter than the card's.

        Raises:
            ValueError: It is another one, or none.
        """
        digest = None if folder is None else adapter_digest(folder)
        if digest != self.adapter:
            raise ValueError(
                f"this exit card was made with another adapter ({self.adapter}, got"
                f" {digest or 'none'}); pass the one beside the card"
            )


def files_digest(files: Iterable[str | Path]) -> str:
    """Digest of files' names and contents, of any size."""
    digests = {}
    for file in map(Path, files):
        # Piece by piece: weights may be larger than memory.
        with file.open("rb") as content:
            digests[file.name] = hashlib.file_digest(content, "sha256").hexdigest()
    return fingerprint(**digests)


def adapter_digest(folder: str | Path) -> str:
    """Digest of an adapter's settings and weights."""
    return files_digest(
        sorted(file for file in Path(folder).glob("*") if file.suffix in (".json", ".safetensors"))
    )


def map_digest(*maps: Rrm) -> str:
    """Digest of what a rule reads.

    The maps' vectors and subspaces, and the modules they belong to.
    """
    digest = hashlib.sha256()
    for rrm in maps:
        # The same bytes in another shape are another map.
        digest.update(repr((rrm.layer, rrm.projection, rrm.matrix, rrm.subspace.shape)).encode())
        digest.update(
            np.ascontiguousarray(rrm.u).tobytes() + np.ascontiguousarray(rrm.subspace).tobytes()
        )
    return digest.hexdigest()[:16]
