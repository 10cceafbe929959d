"""What a reader may take: CPU seconds and address space, enforced on the process that asks."""

import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fuzz.readers import Reader

CPU_SECONDS, MEMORY = 20.0, 2 * 2**30
"""For a file of some kilobytes.

Far more than any reader needs, far less than a hang or a bomb takes.
"""


@contextmanager
def bounded() -> Iterator[None]:
    """Whoever takes more CPU time gets a TimeoutError, whoever takes more memory a MemoryError.

    Neither is a refusal.
    """

    def over(*_: Any) -> None:
        raise TimeoutError(f"more than {CPU_SECONDS} seconds of CPU time")

    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGPROF, over)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, hard))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def refusal(reader: Reader, folder: Path, content: bytes | None = None) -> str | None:
    """What the reader says of a file with this content, or of what is there.

    None where it takes it. Only a ValueError is a refusal.
    """
    path = folder / reader.file
    if content is not None:
        path.write_bytes(content)
    try:
        with bounded():
            reader.read(path)
    except ValueError as error:
        if isinstance(error, UnicodeError) or not any(
            name in str(error) for name in (path.name, str(folder))
        ):
            raise AssertionError(f"the refusal names no file: {error!r}") from error
        return str(error)
    return None
