"""Rule `readout`."""

from pathlib import Path

from tracedlm.config import ReadoutSettings
from tracedlm.stages.job import logged
from tracedlm.stages.trace.readout import make_readout

with logged(snakemake):
    settings = ReadoutSettings(**snakemake.params.settings)
    steps, readouts = (
        [Path(path) for path in paths]
        for paths in (snakemake.input.steps, snakemake.input.readouts)
    )
    make_readout(steps, readouts, snakemake.wildcards.readout, settings, Path(snakemake.output[0]))
