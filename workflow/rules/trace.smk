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


# Pseudo-gradients of recorded traces at the shortest canvas, and when they settle. Not run where
# pseudo_gradient.samples is 0.


rule pseudo_gradient:
    input:
        **traced("samples"),
        **traced("steps"),
        model=MODEL_FILES,
        adapter=ADAPTER,
        foreign_adapter=FOREIGN_ADAPTER,
    output:
        **{
            dataset: f"<results>/pseudo_gradients/{dataset}/{SHORTEST}.parquet"
            for dataset in STUDY.datasets
        },
    log:
        "<logs>/pseudo_gradient.log",
    benchmark:
        "<benchmarks>/pseudo_gradient.jsonl"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        **MODEL_JOB,
    params:
        model=MODEL,
        files=FILES,
        layer=STUDY.rrm.layer,
        samples=STUDY.pseudo_gradient.samples,
        batch_size=STUDY.decode.batch_size,
        code=code_digest("trace.pseudo_gradient"),
    script:
        "../scripts/pseudo_gradient.py"


rule convergence:
    input:
        **{
            rule: f"<results>/exits/{{dataset}}/{{seq_len}}/{rule}.parquet"
            for rule in STUDY.exits.rules
        },
        pseudo_gradients="<results>/pseudo_gradients/{dataset}/{seq_len}.parquet",
        gradients=rules.sft.output.gradients,
    output:
        "<results>/pseudo_gradients/{dataset}/{seq_len}.json",
    log:
        "<logs>/convergence/{dataset}-{seq_len}.log",
    benchmark:
        "<benchmarks>/convergence/{dataset}-{seq_len}.jsonl"
    conda:
        "../../environment.yml"
    params:
        rules=STUDY.exits.rules,
        seed=STUDY.seed,
        code=code_digest("trace.convergence"),
    script:
        "../scripts/convergence.py"


REPLAYED = dict(rules.pseudo_gradient.output.items()) if STUDY.pseudo_gradient.samples else {}
CONVERGENCE = expand(rules.convergence.output, dataset=REPLAYED, seq_len=SHORTEST)
