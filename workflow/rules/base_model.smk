"""How the shipped base model was made and measured. Not part of `all`: `snakemake base_model`
retrains it into results/base."""


rule pretrain:
    output:
        model=directory("results/base/model"),
    log:
        "results/base/pretrain.log",
    benchmark:
        "results/base/pretrain.jsonl"
    conda:
        "../../environment.yml"
    threads: 16
    resources:
        **MODEL_JOB,
    params:
        settings=STUDY.pretrain.model_dump(),
        datasets={name: STUDY.catalogue[name].difficulty for name in sorted(STUDY.catalogue)},
        seed=STUDY.seed,
        code=code_digest("base_model.pretrain"),
    script:
        "../scripts/pretrain.py"


rule card:
    input:
        MODEL_FILES,
    output:
        "results/base/card.json",
    log:
        "results/base/card.log",
    benchmark:
        "results/base/card.jsonl"
    conda:
        "../../environment.yml"
    threads: 16
    resources:
        **MODEL_JOB,
    params:
        model=MODEL,
        tests={name: (entry.test, entry.difficulty) for name, entry in STUDY.catalogue.items()},
        seq_lens=STUDY.seq_lens,
        card=STUDY.card.model_dump(),
        batch_size=STUDY.decode.batch_size,
        seed=STUDY.seed,
        code=code_digest("base_model.card"),
    script:
        "../scripts/card.py"


rule base_model:
    input:
        rules.pretrain.output,
