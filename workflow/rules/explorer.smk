"""The denoising explorer: one file in which a reader replays full decoding of test problems; part
of report.smk."""


rule explorer:
    input:
        MODEL_FILES,
        over_sets(parts("samples"), split="test"),
        over_sets(parts("steps"), split="test"),
        over_sets(rules.readout.output, split="test", readout=READOUTS),
        over_sets(rules.exits.output),
        expand("<results>/data/{dataset}/test.txt", dataset=STUDY.datasets),
        selection=rules.select.output.selection,
    output:
        report("<results>/explorer.html", caption="../report/explorer.rst", category="Report"),
    log:
        "<logs>/explorer.log",
    benchmark:
        "<benchmarks>/explorer.jsonl"
    conda:
        "../../environment.yml"
    params:
        shown=dict(
            study=STUDY.study,
            model=STUDY.model.path,
            datasets=STUDY.datasets,
            seq_lens=STUDY.seq_lens,
            readouts=READOUTS,
            rules=STUDY.exits.rules,
            tau=STUDY.readout.tau,
            samples=STUDY.explorer.samples,
        ),
        certify=STUDY.certify.model_dump(),
        code=f"{code_digest('explorer')} {code_digest('report')}",
    script:
        "../scripts/explorer.py"
