"""Commands, thin over the public functions: `python -m tracedlm generate|certify|rrm --help`."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a mistake of the user's is one line on stderr and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m tracedlm", description="Early exit for diffusion language models")
    commands = parser.add_subparsers(required=True, metavar="command")
    _generate(commands.add_parser("generate", help="decode prompts with an exit rule"))
    _certify(commands.add_parser("certify", help="certify the samples of a readout table"))
    _rrm(commands.add_parser("rrm", help="make a map from recorded moments"))
    options = parser.parse_args(arguments)
    try:
        options.run(options)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _generate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("prompt", nargs="*", help="user turns; one per line on standard input if none is given")
    parser.add_argument("--model", default="resources/base", help="checkpoint folder or hub id (default: the shipped base model)")
    parser.add_argument("--adapter", help="PEFT adapter folder, e.g. results/tiny/sft/adapter")
    parser.add_argument("--rrm", help="map file, e.g. results/tiny/rrm/q.safetensors; needed by rules that read a map")
    parser.add_argument("--exit", default="full", help="exit rule (default: full)")
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE", help="settings of the rule, e.g. delta=1e-6 omega=3")
    parser.add_argument("--gen-length", type=int, default=128)
    parser.add_argument("--block-length", type=int, default=32)
    parser.add_argument("--steps", type=int, help="total denoising steps (default: half the generation length)")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.set_defaults(run=_run_generate)


def _run_generate(options: argparse.Namespace) -> None:
    import tracedlm
    from tracedlm.records.rrm import Rrm

    prompts = options.prompt or sys.stdin.read().splitlines()
    settings: dict[str, Any] = dict(_setting(text) for text in options.set)
    denoiser = tracedlm.load_denoiser(options.model, options.adapter)
    result = tracedlm.generate(
        denoiser,
        prompts,
        gen_length=options.gen_length,
        block_length=options.block_length,
        steps=options.steps or options.gen_length // 2,
        exit=options.exit,
        rrm=Rrm.read(options.rrm) if options.rrm else None,
        batch_size=options.batch_size,
        **settings,
    )
    for prompt, text, nfe, stopped_at in zip(prompts, result.text, result.nfe, result.stopped_at, strict=True):
        print(json.dumps({"prompt": prompt, "text": text, "nfe": int(nfe), "stopped_at": stopped_at}))


def _setting(text: str) -> tuple[str, float | int]:
    key, _, value = text.partition("=")
    try:
        return key, int(value) if value.lstrip("-").isdigit() else float(value)
    except ValueError:
        raise ValueError(f"--set {text}: expected KEY=NUMBER, for example delta=1e-6") from None


def _certify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("readout", help="readout table, e.g. results/tiny/readouts/countdown/128/test/q.parquet")
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
    series = to_series(table, int(table.schema.metadata[b"gen_length"]))
    for n, sample in enumerate(series.sample_id):
        steps = series.recorded[n]
        record = certify(
            series.similarity[n, steps], series.visible[n, steps], options.tau, options.delta, options.omega, options.late_window
        )
        lscr = None if record.lscr != record.lscr else record.lscr
        print(json.dumps({"sample_id": int(sample), "certified_at": record.certified_at, "lscr": lscr}))


def _rrm(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("moments", help="moments file, e.g. results/tiny/sft/moments.safetensors")
    parser.add_argument("out", type=Path, help="map file to write")
    parser.add_argument("--projection", default="q", choices=("q", "k", "v"))
    parser.add_argument("--layer", type=int, default=-1)
    parser.add_argument("--reduction", default="row_energy", choices=("row_energy", "row_mean"))
    parser.add_argument("--variant", default="outside_raw")
    parser.add_argument("--matrix", default="B", choices=("A", "B"))
    parser.set_defaults(run=_run_rrm)


def _run_rrm(options: argparse.Namespace) -> None:
    from tracedlm.stages.rrm import build_rrm

    build_rrm(options.moments, options.projection, options.layer, options.reduction, options.variant, options.matrix).write(options.out)


if __name__ == "__main__":
    sys.exit(main())
