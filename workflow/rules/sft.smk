"""LoRA fine-tuning with moment logging."""

SFT_DATASETS = STUDY.sft.datasets or STUDY.datasets


rule sft:
    input:
        data=expand("<results>/data/{dataset}/train.txt", dataset=SFT_DATASETS),
        model=MODEL_FILES,
    output:
        **({"snapshots": directory("<results>/sft/snapshots")} if STUDY.sft.snapshot_every else {}),
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
        **{**MODEL_JOB, "gpu": STUDY.sft.processes},
    params:
        datasets=SFT_DATASETS,
        model=MODEL,
        files=WEIGHTS,
        settings=STUDY.sft.model_dump(),
        seed=STUDY.seed,
        code=code_digest("sft.fine_tune"),
    script:
        "../scripts/sft.py"


rule models:
    input:
        rules.sft.output if TRAINED else [],


# What decoding and maps use: the study's own fine-tuning, or what the config names in its place.
ADAPTER = rules.sft.output.adapter if TRAINED else local(str(located(STUDY.model.adapter)))
MAP_SOURCE = (
    rules.sft.output.moments
    if STUDY.rrm.source == "moments"
    else local(str(located(STUDY.rrm.source)))
)
FOOTPRINT = rules.sft.output.moments if TRAINED else MAP_SOURCE
