"""Tables and the page people read; figures are in figures.smk."""

from tracedlm.report.names import FIGURES, TABLES, TIMED_TABLES

ALL_TABLES = [*TABLES, *TIMED_TABLES]
SHOWN = dict(datasets=STUDY.datasets, seq_lens=STUDY.seq_lens, readouts=READOUTS, rules=STUDY.exits.rules, seed=STUDY.seed)
SUMMARIES = over_sets(rules.certify.output.summary, readout=READOUTS)
GRIDS = over_sets(rules.certify.output.grid, readout=READOUTS)
METRICS = [*SUMMARIES, *GRIDS, *over_sets(rules.exits.output), *rules.storage.output, *rules.select.output]
MAIN_READOUT = "q" if "q" in READOUTS else READOUTS[0]


include: "figures.smk"


rule tables:
    input:
        METRICS,
    output:
        report(expand("<results>/tables/{name}.csv", name=ALL_TABLES), caption="../report/tables.rst", category="Tables"),
        expand("<results>/tables/{name}.tex", name=ALL_TABLES),
    log:
        "<logs>/tables.log",
    benchmark:
        "<benchmarks>/tables.jsonl"
    conda:
        "../../environment.yml"
    params:
        shown=SHOWN,
        code=code_digest("report"),
    script:
        "../scripts/tables.py"


rule page:
    input:
        rules.tables.output,
        rules.figures.output,
        manifests=[*SUMMARIES, *over_sets(rules.exits.output.manifest), rules.sft.output.manifest, rules.rrm.output.manifest],
    output:
        report("<results>/report.html", caption="../report/page.rst", category="Report"),
    log:
        "<logs>/page.log",
    benchmark:
        "<benchmarks>/page.jsonl"
    conda:
        "../../environment.yml"
    params:
        study=STUDY.model_dump(mode="json"),
        code=code_digest("report"),
    script:
        "../scripts/page.py"
