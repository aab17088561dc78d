"""Waveforms are audited as features; everything else as it is."""

from dataclasses import replace

import numpy as np
import pytest

from obfnet.auditing.heard import as_heard
from obfnet.auditing.subject import AttackerPart, AuditSubject, ScoredPart
from obfnet.core.errors import DataError
from obfnet.core.progress import Silent
from obfnet.data.mfcc import speech_features
from obfnet.data.wav import Sound
from tests.unit.data.sounds import voiced

RATE_HZ = 8000


def subject_of(count: int = 12) -> AuditSubject:
    raw = np.stack([(voiced(0.5 + 0.03 * number, RATE_HZ)[:4000] + 1) / 2 for number in range(count)])
    raw = raw.astype(np.float32).reshape(count, 1, 1, -1)
    labels = np.arange(count) % 2
    return AuditSubject(
        name="words",
        kind="sounds",
        attacker=AttackerPart(raw=raw[4:], received=1 - raw[4:] / 2, labels=labels[4:], attribute=labels[4:]),
        scored=ScoredPart(raw=raw[:4], received=1 - raw[:4] / 2, answered=labels[:4], attribute=labels[:4]),
        classes=("a", "b"),
        rate_hz=RATE_HZ,
    )


def test_attackers_get_the_features_of_raw_and_of_sent_sounds() -> None:
    subject = subject_of()
    heard = as_heard(subject, 100, progress=Silent())
    for part, whole in (
        (heard.scored.raw, subject.scored.raw),
        (heard.scored.received, subject.scored.received),
        (heard.attacker.raw, subject.attacker.raw),
        (heard.attacker.received, subject.attacker.received),
    ):
        wanted = [
            speech_features(Sound(samples=(2 * one.reshape(-1) - 1).astype(np.float32), rate_hz=RATE_HZ))
            for one in whole[:]
        ]
        np.testing.assert_allclose(part[:], wanted, atol=1e-6)
    assert (heard.rate_hz, heard.network, heard.pool) == (0, None, ())
    assert heard.heard_s == (0.5, 0.5)
    assert "turned into 20x45 MFCCs" in heard.warnings[-1]
    assert heard.attacker.attribute is not None
    assert len(as_heard(subject, 3, progress=Silent()).attacker) == 3


def test_what_is_sent_again_is_heard_too() -> None:
    subject = subject_of()
    again = as_heard(replace(subject, repeats=lambda number: subject.scored.raw[:]), 100, progress=Silent())
    assert again.repeats is not None
    np.testing.assert_allclose(again.repeats(1), again.scored.raw[:], atol=1e-6)


def test_what_sounds_the_same_is_no_sample_of_the_attackers() -> None:
    subject = subject_of()
    # Silence has the same features, however loud it is not.
    silent = np.full_like(subject.scored.raw[:], 0.5)
    silent[:, 0, 0, 0] += np.arange(4) * np.float32(1e-7)
    scored = replace(subject.scored, raw=silent)
    own = replace(subject.attacker.take(np.arange(4)), raw=silent)
    with pytest.raises(DataError, match="none, once they are heard as features"):
        as_heard(replace(subject, scored=scored, attacker=own), 100, progress=Silent())


def test_features_are_left_alone() -> None:
    subject = replace(subject_of(), rate_hz=0)
    assert as_heard(subject, 3, progress=Silent()) is subject
