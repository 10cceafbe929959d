"""Rule `readout`."""

from pathlib import Path

from tracedlm.config import ReadoutSettings
from tracedlm.stages.job_log import logged
from tracedlm.stages.readout import make_readout

with logged(snakemake.log[0]):
    settings = ReadoutSettings(**snakemake.params.settings)
    make_readout(
        Path(snakemake.input.steps), Path(snakemake.input.readouts), snakemake.wildcards.readout, settings, Path(snakemake.output[0])
    )
