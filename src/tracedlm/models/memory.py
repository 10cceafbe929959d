"""Memory that a CPU's tensors leave behind stays with the process.

Every denoising step asks for the same temporaries again. glibc gives those above 128 kB back to the
system one by one, and the system clears each page anew: sixteen times the page faults
(docs/log.md). Accelerators have allocators of their own, which keep what is freed.
"""

import ctypes
import platform

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Numbers of two options in malloc.h.

How much free memory is kept at the top of the heap, and from which size on a tensor gets a mapping
of its own.
"""


def keep_freed_memory(most: int = 2**30) -> bool:
    """Let glibc keep up to `most` bytes of freed memory for the whole process.

    Whether this system has a glibc that does.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(TRIM_THRESHOLD, most) and mallopt(MMAP_THRESHOLD, most))
