"""Settings of exit rules chosen on validation, then every rule on the same test prompts, in one
process, so that their times compare."""

EXIT_INPUTS = dict(
    model=MODEL_FILES,
    adapter=ADAPTER,
    foreign_adapter=FOREIGN_ADAPTER,
    q=rules.rrm.output.q,
    moments=FOOTPRINT,
    foreign_maps=[] if TRAINED else FOREIGN_MAPS,
)
EXIT_PARAMS = dict(
    model=MODEL,
    files=FILES,
    activation=STUDY.rrm.activation,
    decode=STUDY.decode.model_dump(),
    exits=STUDY.exits.model_dump(),
)


rule tune:
    input:
        **EXIT_INPUTS,
        data="<results>/data/{dataset}/validation.txt",
    output:
        "<results>/exits/{dataset}/{seq_len}/tuned.json",
    log:
        "<logs>/tune/{dataset}-{seq_len}.log",
    benchmark:
        "<benchmarks>/tune/{dataset}-{seq_len}.jsonl"
    priority: 1
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        **MODEL_JOB,
    params:
        **EXIT_PARAMS,
        code=code_digest("exits.tune"),
    script:
        "../scripts/tune.py"


rule exits:
    input:
        **EXIT_INPUTS,
        data="<results>/data/{dataset}/test.txt",
        tuned=(
            expand(rules.tune.output[0], dataset=STUDY.datasets, allow_missing=True)
            if STUDY.exits.tune
            else []
        ),
    output:
        **{
            rule: f"<results>/exits/{{dataset}}/{{seq_len}}/{rule}.parquet"
            for rule in STUDY.exits.rules
        },
        profile="<results>/exits/{dataset}/{seq_len}/profile.json",
        manifest="<results>/exits/{dataset}/{seq_len}/manifest.json",
    log:
        "<logs>/exits/{dataset}-{seq_len}.log",
    benchmark:
        "<benchmarks>/exits/{dataset}-{seq_len}.jsonl"
    priority: 1  # the longest jobs first, so that no core idles at the end
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        **MODEL_JOB,
    params:
        **EXIT_PARAMS,
        seed=STUDY.seed,
        code=code_digest("exits.compare"),
    script:
        "../scripts/exits.py"


rule comparisons:
    input:
        over_sets(rules.exits.output.manifest),
