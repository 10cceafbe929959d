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


include: "dynamics_measure.smk"
include: "dynamics_sft.smk"
include: "dynamics_report.smk"
