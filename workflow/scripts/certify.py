"""Rule `certify`."""

from pathlib import Path

from tracedlm.config import Certify
from tracedlm.stages.certify import certify_readout
from tracedlm.stages.job_log import logged

with logged(snakemake.log[0]):
    p, i, out = snakemake.params, snakemake.input, {name: Path(path) for name, path in snakemake.output.items()}
    certify_readout(Path(i.readout), Path(i.samples), Path(i.selection), Certify(**p.settings), p.tau, p.seed, out)
