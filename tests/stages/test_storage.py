import json

import pytest

from tracedlm.stages.rrm.storage import storage


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2)])
def test_the_facts_of_the_storage_table(checkpoint, tmp_path, dtype, size):
    (tmp_path / "q").write_bytes(b"12345")
    storage(
        {"path": str(checkpoint), "dtype": dtype, "device": "cpu"},
        {"q": tmp_path / "q"},
        tmp_path / "storage.json",
    )
    facts = json.loads((tmp_path / "storage.json").read_text())
    assert (facts["layers"], facts["width"], facts["map_file_bytes"]) == (2, 32, {"q": 5})
    # Tied embeddings count once; bytes of a parameter are those of the study's precision.
    vocabulary = json.loads((checkpoint / "config.json").read_text())["vocab_size"]
    assert facts["model_bytes"] == size * (
        vocabulary * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 64 + 2 * 32) + 32
    )
