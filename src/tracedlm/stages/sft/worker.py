"""One of several fine-tuning processes.

`torchrun ... -m tracedlm.stages.sft.worker JOB`, started by `stages.sft.fine_tune`.
"""

import json
import os
import sys
from pathlib import Path

import torch

from tracedlm.config import Sft
from tracedlm.stages.sft.fine_tune import train


def main(job: Path) -> int:
    """Train with the arguments in a job file.

    A mistake of the user's goes to a file beside it, for the process that started us.
    """
    arguments = json.loads(job.read_text())
    if torch.accelerator.is_available() and arguments["model"]["device"] != "cpu":
        torch.accelerator.set_device_index(int(os.environ["LOCAL_RANK"]))
    paths = {
        name: {key: Path(path) for key, path in arguments[name].items()}
        for name in ("files", "out")
    }
    try:
        train(
            arguments["model"],
            Sft(**arguments["settings"]),
            paths["files"],
            arguments["seed"],
            arguments["threads"],
            Path(arguments["scratch"]),
            paths["out"],
        )
    except ValueError as error:
        (job.parent / "mistake.txt").write_text(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
