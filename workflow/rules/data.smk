"""Published files, the problems of each split in the same format, and what others' files score."""

# `snakemake download` fetches the published files of the catalogue's datasets.


import re

from tracedlm.stages.data.download import read_sources

DOWNLOADS = "results/sources"
SOURCES = read_sources()
FETCHED = {f"{DOWNLOADS}/{name}" for name in SOURCES}


rule fetch:
    output:
        f"{DOWNLOADS}/{{source}}",
    log:
        f"{DOWNLOADS}/logs/{{source}}.log",
    benchmark:
        f"{DOWNLOADS}/benchmarks/{{source}}.jsonl"
    wildcard_constraints:
        source="|".join(map(re.escape, SOURCES)),
    localrule: True  # a cluster's nodes often have no network
    conda:
        "../../environment.yml"
    params:
        source=lambda wildcards: vars(SOURCES[wildcards.source]),
    script:
        "../scripts/fetch.py"


rule download:
    input:
        [f"{DOWNLOADS}/{name}" for name in SOURCES if name.split("/")[0] in STUDY.catalogue],


# `snakemake rescore` marks others' released generations again. There is no such rule unless the
# config names them.


RELEASED = [located(path) for path in (STUDY.rescore.folder, STUDY.rescore.settings) if path]

if STUDY.rescore.folder:

    rule rescore:
        input:
            sorted(
                local(str(path))
                for folder in RELEASED
                for path in folder.rglob("*")
                if path.suffix in (".json", ".csv")
            ),
        output:
            scores="<results>/rescore/scores.json",
            tables=expand(
                "<results>/tables/{name}.{suffix}",
                name=["rescored", "schedule_alone"],
                suffix=["csv", "tex"],
            ),
        log:
            "<logs>/rescore.log",
        benchmark:
            "<benchmarks>/rescore.jsonl"
        conda:
            "../../environment.yml"
        params:
            folders=[str(folder) for folder in RELEASED],
            code=[code_digest("data.rescore"), code_digest("report")],
        script:
            "../scripts/rescore.py"


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
