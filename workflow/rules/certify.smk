"""Certificates: (delta*, omega*) from the validation q readouts, then every readout of the test split."""


rule select:
    input:
        over_sets(READOUT_Q),
    output:
        "<results>/certify/selection.json",
    log:
        "<logs>/select.log",
    benchmark:
        "<benchmarks>/select.jsonl"
    conda:
        "../../environment.yml"
    params:
        settings=STUDY.certify.model_dump(),
        tau=STUDY.readout.tau,
        code=code_digest("certify"),
    script:
        "../scripts/select.py"


rule certify:
    input:
        readout="<results>/readouts/{dataset}/{seq_len}/test/{readout}.parquet",
        samples="<results>/traces/{dataset}/{seq_len}/test/samples/part-0.parquet",
        selection=rules.select.output[0],
    output:
        samples="<results>/certify/{dataset}/{seq_len}/{readout}/samples.parquet",
        grid="<results>/certify/{dataset}/{seq_len}/{readout}/grid.parquet",
        summary="<results>/certify/{dataset}/{seq_len}/{readout}/summary.json",
    log:
        "<logs>/certify/{dataset}-{seq_len}-{readout}.log",
    benchmark:
        "<benchmarks>/certify/{dataset}-{seq_len}-{readout}.jsonl"
    conda:
        "../../environment.yml"
    params:
        settings=STUDY.certify.model_dump(),
        tau=STUDY.readout.tau,
        seed=STUDY.seed,
        code=code_digest("certify"),
    script:
        "../scripts/certify.py"


rule certificates:
    input:
        over_sets(rules.certify.output.summary, readout=READOUTS),
