"""Rule `rrm`."""

from pathlib import Path

from tracedlm.config import Rrm
from tracedlm.stages.job import logged
from tracedlm.stages.rrm.maps import make_maps

with logged(snakemake):
    out = {name: Path(path) for name, path in snakemake.output.items()}
    manifest = out.pop("manifest")
    make_maps(
        Path(snakemake.input.source),
        Path(snakemake.input.adapter),
        Rrm(**snakemake.params.settings),
        out,
        manifest,
    )
