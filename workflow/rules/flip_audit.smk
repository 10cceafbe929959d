"""Exits undone, and tokens that could be frozen, at the shortest canvas. Part of report.smk."""

AUDIT = STUDY.flip_audit


rule flip_audit:
    input:
        **EXIT_INPUTS,
        data="<results>/data/{dataset}/test.txt",
    output:
        "<results>/flip_audit/{dataset}-{seq_len}.parquet",
    log:
        "<logs>/flip_audit/{dataset}-{seq_len}.log",
    benchmark:
        "<benchmarks>/flip_audit/{dataset}-{seq_len}.jsonl"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        **MODEL_JOB,
    params:
        **EXIT_PARAMS,
        audit=AUDIT.model_dump(),
        tau=STUDY.readout.tau,
        code=code_digest("exits.flip_audit"),
    script:
        "../scripts/flip_audit.py"


rule freezing:
    input:
        **EXIT_INPUTS,
        data="<results>/data/{dataset}/validation.txt",
    output:
        "<results>/flip_audit/{dataset}-{seq_len}-freezing.json",
    log:
        "<logs>/freezing/{dataset}-{seq_len}.log",
    benchmark:
        "<benchmarks>/freezing/{dataset}-{seq_len}.jsonl"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        **MODEL_JOB,
    params:
        **EXIT_PARAMS,
        audit=AUDIT.model_dump(),
        tau=STUDY.readout.tau,
        seed=STUDY.seed,
        code=code_digest("exits.freezing"),
    script:
        "../scripts/freezing.py"


AUDITS = [
    name
    for name, made in (("flips", AUDIT.samples), ("freezing", AUDIT.samples and AUDIT.probes))
    if made
]
AT_SHORTEST = dict(dataset=STUDY.datasets, seq_len=SHORTEST)
AUDIT_METRICS = expand(rules.flip_audit.output, **AT_SHORTEST) if "flips" in AUDITS else []
AUDIT_METRICS += expand(rules.freezing.output, **AT_SHORTEST) if "freezing" in AUDITS else []
