"""LoRA fine-tuning with moment logging."""

SFT_DATASETS = STUDY.sft.datasets or STUDY.datasets


rule sft:
    input:
        data=expand("<results>/data/{dataset}/train.txt", dataset=SFT_DATASETS),
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
        gpu=STUDY.sft.processes,
    params:
        datasets=SFT_DATASETS,
        model=STUDY.model.model_dump(),
        settings=STUDY.sft.model_dump(),
        seed=STUDY.seed,
        code=code_digest("sft"),
    script:
        "../scripts/sft.py"


rule models:
    input:
        rules.sft.output,
