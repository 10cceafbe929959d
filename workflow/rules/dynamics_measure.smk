"""Measures of checkpoints, and all of them in one table; part of dynamics.smk."""


# A metric of some checkpoints of one kind of run: of all in one job, or, with
# dynamics.checkpoints_per_job: 1, of each in its own.
rule dynamics_measure:
    input:
        sentences=rules.dynamics_corpus.output.sentences,
        vocabulary=rules.dynamics_corpus.output.vocabulary,
        checkpoints=lambda wildcards: expand(
            rules.dynamics_train.output.checkpoints,
            dynamics_seed=sorted({seed for seed, _ in DYNAMICS_JOBS[int(wildcards.part)]}),
            allow_missing=True,
        ),
    output:
        "<results>/dynamics/{dynamics_run}/measures/{dynamics_metric}/{part}.parquet",
    log:
        "<logs>/dynamics/{dynamics_run}-{dynamics_metric}-{part}.log",
    benchmark:
        "<benchmarks>/dynamics/{dynamics_run}-{dynamics_metric}-{part}.jsonl"
    conda:
        "../../environment.yml"
    threads: THREADS
    params:
        settings=DYNAMICS.measuring(),
        chosen=lambda wildcards: DYNAMICS_JOBS[int(wildcards.part)],
        code=code_digest("dynamics.measure"),
    script:
        "../scripts/dynamics_measure.py"


rule dynamics_summary:
    input:
        parts=expand(
            rules.dynamics_measure.output,
            dynamics_run=DYNAMICS.runs,
            dynamics_metric=DYNAMICS.metrics,
            part=range(len(DYNAMICS_JOBS)),
        ),
        limits=rules.dynamics_corpus.output.limits,
        manifests=expand(
            rules.dynamics_train.output.manifest,
            dynamics_run=DYNAMICS.runs,
            dynamics_seed=DYNAMICS_SEEDS,
        ),
    output:
        measures="<results>/dynamics/measures.parquet",
        summary="<results>/dynamics/summary.json",
    log:
        "<logs>/dynamics/summary.log",
    benchmark:
        "<benchmarks>/dynamics/summary.jsonl"
    conda:
        "../../environment.yml"
    params:
        settings=DYNAMICS.model_dump(),
        code=code_digest("dynamics.summary"),
    script:
        "../scripts/dynamics_summary.py"
