"""What a folder is taken for, and that what is found there is what the map is made of."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from tracedlm.config import Rrm as RrmSettings
from tracedlm.records.manifest import digest_of, identity_of
from tracedlm.records.moments import Moments
from tracedlm.records.parquet import read_table
from tracedlm.records.rrm import Rrm
from tracedlm.records.update_magnitude import UPDATE_MAGNITUDE
from tracedlm.resources import adapter_files, source_files
from tracedlm.stages.rrm.maps import build_rrm, make_maps
from tracedlm.stages.rrm.source import KINDS, open_source

B = np.array([[3.0, 0.0], [0.0, 4.0], [0.0, 0.0]], np.float32)


def adapter(folder, b, layers=(0, 1), names="base_model.model.model.layers.{}.self_attn.{}_proj"):
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {}
    for layer in layers:
        for projection in "qkv":
            module = names.format(layer, projection)
            tensors |= {
                f"{module}.lora_A.weight": np.ones((2, 4), np.float32),
                f"{module}.lora_B.weight": np.asarray(b, np.float32),
            }
    save_file(tensors, folder / "adapter_model.safetensors")


def trainer_state(folder, with_names=True):
    """A Trainer's checkpoint of one layer."""
    folder.mkdir(parents=True, exist_ok=True)
    shapes = [(2, 4), (3, 2)] * 3
    state = {
        n: {
            "step": torch.tensor(2.0),
            "exp_avg": torch.full(shape, n + 1.0),
            "exp_avg_sq": torch.ones(shape),
        }
        for n, shape in enumerate(shapes)
    }
    torch.save(
        {
            "state": state,
            "param_groups": [{"params": list(range(6)), "eps": 1e-8, "betas": (0.9, 0.999)}],
        },
        folder / "optimizer.pt",
    )
    names = [f"m.layers.0.self_attn.{p}_proj.lora_{m}.default.weight" for p in "qkv" for m in "AB"]
    if with_names:
        (folder.parent / "param_names.json").write_text(json.dumps(names))


def test_one_adapter_is_the_row_length_of_b(tmp_path):
    adapter(tmp_path, B)
    rrm = build_rrm(tmp_path, "v")
    assert rrm.u == pytest.approx(np.array([0.6, 0.8, 0.0])) and (
        rrm.source,
        rrm.variant,
        rrm.layer,
    ) == ("adapter", "weights", 1)
    assert np.array_equal(build_rrm(tmp_path / "adapter_model.safetensors", "v").u, rrm.u)


def test_an_adapter_under_the_official_names(tmp_path):
    adapter(
        tmp_path, B, layers=(30, 31), names="base_model.model.model.transformer.blocks.{}.{}_proj"
    )
    assert build_rrm(tmp_path).layer == 31


def test_snapshots_are_the_row_length_of_all_that_b_moved(tmp_path):
    for step, b in ((1, 0 * B), (2, B), (3, 0 * B)):
        adapter(tmp_path / f"checkpoint-{step}", b)
    rrm = build_rrm(tmp_path)
    # Out by (3, 4) and back: rows moved sqrt(9 + 9) and sqrt(16 + 16); of the squares, (18, 32).
    assert rrm.u == pytest.approx(np.array([0.6, 0.8, 0.0])) and (rrm.source, rrm.variant) == (
        "snapshots",
        "root_deltas",
    )
    squared = build_rrm(tmp_path, variant="squared_deltas").u
    assert squared == pytest.approx(np.array([18, 32, 0]) / np.hypot(18, 32))


def test_one_snapshot_is_an_adapter(tmp_path):
    adapter(tmp_path / "checkpoint-7", B)
    assert build_rrm(tmp_path).source == "adapter"


def test_a_trainers_folder_is_read_from_its_optimiser_unless_told_otherwise(tmp_path):
    for step in (1, 2):
        trainer_state(tmp_path / f"checkpoint-{step}")
        adapter(tmp_path / f"checkpoint-{step}", B * step, layers=(0,))
    assert (
        open_source(tmp_path).kind == "optimizer"
        and open_source(tmp_path, kind="snapshots").kind == "snapshots"
    )
    found = open_source(tmp_path).matrices(["0.k.B"], ["outside_raw"])["0.k.B/outside_raw"]
    assert found == pytest.approx(np.full((3, 2), 4.0), rel=1e-6)
    assert build_rrm(tmp_path / "checkpoint-2").source == "optimizer"
    assert (
        build_rrm(
            tmp_path / "checkpoint-2/optimizer.pt", names=tmp_path / "param_names.json"
        ).source
        == "optimizer"
    )


def test_the_released_layout_is_found(tmp_path):
    state = {"exp_avg": torch.from_numpy(B), "exp_avg_sq": torch.ones(3, 2), "epsilon": 1e-8}
    for rank in (0, 1):
        folder = tmp_path / f"checkpoint-200/rank-{rank}"
        folder.mkdir(parents=True)
        name = "base_model.model.model.transformer.blocks.31.q_proj.lora_B.default.weight"
        torch.save({name: state}, folder / f"lora_optim_step200-rank{rank}.pt")
    rrm = build_rrm(tmp_path)
    assert rrm.u == pytest.approx(np.array([0.6, 0.8, 0.0])) and (
        rrm.layer,
        rrm.source,
        rrm.variant,
    ) == (31, "optimizer", "outside_raw")
    with pytest.raises(
        ValueError,
        match=r"no variant 'outside_corrected' of optimizer; known: outside_raw, inside_raw",
    ):
        build_rrm(tmp_path, variant="outside_corrected")


def test_moments_are_found_by_file_and_by_folder(tmp_path):
    Moments({"0.q.B/outside_raw": B}, 1, 1e-8, (0.9, 0.999)).write(tmp_path / "moments.safetensors")
    assert np.array_equal(build_rrm(tmp_path).u, build_rrm(tmp_path / "moments.safetensors").u)


def test_finished_maps_pass_through_the_stage(tmp_path):
    for name in "QKV":
        (tmp_path / f"final_block_{name}.json").write_text("[3, 0, 4]")
    out = {name: tmp_path / f"out/{name}.safetensors" for name in ("q", "k", "v", "modules")}
    out |= {"similarity": tmp_path / "out/s.json", "magnitude": tmp_path / "out/m.parquet"}
    adapter(tmp_path / "adapter", B, layers=(31,))
    make_maps(
        tmp_path,
        tmp_path / "adapter",
        RrmSettings(source=str(tmp_path), layer=31),
        out,
        tmp_path / "out/m.json",
    )
    assert read_table(out["magnitude"], UPDATE_MAGNITUDE, "update magnitudes").num_rows == 0
    assert build_rrm(tmp_path / "out", "v").layer == 31 and json.loads(
        out["similarity"].read_text()
    )["cosine"][0][1] == pytest.approx(1)


@pytest.mark.parametrize("kind", [None, *KINDS])
def test_a_folder_of_nothing_says_what_was_looked_for(kind, tmp_path):
    (tmp_path / "readme.txt").write_text("nothing")
    with pytest.raises(
        ValueError,
        match=(
            r"nothing to make a map from.*; looked for moments\.safetensors; optimiser checkpoints"
            r" checkpoint-N/"
        ),
    ):
        build_rrm(tmp_path, kind=kind)


def test_a_missing_path_and_an_unknown_kind_are_named(tmp_path):
    with pytest.raises(
        ValueError, match=r"none: not found; a map is made from moments\.safetensors; "
    ):
        build_rrm(tmp_path / "none")
    with pytest.raises(
        ValueError,
        match=(
            r"unknown kind 'weights' of a map's source; known: moments, optimizer, snapshots,"
            r" adapter, file"
        ),
    ):
        build_rrm(tmp_path, kind="weights")


def command(*arguments):
    from tracedlm.__main__ import main

    return main(["rrm", *map(str, arguments)])


def test_the_command_standardises_finished_maps(tmp_path, capsys):
    (tmp_path / "rrms").mkdir()
    for name in "QKV":
        (tmp_path / f"rrms/final_block_{name}.json").write_text("[3, 0, 4]")
    assert command("--prep", tmp_path / "rrms", "--out", tmp_path / "maps", "--layer", 31) == 0
    assert [Rrm.read(tmp_path / f"maps/{name}.safetensors").u.tolist() for name in "qkv"] == [
        pytest.approx([0.6, 0.0, 0.8])
    ] * 3
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert command("--prep", tmp_path / "rrms", "--out", tmp_path / "other") == 2
    assert "does not say its layer" in capsys.readouterr().err


def test_the_command_makes_one_map_or_all(tmp_path, capsys):
    adapter(tmp_path / "a", B)
    assert (
        command(tmp_path / "a", tmp_path / "k.safetensors", "--projection", "k", "--layer", 0) == 0
    )
    assert Rrm.read(tmp_path / "k.safetensors").layer == 0
    assert command(tmp_path / "a", "--all", "--out", tmp_path / "all") == 0
    assert len(list((tmp_path / "all").iterdir())) == 12
    for wrong in (
        [],
        [tmp_path / "a"],
        [tmp_path / "a", "--all"],
        ["--prep", tmp_path / "a"],
        [tmp_path / "a", "--prep", tmp_path / "a"],
    ):
        assert command(*wrong) == 2
        assert "rrm takes SOURCE OUT, or" in capsys.readouterr().err


def test_a_source_is_its_files_and_not_what_else_lies_there(tmp_path):
    for name in (
        "checkpoint-3/optimizer.pt",
        "q.safetensors",
        ".cache/huggingface/q.json",
        "runs/events.out",
        "notes.md",
        "adapter_config.json",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    files = [
        str(tmp_path / name)
        for name in ("adapter_config.json", "checkpoint-3/optimizer.pt", "q.safetensors")
    ]
    assert source_files(tmp_path) == files
    assert source_files(files[-1]) == files[-1:]
    assert adapter_files(tmp_path) == files[:1]


def test_the_identity_of_a_folder_changes_with_any_file_of_it(tmp_path):
    file = tmp_path / "checkpoint-3/optimizer.pt"
    file.parent.mkdir()
    file.write_text("one")
    before = identity_of(tmp_path)
    assert identity_of(tmp_path) == before and identity_of(file) == digest_of(file)
    (tmp_path / "notes.md").write_text("of no account")
    assert identity_of(tmp_path) == before
    file.write_text("two!")
    assert identity_of(tmp_path) != before
