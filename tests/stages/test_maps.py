import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tracedlm.config import Rrm as RrmSettings
from tracedlm.records.moments import VARIANTS, Moments
from tracedlm.records.parquet import read_table
from tracedlm.records.rrm import Rrm, read_maps
from tracedlm.records.update_magnitude import UPDATE_MAGNITUDE
from tracedlm.stages.rrm.maps import build_rrm, build_rrms, make_maps, similarity
from tracedlm.theory.magnitude import magnitude_grid


def moments(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"A": (2, 6), "B": (5, 2)}
    names = [
        f"{layer}.{projection}.{matrix}/{variant}"
        for layer in range(3)
        for projection in "qkv"
        for matrix in "AB"
        for variant in VARIANTS
    ]
    return Moments(
        {
            name: rng.normal(size=shapes[name.split("/")[0][-1]]).astype(np.float32)
            for name in names
        },
        4,
        1e-8,
        (0.9, 0.999),
    )


@pytest.mark.parametrize("layer", [-1, 2])
def test_a_map_is_the_normalised_row_energy(layer):
    recorded = moments()
    rrm = build_rrm(recorded, "k", layer)
    update = recorded.mean_updates["2.k.B/outside_raw"].astype(float)
    energy = np.array([sum(x * x for x in row) ** 0.5 for row in update])
    np.testing.assert_allclose(rrm.u, energy / np.sqrt((energy**2).sum()), rtol=1e-6)
    assert (rrm.layer, rrm.projection, rrm.matrix, rrm.source, rrm.variant) == (
        2,
        "k",
        "B",
        "moments",
        "outside_raw",
    )
    np.testing.assert_allclose(rrm.subspace.T @ rrm.subspace, np.eye(2), atol=1e-6)


def test_the_map_of_lora_a_has_the_width_of_the_input():
    recorded = moments()
    rrm = build_rrm(recorded, "q", matrix="A", reduction="row_mean")
    columns = np.abs(recorded.mean_updates["2.q.A/outside_raw"]).mean(axis=0)
    np.testing.assert_allclose(rrm.u, columns / np.linalg.norm(columns), rtol=1e-6)
    assert rrm.reduction == "row_mean"


def test_all_modules_at_once_are_what_they_are_one_by_one():
    recorded = moments()
    maps = build_rrms(recorded, "row_mean", variant="inside_raw")
    assert [rrm.module for rrm in maps] == recorded.modules()
    for rrm in maps:
        one = build_rrm(recorded, rrm.projection, rrm.layer, "row_mean", rrm.matrix, "inside_raw")
        assert np.array_equal(rrm.u, one.u) and np.array_equal(rrm.subspace, one.subspace)
    assert [rrm.module for rrm in build_rrms(recorded, matrix="B")] == [
        name for name in recorded.modules() if name.endswith("B")
    ]


def test_the_subspace_by_cca_lies_in_what_training_moved():
    recorded = moments()
    rrm = build_rrm(recorded, basis="cca", activations=np.random.default_rng(1).normal(size=(2, 5)))
    update = recorded.mean_updates["2.q.B/outside_raw"]
    inside = update @ np.linalg.lstsq(update, rrm.subspace, rcond=None)[0]
    np.testing.assert_allclose(inside, rrm.subspace, atol=1e-5)
    assert rrm.basis == "cca" and np.array_equal(rrm.u, build_rrm(recorded).u)
    for wrong in ({"basis": "cca"}, {"activations": np.ones((2, 5))}):
        with pytest.raises(ValueError, match="activations go with basis 'cca'"):
            build_rrm(recorded, **wrong)


def test_columns_are_the_mean_updates_own_of_unit_length():
    recorded = moments()
    columns = build_rrm(recorded, basis="columns").subspace
    update = recorded.mean_updates["2.q.B/outside_raw"]
    np.testing.assert_allclose(
        columns, update / [[np.linalg.norm(update[:, j]) for j in range(2)]], rtol=1e-6
    )


def test_a_mean_update_of_one_direction_has_a_subspace_of_one():
    rrm = build_rrm(
        Moments(
            {"0.q.B/outside_raw": np.outer([1.0, 2.0, 2.0], [1.0, -1.0])}, 1, 1e-8, (0.9, 0.999)
        )
    )
    np.testing.assert_allclose(rrm.subspace, [[1 / 3], [2 / 3], [2 / 3]], rtol=1e-6)


def test_an_untrained_module_is_named():
    with pytest.raises(
        ValueError, match=r"0\.q\.B/outside_raw of moments: a map needs a direction"
    ):
        build_rrm(Moments({"0.q.B/outside_raw": np.zeros((3, 2))}, 1, 1e-8, (0.9, 0.999)))


def test_unknown_settings_are_named():
    with pytest.raises(ValueError, match="unknown reduction 'max'; known: row_energy, row_mean"):
        build_rrm(moments(), reduction="max")
    with pytest.raises(ValueError, match="unknown basis 'pca'; known: svd, cca, columns"):
        build_rrm(moments(), basis="pca")


def adapter(folder, width=5, rank=2, layers=3):
    """An adapter of these sizes."""
    folder.mkdir()
    shapes = {"A": (rank, 6), "B": (width, rank)}
    names = {
        f"base_model.model.model.layers.{layer}.self_attn.{projection}_proj.lora_{matrix}.weight": (
            shape
        )
        for layer in range(layers)
        for projection in "qkv"
        for matrix, shape in shapes.items()
    }
    save_file(
        {name: np.ones(shape, np.float32) for name, shape in names.items()},
        folder / "adapter_model.safetensors",
    )
    return folder


def made(tmp_path, recorded, adapted=None, **settings):
    recorded.write(tmp_path / "moments.safetensors")
    out = {name: tmp_path / f"out/{name}.safetensors" for name in ("q", "k", "v", "modules")}
    out |= {"similarity": tmp_path / "out/s.json", "magnitude": tmp_path / "out/m.parquet"}
    source = tmp_path / "moments.safetensors"
    make_maps(
        source,
        adapter(tmp_path / "adapter", **adapted or {}),
        RrmSettings(**settings),
        out,
        tmp_path / "out/manifest.json",
    )
    return out


def test_the_stage_writes_the_update_grids_of_the_queries(tmp_path):
    out = made(tmp_path, moments(), layer=1, placement="inside")
    rows = read_table(out["magnitude"], UPDATE_MAGNITUDE, "update magnitudes").to_pylist()
    for matrix in "AB":
        grid = magnitude_grid(moments().mean_updates[f"1.q.{matrix}/inside_raw"])
        own = [row for row in rows if row["module"] == f"1.q.{matrix}"]
        assert {row["run"] for row in own} == {"study"} and len(own) == grid.size
        assert [row["magnitude"] for row in own] == pytest.approx(grid.ravel()) and max(
            row["scaled"] for row in own
        ) == 255
        assert all(row["magnitude"] == grid[row["row"], row["column"]] for row in own)
    assert len(rows) == sum(row["module"][-1] in "AB" for row in rows)


@pytest.mark.parametrize(
    ("adapted", "message"),
    [
        (
            {"width": 7},
            (
                r"moments\.safetensors does not fit the adapter .*adapter: the map of 2\.q\.B has"
                r" width 5, the adapter's module 7"
            ),
        ),
        (
            {"layers": 2},
            r"does not fit the adapter .*: no adapter of module 2\.q\.B; there are layers 0\.\.1",
        ),
    ],
)
def test_maps_that_do_not_fit_the_adapter_are_refused_before_anything_is_written(
    tmp_path, adapted, message
):
    with pytest.raises(ValueError, match=message):
        made(tmp_path, moments(), adapted)
    assert not (tmp_path / "out").exists()


def test_a_map_of_another_rank_is_used_but_said_to_be_of_another_run(tmp_path):
    with pytest.warns(
        UserWarning,
        match=(
            r"moments\.safetensors is of rank 2, .*adapter of rank 4: they come from different runs"
        ),
    ):
        made(tmp_path, moments(), {"rank": 4})
    assert (tmp_path / "out/q.safetensors").exists()


def test_the_stage_writes_the_configured_variant_of_each_projection(tmp_path):
    recorded = moments()
    out = made(
        tmp_path, recorded, placement="inside", bias_corrected=True, layer=1, reduction="row_mean"
    )
    for projection in "qkv":
        expected = build_rrm(recorded, projection, 1, "row_mean", variant="inside_corrected")
        assert np.array_equal(Rrm.read(out[projection]).u, expected.u)
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert (manifest["steps"], manifest["kind"]) == (4, "moments")


def test_the_stage_writes_what_the_ablations_compare(tmp_path):
    out = made(tmp_path, moments())
    maps = read_maps(out["modules"])
    named = {(rrm.projection, rrm.matrix, rrm.reduction, rrm.variant) for rrm in maps}
    table_4 = {
        (p, m, r, "outside_raw")
        for p, m in (("q", "A"), ("q", "B"), ("k", "B"), ("v", "B"))
        for r in ("row_energy", "row_mean")
    }
    assert named == table_4 | {
        (p, "B", "row_energy", variant) for p in "qkv" for variant in VARIANTS
    } and len(maps) == len(named)
    found = json.loads(out["similarity"].read_text())
    assert [one["projection"] for one in found["maps"]] == [rrm.projection for rrm in maps]
    i, j = (
        [(rrm.projection, rrm.matrix) for rrm in maps].index(which)
        for which in (("q", "A"), ("q", "B"))
    )
    assert found["cosine"][i][j] is None and found["cosine"][i][i] == pytest.approx(1)


def test_how_alike_maps_of_different_runs_are():
    first, second = build_rrm(moments(0)), build_rrm(moments(1))
    found = similarity([first, second])
    assert found["cosine"][0][1] == pytest.approx(float(first.u @ second.u), rel=1e-5)
    assert found["correlation"][0][1] == pytest.approx(
        np.corrcoef(first.u, second.u)[0, 1], rel=1e-4
    )
    overlap = np.linalg.svd(first.subspace.T @ second.subspace, compute_uv=False)
    assert found["angle"][0][1] == pytest.approx(np.degrees(np.arccos(overlap.min())), rel=1e-4)
    assert found["angle"][0][0] == pytest.approx(0, abs=1e-3)
