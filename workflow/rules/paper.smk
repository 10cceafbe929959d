"""The study as one PDF: `make paper`, or `snakemake paper`. It needs TeX, so `all` leaves it out."""


rule paper:
    input:
        rules.tables.output,
        rules.figures.output,
        rules.page.output,
        manifests=rules.page.input.manifests,
    output:
        pdf="<results>/paper.pdf",
        tex="<results>/paper.tex",
    log:
        "<logs>/paper.log",
    benchmark:
        "<benchmarks>/paper.jsonl"
    conda:
        "../../environment.yml"
    params:
        study=STUDY.model_dump(mode="json"),
        code=code_digest("report"),
    script:
        "../scripts/paper.py"
