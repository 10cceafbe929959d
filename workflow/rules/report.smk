"""Tables, figures, and the pages people read: report, explorer, PDF."""

from pathlib import Path

from tracedlm.records.seal import broken_seals, gone
from tracedlm.report.contents import (
    COST_TABLES,
    FIGURES,
    TABLES,
    TIMED_TABLES,
    pseudo_gradient_figures,
)

ALL_TABLES = [*TABLES, *TIMED_TABLES]
CAPTIONED = {
    **{name: name for name in FIGURES},
    **dict.fromkeys(pseudo_gradient_figures(REPLAYED, len(REPLAYED)).values(), "pseudo_gradient"),
}
SHOWN = dict(
    datasets=STUDY.datasets,
    seq_lens=STUDY.seq_lens,
    readouts=READOUTS,
    rules=STUDY.exits.rules,
    seed=STUDY.seed,
)
SHOWN |= dict(tuned=bool(STUDY.exits.tune), evaluated=bool(STUDY.evaluation.templates))
SHOWN |= dict(
    cards=list(STUDY.risk.rules),
    audits=AUDITS,
    noise=list(NOISE_RUNS),
    pseudo_gradients=bool(REPLAYED),
)
SUMMARIES = over_sets(rules.certify.output.summary)
GRIDS = over_sets(rules.certify.output.grid)
METRICS = [
    *SUMMARIES,
    *GRIDS,
    *over_sets(rules.exits.output),
    *rules.storage.output,
    *rules.select.output,
]
METRICS += [rules.rrm.output.similarity, *ABLATIONS]
METRICS += over_sets(rules.tune.output) if STUDY.exits.tune else []
METRICS += (
    RISK_METRICS
    + AUDIT_METRICS
    + EVALUATION_METRICS
    + expand(rules.noise.output.summary, run=NOISE_RUNS)
    + CONVERGENCE
)
MAIN_READOUT = "q" if "q" in READOUTS else READOUTS[0]


# Figures, each with its data.


rule figures:
    input:
        METRICS,
        readouts=expand(
            rules.readout.output,
            dataset=STUDY.datasets,
            seq_len=min(STUDY.seq_lens),
            split="test",
            readout=MAIN_READOUT,
        ),
        gradients=rules.sft.output.gradients if TRAINED else [],
        pseudo_gradients=list(REPLAYED.values()),
        magnitudes=[rules.rrm.output.magnitude, *TASK_MAPS[1:]],
        task_maps=TASK_MAPS[:1],
    output:
        **{
            name: report(
                f"<results>/figures/{name}.png",
                caption=f"../report/{caption}.rst",
                category="Figures",
            )
            for name, caption in CAPTIONED.items()
        },
        twins=expand("<results>/figures/{name}.{suffix}", name=CAPTIONED, suffix=["pdf", "csv"]),
    log:
        "<logs>/figures.log",
    benchmark:
        "<benchmarks>/figures.jsonl"
    conda:
        "../../environment.yml"
    params:
        shown=SHOWN,
        figures=list(CAPTIONED),
        code=code_digest("report"),
    script:
        "../scripts/figures.py"


# The denoising explorer: one file in which a reader replays full decoding of test problems.


rule explorer:
    input:
        MODEL_FILES,
        over_sets(parts("samples"), split="test"),
        over_sets(parts("steps"), split="test"),
        over_sets(rules.readout.output, split="test", readout=READOUTS),
        over_sets(rules.exits.output),
        expand("<results>/data/{dataset}/test.txt", dataset=STUDY.datasets),
        selection=rules.select.output.selection,
    output:
        report("<results>/explorer.html", caption="../report/explorer.rst", category="Report"),
    log:
        "<logs>/explorer.log",
    benchmark:
        "<benchmarks>/explorer.jsonl"
    conda:
        "../../environment.yml"
    params:
        shown=dict(
            study=STUDY.study,
            model=STUDY.model.path,
            datasets=STUDY.datasets,
            seq_lens=STUDY.seq_lens,
            readouts=READOUTS,
            rules=STUDY.exits.rules,
            tau=STUDY.readout.tau,
            samples=STUDY.explorer.samples,
        ),
        certify=STUDY.certify.model_dump(),
        code=f"{code_digest('explorer')} {code_digest('report')}",
    script:
        "../scripts/explorer.py"


rule tables:
    input:
        METRICS,
    output:
        report(
            expand("<results>/tables/{name}.csv", name=ALL_TABLES),
            caption="../report/tables.rst",
            category="Tables",
        ),
        expand("<results>/tables/{name}.tex", name=ALL_TABLES),
        "<results>/tables/certified_coverage.txt",
    log:
        "<logs>/tables.log",
    benchmark:
        "<benchmarks>/tables.jsonl"
    conda:
        "../../environment.yml"
    params:
        shown=SHOWN,
        code=code_digest("report"),
    script:
        "../scripts/tables.py"


rule page:
    input:
        rules.tables.output,
        rules.figures.output,
        rules.explorer.output,
        DYNAMICS_RESULTS,
        manifests=[
            *SUMMARIES,
            *over_sets(rules.exits.output.manifest),
            *EVALUATION_MANIFESTS,
            rules.sft.output.manifest if TRAINED else [],
            rules.rrm.output.manifest,
            *ABLATIONS,
            *CONVERGENCE,
            *([rules.dynamics_summary.output.summary] if DYNAMICS.enabled else []),
        ],
    output:
        page=report("<results>/report.html", caption="../report/page.rst", category="Report"),
        costs=expand("<results>/tables/{name}.{suffix}", name=COST_TABLES, suffix=["csv", "tex"]),
        tally="<results>/tables/tally.csv",
    log:
        "<logs>/page.log",
    benchmark:
        "<benchmarks>/page.jsonl"
    conda:
        "../../environment.yml"
    params:
        study=STUDY.model_dump(mode="json"),
        code=code_digest("report"),
    script:
        "../scripts/page.py"


# The study as one PDF: `make paper`, or `snakemake paper`. It needs TeX, so `all` leaves it out.


rule paper:
    input:
        rules.tables.output,
        rules.figures.output,
        rules.page.output,
        manifests=rules.page.input.manifests,
    output:
        pdf="<results>/paper.pdf",
        tex="<results>/paper.tex",
    log:
        "<logs>/paper.log",
    benchmark:
        "<benchmarks>/paper.jsonl"
    conda:
        "../../environment.yml"
    params:
        study=STUDY.model_dump(mode="json"),
        code=code_digest("report"),
    script:
        "../scripts/paper.py"


# Snakemake makes nothing again that only finished jobs read. What a failed or killed job has taken
# with it, or somebody has deleted because it was damaged, `all` asks for; a folder that was deleted
# with its seals stays away.
MADE = [
    *rules.page.input,
    *rules.tables.input,
    *rules.figures.input,
    *rules.explorer.input,
    *rules.select.input,
    *rules.maps.input,
]
MADE += [
    *rules.models.input,
    *over_sets(rules.certify.output),
    *expand(rules.data.output, dataset=STUDY.datasets),
]
MADE += over_sets(rules.trace.output, split=["validation", "test"], shard=SHARDS)
MADE += rules.dynamics_summary.input if DYNAMICS.enabled else []
GONE = (
    gone(map(as_written, MADE)) if workflow.is_main_process else []
)  # a job of its own never runs `all`


# A job checks what it reads. What only people read is checked here, as Snakemake starts.
if workflow.is_main_process:
    for message in broken_seals(Path("results", STUDY.study)):
        print(f"warning: {message}", file=sys.stderr)
