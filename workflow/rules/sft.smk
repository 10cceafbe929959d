"""LoRA fine-tuning with moment logging."""


rule sft:
    input:
        data=expand("<results>/data/{dataset}/train.txt", dataset=STUDY.datasets),
        model=MODEL_FILES,
    output:
        adapter=directory("<results>/sft/adapter"),
        moments="<results>/sft/moments.safetensors",
        gradients="<results>/sft/gradients.parquet",
        manifest="<results>/sft/manifest.json",
    log:
        "<logs>/sft.log",
    benchmark:
        "<benchmarks>/sft.jsonl"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        gpu=1,
    params:
        datasets=STUDY.datasets,
        model=STUDY.model.model_dump(),
        settings=STUDY.sft.model_dump(),
        seed=STUDY.seed,
        code=code_digest("sft"),
    script:
        "../scripts/sft.py"


rule models:
    input:
        rules.sft.output,
