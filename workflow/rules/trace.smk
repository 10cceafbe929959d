"""Denoising traces, and readouts as views of them."""

TRACE = "<results>/traces/{dataset}/{seq_len}/{split}/"


rule trace:
    input:
        data="<results>/data/{dataset}/{split}.txt",
        adapter=rules.sft.output.adapter,
        maps=[rules.rrm.output[projection] for projection in PROJECTIONS],
    output:
        samples=TRACE + "samples/part-0.parquet",
        steps=TRACE + "steps/part-0.parquet",
        readouts=TRACE + "readouts/part-0.parquet",
        manifest=TRACE + "manifest.json",
    params:
        model=STUDY.model.model_dump(),
        activation=STUDY.rrm.activation,
        decode=STUDY.decode.model_dump(),
        trace=STUDY.trace.model_dump(),
        seed=STUDY.seed,
        code=code_digest("trace"),
    threads: THREADS
    resources:
        gpu=1,
    log:
        "<logs>/trace/{dataset}-{seq_len}-{split}.log",
    benchmark:
        "<benchmarks>/trace/{dataset}-{seq_len}-{split}.jsonl"
    conda:
        "../../environment.yml"
    script:
        "../scripts/trace.py"


rule readout:
    input:
        steps=rules.trace.output.steps,
        readouts=rules.trace.output.readouts,
    output:
        "<results>/readouts/{dataset}/{seq_len}/{split}/{readout}.parquet",
    params:
        settings=STUDY.readout.model_dump(),
        code=code_digest("readout"),
    log:
        "<logs>/readout/{dataset}-{seq_len}-{split}-{readout}.log",
    benchmark:
        "<benchmarks>/readout/{dataset}-{seq_len}-{split}-{readout}.jsonl"
    conda:
        "../../environment.yml"
    script:
        "../scripts/readout.py"


rule traces:
    input:
        over_sets(TRACE + "manifest.json", split=["validation", "test"]),
