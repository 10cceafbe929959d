"""Coverage-guided fuzzing of the readers, on demand: not a test.

`pip install atheris` first; it is in no extra.

    # seconds, names of readers (all)
    PYTHONPATH=tests nice -n 10 python tests/fuzz/campaign.py 600 card "npz map"

One process fuzzes them together: an input's first byte says whose it is. Coverage is that of the
package's own Python. Mutations are those of `mutation.py`, mixed with libFuzzer's own. What breaks
a reader is kept in `corpus/<reader>/<digest>` and replayed by `test_readers.py`; the same place is
reported once.
"""

import hashlib
import os
import random
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import atheris  # pyright: ignore[reportMissingImports]

with atheris.instrument_imports(include=["tracedlm"]):
    from fuzz.bounds import refusal
    from fuzz.mutation import mutate
    from fuzz.readers import READERS

CORPUS = Path(__file__).parent / "corpus"
LARGEST = 200_000
"""Bytes of an input."""


def fuzz(seconds: int, names: list[str]) -> None:
    """Fuzz readers until the time is over, and print what was found."""
    folders = {name: example_folder(name) for name in names}
    examples = [(folders[name] / READERS[name].file).read_bytes() for name in names]
    seeds, run, refused, found, end = (
        Path(tempfile.mkdtemp()),
        Counter[str](),
        Counter[str](),
        dict[str, str](),
        time.monotonic() + seconds,
    )
    for number, content in enumerate(examples):
        (seeds / str(number)).write_bytes(bytes([number]) + content)

    def one(content: bytes) -> None:
        name = names[content[0] % len(names)] if content else names[0]
        run[name] += 1
        try:
            refused[name] += refusal(READERS[name], folders[name], content[1:]) is not None
        except Exception as error:
            keep(name, content[1:], error, found)
        if time.monotonic() > end:
            for name in names:
                print(f"{name}: {run[name]} files, {refused[name]} refused")
            print(
                f"{run.total()} files, {len(found)} findings", *found.values(), sep="\n", flush=True
            )
            os._exit(0)

    def mutator(content: bytes, size: int, seed: int) -> bytes:
        rng = random.Random(seed)
        number = (
            content[0] % len(names) if content and rng.random() < 0.5 else rng.randrange(len(names))
        )
        same = content and content[0] % len(names) == number and rng.random() < 0.7
        base = content[1:] if same else examples[number]
        made = (
            mutate(READERS[names[number]].form, base, rng)
            if rng.random() < 0.7
            else atheris.Mutate(base, size - 1)
        )
        return bytes([number]) + made[: size - 1]

    options = [
        f"-max_len={LARGEST}",
        "-rss_limit_mb=0",
        "-timeout=600",
        "-verbosity=0",
        f"-artifact_prefix={tempfile.mkdtemp()}/",
    ]
    atheris.Setup([sys.argv[0], *options, str(seeds)], one, custom_mutator=mutator)
    atheris.Fuzz()


def example_folder(name: str) -> Path:
    """A folder with the reader's valid example."""
    folder = Path(tempfile.mkdtemp())
    (folder / READERS[name].file).parent.mkdir(exist_ok=True)
    READERS[name].write(folder)
    return folder


def keep(name: str, content: bytes, error: Any, found: dict[str, str]) -> None:
    """Keep the first input that breaks a reader at a place of the package."""
    cause = error.__cause__ or error
    frames = [
        frame for frame in traceback.extract_tb(cause.__traceback__) if "tracedlm" in frame.filename
    ]
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    if where not in found:
        found[where] = f"{name}: {type(cause).__name__} at {where}: {str(error)[:150]}"
        (CORPUS / name).mkdir(parents=True, exist_ok=True)
        (CORPUS / name / hashlib.sha256(content).hexdigest()[:12]).write_bytes(content)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    fuzz(int(sys.argv[1]), sys.argv[2:] or list(READERS))
