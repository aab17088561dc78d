"""This process's memory: what was freed goes back to the system, and how much it was at most.

So that one case's peak is not carried into the next.
"""

import ctypes
import gc
from pathlib import Path
from typing import Final

_STATUS: Final = Path("/proc/self/status")


def give_back_memory() -> None:
    """Collects what nothing refers to, and has the allocator return its free pages where it can (glibc)."""
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return
    trim(0)


def peak_bytes() -> int | None:
    """The most memory that this process was resident with until now; None where it cannot be measured."""
    try:
        lines = _STATUS.read_text().splitlines()
    except OSError:
        return None
    # Not every kernel keeps the peak: those of some sandboxes say what is resident now, and no more.
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)
