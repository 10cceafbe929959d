"""Rule `exits`."""

from pathlib import Path

from tracedlm.config import Decode, Exits
from tracedlm.stages.job_log import logged

with logged(snakemake.log[0]):
    from tracedlm.stages.exits import compare_exits

    p, i, w = snakemake.params, snakemake.input, snakemake.wildcards
    out = {name: Path(path) for name, path in snakemake.output.items()}
    manifest = out.pop("manifest")
    where = (Path(i.adapter), Path(i.rrm), p.activation, w.dataset, Path(i.data), int(w.seq_len))
    compare_exits(p.model, *where, Decode(**p.decode), Exits(**p.exits), p.tau, p.seed, snakemake.threads, out, manifest)
