"""What the map, curvature and outputs do over fine-tuning's snapshots: part of dynamics.smk, where
sft.snapshot_every is set."""

FOLLOWED = DYNAMICS.enabled and TRAINED and bool(STUDY.sft.snapshot_every)


if FOLLOWED:

    rule dynamics_sft:
        input:
            train=expand("<results>/data/{dataset}/train.txt", dataset=SFT_DATASETS),
            validation=expand("<results>/data/{dataset}/validation.txt", dataset=SFT_DATASETS),
            snapshots=rules.sft.output.snapshots,
            manifest=rules.sft.output.manifest,
            model=MODEL_FILES,
        output:
            "<results>/dynamics/sft/measures.parquet",
        log:
            "<logs>/dynamics/sft.log",
        benchmark:
            "<benchmarks>/dynamics/sft.jsonl"
        conda:
            "../../environment.yml"
        threads: THREADS
        resources:
            **MODEL_JOB,
        params:
            datasets=SFT_DATASETS,
            model=MODEL,
            files=WEIGHTS,
            sft=STUDY.sft.model_dump(),
            rrm=STUDY.rrm.model_dump(),
            examples=DYNAMICS.sft_examples,
            seed=STUDY.seed,
            code=code_digest("dynamics.fine_tuning"),
        script:
            "../scripts/dynamics_sft.py"

    rule dynamics_sft_report:
        input:
            rules.dynamics_sft.output,
        output:
            report(
                "<results>/tables/dynamics_sft.csv",
                caption="../report/tables.rst",
                category="Tables",
            ),
            "<results>/tables/dynamics_sft.tex",
            report(
                "<results>/figures/dynamics_sft.png",
                caption="../report/dynamics_sft.rst",
                category="Figures",
            ),
            expand("<results>/figures/dynamics_sft.{suffix}", suffix=["pdf", "csv"]),
        log:
            "<logs>/dynamics/sft-report.log",
        benchmark:
            "<benchmarks>/dynamics/sft-report.jsonl"
        conda:
            "../../environment.yml"
        params:
            code=code_digest("report"),
        script:
            "../scripts/dynamics_sft_report.py"


SFT_DYNAMICS = rules.dynamics_sft_report.output if FOLLOWED else []
