import json

import numpy as np
import pytest

from tracedlm.config import Rrm as RrmSettings
from tracedlm.records.moments import VARIANTS, Moments
from tracedlm.records.rrm import Rrm
from tracedlm.stages.rrm import build_rrm, make_maps


def moments(seed=0):
    rng = np.random.default_rng(seed)
    shapes = {"A": (2, 6), "B": (5, 2)}
    names = [
        f"{layer}.{projection}.{matrix}/{variant}" for layer in range(3) for projection in "qkv" for matrix in "AB" for variant in VARIANTS
    ]
    return Moments({name: rng.normal(size=shapes[name.split("/")[0][-1]]).astype(np.float32) for name in names}, 4, 1e-8, (0.9, 0.999))


@pytest.mark.parametrize("layer", [-1, 2])
def test_a_map_is_the_normalised_row_energy(layer):
    recorded = moments()
    rrm = build_rrm(recorded, "k", layer)
    update = recorded.mean_updates["2.k.B/outside_raw"].astype(float)
    energy = np.array([sum(x * x for x in row) ** 0.5 for row in update])
    np.testing.assert_allclose(rrm.u, energy / np.sqrt((energy**2).sum()), rtol=1e-6)
    assert (rrm.layer, rrm.projection, rrm.matrix, rrm.source, rrm.variant) == (2, "k", "B", "moments", "outside_raw")
    np.testing.assert_allclose(rrm.subspace.T @ rrm.subspace, np.eye(2), atol=1e-6)


def test_the_map_of_lora_a_has_the_width_of_the_input():
    recorded = moments()
    rrm = build_rrm(recorded, "q", matrix="A", reduction="row_mean")
    columns = np.abs(recorded.mean_updates["2.q.A/outside_raw"]).mean(axis=0)
    np.testing.assert_allclose(rrm.u, columns / np.linalg.norm(columns), rtol=1e-6)


def test_an_unknown_reduction_is_named():
    with pytest.raises(ValueError, match="unknown reduction 'max'; known: row_energy, row_mean"):
        build_rrm(moments(), reduction="max")


def test_the_stage_writes_the_configured_variant_of_each_projection(tmp_path):
    recorded = moments()
    recorded.write(tmp_path / "m.safetensors")
    out = {projection: tmp_path / f"{projection}.safetensors" for projection in "qkv"}
    make_maps(tmp_path / "m.safetensors", RrmSettings(placement="inside", bias_corrected=True, layer=1), out, tmp_path / "manifest.json")
    for projection, path in out.items():
        assert np.array_equal(Rrm.read(path).u, build_rrm(recorded, projection, 1, variant="inside_corrected").u)
    assert json.loads((tmp_path / "manifest.json").read_text())["steps"] == 4
