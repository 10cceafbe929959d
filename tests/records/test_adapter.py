import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from tracedlm.records.adapter import Adapter, Snapshots
from tracedlm.records.checkpoints import checkpoints

PREFIX = "base_model.model.model.layers"


def save(folder, b, layer=0, projection="q", dtype=np.float32, **more):
    folder.mkdir(parents=True)
    module = f"{PREFIX}.{layer}.self_attn.{projection}_proj"
    tensors = {
        f"{module}.lora_A.weight": np.ones((2, 3)),
        f"{module}.lora_B.weight": np.array(b),
        **more,
    }
    save_file(
        {name: tensor.astype(dtype) for name, tensor in tensors.items()},
        folder / "adapter_model.safetensors",
    )
    return folder


def run(folder, *weights):
    """A run whose snapshots sort wrongly as text."""
    for step, b in zip((2, 10, 100), weights, strict=False):
        save(folder / f"checkpoint-{step}", b)
    return Snapshots(checkpoints(folder))


def test_movement_by_hand(tmp_path):
    """B moves by (3, 0), then by (-4, 0) in row 0.

    By (0, 1) twice in row 1: S = (9 + 16, 0), (0, 1 + 1).
    """
    snapshots = run(tmp_path, [[1, 1], [0, 0]], [[4, 1], [0, 1]], [[0, 1], [0, 2]])
    found = snapshots.matrices(["0.q.B"], ["root_deltas", "squared_deltas"])
    assert found["0.q.B/squared_deltas"].tolist() == [[25, 0], [0, 2]]
    assert found["0.q.B/root_deltas"] == pytest.approx(np.array([[5, 0], [0, 2**0.5]]))
    assert snapshots.steps == 3 and snapshots.modules() == ["0.q.A", "0.q.B"]


def test_snapshots_of_different_runs_are_refused(tmp_path):
    snapshots = run(tmp_path, [[1, 1], [0, 0]], [[4, 1], [0, 1], [0, 0]])
    with pytest.raises(
        ValueError,
        match=(
            r"checkpoint-2: 0\.q\.B has shape \(2, 2\), in the last snapshot \(3, 2\): not"
            r" snapshots of one run"
        ),
    ):
        snapshots.matrices(["0.q.B"], ["root_deltas"])


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_an_adapter_in_any_precision(dtype, tmp_path):
    adapter = Adapter(
        save(tmp_path / "a", [[1, -2.5], [0, 3]], layer=31, projection="v", dtype=dtype)
    )
    assert adapter.modules() == ["31.v.A", "31.v.B"] and adapter.shape("31.v.A") == (2, 3)
    found = adapter.matrices(["31.v.B"])["31.v.B/weights"]
    assert found.dtype == np.float32 and found.tolist() == [[1, -2.5], [0, 3]]


def test_an_adapter_of_other_modules_is_named(tmp_path):
    save_file(
        {"base_model.model.lm_head.lora_A.weight": np.ones((2, 2))},
        tmp_path / "adapter_model.safetensors",
    )
    with pytest.raises(
        ValueError,
        match=(
            r"no LoRA matrix of a q, k or v projection among its tensors, such as"
            r" \['base_model\.model\.lm_head"
        ),
    ):
        Adapter(tmp_path)
