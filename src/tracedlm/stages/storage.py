"""Rule `storage`: dimensions of the configured model, and bytes on disk of its maps (TRACE App. E)."""

import json
from pathlib import Path

from tracedlm.models.denoiser import load_denoiser
from tracedlm.records.atomic import write_text


def storage(model_path: str, maps: dict[str, Path], out: Path) -> None:
    """Write the facts of the storage table."""
    model = load_denoiser(model_path).causal_lm
    facts = {
        "layers": model.config.num_hidden_layers,
        "width": model.config.hidden_size,
        "model_bytes": sum(weight.numel() * weight.element_size() for weight in model.parameters()),
        "map_file_bytes": {projection: path.stat().st_size for projection, path in maps.items()},
    }
    write_text(out, json.dumps(facts, indent=1) + "\n")
