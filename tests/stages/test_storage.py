import json

from tracedlm.stages.storage import storage


def test_the_facts_of_the_storage_table(checkpoint, tmp_path):
    (tmp_path / "q").write_bytes(b"12345")
    storage(str(checkpoint), {"q": tmp_path / "q"}, tmp_path / "storage.json")
    facts = json.loads((tmp_path / "storage.json").read_text())
    assert (facts["layers"], facts["width"], facts["map_file_bytes"]) == (2, 32, {"q": 5})
    # Tied embeddings count once: 4 bytes a parameter.
    vocabulary = json.loads((checkpoint / "config.json").read_text())["vocab_size"]
    assert facts["model_bytes"] == 4 * (vocabulary * 32 + 2 * (4 * 32 * 32 + 3 * 32 * 64 + 2 * 32) + 32)
