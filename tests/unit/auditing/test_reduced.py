"""Large pictures are audited averaged down; small ones as they are."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from skimage.transform import downscale_local_mean

from obfnet.auditing.reduced import MOST_SIDE, within_size
from obfnet.auditing.run import audit
from obfnet.auditing.subject import AttackerPart, AuditSubject, ScoredPart
from obfnet.core.progress import Silent

RANDOM = np.random.default_rng(0)


def subject_of(*shape: int, count: int = 40) -> AuditSubject:
    raw = RANDOM.random((count, *shape), np.float32)
    labels = np.arange(count) % 2
    return AuditSubject(
        name="some",
        kind="pictures",
        attacker=AttackerPart(raw=raw[10:], received=1 - raw[10:], labels=labels[10:]),
        scored=ScoredPart(raw=raw[:10], received=1 - raw[:10], answered=labels[:10]),
        classes=("a", "b"),
    )


@pytest.mark.parametrize("shape", [(3, MOST_SIDE, MOST_SIDE), (1, 8, 8), (500,)])
def test_what_is_small_stays_as_it_is(shape: tuple[int, ...]) -> None:
    subject = subject_of(*shape)
    assert within_size(subject, 5, progress=Silent()) is subject


def test_large_pictures_are_averaged_block_by_block() -> None:
    subject = subject_of(3, 224, 112)
    smaller = within_size(subject, 20, progress=Silent())
    assert len(smaller.attacker) == 20
    for part, whole in (
        (smaller.scored.raw, subject.scored.raw),
        (smaller.scored.received, subject.scored.received),
        (smaller.attacker.raw, subject.limited(20).attacker.raw),
    ):
        wanted = downscale_local_mean(whole[:], (1, 1, 4, 4))
        assert part.shape[1:] == (3, 56, 28)
        # Kept in half precision.
        np.testing.assert_allclose(part[:], wanted, rtol=0, atol=3e-4)
    assert "averaged down to 56x28" in smaller.warnings[0]
    assert smaller.network is None
    assert smaller.pool == ()


def test_what_is_sent_again_is_averaged_too() -> None:
    subject = subject_of(1, 100, 100)
    whole = RANDOM.random((10, 1, 100, 100), np.float32)
    smaller = within_size(replace(subject, repeats=lambda number: whole), 20, progress=Silent())
    assert smaller.repeats is not None
    np.testing.assert_allclose(smaller.repeats(1), downscale_local_mean(whole, (1, 1, 2, 2)), atol=1e-6)


def test_an_audit_of_large_pictures_says_at_what_size(tmp_path: Path) -> None:
    coarse = RANDOM.random((400, 1, 4, 4), np.float32)
    raw = np.kron(coarse, np.ones((1, 1, 32, 32), np.float32))
    path = tmp_path / "pairs.npz"
    np.savez(path, raw=raw, obfuscated=1 - raw, label=np.arange(400) % 2)
    found = audit(path, out=tmp_path / "audit", budget="quick", attacks=("ridge",))
    assert any("averaged down to 64x64" in warning for warning in found["subject"]["warnings"])
    # The inverse of an inversion, which ridge regression finds at any size.
    assert found["headline"]["normalised_leakage"] > 0.9
    assert "averaged down to 64x64" in (tmp_path / "audit" / "report.html").read_text()


def test_what_averaging_wipes_out_of_what_is_sent_is_no_safety(tmp_path: Path) -> None:
    """A sample under a fine pattern is rebuilt by whoever knows it, and averaging leaves nothing of it."""
    raw = np.kron(RANDOM.random((400, 1, 4, 4), np.float32), np.ones((1, 1, 32, 32), np.float32))
    chequered = np.where(np.indices((128, 128)).sum(0) % 2, 1, -1).astype(np.float32)
    path = tmp_path / "pairs.npz"
    np.savez(path, raw=raw, obfuscated=0.5 + (raw - 0.5) * chequered, label=np.arange(400) % 2)
    found = audit(path, out=tmp_path / "audit", budget="quick", attacks=("ridge",))
    assert found["headline"]["normalised_leakage"] < 0.1
    assert found["subject"]["reduced_to"] == [64, 64]
    assert found["subject"]["sent_kept"] < 0.01
    assert "may rebuild far more" in found["headline"]["verdict"]
    assert any("most of what a backend receives" in warning for warning in found["subject"]["warnings"])
    assert "never saw most of what is sent" in (tmp_path / "audit" / "report.html").read_text()


def test_what_is_left_of_the_sent_pictures_is_their_share_of_variance() -> None:
    subject = subject_of(1, 128, 128, count=400)
    # Of independent values a mean of four has a quarter of the variance.
    assert within_size(subject, 20, progress=Silent()).sent_kept == pytest.approx(0.25, abs=0.01)
    coarse = np.kron(RANDOM.random((10, 1, 32, 32), np.float32), np.ones((1, 1, 4, 4), np.float32))
    scored = replace(subject.scored, raw=coarse, received=coarse, answered=np.arange(10) % 2)
    assert within_size(replace(subject, scored=scored), 20, progress=Silent()).sent_kept > 0.99


@pytest.mark.parametrize("shape", [(30,), (1, 12, 12)])
def test_what_is_sent_small_or_as_vectors_stays_as_it_is(shape: tuple[int, ...]) -> None:
    subject = subject_of(1, 128, 128)
    sent = RANDOM.random((40, *shape), np.float32)
    smaller = within_size(
        replace(
            subject,
            attacker=replace(subject.attacker, received=sent[10:]),
            scored=replace(subject.scored, received=sent[:10]),
        ),
        40,
        progress=Silent(),
    )
    np.testing.assert_allclose(smaller.scored.received[:], sent[:10], atol=3e-4)
    assert smaller.scored.raw.shape[1:] == (1, 64, 64)
    assert smaller.sent_kept is None


def test_samples_that_averaging_makes_alike_are_not_known_to_the_attacker() -> None:
    subject = subject_of(1, 128, 128)
    near = subject.scored.raw[:3].copy()
    near[:, 0, 0, 0] += 1e-4
    known = np.concatenate([near, subject.attacker.raw[3:]])
    smaller = within_size(
        replace(subject, attacker=replace(subject.attacker, raw=known)), 40, progress=Silent()
    )
    assert len(smaller.attacker) == 27
    assert smaller.duplicates_removed == 3
    np.testing.assert_allclose(
        smaller.attacker.received[0], downscale_local_mean(subject.attacker.received[3], (1, 2, 2)), atol=3e-4
    )
