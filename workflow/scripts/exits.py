"""Rule `exits`."""

from pathlib import Path

from tracedlm.config import Decode, Exits
from tracedlm.stages.job_log import logged

with logged(snakemake.log[0], rule=snakemake.rule, **snakemake.wildcards):
    from tracedlm.stages.exits import compare_exits

    p, i, w = snakemake.params, snakemake.input, snakemake.wildcards
    out = {name: Path(path) for name, path in snakemake.output.items()}
    profile, manifest = out.pop("profile"), out.pop("manifest")
    where = (Path(i.adapter), {"q": Path(i.q), "moments": Path(i.moments)}, p.activation, w.dataset, Path(i.data), int(w.seq_len))
    tuned = {Path(path).parents[1].name: Path(path) for path in i.tuned}
    compare_exits(p.model, *where, Decode(**p.decode), Exits(**p.exits), p.seed, snakemake.threads, tuned, out, profile, manifest)
