"""Files of every format version there has been are read for ever.

Newer ones are refused in one line.

golden/format_1 was written by release 0.1.0 and is never written again: a new version gets a folder
of its own.
"""

import json
import re
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from explorer_study import study
from tracedlm.records import trace
from tracedlm.records.card import ExitCard
from tracedlm.records.formats import FORMATS
from tracedlm.records.manifest import write_manifest
from tracedlm.records.metrics import read_json
from tracedlm.records.moments import Moments
from tracedlm.records.parquet import read_groups, read_table, write_table
from tracedlm.records.rrm import Rrm, read_maps, write_maps
from tracedlm.records.tensors import read_arrays, write_arrays
from tracedlm.report.pages.explorer import explorer_html
from tracedlm.stages.rrm.source import open_source

OLD = Path(__file__).parents[1] / "golden/format_1"


def test_maps_and_moments_of_version_1():
    rrm = Rrm.read(OLD / "q.safetensors")
    assert (rrm.module, rrm.source, rrm.variant, rrm.reduction, rrm.basis) == (
        "4.q.B",
        "moments",
        "outside_raw",
        "row_energy",
        "svd",
    )
    assert rrm.u == pytest.approx([0.6, 0.0, 0.8]) and (rrm.subspace == np.eye(3, 2)).all()
    first, second = read_maps(OLD / "modules.safetensors")
    assert (first.u == rrm.u).all() and (second.module, second.basis, second.subspace.shape) == (
        "5.v.A",
        "columns",
        (3, 1),
    )
    moments = Moments.read(OLD / "moments.safetensors")
    assert (moments.steps, moments.eps, moments.betas, moments.variants) == (
        7,
        1e-8,
        (0.9, 0.999),
        ("outside_raw",),
    )
    assert {name: array[0, 0] for name, array in moments.mean_updates.items()} == {
        "0.q.B/outside_raw": 0.25,
        "0.k.B/outside_raw": -0.5,
    }


@pytest.mark.parametrize(
    ("name", "schema", "expected"),
    [
        (
            "samples",
            trace.SAMPLES,
            {
                "prompt": "2 + 3 =",
                "answer": "5",
                "correct": True,
                "tokens": [17, 3],
                "nfe": 2,
                "seconds": 0.5,
            },
        ),
        (
            "steps",
            trace.STEPS,
            {
                "step": 1,
                "phase": "denoise",
                "committed_position": [1],
                "mean_entropy": 0.7,
                "predictive_kl": None,
            },
        ),
        (
            "readouts",
            trace.READOUTS,
            {"layer": 4, "projection": "q", "position": [1], "similarity": [0.125]},
        ),
        (
            "readout",
            trace.READOUT,
            {
                "block": -1,
                "similarity": [0.25, -0.5],
                "kl": 1e-6,
                "margin": 0.0625,
                "concentration": None,
            },
        ),
        ("readout_without_a_format", trace.READOUT, {"block": -1, "kl": 1e-6}),
        (
            "exits",
            trace.EXITS,
            {"stopped_at": [2], "answer_flip": False, "rule": "truncate(forwards=2)"},
        ),
    ],
)
def test_tables_of_version_1(name, schema, expected):
    for table in (
        read_table(OLD / f"{name}.parquet", schema, "a table"),
        *read_groups(OLD / f"{name}.parquet", schema, "a table"),
    ):
        (row,) = table.to_pylist()
        assert list(row) == schema.names and expected.items() <= row.items()


def test_what_a_trace_says_of_its_decoding_in_version_1():
    assert (
        trace.read_plan(OLD / "steps.parquet") == ({"gen_length": 2}, 4)
        and trace.canvas_of(OLD / "readout.parquet") == 2
    )


def test_cards_and_manifests_of_version_1():
    card = ExitCard.read(OLD / "card.json")
    assert (card.rule, card.settings, card.epsilon, card.test) == (
        "truncate",
        {"forwards": 2},
        0.1,
        None,
    )
    assert card.decoding == {"gen_length": 2, "seeds": (0, 1)}
    assert read_json(OLD / "manifest.json", ("stage", "code", "versions"))["dataset"] == "sudoku"


def later(written):
    return written[:-1] + "2"


def newer_table(path):
    table = pq.read_table(OLD / path.name)
    pq.write_table(
        table.replace_schema_metadata(
            {**table.schema.metadata, b"format": later(FORMATS["table"])}
        ),
        path,
    )


def newer_tensors(path):
    arrays, metadata = read_arrays(OLD / path.name, "a file")
    write_arrays(path, arrays, {**metadata, "format": later(metadata["format"])})


def newer_json(path):
    record = json.loads((OLD / path.name).read_text())
    # What else a version to come holds nobody knows.
    path.write_text(json.dumps({"format": later(record["format"])}))


@pytest.mark.parametrize(
    ("name", "make", "read"),
    [
        ("q.safetensors", newer_tensors, Rrm.read),
        ("q.safetensors", newer_tensors, open_source),
        ("modules.safetensors", newer_tensors, read_maps),
        ("moments.safetensors", newer_tensors, Moments.read),
        ("moments.safetensors", newer_tensors, open_source),
        ("card.json", newer_json, ExitCard.read),
        ("manifest.json", newer_json, lambda path: read_json(path, ("stage",))),
        (
            "exits.parquet",
            newer_table,
            lambda path: read_table(path, trace.EXITS, "exits", ["nfe"]),
        ),
        ("steps.parquet", newer_table, lambda path: list(read_groups(path, trace.STEPS, "steps"))),
    ],
)
def test_a_newer_version_is_refused_in_one_line(name, make, read, tmp_path):
    make(tmp_path / name)
    with pytest.raises(
        ValueError,
        match=(
            r"written by a newer tracedlm \(format '.+2'; this one reads up to '.+1'\); install a"
            r" newer one"
        ),
    ):
        read(tmp_path / name)


def test_every_artefact_names_its_format(tmp_path):
    Rrm.read(OLD / "q.safetensors").write(tmp_path / "q.safetensors")
    write_maps(tmp_path / "modules.safetensors", read_maps(OLD / "modules.safetensors"))
    Moments.read(OLD / "moments.safetensors").write(tmp_path / "moments.safetensors")
    ExitCard.read(OLD / "card.json").write(tmp_path / "card.json")
    write_manifest(tmp_path / "manifest.json", "rrm.storage")
    write_table(
        tmp_path / "exits.parquet", pq.read_table(OLD / "exits.parquet").to_pylist(), trace.EXITS
    )
    found = {read_arrays(path, "a file")[1]["format"] for path in tmp_path.glob("*.safetensors")}
    found |= {json.loads(path.read_text())["format"] for path in tmp_path.glob("*.json")}
    found |= {pq.read_schema(tmp_path / "exits.parquet").metadata[b"format"].decode()}
    (embedded,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>',
        explorer_html(study(), "code", 255),
        re.DOTALL,
    )
    assert found | {json.loads(embedded)["format"]} == set(FORMATS.values())
