"""Settings of exit rules with controlled risk, as exit cards; there is no such rule unless the
config names some. Part of report.smk."""

if STUDY.risk.rules:

    rule risk:
        input:
            **EXIT_INPUTS,
            validation="<results>/data/{dataset}/validation.txt",
            test="<results>/data/{dataset}/test.txt",
        output:
            **{
                rule: f"<results>/risk/{{dataset}}-{{seq_len}}-{rule}.json"
                for rule in STUDY.risk.rules
            },
        log:
            "<logs>/risk/{dataset}-{seq_len}.log",
        benchmark:
            "<benchmarks>/risk/{dataset}-{seq_len}.jsonl"
        priority: 1
        conda:
            "../../environment.yml"
        threads: THREADS
        resources:
            **MODEL_JOB,
        params:
            **EXIT_PARAMS,
            risk=STUDY.risk.model_dump(),
            code=code_digest("exits.risk"),
        script:
            "../scripts/risk.py"


RISK_METRICS = over_sets(rules.risk.output) if STUDY.risk.rules else []
