"""Rule `tune`."""

from pathlib import Path

from tracedlm.config import Decode, Exits
from tracedlm.stages.job_log import logged

with logged(snakemake.log[0], rule=snakemake.rule, **snakemake.wildcards):
    from tracedlm.stages.tune import tune

    p, i, w = snakemake.params, snakemake.input, snakemake.wildcards
    where = (Path(i.adapter), {"q": Path(i.q), "moments": Path(i.moments)}, p.activation, w.dataset, Path(i.data), int(w.seq_len))
    tune(p.model, *where, Decode(**p.decode), Exits(**p.exits), snakemake.threads, Path(snakemake.output[0]))
