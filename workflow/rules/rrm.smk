"""Reasoning Representation Maps of the q, k and v projections, what they take to store, and how
other modules' maps compare."""


rule rrm:
    input:
        source=MAP_SOURCE,
        foreign_maps=FOREIGN_MAPS,
        adapter=ADAPTER,
        foreign_adapter=FOREIGN_ADAPTER,
    output:
        **{projection: f"<results>/rrm/{projection}.safetensors" for projection in PROJECTIONS},
        modules="<results>/rrm/modules.safetensors",
        similarity="<results>/rrm/similarity.json",
        magnitude="<results>/rrm/update_magnitude.parquet",
        manifest="<results>/rrm/manifest.json",
    log:
        "<logs>/rrm.log",
    benchmark:
        "<benchmarks>/rrm.jsonl"
    conda:
        "../../environment.yml"
    params:
        settings=STUDY.rrm.model_dump(),
        files=FILES,
        code=code_digest("rrm.maps"),
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
        model=MODEL,
        files=WEIGHTS,
        code=code_digest("rrm.storage"),
    script:
        "../scripts/storage.py"


rule module_ablation:
    input:
        data="<results>/data/{dataset}/validation.txt",
        model=MODEL_FILES,
        adapter=ADAPTER,
        foreign_adapter=FOREIGN_ADAPTER,
        maps=rules.rrm.output.modules,
    output:
        "<results>/ablation/{dataset}/{seq_len}.json",
    log:
        "<logs>/ablation/{dataset}-{seq_len}.log",
    benchmark:
        "<benchmarks>/ablation/{dataset}-{seq_len}.jsonl"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        **MODEL_JOB,
    params:
        model=MODEL,
        files=FILES,
        activation=STUDY.rrm.activation,
        decode=STUDY.decode.model_dump(),
        readout=STUDY.readout.model_dump(),
        ablation=STUDY.ablation.model_dump(include={"samples"}),
        certificate=STUDY.certify.model_dump(
            include={"strict_delta", "strict_omega", "late_window"}
        ),
        seed=STUDY.seed,
        code=code_digest("rrm.module_ablation"),
    script:
        "../scripts/module_ablation.py"


ABLATIONS = expand(rules.module_ablation.output, dataset=STUDY.datasets, seq_len=SHORTEST)


rule maps:
    input:
        rules.rrm.output,
        rules.storage.output,
        ABLATIONS,
