"""Denoising traces, and readouts as views of them."""

TRACE = "<results>/traces/{dataset}/{seq_len}/{split}/"


rule trace:
    input:
        data="<results>/data/{dataset}/{split}.txt",
        model=MODEL_FILES,
        adapter=rules.sft.output.adapter,
        maps=[rules.rrm.output[projection] for projection in PROJECTIONS],
    output:
        samples=f"{TRACE}samples/part-0.parquet",
        steps=f"{TRACE}steps/part-0.parquet",
        readouts=f"{TRACE}readouts/part-0.parquet",
        manifest=f"{TRACE}manifest.json",
    log:
        "<logs>/trace/{dataset}-{seq_len}-{split}.log",
    benchmark:
        "<benchmarks>/trace/{dataset}-{seq_len}-{split}.jsonl"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        gpu=1,
    params:
        model=STUDY.model.model_dump(),
        activation=STUDY.rrm.activation,
        decode=STUDY.decode.model_dump(),
        trace=STUDY.trace.model_dump(),
        seed=STUDY.seed,
        code=code_digest("trace"),
    script:
        "../scripts/trace.py"


rule readout:
    input:
        steps=rules.trace.output.steps,
        readouts=rules.trace.output.readouts,
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
        code=code_digest("readout"),
    script:
        "../scripts/readout.py"


rule traces:
    input:
        over_sets(f"{TRACE}manifest.json", split=["validation", "test"]),
