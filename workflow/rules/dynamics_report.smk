"""Tables and figures of the branch; part of dynamics.smk."""


rule dynamics_report:
    input:
        **{name: path for name, path in rules.dynamics_summary.output.items()},
    output:
        report(
            expand("<results>/tables/dynamics_{name}.csv", name=["claims", "stopping"]),
            caption="../report/tables.rst",
            category="Tables",
        ),
        expand("<results>/tables/dynamics_{name}.tex", name=["claims", "stopping"]),
        expand("<results>/tables/dynamics_cost.{suffix}", suffix=["csv", "tex"]),
        report(
            expand("<results>/figures/dynamics_{run}.png", run=DYNAMICS.runs),
            caption="../report/dynamics.rst",
            category="Figures",
        ),
        expand(
            "<results>/figures/dynamics_{run}.{suffix}", run=DYNAMICS.runs, suffix=["pdf", "csv"]
        ),
    log:
        "<logs>/dynamics/report.log",
    benchmark:
        "<benchmarks>/dynamics/report.jsonl"
    conda:
        "../../environment.yml"
    params:
        code=code_digest("report"),
    script:
        "../scripts/dynamics_report.py"


DYNAMICS_RESULTS = [*(rules.dynamics_report.output if DYNAMICS.enabled else []), *SFT_DYNAMICS]


rule dynamics:
    input:
        rules.dynamics_report.output,
        SFT_DYNAMICS,
