"""Figures, each with its data; part of report.smk."""


rule figures:
    input:
        METRICS,
        readouts=expand(rules.readout.output, dataset=STUDY.datasets, seq_len=min(STUDY.seq_lens), split="test", readout=MAIN_READOUT),
        gradients=rules.sft.output.gradients,
    output:
        **{name: report(f"<results>/figures/{name}.png", caption=f"../report/{name}.rst", category="Figures") for name in FIGURES},
        twins=expand("<results>/figures/{name}.{suffix}", name=FIGURES, suffix=["pdf", "csv"]),
    log:
        "<logs>/figures.log",
    benchmark:
        "<benchmarks>/figures.jsonl"
    conda:
        "../../environment.yml"
    params:
        shown=SHOWN,
        code=code_digest("report"),
    script:
        "../scripts/figures.py"
