"""Timing an obfuscation beside the bare runtime: what is done in each call, and in which unit."""

import pytest

from obfnet.edge import ObfuscationSession
from obfnet.edge.timing import time_obfuscation
from tests.wire.models import bundle_of, obfuscator_bytes, raw_samples


def test_both_medians_are_in_microseconds(monkeypatch):
    calls = []
    # A clock that goes on by a millisecond a look, so that every call takes one.
    monkeypatch.setattr("obfnet.edge.timing.time.perf_counter", lambda: next(clock))
    clock = (0.001 * tick for tick in range(10_000))
    obfuscate = ObfuscationSession.obfuscate
    monkeypatch.setattr(
        ObfuscationSession, "obfuscate", lambda self, raw: calls.append(len(raw)) or obfuscate(self, raw)
    )
    timed = time_obfuscation(bundle_of(obfuscator_bytes()), raw_samples(1), calls=7)
    assert timed == {"obfuscate_us": pytest.approx(1000), "bare_us": pytest.approx(1000)}
    assert calls == [1] * 7
