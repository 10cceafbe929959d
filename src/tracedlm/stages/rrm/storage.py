"""Rule `storage`: dimensions of the configured model, and bytes on disk of its maps.

Source: TRACE App. E.
"""

import json
from pathlib import Path
from typing import Any

from tracedlm.models.denoiser import load_denoiser
from tracedlm.records.atomic import write_text


def storage(model: dict[str, Any], maps: dict[str, Path], out: Path) -> None:
    """Write the facts of the storage table.

    Args:
        model: Path and precision of the checkpoint; its weights are counted, not read.
        maps: Map file of each projection.
        out: JSON.
    """
    causal_lm = load_denoiser(**{**model, "device": "meta"}).causal_lm
    facts = {
        "layers": causal_lm.config.num_hidden_layers,
        "width": causal_lm.config.hidden_size,
        "model_bytes": sum(
            weight.numel() * weight.element_size() for weight in causal_lm.parameters()
        ),
        "map_file_bytes": {projection: path.stat().st_size for projection, path in maps.items()},
    }
    write_text(out, json.dumps(facts, indent=1) + "\n")
