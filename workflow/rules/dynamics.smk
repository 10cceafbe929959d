"""What a small model learns, checkpoint by checkpoint: corpus, trainings, measures, one tidy table.
Runs where dynamics.enabled."""

DYNAMICS = STUDY.dynamics
DYNAMICS_SEEDS = [STUDY.seed + number for number in range(DYNAMICS.seeds)]
DYNAMICS_JOBS = DYNAMICS.jobs(STUDY.seed)


wildcard_constraints:
    dynamics_run="causal|masked",
    dynamics_metric="[a-z]+",
    dynamics_seed="[0-9]+",
    part="[0-9]+",


rule dynamics_corpus:
    input:
        [DYNAMICS.corpus_file] if DYNAMICS.corpus_file else [],
    output:
        sentences="<results>/dynamics/corpus/sentences.parquet",
        vocabulary="<results>/dynamics/corpus/vocabulary.parquet",
        limits="<results>/dynamics/corpus/limits.json",
    log:
        "<logs>/dynamics/corpus.log",
    benchmark:
        "<benchmarks>/dynamics/corpus.jsonl"
    conda:
        "../../environment.yml"
    params:
        settings=DYNAMICS.corpus(),
        seed=STUDY.seed,
        code=code_digest("dynamics.corpus"),
    script:
        "../scripts/dynamics_corpus.py"


rule dynamics_train:
    input:
        sentences=rules.dynamics_corpus.output.sentences,
        vocabulary=rules.dynamics_corpus.output.vocabulary,
    output:
        checkpoints=directory("<results>/dynamics/{dynamics_run}/{dynamics_seed}/checkpoints"),
        manifest="<results>/dynamics/{dynamics_run}/{dynamics_seed}/manifest.json",
    log:
        "<logs>/dynamics/train-{dynamics_run}-{dynamics_seed}.log",
    benchmark:
        "<benchmarks>/dynamics/train-{dynamics_run}-{dynamics_seed}.jsonl"
    conda:
        "../../environment.yml"
    threads: THREADS
    params:
        settings=DYNAMICS.training(),
        code=code_digest("dynamics.train"),
    script:
        "../scripts/dynamics_train.py"


# Measures of checkpoints, and all of them in one table.


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


# What the map, curvature and outputs do over fine-tuning's snapshots, where the config keeps some.


FOLLOWED = DYNAMICS.enabled and TRAINED and bool(STUDY.sft.snapshot_every)


if FOLLOWED:

    rule dynamics_sft:
        input:
            train=expand("<results>/data/{dataset}/train.txt", dataset=SFT_DATASETS),
            validation=expand("<results>/data/{dataset}/validation.txt", dataset=SFT_DATASETS),
            snapshots=rules.sft.output.snapshots,
            manifest=rules.sft.output.manifest,
            model=MODEL_FILES,
        output:
            "<results>/dynamics/sft/measures.parquet",
        log:
            "<logs>/dynamics/sft.log",
        benchmark:
            "<benchmarks>/dynamics/sft.jsonl"
        conda:
            "../../environment.yml"
        threads: THREADS
        resources:
            **MODEL_JOB,
        params:
            datasets=SFT_DATASETS,
            model=MODEL,
            files=WEIGHTS,
            sft=STUDY.sft.model_dump(),
            rrm=STUDY.rrm.model_dump(),
            examples=DYNAMICS.sft_examples,
            seed=STUDY.seed,
            code=code_digest("dynamics.fine_tuning"),
        script:
            "../scripts/dynamics_sft.py"

    rule dynamics_sft_report:
        input:
            rules.dynamics_sft.output,
        output:
            report(
                "<results>/tables/dynamics_sft.csv",
                caption="../report/tables.rst",
                category="Tables",
            ),
            "<results>/tables/dynamics_sft.tex",
            report(
                "<results>/figures/dynamics_sft.png",
                caption="../report/dynamics_sft.rst",
                category="Figures",
            ),
            expand("<results>/figures/dynamics_sft.{suffix}", suffix=["pdf", "csv"]),
        log:
            "<logs>/dynamics/sft-report.log",
        benchmark:
            "<benchmarks>/dynamics/sft-report.jsonl"
        conda:
            "../../environment.yml"
        params:
            code=code_digest("report"),
        script:
            "../scripts/dynamics_sft_report.py"


SFT_DYNAMICS = rules.dynamics_sft_report.output if FOLLOWED else []


# Tables and figures of the branch.


rule dynamics_report:
    input:
        **{name: path for name, path in rules.dynamics_summary.output.items()},
    output:
        report(
            expand("<results>/tables/dynamics_{name}.csv", name=["claims", "stopping"]),
            caption="../report/tables.rst",
            category="Tables",
        ),
        expand("<results>/tables/dynamics_{name}.tex", name=["claims", "stopping"]),
        expand("<results>/tables/dynamics_cost.{suffix}", suffix=["csv", "tex"]),
        report(
            expand("<results>/figures/dynamics_{run}.png", run=DYNAMICS.runs),
            caption="../report/dynamics.rst",
            category="Figures",
        ),
        expand(
            "<results>/figures/dynamics_{run}.{suffix}", run=DYNAMICS.runs, suffix=["pdf", "csv"]
        ),
    log:
        "<logs>/dynamics/report.log",
    benchmark:
        "<benchmarks>/dynamics/report.jsonl"
    conda:
        "../../environment.yml"
    params:
        code=code_digest("report"),
    script:
        "../scripts/dynamics_report.py"


DYNAMICS_RESULTS = [*(rules.dynamics_report.output if DYNAMICS.enabled else []), *SFT_DYNAMICS]


rule dynamics:
    input:
        rules.dynamics_report.output,
        SFT_DYNAMICS,
