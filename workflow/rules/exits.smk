"""Every exit rule on the same prompts, in one process, so that their times compare."""


rule exits:
    input:
        data="<results>/data/{dataset}/test.txt",
        model=MODEL_FILES,
        adapter=rules.sft.output.adapter,
        rrm=rules.rrm.output.q,
    output:
        **{name: f"<results>/exits/{{dataset}}/{{seq_len}}/{name}.parquet" for name in STUDY.exits.rules},
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
        gpu=1,
    params:
        model=STUDY.model.model_dump(),
        activation=STUDY.rrm.activation,
        decode=STUDY.decode.model_dump(),
        exits=STUDY.exits.model_dump(),
        tau=STUDY.readout.tau,
        seed=STUDY.seed,
        code=code_digest("exits"),
    script:
        "../scripts/exits.py"


rule comparisons:
    input:
        over_sets(rules.exits.output.manifest),
