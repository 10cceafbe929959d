"""Commands about results that are there: rescore, rrm, explore, validate."""

import argparse
import json
from pathlib import Path
from typing import Any

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


def add_rescore(parser: argparse.ArgumentParser) -> None:
    """Arguments of `rescore`."""
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
    for disagreement in found.disagreements[: options.show]:
        d1 = repr(disagreement.d1_answer)[:60]
        strict = repr(disagreement.strict_answer)[:60]
        print(
            f"  sample {disagreement.sample}, gold {disagreement.gold}: solved by"
            f" {disagreement.solved_by} only; d1 read {d1}, strict {strict}"
        )


def add_rrm(parser: argparse.ArgumentParser) -> None:
    """Arguments of `rrm`."""
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


def add_explore(parser: argparse.ArgumentParser) -> None:
    """Arguments of `explore`."""
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


def add_validate(parser: argparse.ArgumentParser) -> None:
    """Arguments of `validate`."""
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
