"""Problems of each split, in the published file format."""


rule data:
    input:
        lambda wildcards: [str(path) for path in [located(catalogue(wildcards).test)] if path.exists()],  # rule data says what is missing
    output:
        train="<results>/data/{dataset}/train.txt",
        validation="<results>/data/{dataset}/validation.txt",
        test="<results>/data/{dataset}/test.txt",
        manifest="<results>/data/{dataset}/manifest.json",
    log:
        "<logs>/data/{dataset}.log",
    benchmark:
        "<benchmarks>/data/{dataset}.jsonl"
    conda:
        "../../environment.yml"
    params:
        entry=lambda wildcards: catalogue(wildcards).model_dump(),
        seed=STUDY.seed,
        code=code_digest("data"),
    script:
        "../scripts/data.py"
