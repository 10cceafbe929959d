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


# `snakemake task_similarity` fine-tunes on one task at a time, and says how alike the tasks' maps are.
# It is in `all` where the config names tasks.


TASK_RUNS = {
    f"{task}-{number}": (task, STUDY.seed + number)
    for task in STUDY.ablation.tasks
    for number in range(STUDY.ablation.task_runs)
}


wildcard_constraints:
    task_run="[a-z0-9]+-[0-9]+",


use rule sft as task_sft with:
    input:
        data=lambda wildcards: [f"<results>/data/{TASK_RUNS[wildcards.task_run][0]}/train.txt"],
        model=MODEL_FILES,
    output:
        **{
            name.split(".")[0]: f"<results>/task_maps/{{task_run}}/{name}"
            for name in ("moments.safetensors", "gradients.parquet", "manifest.json")
        },
        adapter=directory("<results>/task_maps/{task_run}/adapter"),
    log:
        "<logs>/task_maps/{task_run}-sft.log",
    benchmark:
        "<benchmarks>/task_maps/{task_run}-sft.jsonl"
    params:
        datasets=lambda wildcards: [TASK_RUNS[wildcards.task_run][0]],
        model=MODEL,
        files=WEIGHTS,
        settings=STUDY.sft.model_dump(),
        seed=lambda wildcards: TASK_RUNS[wildcards.task_run][1],
        code=code_digest("sft.fine_tune"),


rule task_maps:
    input:
        study=rules.sft.output.moments if TRAINED else [],
        tasks=expand(rules.task_sft.output.moments, task_run=TASK_RUNS),
    output:
        similarity="<results>/task_maps/similarity.json",
        magnitude="<results>/task_maps/update_magnitude.parquet",
    log:
        "<logs>/task_maps.log",
    benchmark:
        "<benchmarks>/task_maps.jsonl"
    conda:
        "../../environment.yml"
    params:
        settings=STUDY.rrm.model_dump(),
        runs=list(TASK_RUNS),
        code=code_digest("rrm.task_maps"),
    script:
        "../scripts/task_maps.py"


TASK_MAPS = [*rules.task_maps.output] if TASK_RUNS else []


rule task_similarity:
    input:
        TASK_MAPS,
