"""Exit rules: tuned on validation, compared on test, promised, undone, and tried on other prompts.

Every rule of a set runs on the same test prompts in one process, so that their times compare.
"""

EXIT_INPUTS = dict(
    model=MODEL_FILES,
    adapter=ADAPTER,
    foreign_adapter=FOREIGN_ADAPTER,
    q=rules.rrm.output.q,
    moments=FOOTPRINT,
    foreign_maps=[] if TRAINED else FOREIGN_MAPS,
)
EXIT_PARAMS = dict(
    model=MODEL,
    files=FILES,
    activation=STUDY.rrm.activation,
    decode=STUDY.decode.model_dump(),
    exits=STUDY.exits.model_dump(),
)


rule tune:
    input:
        **EXIT_INPUTS,
        data="<results>/data/{dataset}/validation.txt",
    output:
        "<results>/exits/{dataset}/{seq_len}/tuned.json",
    log:
        "<logs>/tune/{dataset}-{seq_len}.log",
    benchmark:
        "<benchmarks>/tune/{dataset}-{seq_len}.jsonl"
    priority: 1
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        **MODEL_JOB,
    params:
        **EXIT_PARAMS,
        code=code_digest("exits.tune"),
    script:
        "../scripts/tune.py"


rule exits:
    input:
        **EXIT_INPUTS,
        data="<results>/data/{dataset}/test.txt",
        tuned=(
            expand(rules.tune.output[0], dataset=STUDY.datasets, allow_missing=True)
            if STUDY.exits.tune
            else []
        ),
    output:
        **{
            rule: f"<results>/exits/{{dataset}}/{{seq_len}}/{rule}.parquet"
            for rule in STUDY.exits.rules
        },
        profile="<results>/exits/{dataset}/{seq_len}/profile.json",
        manifest="<results>/exits/{dataset}/{seq_len}/manifest.json",
    log:
        "<logs>/exits/{dataset}-{seq_len}.log",
    benchmark:
        "<benchmarks>/exits/{dataset}-{seq_len}.jsonl"
    priority: 1  # the longest jobs first, so that no core idles at the end
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        **MODEL_JOB,
    params:
        **EXIT_PARAMS,
        seed=STUDY.seed,
        code=code_digest("exits.compare"),
    script:
        "../scripts/exits.py"


rule comparisons:
    input:
        over_sets(rules.exits.output.manifest),


# Exit cards: settings of exit rules with controlled risk. There is no such rule unless the config
# names some.


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


# Exits undone, and tokens that could be frozen, at the shortest canvas.


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


# Exit rules under several prompt templates and seeds. There is no such rule unless the config names
# templates.


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


# `snakemake robustness` fine-tunes again with corrupted labels, and says how far maps and exits move.
# It is in `all` where the config names shares.


# Name -> share of corrupted labels and seed. What another seed does to a map is the yardstick for
# what noise does.
CLEAN = {"clean": (STUDY.sft.label_noise, STUDY.seed)}
RERUNS = {f"share-{share:g}": (share, STUDY.seed) for share in STUDY.noise.shares} | {
    "other-seed": (STUDY.sft.label_noise, STUDY.seed + 1)
}
NOISE_RUNS = {**CLEAN, **RERUNS} if STUDY.noise.shares else {}


wildcard_constraints:
    run="[a-z]+[a-z0-9.-]*",


use rule sft as noisy_sft with:
    output:
        **{
            name.split(".")[0]: f"<results>/noise/{{run}}/{name}"
            for name in ("moments.safetensors", "gradients.parquet", "manifest.json")
        },
        adapter=directory("<results>/noise/{run}/adapter"),
    log:
        "<logs>/noise/{run}-sft.log",
    benchmark:
        "<benchmarks>/noise/{run}-sft.jsonl"
    params:
        datasets=SFT_DATASETS,
        model=MODEL,
        files=WEIGHTS,
        settings=lambda wildcards: {
            **STUDY.sft.model_dump(),
            "label_noise": RERUNS[wildcards.run][0],
        },
        seed=lambda wildcards: RERUNS[wildcards.run][1],
        code=code_digest("sft.fine_tune"),


rule noise:
    input:
        data=expand("<results>/data/{dataset}/test.txt", dataset=STUDY.datasets),
        model=MODEL_FILES,
        adapter=lambda wildcards: (
            rules.sft if wildcards.run in CLEAN else rules.noisy_sft
        ).output.adapter,
        moments=lambda wildcards: (
            rules.sft if wildcards.run in CLEAN else rules.noisy_sft
        ).output.moments,
        clean=rules.sft.output.moments,
    output:
        summary="<results>/noise/{run}.json",
        map="<results>/noise/{run}.safetensors",
    log:
        "<logs>/noise/{run}.log",
    benchmark:
        "<benchmarks>/noise/{run}.jsonl"
    conda:
        "../../environment.yml"
    threads: THREADS
    resources:
        **MODEL_JOB,
    params:
        **{
            name: getattr(STUDY, name).model_dump()
            for name in ("rrm", "decode", "readout", "exits", "noise")
        },
        model=MODEL,
        files=FILES,
        run=lambda wildcards: dict(
            zip(("name", "share", "seed"), (wildcards.run, *NOISE_RUNS[wildcards.run]))
        ),
        datasets=STUDY.datasets,
        seq_len=min(STUDY.seq_lens),
        code=code_digest("exits.noise"),
    script:
        "../scripts/noise.py"


rule robustness:
    input:
        expand(rules.noise.output.summary, run=NOISE_RUNS),
