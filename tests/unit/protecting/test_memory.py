"""Memory is a figure beside the others: where it cannot be measured nothing is said, and nothing is lost."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from obfnet.protecting import memory
from obfnet.protecting.memory import device_bytes, peak_bytes

# What is missing here: the bundle's file.
BUNDLE: Any = SimpleNamespace(path=Path("missing.obfnet"), public_key="none")


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


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "print('a line of its own', 7)", "while True: pass"])
def test_a_device_that_fails_talks_or_hangs_says_none(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_DEVICE", code)
    monkeypatch.setattr(memory, "_MOST_S", 2.0)
    assert device_bytes(BUNDLE) is None


@pytest.mark.parametrize("executable", ["", "no-such-python"])
def test_a_process_that_cannot_be_started_says_none(executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    assert device_bytes(BUNDLE) is None
