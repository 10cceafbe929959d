"""The examples do what their first lines say."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from tracedlm.records.moments import Moments
from tracedlm.records.rrm import Rrm

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"


@pytest.mark.parametrize("optim", ["adamw_torch", "adamw_torch_fused"])
def test_a_plain_trainer_gives_a_map(tmp_path, optim):
    runpy.run_path(str(EXAMPLES / "moment_recorder.py"))["train"](tmp_path, optim)
    moments, rrm = (
        Moments.read(tmp_path / "moments.safetensors"),
        Rrm.read(tmp_path / "q.safetensors"),
    )
    assert moments.steps == 20 and len(moments.modules()) == 12
    energy = np.linalg.norm(moments.mean_updates["1.q.B/outside_raw"], axis=1)
    assert rrm.layer == 1 and rrm.u == pytest.approx(energy / np.linalg.norm(energy), rel=1e-5)
    assert (tmp_path / "work/checkpoint-10/moment_recorder.safetensors").exists()
