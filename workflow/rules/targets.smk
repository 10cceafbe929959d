"""A mistyped target ends in one clear line: the known values and the nearest one. The last of the
rules' files, since it looks at all of them."""

from snakemake.cli import get_argument_parser

from tracedlm.config.targets import explain_target

# Snakemake calls a target without inputs done. It, or the rule itself, is only there for a config
# that has the setting.
SETTINGS = {
    "robustness": ("noise.shares", STUDY.noise.shares),
    "task_similarity": ("ablation.tasks", STUDY.ablation.tasks),
    "rescore": ("rescore.folder", STUDY.rescore.folder),
    "download": ("a dataset in `catalogue` that is published as a file", rules.download.input),
}
IDLE = {target: setting for target, (setting, value) in SETTINGS.items() if not value}

# Snakemake keeps its targets to itself while it reads the rules, so its parser reads the command
# line once more. Jobs have none, and in a module of another workflow the targets are that
# workflow's.
if (
    workflow.is_main_process
    and workflow.modifier.parent_modifier is None
    and os.path.basename(sys.argv[0]) == "snakemake"
):
    named = [rule.name for rule in workflow.rules if not rule.has_wildcards()]
    made = [as_written(path) for rule in workflow.rules for path in rule.products()]
    targets = [
        target
        for target in get_argument_parser().parse_args(sys.argv[1:]).targets
        if not os.path.exists(target)
    ]
    mistakes = [explain_target(target, named, made, IDLE) for target in targets]
    if any(mistakes):
        sys.exit("\n".join(filter(None, mistakes)))
