"""Denoising traces, and readouts as views of them."""


rule trace:
    input:
        data="<results>/data/{dataset}/{split}.txt",
        model=MODEL_FILES,
        adapter=ADAPTER,
        foreign_adapter=FOREIGN_ADAPTER,
        maps=[rules.rrm.output[projection] for projection in PROJECTIONS],
    output:
        samples=f"{TRACE}samples/part-{{shard}}.parquet",
        steps=f"{TRACE}steps/part-{{shard}}.parquet",
        readouts=f"{TRACE}readouts/part-{{shard}}.parquet",
        manifest=f"{TRACE}manifests/{{shard}}.json",
    log:
        "<logs>/trace/{dataset}-{seq_len}-{split}-{shard}.log",
    benchmark:
        "<benchmarks>/trace/{dataset}-{seq_len}-{split}-{shard}.jsonl"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        **MODEL_JOB,
    params:
        model=MODEL,
        files=FILES,
        activation=STUDY.rrm.activation,
        decode=STUDY.decode.model_dump(),
        trace=STUDY.trace.model_dump(),
        seed=STUDY.seed,
        code=code_digest("trace.collect"),
    script:
        "../scripts/trace.py"


rule readout:
    input:
        steps=parts("steps"),
        readouts=parts("readouts"),
    output:
        "<results>/readouts/{dataset}/{seq_len}/{split}/{readout}.parquet",
    log:
        "<logs>/readout/{dataset}-{seq_len}-{split}-{readout}.log",
    benchmark:
        "<benchmarks>/readout/{dataset}-{seq_len}-{split}-{readout}.jsonl"
    conda:
        "../../environment.yml"
    params:
        settings=STUDY.readout.model_dump(),
        code=code_digest("trace.readout"),
    script:
        "../scripts/readout.py"


rule traces:
    input:
        over_sets(rules.trace.output.manifest, split=["validation", "test"], shard=SHARDS),
