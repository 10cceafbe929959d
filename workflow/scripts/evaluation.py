"""Rule `evaluation`."""

from pathlib import Path

from tracedlm.config import Evaluation
from tracedlm.stages.job import logged, startup

with logged(snakemake):
    with startup():
        from tracedlm.stages.exits.decoding import Setup
        from tracedlm.stages.exits.evaluation import evaluate

    p, i = snakemake.params, snakemake.input
    setup = Setup.of_job(snakemake, test=i.test, train=i.train)
    out = {name: Path(path) for name, path in snakemake.output.items()}
    evaluate(
        setup,
        Evaluation(**p.evaluation),
        p.seed,
        snakemake.threads,
        Path(i.tuned[0]) if i.tuned else None,
        out,
    )
