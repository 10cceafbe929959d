import json

import numpy as np
import pytest

from tracedlm.records.map_file import MapFiles
from tracedlm.records.rrm import Rrm

U = [3.0, 0.0, 4.0]
UNIT = [0.6, 0.0, 0.8]


def file(folder, name, content):
    path = folder / name
    if name.endswith(".json"):
        path.write_text(json.dumps(content))
    else:
        np.savez(path, **content)
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("final_block_Q.json", U),
        ("final_block_Q.json", {"u": U, "norm": 5.0, "shape": [3, 1]}),
        ("map.json", {"projection": "q", "vector": U}),
        ("rrms.json", {"Q": U, "K": [1.0, 0.0, 0.0]}),
        ("rrms.json", {"layers.31.self_attn.q_proj.lora_B": {"rrm": U}}),
        ("final_block_Q.npz", {"arr_0": np.array(U)}),
        ("rrms.npz", {"q_proj": np.array(U), "k_proj": np.ones(3)}),
    ],
)
def test_forms_of_a_foreign_map(name, content, tmp_path):
    rrm = MapFiles(file(tmp_path, name, content)).rrm("q", layer=31)
    assert rrm.u == pytest.approx(np.array(UNIT)) and (
        rrm.layer,
        rrm.projection,
        rrm.source,
        rrm.basis,
    ) == (31, "q", "file", "map")
    assert rrm.subspace.shape == (3, 1)


def test_a_vector_that_says_no_projection_is_taken_for_any(tmp_path):
    assert MapFiles(file(tmp_path, "mine.json", U)).rrm("v", layer=0).projection == "v"


def test_a_folder_holds_one_map_a_projection(tmp_path):
    for name in "QKV":
        file(tmp_path, f"final_block_{name}.json", {"u": U, "layer": 5})
    maps = MapFiles(tmp_path)
    assert [maps.rrm(projection).layer for projection in "qkv"] == [5, 5, 5]
    assert maps.rrm("q", 5).projection == "q"
    with pytest.raises(ValueError, match="the map of 'q' is of layer 5, not 4"):
        maps.rrm("q", 4)
    file(tmp_path, "other_q.npz", {"u": np.array(U)})
    with pytest.raises(ValueError, match="more than one map of projection q"):
        MapFiles(tmp_path)


def test_our_own_maps_pass_through(tmp_path):
    for projection in "qkv":
        Rrm(
            np.array(UNIT, np.float32),
            np.eye(3, 2, dtype=np.float32),
            4,
            projection,
            "B",
            "moments",
            "inside_raw",
        ).write(tmp_path / f"{projection}.safetensors")
    assert MapFiles(tmp_path).rrm("k").variant == "inside_raw"


def test_an_unknown_layer_is_asked_for(tmp_path):
    with pytest.raises(
        ValueError, match=r"the map of 'q' does not say its layer; give it, counted from 0"
    ):
        MapFiles(file(tmp_path, "final_block_Q.json", U)).rrm("q")
    with pytest.raises(ValueError, match=r"no map of projection 'v'; there are q"):
        MapFiles(file(tmp_path, "final_block_Q.json", U)).rrm("v", 1)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "a_q.json",
            {"notes": "none"},
            (
                "no vector; expected a list of numbers, or one under u, rrm, map, vector or a"
                " projection's name"
            ),
        ),
        ("a_q.json", [0.0, 0.0], r"a_q\.json: a map needs a direction"),
        ("a_q.json", [1.0, float("nan")], r"a_q\.json: a map needs a direction"),
        (
            "a_q.npz",
            {"u": np.array([{}], dtype=object)},
            r"a_q\.npz: not a readable map file \(Object arrays cannot be loaded",
        ),
    ],
)
def test_files_that_hold_no_map_are_named(name, content, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        MapFiles(file(tmp_path, name, content))


@pytest.mark.parametrize("name", ["a_q.json", "a_q.npz"])
def test_broken_files_are_named(name, tmp_path):
    (tmp_path / name).write_bytes(b"broken")
    with pytest.raises(
        ValueError,
        match=r"a_q\.\w+: not a readable map file \(.*\); expected JSON, or \.npz of plain arrays",
    ):
        MapFiles(tmp_path)
