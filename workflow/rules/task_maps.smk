"""Fine-tuning on one task at a time, and how alike the tasks' maps are: `snakemake
task_similarity`; in `all` where the config names tasks."""

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
