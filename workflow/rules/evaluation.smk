"""Exit rules under several prompt templates and seeds; there is no such rule unless the config
names templates. Part of report.smk."""

from tracedlm.tasks.templates import template_files

try:
    TEMPLATE_FILES = {
        dataset: template_files(dataset, STUDY.evaluation.templates) for dataset in STUDY.datasets
    }
except ValueError as error:
    sys.exit(f"config:\n  {error}")

if STUDY.evaluation.templates:

    rule evaluation:
        input:
            **EXIT_INPUTS,
            test="<results>/data/{dataset}/test.txt",
            train="<results>/data/{dataset}/train.txt",
            tuned=rules.tune.output if STUDY.exits.tune else [],
            templates=lambda wildcards: [
                local(str(path)) for path in TEMPLATE_FILES[wildcards.dataset].values()
            ],
        output:
            table="<results>/evaluation/{dataset}/{seq_len}.parquet",
            manifest="<results>/evaluation/{dataset}/{seq_len}.json",
        log:
            "<logs>/evaluation/{dataset}-{seq_len}.log",
        benchmark:
            "<benchmarks>/evaluation/{dataset}-{seq_len}.jsonl"
        priority: 1
        conda:
            "../../environment.yml"
        threads: THREADS
        resources:
            **MODEL_JOB,
        params:
            **EXIT_PARAMS,
            evaluation=STUDY.evaluation.model_dump(),
            seed=STUDY.seed,
            code=code_digest("exits.evaluation"),
        script:
            "../scripts/evaluation.py"


EVALUATION_METRICS = over_sets(rules.evaluation.output) if STUDY.evaluation.templates else []
EVALUATION_MANIFESTS = (
    over_sets(rules.evaluation.output.manifest) if STUDY.evaluation.templates else []
)
