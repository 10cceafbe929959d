"""Rule `select`."""

from pathlib import Path

from tracedlm.config import Certify
from tracedlm.stages.certify.select import Validation, select
from tracedlm.stages.job import logged

with logged(snakemake):
    p, out = snakemake.params, {name: Path(path) for name, path in snakemake.output.items()}
    sets = [
        Validation(dataset, seq_len, Path(path))
        for (dataset, seq_len), path in zip(p.sets, snakemake.input, strict=True)
    ]
    select(sets, Certify(**p.settings), p.tau, out)
