"""Commands, thin over the public functions.

`python -m tracedlm generate|certify|rescore|rrm|explore|validate|lm-eval --help`.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a mistake of the user's is one line on stderr and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m tracedlm", description="Early exit for diffusion language models"
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    _generate(commands.add_parser("generate", help="decode prompts with an exit rule"))
    _certify(commands.add_parser("certify", help="certify the samples of a readout table"))
    _rescore(
        commands.add_parser(
            "rescore", help="mark released generations again and count their steps", **RESCORE_HELP
        )
    )
    _rrm(
        commands.add_parser(
            "rrm", help="make maps from what training left, or take over finished ones"
        )
    )
    _explore(
        commands.add_parser(
            "explore", help="write the page in which a finished study's denoising is replayed"
        )
    )
    _validate(
        commands.add_parser("validate", help="check that a trace set is whole and consistent")
    )
    _config(
        commands.add_parser("config", help="print a merged study with the source of each value")
    )
    _rehearse(commands.add_parser("rehearse", help="run a study to its end at tiny size"))
    # No prefix is an option's here: every argument is the harness' own, its --help too.
    _lm_eval(
        commands.add_parser(
            "lm-eval",
            add_help=False,
            prefix_chars="\0",
            help="lm-evaluation-harness, with --model tracedlm",
        )
    )
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "prompt", nargs="*", help="user turns; one per line on standard input if none is given"
    )
    parser.add_argument(
        "--model",
        default="resources/base",
        help="checkpoint folder or hub id (default: the shipped base model)",
    )
    parser.add_argument("--adapter", help="PEFT adapter folder, e.g. results/tiny/sft/adapter")
    parser.add_argument(
        "--allow-remote-code",
        action="store_true",
        help="run the code that a checkpoint brings along",
    )
    parser.add_argument(
        "--rrm",
        help="map file, e.g. results/tiny/rrm/q.safetensors; needed by rules that read a map",
    )
    parser.add_argument(
        "--exit",
        default="full",
        help="exit rule, or an exit card (.json), which says how to decode (default: full)",
    )
    parser.add_argument(
        "--set",
        nargs="*",
        default=[],
        metavar="KEY=VALUE",
        help="settings of the rule, e.g. delta=1e-6 gaps=[7.5,5,2.5]",
    )
    parser.add_argument(
        "--gen-length", type=int, help="tokens of the canvas (default: 128, or as the card says)"
    )
    parser.add_argument(
        "--block-length", type=int, help="tokens per block (default: 32, or as the card says)"
    )
    parser.add_argument(
        "--steps", type=int, help="total denoising steps (default: half the generation length)"
    )
    parser.add_argument("--batch-size", type=int, default=16)
    parser.set_defaults(run=_run_generate)


def _run_generate(options: argparse.Namespace) -> None:
    import tracedlm
    from tracedlm.records.card import ExitCard
    from tracedlm.records.rrm import Rrm

    prompts = options.prompt or sys.stdin.read().splitlines()
    settings: dict[str, Any] = dict(_setting(text) for text in options.set)
    card = ExitCard.read(options.exit) if options.exit.endswith(".json") else None
    if card is not None:
        card.check_adapter(options.adapter)
    decoding: dict[str, Any] = (
        {"gen_length": 128, "block_length": 32} if card is None else dict(card.decoding)
    )
    decoding |= {
        name: value
        for name in ("gen_length", "block_length", "steps")
        if (value := getattr(options, name)) is not None
    }
    decoding.setdefault("steps", decoding["gen_length"] // 2)
    if own := sorted(settings.keys() & {*decoding, "exit", "rrm", "batch_size"}):
        raise ValueError(
            f"--set is for settings of the rule; {own[0]} has an option of its own,"
            f" --{own[0].replace('_', '-')}"
        )
    denoiser = tracedlm.load_denoiser(
        options.model, options.adapter, allow_remote_code=options.allow_remote_code
    )
    result = tracedlm.generate(
        denoiser,
        prompts,
        exit=options.exit if card is None else card,
        rrm=Rrm.read(options.rrm) if options.rrm else None,
        batch_size=options.batch_size,
        **decoding,
        **settings,
    )
    for prompt, text, nfe, stopped_at in zip(
        prompts, result.text, result.nfe, result.stopped_at, strict=True
    ):
        print(
            json.dumps({"prompt": prompt, "text": text, "nfe": int(nfe), "stopped_at": stopped_at})
        )


def _setting(text: str) -> tuple[str, Any]:
    key, _, value = text.partition("=")
    if not value:
        raise ValueError(f"--set {text}: expected KEY=VALUE, for example delta=1e-6")
    try:
        return key, json.loads(value)
    except ValueError:
        return key, value


def _certify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "readout", help="readout table, e.g. results/tiny/readouts/countdown/128/test/q.parquet"
    )
    parser.add_argument("--tau", type=float, default=1.0)
    parser.add_argument("--delta", type=float, default=3e-6)
    parser.add_argument("--omega", type=int, default=3)
    parser.add_argument("--late-window", type=int, default=24)
    parser.set_defaults(run=_run_certify)


def _run_certify(options: argparse.Namespace) -> None:
    from tracedlm.certification import certify
    from tracedlm.records import trace
    from tracedlm.records.parquet import read_table
    from tracedlm.records.series import to_series

    table = read_table(options.readout, trace.READOUT, "a readout")
    series = to_series(table, trace.canvas_of(options.readout), options.readout)
    for n, sample in enumerate(series.sample_id):
        steps = series.recorded[n]
        record = certify(
            series.similarity[n, steps],
            series.visible[n, steps],
            options.tau,
            options.delta,
            options.omega,
            options.late_window,
        )
        lscr = None if record.lscr != record.lscr else record.lscr
        print(
            json.dumps(
                {"sample_id": int(sample), "certified_at": record.certified_at, "lscr": lscr}
            )
        )


RESCORE_HELP: dict[str, Any] = {
    "formatter_class": argparse.RawDescriptionHelpFormatter,
    "description": (
        """\
Mark released generations again, and say what they cost.

FOLDER holds one set-up (or several, see --setup) in EDIT's or d1's layout:
*_generations.json, one a device, and *_early_exit_steps_device-<k>.csv where steps were released.

Printed are the accuracy with its 95 % interval, the mean steps summed over blocks, their reduction
against the full schedule and their distribution in each block (least, quartiles, most). Then on how
many samples the two scorers agree, and the answers each read where they do not."""
    ),
    "epilog": (
        """\
example:
  python -m tracedlm rescore edit_outputs/gsm8k/seq256 --dataset gsm8k \\
      --settings edit_configs/EDIT_gsm8k_seq256.json"""
    ),
}


def _rescore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", metavar="FOLDER", help="folder of one set-up, e.g. edit_outputs/countdown/seq128"
    )
    parser.add_argument(
        "--dataset", required=True, metavar="D", help="countdown, gsm8k, math500 or sudoku"
    )
    parser.add_argument(
        "--scorer",
        default="d1",
        choices=("d1", "strict"),
        help="d1: as published (default); strict: as one should",
    )
    parser.add_argument(
        "--settings",
        metavar="FILE",
        help="EDIT's settings of this set-up: also count its schedule without no-op steps",
    )
    parser.add_argument(
        "--setup",
        metavar="NAME",
        help="which one, where the folder holds several: a file's name up to its device",
    )
    parser.add_argument(
        "--partial",
        action="store_true",
        help="mark what is there, though files of some devices are missing",
    )
    parser.add_argument(
        "--show",
        type=int,
        default=10,
        metavar="N",
        help="disagreements of the scorers to print (default: 10)",
    )
    parser.add_argument(
        "--json", action="store_true", help="print everything as one JSON object instead"
    )
    parser.set_defaults(run=_run_rescore)


def _run_rescore(options: argparse.Namespace) -> None:
    from dataclasses import asdict

    from tracedlm.rescoring import rescore

    found = rescore(
        options.folder,
        options.dataset,
        options.scorer,
        settings=options.settings,
        setup=options.setup,
        partial=options.partial,
    )
    if options.json:
        print(json.dumps(asdict(found)))
        return
    low, high, agreement = 100 * found.low, 100 * found.high, found.agreement
    without = f"; {found.ungraded} have no gold answer" if found.ungraded else ""
    print(
        f"{found.dataset}, {found.gen_length} tokens, scorer {found.scorer}, {found.n}"
        f" samples{without}"
    )
    print(
        f"accuracy   {100 * found.accuracy:.2f} % [{low:.1f}, {high:.1f}]; solved as a whole"
        f" {100 * found.solved:.2f} %"
    )
    if found.mean_steps is None or found.reduction is None:
        print(f"steps      none were released; the full schedule has {found.full_steps}")
    else:
        print(
            f"steps      {found.mean_steps:.2f} of {found.full_steps}, summed over blocks:"
            f" {100 * found.reduction:.1f} % fewer"
        )
    if found.skip_noop_steps is not None:
        print(f"schedule   {found.skip_noop_steps} without its no-op steps, and without any exit")
    for block in found.blocks:
        print(
            f"block {block.block:<4} mean {block.mean:.2f}, quantiles"
            f" {' '.join(f'{value:g}' for value in block.quantiles)}"
        )
    share = "no sample" if agreement.share is None else f"{100 * agreement.share:.2f} % of samples"
    print(
        f"scorers    agree on {share}; solved by d1 only {agreement.only_d1}, by strict only"
        f" {agreement.only_strict}"
    )
    for one in found.disagreements[: options.show]:
        d1, strict = (repr(answer)[:60] for answer in (one.d1_answer, one.strict_answer))
        print(
            f"  sample {one.sample}, gold {one.gold}: solved by {one.solved_by} only; d1 read {d1},"
            f" strict {strict}"
        )


def _rrm(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        nargs="?",
        help="moments, a folder of optimiser checkpoints or adapter snapshots, or an adapter",
    )
    parser.add_argument("out", nargs="?", type=Path, help="map file to write")
    parser.add_argument(
        "--prep",
        metavar="FILE_OR_FOLDER",
        help="finished maps (.json, .npz) to bring into our format; needs --out",
    )
    parser.add_argument(
        "--all", action="store_true", help="the map of every module of the source; needs --out"
    )
    parser.add_argument(
        "--out",
        dest="folder",
        type=Path,
        metavar="DIR",
        help="folder for the maps of --prep or --all",
    )
    parser.add_argument("--projection", default="q", choices=("q", "k", "v"))
    parser.add_argument(
        "--layer",
        type=int,
        default=-1,
        help="transformer block from 0; negative counts from the end (default: -1)",
    )
    parser.add_argument("--reduction", default="row_energy", choices=("row_energy", "row_mean"))
    parser.add_argument("--matrix", default="B", choices=("A", "B"))
    parser.add_argument(
        "--variant", help="e.g. outside_raw (default) or inside_corrected of moments"
    )
    parser.add_argument(
        "--kind",
        choices=("moments", "optimizer", "snapshots", "adapter", "file"),
        help="for a folder that holds several",
    )
    parser.add_argument("--names", help="JSON name map of a Trainer's optimizer.pt")
    parser.set_defaults(run=_run_rrm)


def _run_rrm(options: argparse.Namespace) -> None:
    from tracedlm.stages.rrm.maps import build_rrm, build_rrms, prepare_maps

    many = bool(options.prep or options.all)
    if bool(options.prep) == bool(options.source) or (
        options.folder is None if many else options.out is None
    ):
        raise ValueError(
            "rrm takes SOURCE OUT, or SOURCE --all --out DIR, or --prep FILE_OR_FOLDER --out DIR"
        )
    chosen = {
        "reduction": options.reduction,
        "variant": options.variant,
        "kind": options.kind,
        "names": options.names,
    }
    if options.prep:
        maps = prepare_maps(options.prep, options.projection, options.layer)
    elif options.all:
        maps = build_rrms(options.source, **chosen)
    else:
        build_rrm(
            options.source, options.projection, options.layer, matrix=options.matrix, **chosen
        ).write(options.out)
        return
    for rrm in maps:
        path = options.folder / f"{rrm.projection if options.prep else rrm.module}.safetensors"
        rrm.write(path)
        print(path)


def _explore(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("results", type=Path, help="results of a finished study, e.g. results/tiny")
    parser.add_argument(
        "--config",
        action="append",
        default=[],
        metavar="FILE",
        help="its --configfile, merged into config/config.yaml",
    )
    parser.add_argument(
        "--samples",
        type=int,
        help="test problems shown, shared by the sets (default: as the config says)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="page to write (default: explorer.html beside the results)",
    )
    parser.set_defaults(run=_run_explore)


def _run_explore(options: argparse.Namespace) -> None:
    from tracedlm.config import load_yaml
    from tracedlm.records.manifest import code_digest
    from tracedlm.report.pages.explorer import write_explorer
    from tracedlm.resources import located
    from tracedlm.stages.explorer import replay_study

    study, out = (
        load_yaml(located("config/config.yaml"), *options.config),
        options.out or options.results / "explorer.html",
    )
    named = (
        study.study,
        study.model.path,
        study.datasets,
        study.seq_lens,
        study.readouts,
        study.exits.rules,
        study.certify,
    )
    replay = replay_study(
        options.results, *named, study.readout.tau, options.samples or study.explorer.samples
    )
    write_explorer(replay, f"{code_digest('explorer')} {code_digest('report')}", out)
    print(out)


def _validate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "folder", type=Path, help="trace set, e.g. results/tiny/traces/countdown/128/test"
    )
    parser.set_defaults(run=_run_validate)


def _run_validate(options: argparse.Namespace) -> None:
    from tracedlm.stages.trace.check import check_traces

    problems = list(check_traces(options.folder))
    if problems:
        raise ValueError(
            f"{options.folder}: {len(problems)} problems\n"
            + "\n".join(f"  {problem}" for problem in problems)
        )
    print(f"{options.folder}: whole and consistent")


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


def _config(parser: argparse.ArgumentParser) -> None:
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


def _rehearse(parser: argparse.ArgumentParser) -> None:
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


def _lm_eval(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arguments", nargs="*")
    parser.set_defaults(run=_run_lm_eval)


def _run_lm_eval(options: argparse.Namespace) -> None:
    if find_spec("lm_eval") is None:
        raise ValueError(
            "lm-evaluation-harness is not installed: pip install -c constraints.txt -e '.[lm-eval]'"
        )
    from lm_eval.__main__ import cli_evaluate  # pyright: ignore[reportMissingImports]

    import tracedlm.lm_eval_adaptor  # noqa: F401 (registers the model)

    sys.argv = ["lm_eval", *options.arguments]
    cli_evaluate()


if __name__ == "__main__":
    sys.exit(main())
