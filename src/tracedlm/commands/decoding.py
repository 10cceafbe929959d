"""Commands that decode and certify: generate, certify, lm-eval."""

import argparse
import json
import sys
from importlib.util import find_spec
from typing import Any


def add_generate(parser: argparse.ArgumentParser) -> None:
    """Arguments of `generate`."""
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


def add_certify(parser: argparse.ArgumentParser) -> None:
    """Arguments of `certify`."""
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
            tau=options.tau,
            delta=options.delta,
            omega=options.omega,
            late_window=options.late_window,
        )
        lscr = None if record.lscr != record.lscr else record.lscr
        print(
            json.dumps(
                {"sample_id": int(sample), "certified_at": record.certified_at, "lscr": lscr}
            )
        )


def add_lm_eval(parser: argparse.ArgumentParser) -> None:
    """Arguments of `lm-eval`."""
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
