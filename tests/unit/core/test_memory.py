"""Freed memory goes back to the system; a peak that no kernel keeps is said by none."""

import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from obfnet.core import memory
from obfnet.core.memory import give_back_memory, peak_bytes


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


def test_the_peak_is_in_bytes() -> None:
    assert 2**24 < (peak_bytes() or 0) < 2**40


@pytest.mark.parametrize("status", ["Name:\tpython\nVmRSS:\t  1024 kB\n", None])
def test_a_kernel_that_keeps_no_peak_says_none(
    status: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if status is not None:
        (tmp_path / "status").write_text(status)
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "status")
    assert peak_bytes() is None
