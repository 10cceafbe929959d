"""Whatever happens to what a job wrote, the next reader names it.

And a seal is what `sha256sum --check` reads.
"""

import re
import shutil
import subprocess

import numpy as np
import pyarrow as pa
import pytest

from tracedlm.records.atomic import write_text
from tracedlm.records.parquet import column, write_table
from tracedlm.records.rrm import Rrm
from tracedlm.records.seal import broken_seals, check_seal, gone, seal, seal_of

SCHEMA = pa.schema([column("sample_id", pa.int32(), "index"), column("kl", pa.float64(), "nats")])


def a_table(path):
    write_table(
        path, [{"sample_id": n, "kl": n / 7} for n in range(50)], SCHEMA, {"gen_length": "64"}
    )


def a_map(path):
    Rrm(
        np.array([0.6, 0.8], np.float32),
        np.eye(2, 1, dtype=np.float32),
        5,
        "q",
        "B",
        "moments",
        "outside_raw",
    ).write(path)


KINDS = {
    "trace.parquet": a_table,
    "q.safetensors": a_map,
    "summary.json": lambda path: write_text(path, '{"delta": 3e-06}\n'),
    "train.txt": lambda path: write_text(path, '{"question": "1 + 1"}\n'),
    "accuracy.csv": lambda path: write_text(path, "rule,accuracy\nrad,67.2\n"),
}


def flipped(content, bit):
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def refused(path):
    with pytest.raises(
        ValueError, match=rf"^{re.escape(str(path))}: damaged .* delete it and run snakemake again"
    ):
        check_seal(path)


@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_bit_is_named_wherever_it_is(kind, tmp_path):
    """Of Parquet's footer and of safetensors' header, too, which no checksum of their formats
    covers.
    """
    path = tmp_path / kind
    KINDS[kind](path)
    seal(path)
    check_seal(path)
    content = path.read_bytes()
    for bit in np.linspace(0, 8 * len(content) - 1, 60, dtype=int):
        path.write_bytes(flipped(content, bit))
        refused(path)
    for spoilt in (b"", content[: len(content) // 2], content + b"\n"):
        path.write_bytes(spoilt)
        refused(path)
    path.write_bytes(content)
    check_seal(path)


def test_a_folder_is_sealed_whole_and_the_file_is_named(tmp_path):
    folder = tmp_path / "adapter"
    folder.mkdir()
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / name).write_text(name)
    seal(folder)
    check_seal(folder)
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match=r"the SHA-256 of adapter/adapter_config\.json is not"):
        check_seal(folder)
    (folder / "adapter_config.json").unlink()
    refused(folder)
    shutil.rmtree(folder)
    refused(folder)


def test_what_nobody_sealed_passes(tmp_path):
    (tmp_path / "somebody_elses.json").write_text("{}")
    check_seal(tmp_path / "somebody_elses.json")


def test_a_seal_that_is_itself_damaged_is_no_licence(tmp_path):
    path = tmp_path / "accuracy.csv"
    path.write_text("rule\n")
    seal(path)
    seal_of(path).write_bytes(flipped(seal_of(path).read_bytes(), 7))
    refused(path)


def test_what_only_people_read_is_found(tmp_path):
    tables = tmp_path / "tables"
    for name in ("accuracy.csv", "storage.csv", "gone.csv", "large.csv"):
        write_text(tables / name, name)
        seal(tables / name)
    (tables / "accuracy.csv").write_text("better numbers")
    (tables / "large.csv").write_text("better numbers" * 9)
    (tables / "gone.csv").unlink()
    (message,) = broken_seals(tmp_path, largest=20)
    assert message.startswith(f"{tables / 'accuracy.csv'}: damaged")
    assert broken_seals(tmp_path / "nowhere") == []


def test_what_a_failed_job_took_with_it_is_known_by_its_seal(tmp_path):
    """What never was, and what went with its seal, is nobody's loss."""
    files = [tmp_path / name for name in ("there", "failed", "never", "deleted/with_its_seal")]
    for path in (files[0], files[1], files[3]):
        write_text(path, path.name)
        seal(path)
    files[1].unlink()
    shutil.rmtree(files[3].parent)
    assert gone([*map(str, files), str(files[1])]) == [str(files[1])]


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_reads_seals(tmp_path):
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter/weights").write_text("weights")
    (tmp_path / "table").write_text("table")
    seal(tmp_path / "adapter")
    seal(tmp_path / "table")
    command = [
        "sha256sum",
        "--quiet",
        "--check",
        seal_of(tmp_path / "adapter").name,
        seal_of(tmp_path / "table").name,
    ]
    assert subprocess.run(command, cwd=tmp_path).returncode == 0
    (tmp_path / "adapter/weights").write_text("other")
    assert subprocess.run(command, cwd=tmp_path, capture_output=True).returncode == 1
