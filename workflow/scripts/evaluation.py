"""Rule `evaluation`."""

from pathlib import Path

from tracedlm.config import Decode, Evaluation, Exits
from tracedlm.stages.job_log import logged

with logged(snakemake.log[0], rule=snakemake.rule, **snakemake.wildcards):
    from tracedlm.stages.evaluate import evaluate

    p, i, w = snakemake.params, snakemake.input, snakemake.wildcards
    data = {"test": Path(i.test), "train": Path(i.train)}
    where = (Path(i.adapter), {"q": Path(i.q), "moments": Path(i.moments)}, p.activation, w.dataset, data, int(w.seq_len))
    how = Decode(**p.decode), Exits(**p.exits), Evaluation(**p.evaluation), p.seed, snakemake.threads
    out = {name: Path(path) for name, path in snakemake.output.items()}
    evaluate(p.model, *where, *how, Path(i.tuned[0]) if i.tuned else None, out)
