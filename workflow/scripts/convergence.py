"""Rule `convergence`."""

from pathlib import Path

from tracedlm.stages.job import logged
from tracedlm.stages.trace.convergence import summarise

with logged(snakemake):
    i, w, p = snakemake.input, snakemake.wildcards, snakemake.params
    exits = {rule: Path(i[rule]) for rule in p.rules}
    summarise(
        Path(i.pseudo_gradients),
        Path(i.gradients),
        exits,
        w.dataset,
        int(w.seq_len),
        p.seed,
        Path(snakemake.output[0]),
    )
