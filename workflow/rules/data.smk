"""Problems of each split, in the published file format; the files they come from, and what others'
files score, are in files of their own."""


include: "download.smk"
include: "rescore.smk"


rule data:
    input:
        data_files,
    output:
        train="<results>/data/{dataset}/train.txt",
        validation="<results>/data/{dataset}/validation.txt",
        test="<results>/data/{dataset}/test.txt",
        manifest="<results>/data/{dataset}/manifest.json",
    log:
        "<logs>/data/{dataset}.log",
    benchmark:
        "<benchmarks>/data/{dataset}.jsonl"
    wildcard_constraints:
        dataset="|".join(STUDY.catalogue),  # some are for fine-tuning only
    conda:
        "../../environment.yml"
    params:
        entry=lambda wildcards: catalogue(wildcards).model_dump(),
        seed=STUDY.seed,
        code=code_digest("data.problems"),
    script:
        "../scripts/data.py"
