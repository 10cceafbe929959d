"""Reasoning Representation Maps of the q, k and v projections, and what they take to store."""


rule rrm:
    input:
        moments=rules.sft.output.moments,
    output:
        **{projection: f"<results>/rrm/{projection}.safetensors" for projection in PROJECTIONS},
        manifest="<results>/rrm/manifest.json",
    log:
        "<logs>/rrm.log",
    benchmark:
        "<benchmarks>/rrm.jsonl"
    conda:
        "../../environment.yml"
    params:
        settings=STUDY.rrm.model_dump(),
        code=code_digest("rrm"),
    script:
        "../scripts/rrm.py"


rule storage:
    input:
        **{projection: f"<results>/rrm/{projection}.safetensors" for projection in PROJECTIONS},
        model=MODEL_FILES,
    output:
        "<results>/rrm/storage.json",
    log:
        "<logs>/storage.log",
    benchmark:
        "<benchmarks>/storage.jsonl"
    conda:
        "../../environment.yml"
    params:
        model=STUDY.model.model_dump(),
        code=code_digest("rrm"),
    script:
        "../scripts/storage.py"


rule maps:
    input:
        rules.rrm.output,
        rules.storage.output,
