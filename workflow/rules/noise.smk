"""Fine-tuning again with corrupted labels, and how far maps and exits move: `snakemake robustness`;
in `all` where the config names shares."""

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
