"""Run by `test_malicious.py` in a process of its own.

Read hostile files, one a line of input, in little memory; no torch.
"""

import resource
import sys
from pathlib import Path

import pyarrow as pa

from tracedlm.records import trace
from tracedlm.records.adapter import Adapter
from tracedlm.records.map_file import MapFiles
from tracedlm.records.parquet import read_groups, read_table
from tracedlm.tasks import get_task

MEMORY = 256 * 2**20
"""Bytes of address space beyond what the modules take.

Each file would take several times as much.
"""

READ = {
    ".npz": MapFiles,
    ".safetensors": Adapter,
    ".parquet": lambda path: get_task("s1k").read(path),
    ".table": lambda path: read_table(path, trace.STEPS, "trace steps"),
    ".groups": lambda path: list(read_groups(path, trace.STEPS, "trace steps")),
}


def main() -> None:
    pa.set_cpu_count(1)  # or threads' stacks would count
    pa.set_memory_pool(pa.system_memory_pool())
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    for path in map(Path, sys.stdin.read().split()):
        try:
            READ[path.suffix](path)
            answer = "taken"
        except ValueError as error:
            answer = f"refused {error}"
        except BaseException as error:
            answer = f"broken {error!r}"
        print(path.name, answer.replace("\n", " "), sep="\t", flush=True)


if __name__ == "__main__":
    main()
