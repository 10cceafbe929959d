"""`snakemake rescore`: others' released generations beside what they print; there is no such rule
unless the config names them. Part of data.smk."""

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
