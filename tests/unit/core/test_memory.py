"""Freed memory goes back to the system."""

import resource
import sys

import numpy as np
import pytest

from obfnet.core.memory import give_back_memory


def resident_kb() -> int:
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_many_freed_parts_are_given_back() -> None:
    assert resource.getpagesize() <= 65_536
    # Parts small enough to come from the heap, the last of which stays and keeps the heap from shrinking.
    parts = [np.ones(10_000, np.uint8) for _ in range(20_000)]
    last = parts[-1]
    full = resident_kb()
    del parts
    give_back_memory()
    assert resident_kb() < full - 150_000
    assert last.sum() == 10_000
