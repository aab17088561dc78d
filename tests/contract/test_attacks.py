"""Every attack has two controls: on raw samples it clearly beats the mean sample, on a constant it cannot
beat the floor. One row an attack.

The samples are the bundled digits, each pixel doubled, so that SSIM's windows have something to see. What an
attack knows comes as the audit hands it out: exactly the type of its threat level.
"""

from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import pytest

from obfnet.attacks import ATTACKS, ATTRIBUTE_ATTACKS, KNOWLEDGE, Reconstruction
from obfnet.auditing.controls import as_control
from obfnet.auditing.subject import AttackerPart, AuditSubject, ScoredPart
from obfnet.auditing.trial import knowledge_of
from obfnet.core.errors import AttackError, UnknownNameError
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.metrics.similarity import mse, ssim

Samples = np.ndarray[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What a row says of an attack.

    Args:
        level: Its threat level.
        looks: Whether it looks at what was received.
        by_label: Whether it falls back on the answered label, so that guesses on a constant may differ.
        seeded: Whether its seed always changes the guesses.
        effort: Share of a standard training that is enough for these few small samples.
    """

    level: str
    looks: bool = True
    by_label: bool = False
    seeded: bool = True
    effort: float = 0.1


ROWS: dict[str, Row] = {
    "class-mean": Row(level="T0", looks=False, by_label=True, seeded=False),
    "as-received": Row(level="T0", seeded=False),
    "retrieval": Row(level="T0", by_label=True, seeded=False),
    "unpaired": Row(level="T0", by_label=True, seeded=False),
    "pool-decoder": Row(level="T1"),
    "ridge": Row(level="T2", by_label=True, seeded=False),
    "wiener": Row(level="T2", by_label=True, seeded=False),
    "value-table": Row(level="T2", by_label=True, seeded=False),
    "pca-neighbour": Row(level="T2", by_label=True, seeded=False),
    "code-lookup": Row(level="T2", by_label=True, seeded=False),
    "decoder": Row(level="T2"),
    "residual-decoder": Row(level="T2"),
    "large-decoder": Row(level="T2", effort=0.04),
    "adversarial-decoder": Row(level="T2"),
    "inversion": Row(level="T2", by_label=True, seeded=False),
    "few-pairs": Row(level="T3", by_label=True, seeded=False),
    "averaging": Row(level="T3"),
}
# Share of a standard training: as little as can be.
LITTLE: Final = 0.01


def doubled(samples: Samples) -> Samples:
    return np.kron(samples, np.ones((1, 1, 2, 2), np.float32))


class Nothing:
    """An obfuscator in whose place a control puts its own."""

    def obfuscate(self, raw: Samples) -> Samples:
        return 1 - raw

    def differentiable(self) -> Any:
        raise NotImplementedError


@pytest.fixture(scope="module")
def subject() -> AuditSubject:
    digits = load_case("digits")
    raw, scored = doubled(digits.train.samples), doubled(digits.test.samples)
    network = Nothing()
    return AuditSubject(
        name="digits",
        kind="pictures",
        attacker=AttackerPart(raw=raw, received=1 - raw, labels=digits.train.labels),
        scored=ScoredPart(raw=scored, received=1 - scored, answered=digits.test.labels),
        classes=digits.spec.classes,
        pool=(network,),
        network=network,
        repeats=lambda number: 1 - scored,
    )


def few(subject: AuditSubject) -> AuditSubject:
    """The same with what a test of form needs: 200 samples."""
    return subject.limited(200)


def fit(
    name: str, subject: AuditSubject, control: Any, *, seed: int = 0, effort: float | None = None
) -> tuple[Reconstruction, Samples]:
    where = as_control(subject, control)
    knowledge = knowledge_of(where, ROWS[name].level)
    assert type(knowledge) is KNOWLEDGE[ROWS[name].level]
    knowledge.forbid_overlap(where.scored.raw)
    fitted = ATTACKS.get(name)(effort=effort or ROWS[name].effort).fit(
        knowledge, seed=seed, progress=Silent()
    )
    return fitted, where.scored.received[:]


def guess(name: str, subject: AuditSubject, control: Any, **options: Any) -> Samples:
    fitted, received = fit(name, subject, control, **options)
    return np.asarray(fitted(received, subject.scored.answered))


def test_every_attack_has_a_row() -> None:
    assert ATTACKS.names() == list(ROWS)
    assert len(ROWS) >= 12


def test_an_unknown_attack_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="known: class-mean, as-received, retrieval"):
        ATTACKS.get("magic")


@pytest.mark.parametrize("name", [*ROWS, *ATTRIBUTE_ATTACKS.names()])
def test_an_attack_says_what_it_is(name: str) -> None:
    attack = (ATTACKS if name in ROWS else ATTRIBUTE_ATTACKS).get(name)()  # type: ignore[attr-defined]
    assert attack.name == name
    assert attack.threat_level == (ROWS[name].level if name in ROWS else "T2")
    assert attack.citation
    assert attack.assumes


@pytest.mark.parametrize("name", ROWS)
def test_on_raw_samples_it_clearly_beats_the_mean_sample(name: str, subject: AuditSubject) -> None:
    raw, guesses = subject.scored.raw[:], guess(name, subject, "identity")
    mean = np.broadcast_to(subject.attacker.raw[:].mean(axis=0), raw.shape)
    assert ssim(raw, guesses).mean() > ssim(raw, mean).mean() + 0.2
    assert mse(raw, guesses).mean() < 0.75 * mse(raw, mean).mean()
    if ROWS[name].looks:
        floor = guess("class-mean", subject, "identity")
        assert ssim(raw, guesses).mean() > ssim(raw, floor).mean() + 0.05
        assert mse(raw, guesses).mean() < 0.75 * mse(raw, floor).mean()


@pytest.mark.parametrize("name", ROWS)
def test_on_a_constant_it_cannot_beat_the_floor(name: str, subject: AuditSubject) -> None:
    raw, guesses = subject.scored.raw[:], guess(name, subject, "constant")
    floor = guess("class-mean", subject, "constant")
    assert ssim(raw, guesses).mean() < ssim(raw, floor).mean() + 0.01
    if not ROWS[name].by_label:
        # Whoever learns from the received samples alone has nothing to tell two of them apart by.
        assert np.ptp(guesses, axis=0).max() < 1e-5


@pytest.mark.parametrize("name", ROWS)
def test_guesses_are_samples(name: str, subject: AuditSubject) -> None:
    reconstruct, received = fit(name, few(subject), "identity", effort=LITTLE)
    for count in (1, 7):
        guesses = reconstruct(received[:count], subject.scored.answered[:count])
        assert guesses.shape == (count, 1, 16, 16)
        assert guesses.dtype == np.float32
        assert 0 <= guesses.min() <= guesses.max() <= 1


@pytest.mark.parametrize("name", ROWS)
def test_the_seed_decides_the_guesses(name: str, subject: AuditSubject) -> None:
    a, b, c = (guess(name, few(subject), "identity", seed=seed, effort=LITTLE) for seed in (0, 0, 1))
    np.testing.assert_array_equal(a, b)
    if ROWS[name].seeded:
        assert not np.array_equal(a, c)


@pytest.mark.parametrize("name", ROWS)
def test_what_the_attacker_knows_is_not_changed(name: str, subject: AuditSubject) -> None:
    before = subject.attacker.raw[:].copy()
    guess(name, few(subject), "identity", effort=LITTLE)
    np.testing.assert_array_equal(subject.attacker.raw[:], before)


@pytest.mark.parametrize("name", [name for name in ROWS if ROWS[name].level >= "T1"])
def test_what_it_lacks_is_named_in_one_line(name: str, subject: AuditSubject) -> None:
    # Recorded pairs of five samples, without a network, and nothing sent twice.
    bare = replace(subject.limited(5), pool=(), network=None, repeats=None)
    knowledge = knowledge_of(bare, ROWS[name].level)
    try:
        fitted = ATTACKS.get(name)(effort=LITTLE).fit(knowledge, seed=0, progress=Silent())
        guesses = fitted(bare.scored.received[:], bare.scored.answered)
    except AttackError as exc:
        said = str(exc)
    else:
        said = ""
        assert guesses.shape == bare.scored.raw.shape
    assert "\n" not in said


@pytest.mark.parametrize("name", ROWS)
def test_no_effort_is_refused(name: str) -> None:
    with pytest.raises(AttackError, match="an effort above 0, got 0"):
        ATTACKS.get(name)(effort=0)
