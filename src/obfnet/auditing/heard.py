"""Waveforms as an audit hears them: as the features in which speech is told apart.

Nobody rebuilds a waveform sample by sample, and nobody needs to: what is said and who says it lies in its
spectrum. So attackers get MFCCs of raw and of sent waveforms, and are scored on those; what a spectrum does
not show (phases, what lies above the telephone's band, what comes after the first second) is not measured.
"""

from dataclasses import replace

import numpy as np

from obfnet.auditing.seen import seen_as
from obfnet.auditing.subject import AttackerPart, AuditSubject, ScoredPart
from obfnet.core.progress import Progress
from obfnet.core.spec import Samples
from obfnet.data.mfcc import SEEN_S, speech_features
from obfnet.data.rows import AnyRows, batches
from obfnet.data.waveforms import sound_of


def as_heard(subject: AuditSubject, limit: int, *, progress: Progress) -> AuditSubject:
    """A subject whose waveforms have become features.

    Args:
        subject: Whatever is audited.
        limit: Most samples that the attacker has.
        progress: Told of the change, which runs the network once over every sample.

    Returns:
        The same where its samples are no waveforms. Otherwise `(N, 1, 20, 45)` float32 in [0, 1] on both
        sides, in memory; networks, which take waveforms, are left out. A warning says so.

    Raises:
        DataError: nothing is left to the attacker.

    Does not guarantee: anything about what the features do not show of sounds, nor about what sent waveforms
        tell besides: an attacker who takes these as they are may rebuild more.
    """
    rate_hz = subject.rate_hz
    if not rate_hz:
        return subject
    sent_s = subject.scored.raw.shape[-1] / rate_hz
    heard_s = min(sent_s, SEEN_S)
    subject, repeats = subject.limited(limit), subject.repeats
    attacker, scored = subject.attacker, subject.scored
    parts = (attacker.raw, attacker.received, scored.raw, scored.received)
    progress.start("hear waveforms as features", sum(map(len, parts)))
    done = 0

    def heard(rows: AnyRows) -> Samples:
        nonlocal done
        found = []
        for some in batches(rows):
            found.append(features_of(some, rate_hz))
            done += len(some)
            progress.advance(done)
        return np.concatenate(found)

    raw, received, raw_scored, received_scored = map(heard, parts)
    progress.finish()
    found = seen_as(
        subject,
        AttackerPart(raw=raw, received=received, labels=attacker.labels, attribute=attacker.attribute),
        ScoredPart(
            raw=raw_scored, received=received_scored, answered=scored.answered, attribute=scored.attribute
        ),
        how="heard as features",
        warnings=[
            f"waveforms, raw and sent ones, were turned into 20x45 MFCCs of their first {heard_s:.2f} of "
            f"{sent_s:.2f} s: what these do not show is not measured, and attacks that need the network "
            "itself were not run"
        ],
        repeats=None if repeats is None else lambda number: features_of(repeats(number), rate_hz),
    )
    return replace(found, rate_hz=0, heard_s=(heard_s, sent_s))


def features_of(waveforms: Samples, rate_hz: int) -> Samples:
    """Waveforms as networks see them, `(N, 1, 1, T)`, as MFCCs, `(N, 1, 20, 45)` float32 in [0, 1]."""
    features: Samples = np.stack([speech_features(sound_of(one, rate_hz)) for one in waveforms])
    return features
