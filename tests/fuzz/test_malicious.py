"""Files made to do harm: to run code, to fill the memory, to reach outside their folder.

Each is refused by name, and nothing happens.
"""

import io
import json
import os
import pickle
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import yaml

from fuzz.bounds import bounded
from fuzz.mutation import DEEP
from fuzz.readers import LORA, READERS, a_map, dump, lora
from tracedlm.__main__ import main
from tracedlm.config import load_study, load_yaml
from tracedlm.models.adapter import load_adapter
from tracedlm.models.denoiser import load_denoiser
from tracedlm.models.optimizer_dump import OptimizerDumps
from tracedlm.records.adapter import Adapter
from tracedlm.records.map_file import MapFiles
from tracedlm.records.moments import VARIANTS, Moments
from tracedlm.records.rrm import Rrm
from tracedlm.tasks import get_task

ROOT = Path(__file__).resolve().parents[2]


class Payload:
    """Leaves a file named `ran` where it is unpickled."""

    def __reduce__(self):
        return os.system, ("touch ran",)


# ---- memory -------------------------------------------------------------------------------------


def npz(path, entries):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)


def npy(shape, content=b""):
    made = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        made, {"descr": "<f8", "fortran_order": False, "shape": shape}
    )
    return made.getvalue() + content


def repeated(path, groups):
    """Row groups of a million equal numbers, of which Parquet keeps one."""
    table = pa.table(
        {
            "question": pa.array(np.zeros(1_000_000, np.int32)),
            "sample_id": pa.array(np.zeros(1_000_000, np.int32)),
        }
    )
    with pq.ParquetWriter(path, table.schema) as writer:
        for _ in range(groups):
            writer.write_table(table)


def declaring(path, rows):
    """A file of 77 rows whose footer says that there are more.

    The number is in it for the file, its group and its column.
    """

    def number(n):
        n, made = 2 * n, b""
        while n > 127:
            made, n = made + bytes([n & 127 | 128]), n >> 7
        return b"\x16" + made + bytes([n])

    sink = io.BytesIO()
    pq.write_table(pa.table({"question": pa.array(np.arange(77))}), sink)
    content = sink.getvalue()
    size = struct.unpack("<I", content[-8:-4])[0]
    body, footer = content[: -8 - size], content[-8 - size : -8]
    assert footer.count(number(77)) == 3
    footer = footer.replace(number(77), number(rows))
    path.write_bytes(body + footer + struct.pack("<I", len(footer)) + b"PAR1")


BOMBS = {
    "zeros_q.npz": lambda path: npz(path, {"u.npy": npy((2**24,), bytes(2**27))}),
    "many_q.npz": lambda path: npz(
        path, {f"{n}.npy": npy((2**20,), bytes(2**23)) for n in range(10)}
    ),
    "header_q.npz": lambda path: npz(path, {"u.npy": npy((10**12,))}),
    "text.parquet": lambda path: pq.write_table(
        pa.table({"question": ["a" * 150_000_000]}), path, compression="zstd", use_dictionary=False
    ),
    "rows.parquet": lambda path: repeated(path, 30),
    "rows.table": lambda path: repeated(path, 30),
    "rows.groups": lambda path: repeated(path, 30),
    "declared.parquet": lambda path: declaring(path, 10**9),
    "declared.table": lambda path: declaring(path, 10**9),
    "length.safetensors": lambda path: path.write_bytes(struct.pack("<Q", 2**63) + b"{}"),
    "long.safetensors": lambda path: path.write_bytes(struct.pack("<Q", 2**40) + b"{}"),
    "tensor.safetensors": lambda path: path.write_bytes(
        (lambda head: struct.pack("<Q", len(head)) + head)(
            json.dumps(
                {
                    LORA.format(0, "q", "B"): {
                        "dtype": "F32",
                        "shape": [2**20, 2**20],
                        "data_offsets": [0, 2**42],
                    }
                }
            ).encode()
        )
    ),
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What a process of little memory says of each bomb."""
    folder = tmp_path_factory.mktemp("bombs")
    for name, write in BOMBS.items():
        write(folder / name)
    assert all((folder / name).stat().st_size < 2_000_000 for name in BOMBS), "a bomb is small"
    run = subprocess.run(
        [sys.executable, "-m", "fuzz.bombs"],
        cwd=ROOT / "tests",
        env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        input="\n".join(str(folder / name) for name in BOMBS),
        capture_output=True,
        text=True,
    )
    return dict(line.split("\t") for line in run.stdout.splitlines()) | {"errors": run.stderr}


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_would_fill_the_memory_is_refused(answers, name):
    said = answers.get(name, f"died: {answers['errors'][-500:]}")
    assert said.startswith("refused ") and name in said


def test_numbers_repeated_by_strides_are_refused(tmp_path):
    """900 million of them in a file of two kilobytes."""
    content = dump()
    for entry in content.values():
        entry["exp_avg"] = entry["exp_avg_sq"] = torch.zeros(1, 1).expand(30_000, 30_000)
    torch.save(content, tmp_path / "lora_optim_step3.pt")
    with (
        bounded(),
        pytest.raises(
            ValueError,
            match=r"lora_optim_step3\.pt: 0\.q\.B has exp_avg, .*expected exp_avg and exp_avg_sq",
        ),
    ):
        OptimizerDumps([[tmp_path / "lora_optim_step3.pt"]]).matrices(["0.q.B"], ["outside_raw"])


def test_a_compressed_dump_is_refused(tmp_path):
    torch.save(dump(), tmp_path / "plain.pt")
    with (
        zipfile.ZipFile(tmp_path / "plain.pt") as plain,
        zipfile.ZipFile(tmp_path / "optimizer.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry))
    with bounded(), pytest.raises(ValueError, match=r"optimizer\.pt: not a dump of tensors"):
        OptimizerDumps([[tmp_path / "optimizer.pt"]]).modules()


LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{n + 1}: &a{n + 1} [{', '.join([f'*a{n}'] * 10)}]\n" for n in range(30)
)


@pytest.mark.parametrize(
    "tail",
    [
        "",
        "study: *a30\n",
        "exits: {sweeps: {rad: [{delta: *a30}]}, tune: {rad: {delta: *a30}}}\n",
        "a: &a [*a]\nsft: *a\n",
    ],
)
def test_aliases_that_stand_for_more_than_memory_holds_are_refused(tail, tmp_path):
    (tmp_path / "bomb.yaml").write_text(LAUGHS + tail)
    with (
        bounded(),
        pytest.raises(
            ValueError,
            match=r"bomb\.yaml: config:\n  more than 100000 values once every YAML alias",
        ),
    ):
        load_yaml(tmp_path / "bomb.yaml")
    with bounded(), pytest.raises(ValueError, match="more than 100000 values"):
        load_study(yaml.safe_load(LAUGHS + tail))


def test_aliases_of_a_usual_config_are_read():
    raw = yaml.safe_load(
        (ROOT / "config/smoke.yaml").read_text()
        + "\nnoise: {samples: &n 2}\nablation: {samples: *n}\n"
    )
    assert load_study(raw).ablation.samples == load_study(raw).noise.samples == 2


@pytest.mark.parametrize(
    "name", [name for name, reader in READERS.items() if reader.form in ("json", "jsonl", "yaml")]
)
@pytest.mark.parametrize("opening", DEEP)
def test_brackets_beyond_the_stack_are_refused(name, opening, tmp_path):
    reader = READERS[name]
    reader.write(tmp_path)
    times = 5_000 if reader.form == "yaml" else 100_000  # PyYAML takes time quadratic in the depth
    (tmp_path / reader.file).write_text(opening * times + DEEP[opening] * times)
    with bounded(), pytest.raises(ValueError, match=r"nested too deeply|not readable as YAML"):
        reader.read(tmp_path / reader.file)


# ---- code ---------------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder that is also the working directory; afterwards no payload may have run."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    assert not (tmp_path / "ran").exists()


def test_arrays_of_objects_run_nothing(here):
    np.savez("block_q.npz", u=np.array([Payload()], dtype=object))
    with pytest.raises(ValueError, match=r"block_q\.npz: not a readable map file"):
        MapFiles(here)
    (here / "block_q.npz").write_bytes(pickle.dumps(Payload()))
    with pytest.raises(ValueError, match=r"block_q\.npz: not a readable map file"):
        MapFiles(here)


def test_pickled_weights_are_never_read(here, denoiser, checkpoint, adapter):
    shutil.copytree(adapter, "adapter")
    (here / "adapter/adapter_model.safetensors").unlink()
    torch.save({"w": Payload()}, "adapter/adapter_model.bin")
    with pytest.raises(
        ValueError, match=r"adapter: does not fit this model \(.*adapter_model\.safetensors"
    ):
        load_adapter(denoiser.model, Path("adapter"), merge=False)
    with pytest.raises(
        ValueError, match=r"adapter_model\.safetensors: not found \(a PEFT adapter\)"
    ):
        Adapter(here / "adapter")
    shutil.copytree(checkpoint, "model")
    (here / "model/model.safetensors").unlink()
    torch.save({"w": Payload()}, "model/pytorch_model.bin")
    with pytest.raises(
        ValueError,
        match=r"model: no usable checkpoint: the weights: .*no file named model\.safetensors",
    ):
        load_denoiser("model", device="cpu")


TEXT = {"prompt_tuning_init_text": "x", "tokenizer_kwargs": {"trust_remote_code": True}}


@pytest.mark.parametrize(
    "change",
    [
        {"megatron_config": {}, "megatron_core": "payload"},
        {
            "peft_type": "PROMPT_TUNING",
            "prompt_tuning_init": "TEXT",
            "num_virtual_tokens": 1,
            "tokenizer_name_or_path": "x",
        }
        | TEXT,
    ],
)
def test_an_adapter_that_names_code_or_files_to_load_is_refused(
    here, denoiser, adapter, change, monkeypatch
):
    monkeypatch.syspath_prepend(here)
    (here / "payload.py").write_text("open('ran', 'w')")
    shutil.copytree(adapter, "adapter")
    config = json.loads(Path("adapter/adapter_config.json").read_text())
    Path("adapter/adapter_config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(
        ValueError, match=r"adapter: does not fit this model \(it is no plain LoRA\)"
    ):
        load_adapter(denoiser.model, Path("adapter"), merge=False)


@pytest.mark.parametrize(
    "tag",
    [
        "!!python/object/apply:os.system ['touch ran']",
        "!!python/name:os.system",
        "!!python/object/new:subprocess.Popen [[touch, ran]]",
    ],
)
def test_tags_of_yaml_make_no_objects(here, tag):
    (here / "study.yaml").write_text(f"study: {tag}\n")
    with pytest.raises(
        ValueError, match=r"study\.yaml: not readable as YAML \(could not determine a constructor"
    ):
        load_yaml("study.yaml")


# ---- paths --------------------------------------------------------------------------------------

OUTSIDE = ["../outside", "../../etc/passwd", "/etc/passwd", "a/../../b", "..", "x\n", "x\0"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_in_a_config_lead_nowhere(name):
    raw = yaml.safe_load((ROOT / "config/smoke.yaml").read_text())
    for changed in (
        {"study": name},
        {"datasets": [name]},
        {"catalogue": {name: {}}},
        {"readouts": [name]},
        {"exits": {"rules": ["full", name]}},
    ):
        with pytest.raises(ValueError, match="config:"):
            load_study(raw | changed)
    with pytest.raises(ValueError, match="unknown dataset"):
        get_task(name)


@pytest.mark.parametrize("name", OUTSIDE[:4])
def test_an_index_of_shards_names_files_of_its_own_folder_only(name, checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "model")
    weights = tmp_path / "model/model.safetensors"
    shutil.move(weights, tmp_path / "outside")  # weights that would fit
    (tmp_path / "model/model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": {"lm_head.weight": name}})
    )
    with pytest.raises(
        ValueError,
        match=(
            r"the weights: model\.safetensors\.index\.json names a file outside of the checkpoint,"
            rf" '{name}'"
        ),
    ):
        load_denoiser(tmp_path / "model", device="cpu")


def test_a_map_that_names_a_path_is_not_written_there(tmp_path, capsys):
    a_map("../../escaped").write(tmp_path / "q.safetensors")
    with pytest.raises(
        ValueError, match=r"q\.safetensors: .* for module '0\.\.\./\.\./escaped\.B' are no map"
    ):
        Rrm.read(tmp_path / "q.safetensors")
    (array,) = {
        array.tobytes(): array for name, array in lora().items() if name == "0.q.B"
    }.values()
    Moments(
        {f"0.q/../../escaped.B/{variant}": array for variant in VARIANTS[:1]}, 3, 1e-8, (0.9, 0.999)
    ).write(tmp_path / "moments.safetensors")
    for source in (
        ["--prep", str(tmp_path / "q.safetensors")],
        [str(tmp_path / "moments.safetensors"), "--all"],
    ):
        assert main(["rrm", *source, "--out", str(tmp_path / "deep/maps")]) == 2
    assert {path.name for path in tmp_path.rglob("*")} == {"q.safetensors", "moments.safetensors"}
    assert capsys.readouterr().err.count("error: ") == 2
