"""Commands about a whole study before it runs: config, rehearse."""

import argparse
from pathlib import Path


def _layers(parser: argparse.ArgumentParser) -> None:
    """Options that say which study is meant, named as Snakemake names its own."""
    parser.add_argument("files", nargs="*", metavar="FILE", help="config files, merged in turn")
    parser.add_argument(
        "--replace-workflow-config",
        action="store_true",
        help="do not merge them into config/config.yaml, the default study",
    )
    parser.add_argument(
        "--config",
        action="extend",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="values that replace those of the files, such as exits='{rules: [full, rad]}'",
    )


def add_config(parser: argparse.ArgumentParser) -> None:
    """Arguments of `config`."""
    parser.description = (
        "Print the study that Snakemake makes of config files, as YAML, with the source of each "
        "value: the file that sets it last, --config, or the default."
    )
    _layers(parser)
    parser.set_defaults(run=_run_config)


def _run_config(options: argparse.Namespace) -> None:
    from tracedlm.config.sources import explain_study, study_layers

    layers = study_layers(options.files, options.config, options.replace_workflow_config)
    print(explain_study(layers), end="")


def add_rehearse(parser: argparse.ArgumentParser) -> None:
    """Arguments of `rehearse`."""
    parser.description = (
        "Run a study to its end with a random model and a handful of problems: minutes on a "
        "laptop, before hours on a rented GPU. Nothing else of the config is changed."
    )
    _layers(parser)
    parser.add_argument(
        "--targets",
        nargs="+",
        default=[],
        metavar="TARGET",
        help="rules or files to reach (default: everything)",
    )
    parser.add_argument("--cores", type=int, default=2, help="jobs at a time (default: 2)")
    parser.add_argument(
        "--random-model",
        action="store_true",
        help="a random model in place of a small one too, which would be rehearsed with itself",
    )
    parser.add_argument(
        "--folder",
        type=Path,
        help=(
            "where to run, and to go on from an earlier rehearsal (default: a temporary folder,"
            " removed at the end)"
        ),
    )
    parser.set_defaults(run=_run_rehearse)


def _run_rehearse(options: argparse.Namespace) -> None:
    from tempfile import TemporaryDirectory

    from tracedlm.config.sources import study_layers
    from tracedlm.rehearsal.rehearse import rehearse

    layers = study_layers(options.files, options.config, options.replace_workflow_config)
    with TemporaryDirectory(prefix="tracedlm-rehearsal-") as temporary:
        folder = options.folder or Path(temporary)
        rehearsal = rehearse(layers, options.targets, folder, options.cores, options.random_model)
    print(f"{rehearsal.study}: the rehearsal reached its end")
    for stand_in in rehearsal.stand_ins:
        print(f"  stand-in for {stand_in}")
    for sentence in rehearsal.left_out:
        print(f"  left empty: {sentence}")
