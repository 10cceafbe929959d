"""Commands, thin over the public functions.

`python -m tracedlm generate|certify|rescore|rrm|explore|validate|lm-eval --help`.
"""

import argparse
import sys
from collections.abc import Sequence

from tracedlm.commands.decoding import add_certify, add_generate, add_lm_eval
from tracedlm.commands.results import RESCORE_HELP, add_explore, add_rescore, add_rrm, add_validate
from tracedlm.commands.study import add_config, add_rehearse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; a mistake of the user's is one line on stderr and exit code 2."""
    parser = argparse.ArgumentParser(
        prog="python -m tracedlm", description="Early exit for diffusion language models"
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    add_generate(commands.add_parser("generate", help="decode prompts with an exit rule"))
    add_certify(commands.add_parser("certify", help="certify the samples of a readout table"))
    add_rescore(
        commands.add_parser(
            "rescore", help="mark released generations again and count their steps", **RESCORE_HELP
        )
    )
    add_rrm(
        commands.add_parser(
            "rrm", help="make maps from what training left, or take over finished ones"
        )
    )
    add_explore(
        commands.add_parser(
            "explore", help="write the page in which a finished study's denoising is replayed"
        )
    )
    add_validate(
        commands.add_parser("validate", help="check that a trace set is whole and consistent")
    )
    add_config(
        commands.add_parser("config", help="print a merged study with the source of each value")
    )
    add_rehearse(commands.add_parser("rehearse", help="run a study to its end at tiny size"))
    # No prefix is an option's here: every argument is the harness' own, its --help too.
    add_lm_eval(
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


if __name__ == "__main__":
    sys.exit(main())
