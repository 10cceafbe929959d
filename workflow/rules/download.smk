"""Files of the published data sets: `snakemake download` fetches what the catalogue's datasets
have; part of data.smk."""

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
