"""tracedlm: certified early exits for diffusion language models, from fine-tuning to tables.

    data -> sft -> rrm -> trace -> readout -> select -> certify -> tables, figures, explorer, page
                   rrm -> exits                                 -> tables, figures, explorer, page
    dynamics: corpus -> train -> measure -> summary             -> figures, page

`snakemake --cores all` runs the study in config/config.yaml, `--configfile config/smoke.yaml` the
smallest one. Collecting targets: models, maps, traces, certificates, comparisons, dynamics, tables,
robustness, paper, task_similarity, base_model, download, rescore.
"""

from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


include: "workflow/rules/study.smk"


pathvars:
    results=f"results/{STUDY.study}",
    logs=f"results/{STUDY.study}/logs",
    benchmarks=f"results/{STUDY.study}/benchmarks",


wildcard_constraints:
    dataset="|".join(STUDY.datasets),
    seq_len="|".join(map(str, STUDY.seq_lens)),
    readout="|".join(READOUTS),
    split="test|validation",
    shard="[0-9]+",


include: "workflow/rules/data.smk"
include: "workflow/rules/sft.smk"
include: "workflow/rules/rrm.smk"
include: "workflow/rules/trace.smk"
include: "workflow/rules/certify.smk"
include: "workflow/rules/exits.smk"
include: "workflow/rules/dynamics.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/base_model.smk"


rule all:
    default_target: True
    input:
        rules.tables.output,
        rules.page.output,
        GONE,


include: "workflow/rules/targets.smk"
