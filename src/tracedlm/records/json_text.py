"""JSON of any origin: whatever cannot be read is a ValueError."""

import json
from typing import Any


def parse_json(text: str | bytes) -> Any:
    r"""The value that a JSON text stands for.

    Raises:
        ValueError: The text is no JSON in UTF-8, is nested more deeply than Python's stack allows,
            or escapes half of a character, which could be neither printed nor written to a file.

    >>> parse_json('{"a": [1, 2]}')
    {'a': [1, 2]}
    """
    text = text.decode("utf-8-sig") if isinstance(text, bytes) else text
    try:
        value = json.loads(text)
        # Half of a character can be escaped and read; only encoding it again fails.
        if "\\ud" in text.lower():
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except RecursionError:
        raise ValueError("nested too deeply") from None
