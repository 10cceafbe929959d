"""Certificates: (delta*, omega*) from the validation q readouts, then every readout of a set's test
split in one job."""


rule select:
    input:
        over_sets(READOUT_Q),
    output:
        selection="<results>/certify/selection.json",
        temperature="<results>/certify/temperature.parquet",
    log:
        "<logs>/select.log",
    benchmark:
        "<benchmarks>/select.jsonl"
    conda:
        "../../environment.yml"
    params:
        sets=[(dataset, seq_len) for dataset in STUDY.datasets for seq_len in STUDY.seq_lens],
        settings=STUDY.certify.model_dump(),
        tau=STUDY.readout.tau,
        code=code_digest("certify.select"),
    script:
        "../scripts/select.py"


rule certify:
    input:
        readouts=expand(
            "<results>/readouts/{dataset}/{seq_len}/test/{readout}.parquet",
            readout=READOUTS,
            allow_missing=True,
        ),
        samples=[path.replace("{split}", "test") for path in parts("samples")],
        maps=[rules.rrm.output[projection] for projection in PROJECTIONS],
        selection=rules.select.output.selection,
    output:
        samples=expand(
            "<results>/certify/{dataset}/{seq_len}/{readout}/samples.parquet",
            readout=READOUTS,
            allow_missing=True,
        ),
        grid=expand(
            "<results>/certify/{dataset}/{seq_len}/{readout}/grid.parquet",
            readout=READOUTS,
            allow_missing=True,
        ),
        summary=expand(
            "<results>/certify/{dataset}/{seq_len}/{readout}/summary.json",
            readout=READOUTS,
            allow_missing=True,
        ),
    log:
        "<logs>/certify/{dataset}-{seq_len}.log",
    benchmark:
        "<benchmarks>/certify/{dataset}-{seq_len}.jsonl"
    conda:
        "../../environment.yml"
    params:
        readouts=READOUTS,
        settings=STUDY.certify.model_dump(),
        tau=STUDY.readout.tau,
        seed=STUDY.seed,
        code=code_digest("certify.certify"),
    script:
        "../scripts/certify.py"


rule certificates:
    input:
        over_sets(rules.certify.output.summary),
