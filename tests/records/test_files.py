"""A file is whole or absent, and one that cannot be used is named with what to do."""

import hashlib
import json
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tracedlm.records import manifest
from tracedlm.records.atomic import replacing, write_text
from tracedlm.records.footprint import find_module, find_variant
from tracedlm.records.manifest import PACKAGE, code_digest, digest_of, write_manifest
from tracedlm.records.moments import VARIANTS, Moments
from tracedlm.records.parquet import column, read_table, table_writer, write_table
from tracedlm.records.rrm import Rrm, read_maps, write_maps
from tracedlm.records.tensors import read_arrays, write_arrays

SCHEMA = pa.schema(
    [
        column("sample_id", pa.int32(), "index"),
        column("kl", pa.float64(), "nats; null where undefined"),
    ]
)
ROWS = [{"sample_id": 0, "kl": 0.5}, {"sample_id": 1, "kl": None}]


def the_only_file_in(folder):
    (path,) = folder.iterdir()
    return path


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    write_text(path, "old")
    with pytest.raises(RuntimeError), replacing(path) as temporary:
        temporary.write_text("half of the n")
        raise RuntimeError
    assert the_only_file_in(tmp_path) == path and path.read_text() == "old"


def test_a_failed_first_write_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), replacing(tmp_path / "new" / "file") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert not list((tmp_path / "new").iterdir())


def test_rows_that_do_not_fit_leave_nothing_half_written(tmp_path):
    path = tmp_path / "table.parquet"
    write_table(path, ROWS, SCHEMA)
    before = path.read_bytes()
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        write_table(path, [{"sample_id": "zero", "kl": 0.0}], SCHEMA)
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)), table_writer(path, SCHEMA) as writer:
        writer.write(ROWS)
        writer.write([{"sample_id": "zero", "kl": 0.0}])
    assert the_only_file_in(tmp_path) == path and path.read_bytes() == before


def test_tables_keep_rows_nulls_and_the_meaning_of_columns(tmp_path):
    with table_writer(tmp_path / "table.parquet", SCHEMA, {"dataset": "sudoku"}) as writer:
        for row in ROWS:
            writer.write([row])
        writer.write([])
    table = read_table(tmp_path / "table.parquet", SCHEMA, "rows")
    assert table.to_pylist() == ROWS
    assert table.schema.metadata[b"dataset"] == b"sudoku" and table.schema.field("kl").metadata[
        b"meaning"
    ].startswith(b"nats")
    assert read_table(tmp_path / "table.parquet", SCHEMA, "rows", columns=["kl"]).column_names == [
        "kl"
    ]


def spoil(path, how):
    content = path.read_bytes()
    path.write_bytes(
        {"truncated": content[: len(content) // 2], "empty": b"", "text": b"a,b\n1,2\n"}[how]
    )


@pytest.mark.parametrize("how", ["truncated", "empty", "text"])
def test_an_unreadable_table_says_which_and_what_to_do(how, tmp_path):
    path = tmp_path / "table.parquet"
    write_table(path, ROWS, SCHEMA)
    spoil(path, how)
    with pytest.raises(
        ValueError,
        match=(
            r"table\.parquet: not a readable Parquet file of trace steps .*delete it and run"
            r" snakemake"
        ),
    ):
        read_table(path, SCHEMA, "trace steps")


def test_a_table_of_something_else_says_what_is_wrong(tmp_path):
    path = tmp_path / "table.parquet"
    pq.write_table(pa.table({"sample_id": pa.array([0], pa.int32())}), path)
    with pytest.raises(
        ValueError,
        match=r"table\.parquet: column 'kl' is missing from steps; correct the path, or delete it",
    ):
        read_table(path, SCHEMA, "steps")
    pq.write_table(pa.table({"sample_id": pa.array([0], pa.int64()), "kl": [0.0]}), path)
    with pytest.raises(
        ValueError,
        match=(
            r"table\.parquet: column 'sample_id' of steps is int64, expected int32; correct the"
            r" path, or delete it"
        ),
    ):
        read_table(path, SCHEMA, "steps")
    with pytest.raises(ValueError, match=r"none\.parquet: not found \(steps\); run the rule"):
        read_table(tmp_path / "none.parquet", SCHEMA, "steps")


@pytest.mark.parametrize("how", ["truncated", "empty", "text"])
@pytest.mark.parametrize("kind", [Moments, Rrm])
def test_an_unreadable_tensor_file_says_which_and_what_to_do(kind, how, tmp_path):
    path = tmp_path / "file.safetensors"
    write_arrays(path, {"u": np.ones(4, np.float32)}, {"format": "x"})
    spoil(path, how)
    with pytest.raises(
        ValueError,
        match=r"file\.safetensors: not a readable safetensors file of .*delete it and make it anew",
    ):
        kind.read(path)


@pytest.mark.parametrize("kind", [Moments, Rrm])
def test_tensor_files_of_something_else_or_missing_are_named(kind, tmp_path):
    path = tmp_path / "file.safetensors"
    write_arrays(path, {"u": np.ones(4, np.float32)}, {})
    with pytest.raises(
        ValueError,
        match=r"file\.safetensors: not a .*expected '(moments|rrm)/1'.*rule (sft|rrm) writes one",
    ):
        kind.read(path)
    with pytest.raises(ValueError, match=r"none\.safetensors: .*not found"):
        kind.read(tmp_path / "none.safetensors")


def example_moments():
    rng = np.random.default_rng(0)
    shapes = {
        f"{layer}.{projection}.{matrix}": (4, 2)
        for layer in (0, 1, 10)
        for projection in "qkv"
        for matrix in "AB"
    }
    updates = {
        f"{name}/{variant}": rng.normal(size=shape).astype(np.float32)
        for name, shape in shapes.items()
        for variant in VARIANTS
    }
    return Moments(updates, steps=7, eps=1e-8, betas=(0.9, 0.999))


def test_moments_survive_writing_and_reading(tmp_path):
    moments = example_moments()
    moments.write(tmp_path / "m.safetensors")
    back = Moments.read(tmp_path / "m.safetensors")
    assert (back.steps, back.eps, back.betas) == (7, 1e-8, (0.9, 0.999)) and set(
        back.mean_updates
    ) == set(moments.mean_updates)
    assert all(
        np.array_equal(back.mean_updates[name], moments.mean_updates[name])
        for name in moments.mean_updates
    )
    assert back.modules()[0].startswith("0.") and back.modules()[-1] == "10.v.B"
    assert back.variants == VARIANTS
    (found,) = back.matrices(["10.q.B"], ["inside_raw"]).values()
    np.testing.assert_array_equal(found, moments.mean_updates["10.q.B/inside_raw"])


def test_negative_layers_count_from_the_last_that_is_there():
    assert (
        find_module(example_moments(), -1, "q", "B") == "10.q.B"
        and find_module(example_moments(), -3, "v", "A") == "0.v.A"
    )


@pytest.mark.parametrize("where", [(2, "q", "B"), (-4, "q", "B"), (0, "o", "B")])
def test_modules_that_are_not_there_are_named(where):
    with pytest.raises(
        ValueError,
        match=r"no moments of module .*; there are layers 0\.\.10, each with k\.A, k\.B, q\.A",
    ):
        find_module(example_moments(), *where)


def test_variants_that_are_not_there_are_named():
    with pytest.raises(
        ValueError, match="no variant 'raw' of moments; known: outside_raw, outside_corrected"
    ):
        find_variant(example_moments(), "raw")


def example_map(u):
    return Rrm(
        np.asarray(u, np.float32),
        np.eye(len(u), 2, dtype=np.float32),
        5,
        "q",
        "B",
        "moments",
        "outside_raw",
    )


def test_maps_survive_writing_and_reading(tmp_path):
    rrm = example_map([0.6, 0.8, 0.0])
    rrm.write(tmp_path / "q.safetensors")
    back = Rrm.read(tmp_path / "q.safetensors")
    assert np.array_equal(back.u, rrm.u) and np.array_equal(back.subspace, rrm.subspace)
    assert (back.layer, back.projection, back.matrix, back.source, back.variant) == (
        5,
        "q",
        "B",
        "moments",
        "outside_raw",
    )


def test_a_set_of_maps_keeps_their_order_and_widths(tmp_path):
    maps = [example_map([0.6, 0.8, 0.0]), example_map([0.0, 1.0])]
    write_maps(tmp_path / "modules.safetensors", maps)
    back = read_maps(tmp_path / "modules.safetensors")
    assert [rrm.u.tolist() for rrm in back] == [rrm.u.tolist() for rrm in maps]
    assert all(
        np.array_equal(rrm.subspace, other.subspace) and rrm.layer == 5
        for rrm, other in zip(back, maps, strict=True)
    )
    with pytest.raises(ValueError, match=r"not a map \(format 'rrms/1'"):
        Rrm.read(tmp_path / "modules.safetensors")


@pytest.mark.parametrize("u", [[0.6, 0.9, 0.0], [0.0, 0.0, 0.0], [np.nan, 0.6, 0.8]])
def test_a_map_that_is_not_of_unit_norm_is_refused(u, tmp_path):
    example_map(u).write(tmp_path / "q.safetensors")
    with pytest.raises(
        ValueError, match=r"q\.safetensors: the map's vector has norm .*, expected 1"
    ):
        Rrm.read(tmp_path / "q.safetensors")


def test_equal_arrays_and_metadata_are_equal_files(tmp_path):
    """Whatever the order of the metadata, which safetensors would write in hash order."""
    arrays, facts = (
        {"b": np.ones(3), "a": np.zeros((2, 2), np.float32)},
        {name: name for name in "zyxwvutsrq"},
    )
    write_arrays(tmp_path / "one", arrays, facts)
    write_arrays(tmp_path / "other", arrays, dict(sorted(facts.items())))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "other").read_bytes()
    assert read_arrays(tmp_path / "one", "arrays")[1] == facts


def test_arrays_keep_their_bits_whatever_their_layout(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4).T
    write_arrays(tmp_path / "a.safetensors", {"a": array}, {})
    assert np.array_equal(read_arrays(tmp_path / "a.safetensors", "arrays")[0]["a"], array)


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """A function that tells how digests change when one file of the package is edited."""
    copy = shutil.copytree(
        PACKAGE, tmp_path / "tracedlm", ignore=shutil.ignore_patterns("__pycache__")
    )
    monkeypatch.setattr(manifest, "PACKAGE", copy)

    def changed(file: str, stage: str) -> bool:
        before = code_digest(stage)
        (copy / file).write_text((copy / file).read_text() + "\n")
        return code_digest(stage) != before

    return changed


@pytest.mark.parametrize(
    ("file", "stage", "matters"),
    [
        ("stages/certify/certify.py", "certify", True),
        ("theory/divergence.py", "certify", True),  # imported by what it imports
        ("generation.py", "exits", True),
        ("decode/rules/rad.py", "exits", True),
        ("report/templates/table.tex.j2", "report", True),
        ("report/figures/draw.py", "report", True),  # imported by no other module of the report
        ("decode/engine.py", "certify", False),
        ("report/write.py", "trace", False),
        ("config/decoding.py", "trace", False),  # its values are params
    ],
)
def test_a_digest_changes_with_the_source_a_stage_runs_and_no_other(edited, file, stage, matters):
    assert edited(file, stage) == matters


def test_a_manifest_says_what_made_a_result(tmp_path):
    write_manifest(tmp_path / "m.json", "rrm.maps", steps=3)
    record = json.loads((tmp_path / "m.json").read_text())
    assert (
        record["stage"] == "rrm.maps"
        and record["steps"] == 3
        and record["code"] == code_digest("rrm.maps")
        and record["versions"]["numpy"]
    )
    assert (
        digest_of(tmp_path / "m.json")
        == hashlib.sha256((tmp_path / "m.json").read_bytes()).hexdigest()[:16]
    )
