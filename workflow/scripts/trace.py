"""Rule `trace`."""

from pathlib import Path

from tracedlm.config import Decode, Trace
from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.stages.trace.collect import TraceSet, collect

    p, i, w = snakemake.params, snakemake.input, snakemake.wildcards
    given = (p.model, Path(i.adapter), [Path(path) for path in i.maps], p.activation)
    what = TraceSet(
        *given,
        w.dataset,
        w.split,
        Path(i.data),
        int(w.seq_len),
        Decode(**p.decode),
        Trace(**p.trace),
        p.seed,
    )
    collect(
        what,
        snakemake.threads,
        int(w.shard),
        {name: Path(path) for name, path in snakemake.output.items()},
    )
