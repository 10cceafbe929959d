"""Wrong files made from right ones.

Bytes lost, turned over or put in, and values that no writer of ours would write.
"""

import csv
import io
import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import yaml
from safetensors.numpy import load as load_safetensors
from safetensors.numpy import save as save_safetensors

STRANGE: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1,
    3,
    2**31,
    2**63,
    10**400,
    0.5,
    float("nan"),
    float("inf"),
    -float("inf"),
    1e308,
    "",
    "x",
    "1",
    "q",
    "9" * 5000,
    "\ud800",
    "\0",
    "\u202e",
    "1e999",
    "nan",
    "../../etc/passwd",
    [],
    {},
    [1, 2],
    ["x"],
    [[]],
    {"a": 1},
    {"u": [1, 2]},
    "[" * 100_000,
)
DEEP = {"[": "]", '{"a":': "}", '{"q":': "}"}


def mutate(form: str, content: bytes, rng: random.Random) -> bytes:
    """A wrong file: of the right one's structure with wrong values, or with wrong bytes."""
    if rng.random() < 0.3:
        return on_bytes(content, rng)
    try:
        tree = UNPACK[form](content)
        for _ in range(rng.choice((1, 1, 2, 4))):
            tree = on_values(tree, rng)
        made = PACK[form](tree)
    # Not every tree can be written in every form, nor every fuzzed file be unpacked.
    except Exception:
        return on_bytes(content, rng)
    return on_text(made, rng) if form in ("json", "jsonl", "yaml") and rng.random() < 0.1 else made


def on_bytes(content: bytes, rng: random.Random) -> bytes:
    """Truncated, flipped, with bytes put in, emptied or cut out."""
    at, other = (rng.randrange(len(content) + 1) for _ in range(2))
    how = rng.randrange(5)
    if how == 0:
        return content[:at]
    if how == 1 and at < len(content):
        return content[:at] + bytes([content[at] ^ (1 << rng.randrange(8))]) + content[at + 1 :]
    if how == 2:
        return (
            content[:at]
            + rng.choice((b"\0", b"\xff\xfe", b"\n", b'"', b"{", b"\x80" * 8, b"9" * 20))
            + content[at:]
        )
    if how == 3:
        return content[: min(at, other)] + content[max(at, other) :]
    return content[:at] + content[:other]


def on_text(content: bytes, rng: random.Random) -> bytes:
    """With a repeated key, or nested beyond what a stack holds."""
    if rng.random() < 0.5:
        return content.replace(b"{", b'{"u": 1, "u": [2, 3], ', 1)
    opening = rng.choice(list(DEEP))
    return (opening * 3000 + DEEP[opening] * 3000).encode()


def on_values(tree: Any, rng: random.Random) -> Any:
    """One value of a tree replaced, dropped, repeated or nested."""
    if isinstance(tree, dict | list) and tree and rng.random() < 0.85:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        key = rng.choice(keys)
        made = tree.copy()
        how = rng.random()
        if how < 0.15:
            del made[key]
        elif how < 0.25 and isinstance(made, dict):
            made[rng.choice(("x", "", "9.q.B", "layer", "a.b/c"))] = made.pop(key)
        elif how < 0.25:
            made.append(made[key])
        else:
            made[key] = on_values(tree[key], rng)
        return made
    if isinstance(tree, np.ndarray | torch.Tensor) and rng.random() < 0.7:
        return on_array(tree, rng)
    alike = [value for value in STRANGE if type(value) is type(tree)]
    return rng.choice(alike if alike and rng.random() < 0.5 else STRANGE)


def on_array(array: Any, rng: random.Random) -> Any:
    """Of another shape, another type, or with numbers that are none."""
    if isinstance(array, torch.Tensor):
        kind = rng.choice((torch.int8, torch.bool, torch.complex64, torch.float64, torch.bfloat16))
        ways = (
            lambda: array.to(kind),
            lambda: array[:1],
            lambda: array.flatten(),
            lambda: array.sum(),
            lambda: array * float("nan"),
            lambda: array[:0],
            lambda: array.to_sparse(),
            lambda: array.to("meta"),
            lambda: array[:1, :1].expand(30_000, 30_000),
        )
        return rng.choice(ways)()
    kind = rng.choice(("int8", "bool", "complex64", "float64", "uint64", "float16"))
    ways = (
        lambda: array.astype(kind),
        lambda: array[:1],
        lambda: array.flatten(),
        lambda: array.sum(),
        lambda: array * np.nan,
        lambda: array[:0],
        lambda: array[None],
        lambda: array * 1e30,
    )
    return rng.choice(ways)()


def unpack_safetensors(content: bytes) -> Any:
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return {
        "facts": header.get("__metadata__", {}),
        "arrays": load_safetensors(content),
        "header": {},
    }


def pack_safetensors(tree: Any) -> bytes:
    """With `header` laid over the true one: offsets, shapes and types that are not so."""
    content = save_safetensors(
        {name: np.asarray(array) for name, array in tree["arrays"].items()}, tree["facts"]
    )
    size = int.from_bytes(content[:8], "little")
    if not tree["header"]:
        return content
    text = json.dumps(json.loads(content[8 : 8 + size]) | tree["header"]).encode()
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def unpack_parquet(content: bytes) -> Any:
    table = pq.read_table(io.BytesIO(content))
    facts = {key.decode(): value.decode() for key, value in (table.schema.metadata or {}).items()}
    return {
        "facts": facts,
        "rows": table.to_pylist(),
        "schema": {field.name: str(field.type) for field in table.schema},
    }


def pack_parquet(tree: Any) -> bytes:
    """Of the schema's types as far as they hold the values, else of types that do."""
    rows, arrays = tree["rows"], {}
    for name, kind in tree["schema"].items():
        values, kind = [row.get(name) for row in rows], TYPES.get(kind, pa.string())
        try:
            arrays[name] = pa.array(values, kind)
        except (pa.ArrowException, OverflowError, ValueError):
            arrays[name] = pa.array(values)
    sink = io.BytesIO()
    pq.write_table(
        pa.table(arrays).replace_schema_metadata(
            {key: str(value) for key, value in tree["facts"].items()}
        ),
        sink,
    )
    return sink.getvalue()


TYPES = {
    str(kind): kind
    for one in (
        pa.string(),
        pa.int16(),
        pa.int32(),
        pa.int64(),
        pa.float32(),
        pa.float64(),
        pa.bool_(),
    )
    for kind in (one, pa.list_(pa.field("element", one)), pa.list_(one))
}


def pack_csv(rows: Any) -> bytes:
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerows(
        [[str(cell) for cell in row] if isinstance(row, list) else [str(row)] for row in rows]
    )
    return made.getvalue().encode("utf-8", "surrogatepass")


def pack_torch(tree: Any) -> bytes:
    sink = io.BytesIO()
    torch.save(tree, sink)
    return sink.getvalue()


def pack_npz(tree: Any) -> bytes:
    sink = io.BytesIO()
    np.savez(sink, **tree)
    return sink.getvalue()


def unpack_npz(content: bytes) -> Any:
    with np.load(io.BytesIO(content)) as file:
        return dict(file)


UNPACK: dict[str, Callable[[bytes], Any]] = {
    "json": json.loads,
    "yaml": yaml.safe_load,
    "jsonl": lambda content: [json.loads(line) for line in content.splitlines()],
    "csv": lambda content: list(csv.reader(content.decode().splitlines())),
    "text": lambda content: content.decode().splitlines(),
    "safetensors": unpack_safetensors,
    "parquet": unpack_parquet,
    "torch": lambda content: torch.load(io.BytesIO(content), weights_only=True),
    "npz": unpack_npz,
}
PACK: dict[str, Callable[[Any], bytes]] = {
    "json": lambda tree: json.dumps(tree).encode(),
    "yaml": lambda tree: yaml.safe_dump(tree).encode(),
    "jsonl": lambda rows: "\n".join(json.dumps(row) for row in rows).encode(),
    "csv": pack_csv,
    "text": lambda lines: "\n".join(map(str, lines)).encode("utf-8", "surrogatepass"),
    "safetensors": pack_safetensors,
    "parquet": pack_parquet,
    "torch": pack_torch,
    "npz": pack_npz,
}
