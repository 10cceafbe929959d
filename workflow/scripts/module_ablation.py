"""Rule `module_ablation`."""

from pathlib import Path

from tracedlm.config import Ablation, Certify, Decode, ReadoutSettings
from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.stages.rrm.module_ablation import ablate

    p, i, w = snakemake.params, snakemake.input, snakemake.wildcards
    where = (Path(i.adapter), Path(i.maps), p.activation, w.dataset, Path(i.data), int(w.seq_len))
    settings = (
        Decode(**p.decode),
        ReadoutSettings(**p.readout),
        Ablation(**p.ablation),
        Certify(**p.certificate),
    )
    ablate(p.model, *where, *settings, p.seed, snakemake.threads, Path(snakemake.output[0]))
