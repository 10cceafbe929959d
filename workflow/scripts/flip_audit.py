"""Rule `flip_audit`."""

from pathlib import Path

from tracedlm.config import Decode, Exits, FlipAudit
from tracedlm.stages.job_log import logged

with logged(snakemake.log[0], rule=snakemake.rule, **snakemake.wildcards):
    from tracedlm.stages.flip_audit import audit_flips

    p, i, w = snakemake.params, snakemake.input, snakemake.wildcards
    where = (Path(i.adapter), {"q": Path(i.q), "moments": Path(i.moments)}, p.activation, w.dataset, Path(i.data), int(w.seq_len))
    settings = (Decode(**p.decode), Exits(**p.exits), FlipAudit(**p.audit), p.tau)
    audit_flips(p.model, *where, *settings, snakemake.threads, Path(snakemake.output[0]))
