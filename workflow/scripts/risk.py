"""Rule `risk`."""

from pathlib import Path

from tracedlm.config import Decode, Exits, Risk
from tracedlm.stages.job_log import logged

with logged(snakemake.log[0], rule=snakemake.rule, **snakemake.wildcards):
    from tracedlm.stages.risk import control_exits

    p, i, w = snakemake.params, snakemake.input, snakemake.wildcards
    data = {"validation": Path(i.validation), "test": Path(i.test)}
    where = (Path(i.adapter), {"q": Path(i.q), "moments": Path(i.moments)}, p.activation, w.dataset, data, int(w.seq_len))
    out = {name: Path(path) for name, path in snakemake.output.items()}
    control_exits(p.model, *where, Decode(**p.decode), Exits(**p.exits), Risk(**p.risk), snakemake.threads, out)
