"""Figures, each with its data; part of report.smk."""


rule figures:
    input:
        METRICS,
        readouts=expand(
            rules.readout.output,
            dataset=STUDY.datasets,
            seq_len=min(STUDY.seq_lens),
            split="test",
            readout=MAIN_READOUT,
        ),
        gradients=rules.sft.output.gradients if TRAINED else [],
        pseudo_gradients=list(REPLAYED.values()),
        magnitudes=[rules.rrm.output.magnitude, *TASK_MAPS[1:]],
        task_maps=TASK_MAPS[:1],
    output:
        **{
            name: report(
                f"<results>/figures/{name}.png",
                caption=f"../report/{caption}.rst",
                category="Figures",
            )
            for name, caption in CAPTIONED.items()
        },
        twins=expand("<results>/figures/{name}.{suffix}", name=CAPTIONED, suffix=["pdf", "csv"]),
    log:
        "<logs>/figures.log",
    benchmark:
        "<benchmarks>/figures.jsonl"
    conda:
        "../../environment.yml"
    params:
        shown=SHOWN,
        figures=list(CAPTIONED),
        code=code_digest("report"),
    script:
        "../scripts/figures.py"
