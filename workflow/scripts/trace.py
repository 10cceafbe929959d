"""Rule `trace`."""

from pathlib import Path

from tracedlm.config import Decode, Trace
from tracedlm.stages.job_log import logged

with logged(snakemake):
    from tracedlm.stages.trace import collect

    p, i, w = snakemake.params, snakemake.input, snakemake.wildcards
    maps, out = [Path(path) for path in i.maps], {name: Path(path) for name, path in snakemake.output.items()}
    what = (w.dataset, w.split, Path(i.data), int(w.seq_len), Decode(**p.decode), Trace(**p.trace))
    collect(p.model, Path(i.adapter), maps, p.activation, *what, p.seed, snakemake.threads, int(w.shard), out)
