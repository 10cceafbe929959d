"""How the shipped base model was made. Not part of `all`: `snakemake base_model` retrains it into results/base."""


rule pretrain:
    output:
        model=directory("results/base/model"),
    params:
        settings=STUDY.pretrain.model_dump(),
        datasets=sorted(STUDY.catalogue),
        seed=STUDY.seed,
    threads: workflow.cores
    resources:
        gpu=1,
    log:
        "results/base/pretrain.log",
    benchmark:
        "results/base/pretrain.jsonl"
    conda:
        "../../environment.yml"
    script:
        "../scripts/pretrain.py"


rule base_model:
    input:
        rules.pretrain.output,
