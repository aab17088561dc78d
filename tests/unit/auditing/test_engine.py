"""What an audit says of obfuscations whose leakage is known, and that it goes on whatever an attack does."""

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from obfnet.attacks import ATTACKS, ReconstructionAttack
from obfnet.attacks.decoder import Decoder
from obfnet.auditing.controls import as_control
from obfnet.auditing.engine import Audit, audit_subject, closest_contest, headline_contest
from obfnet.auditing.pictures import pictures_of
from obfnet.auditing.settings import AuditSettings
from obfnet.auditing.subject import AttackerPart, AuditSubject, ScoredPart
from obfnet.auditing.trial import knowledge_of
from obfnet.core.errors import AttackError, UnknownNameError, UsageError
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.metrics.similarity import ssim
from obfnet.report.audit_page import choose_samples

ABOUT = {"command": "obfnet audit pairs.npz", "source": "pairs"}
CHEAP = ("ridge", "pca-neighbour", "code-lookup")


class Heard(Silent):
    """Keeps the lines that were said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


@pytest.fixture(scope="module")
def digits() -> AuditSubject:
    case = load_case("digits")

    def doubled(samples: Any) -> Any:
        return np.kron(samples, np.ones((1, 1, 2, 2), np.float32))

    raw, scored = doubled(case.train.samples), doubled(case.test.samples)
    return AuditSubject(
        name="digits",
        kind="pictures",
        attacker=AttackerPart(raw=raw, received=1 - raw, labels=case.train.labels),
        scored=ScoredPart(raw=scored, received=1 - scored, answered=case.test.labels),
        classes=case.spec.classes,
        threat_level="T3",
    )


def audited(
    subject: AuditSubject,
    folder: Path,
    *,
    attacks: tuple[str, ...] = CHEAP,
    seed: int = 0,
    metrics: tuple[str, ...] = ("mse",),
    **options: Any,
) -> dict[str, Any]:
    settings = AuditSettings(budget="quick", attacks=attacks, metrics=metrics, seed=seed)
    options = {"progress": Silent(), "about": ABOUT, **options}
    return audit_subject(subject, settings, folder=folder, **options).document


def changed(subject: AuditSubject, obfuscate: Any) -> AuditSubject:
    return replace(
        subject,
        attacker=replace(subject.attacker, received=obfuscate(subject.attacker)),
        scored=replace(subject.scored, received=obfuscate(subject.scored)),
    )


def of_label(part: Any) -> Any:
    labels = part.labels if isinstance(part, AttackerPart) else part.answered
    pictures = np.random.default_rng(9).random((10, 1, 16, 16), dtype=np.float32)
    return pictures[labels]


def test_an_inverted_sample_is_as_good_as_raw(digits: AuditSubject, tmp_path: Path) -> None:
    document = audited(digits, tmp_path)
    headline = document["headline"]
    assert headline["normalised_leakage"] == pytest.approx(1, abs=0.01)
    low, high = headline["normalised_leakage_interval"]
    assert low <= 1 <= high + 0.005
    assert headline["share_over_half"] > 0.9
    assert headline["raw_ssim"] > headline["floor_ssim"] + 0.1
    means = {one["name"]: one["figures"]["ssim"]["mean"] for one in document["attacks"] if one["counted"]}
    assert headline["closest_ssim"] == pytest.approx(max(means.values()))
    assert means[headline["closest_attack"]] == max(means.values())
    leaked = {one["name"]: one["normalised"]["mean"] for one in document["attacks"] if one["counted"]}
    assert headline["closest_leakage"] == leaked[headline["closest_attack"]]
    assert document["complete"] is True
    assert all(attack["counted"] for attack in document["attacks"])


@pytest.mark.parametrize("seed", range(4))
def test_the_label_alone_leaks_nothing(digits: AuditSubject, tmp_path: Path, seed: int) -> None:
    headline = audited(changed(digits, of_label), tmp_path, seed=seed)["headline"]
    assert headline["normalised_leakage"] <= 0.05
    assert headline["normalised_leakage_interval"][0] <= 0.005
    assert headline["share_over_half"] < 0.02


def test_a_tenth_of_raw_samples_in_label_only_output_shows(digits: AuditSubject, tmp_path: Path) -> None:
    def mixed(part: Any) -> Any:
        given_away = np.random.default_rng(len(part)).random(len(part)) < 0.1
        return np.where(given_away[:, None, None, None], part.raw, of_label(part)).astype(np.float32)

    headline = audited(changed(digits, mixed), tmp_path)["headline"]
    assert headline["normalised_leakage"] < 0.2
    assert headline["normalised_leakage_p95"] > 0.5
    assert 0.05 < headline["share_over_half"] < 0.15


def test_a_secret_permutation_of_pixels_hides_nothing(digits: AuditSubject, tmp_path: Path) -> None:
    order = np.random.default_rng(3).permutation(256)

    def permuted(part: Any) -> Any:
        return part.raw.reshape(len(part), -1)[:, order].reshape(part.raw.shape)

    assert audited(changed(digits, permuted), tmp_path)["headline"]["normalised_leakage"] > 0.95


def test_scoring_on_samples_that_it_knew_would_flatter(digits: AuditSubject, tmp_path: Path) -> None:
    noise = np.random.default_rng(5)

    def drowned(part: Any) -> Any:
        return noise.random(part.raw.shape, dtype=np.float32)

    honest = audited(changed(digits, drowned), tmp_path / "honest", attacks=("pca-neighbour",))
    subject = changed(digits, drowned)
    scored = subject.scored
    cheating = replace(
        subject,
        attacker=AttackerPart(raw=scored.raw, received=scored.received, labels=scored.answered),
    )
    with pytest.raises(AttackError, match="never saw the samples it is scored on"):
        audited(cheating, tmp_path / "refused", attacks=("code-lookup",))
    flattered = _flattery(cheating)
    # Of pure noise nothing can be rebuilt; whoever knew the samples would rebuild all of them.
    assert honest["headline"]["normalised_leakage"] < 0.05
    assert flattered > 0.95


def _flattery(cheating: AuditSubject) -> float:
    """What the audit would say without its check: the switch that exists in this test only."""
    decoder = Decoder(epochs=150, hidden=256)
    fitted = decoder.fit(knowledge_of(cheating, "T2"), seed=0, progress=Silent())
    guesses = fitted(cheating.scored.received, cheating.scored.answered)
    return float(ssim(cheating.scored.raw, guesses).mean())


class Broken(ReconstructionAttack):
    """Does what a third party's attack may do wrong."""

    name: ClassVar[str] = "broken"
    threat_level: ClassVar[str] = "T2"
    citation: ClassVar[str] = "nobody"
    assumes: ClassVar[str] = "nothing"
    fault: ClassVar[str] = "raises"
    answers: ClassVar[Any] = None

    def fit(self, knowledge: Any, *, seed: int, progress: Any) -> Any:
        if self.fault == "raises":
            raise ValueError("a secret value 0.123")
        faults = {
            "shape": lambda received, labels: received[:, :, :5],
            "nan": lambda received, labels: received * np.nan,
            "constant": lambda received, labels: received * 0,
            "cheats": lambda received, labels: self.answers,
        }
        return faults[self.fault]


@pytest.fixture
def broken() -> Any:
    ATTACKS.add("broken", f"{__name__}:Broken")
    yield Broken
    del ATTACKS._rows["broken"]


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("raises", "expected attack broken to run, got ValueError"),
        ("shape", "expected guesses of shape"),
        ("nan", "NaN or infinite"),
        ("constant", "too weak: it does not rebuild raw samples"),
        ("cheats", "finds something in a constant: it sees what it must not"),
    ],
)
def test_an_attack_that_fails_is_named_and_not_counted(
    digits: AuditSubject, tmp_path: Path, broken: Any, fault: str, reason: str
) -> None:
    broken.fault, broken.answers = fault, digits.scored.raw
    heard = Heard()
    document = audited(digits, tmp_path, attacks=("broken", "ridge"), progress=heard)
    row = next(attack for attack in document["attacks"] if attack["name"] == "broken")
    assert row["counted"] is False
    assert row["normalised"] is None or fault in {"constant", "cheats"}
    assert reason in row["reason"]
    assert "0.123" not in str(document)
    assert any("broken is not counted" in line for line in heard.lines)
    assert document["headline"]["attack"] == "ridge"


def test_no_attack_left_is_an_error_and_no_verdict(digits: AuditSubject, tmp_path: Path, broken: Any) -> None:
    broken.fault = "raises"
    saved: list[Audit] = []
    with pytest.raises(AttackError, match="an attack that passes its controls, got broken"):
        audited(digits, tmp_path, attacks=("broken",), save=saved.append)
    assert saved[-1].document["headline"]["normalised_leakage"] is None
    assert saved[-1].document["complete"] is False


def test_a_stopped_audit_leaves_a_partial_document_and_goes_on(digits: AuditSubject, tmp_path: Path) -> None:
    saved: list[dict[str, Any]] = []

    def stop(audit: Audit) -> None:
        saved.append(audit.document)
        if len(saved) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        audited(digits, tmp_path, save=stop)
    assert saved[-1]["complete"] is False
    assert [attack["name"] for attack in saved[-1]["attacks"]] == list(CHEAP[:2])
    heard = Heard()
    document = audited(digits, tmp_path, progress=heard)
    assert sum("attacked before" in line for line in heard.lines) >= 8
    assert document["complete"] is True
    fresh = audited(digits, tmp_path / "fresh")
    assert document["headline"] == fresh["headline"]


def test_a_damaged_trial_is_attacked_again(digits: AuditSubject, tmp_path: Path) -> None:
    first = audited(digits, tmp_path, attacks=("ridge",))
    for file in tmp_path.glob("*.npz"):
        file.write_bytes(file.read_bytes()[:100])
    assert audited(digits, tmp_path, attacks=("ridge",))["headline"] == first["headline"]


def test_an_attack_of_a_higher_level_is_not_run(digits: AuditSubject, tmp_path: Path) -> None:
    settings = AuditSettings(budget="quick", threat_level="T0", attacks=("ridge",))
    with pytest.raises(AttackError, match="an attack that an attacker of T0 can run"):
        audit_subject(digits, settings, folder=tmp_path, progress=Silent(), about=ABOUT)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"budget": "huge"}, UnknownNameError, "known: quick, standard, thorough"),
        ({"threat_level": "T9"}, UsageError, "a threat level of T0 to T3"),
        ({"attacks": ("magic",)}, UnknownNameError, "a known attack, got 'magic'"),
        ({"metrics": ("taste",)}, UnknownNameError, "a known metric, got 'taste'"),
    ],
)
def test_a_setting_that_is_none_is_refused(options: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        AuditSettings(**options)


def test_what_does_not_suit_the_samples_is_refused(digits: AuditSubject, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a metric for samples of shape"):
        audited(digits, tmp_path, metrics=("mel_cepstral_distortion_db",))


def test_a_constant_output_leaks_nothing(digits: AuditSubject, tmp_path: Path) -> None:
    headline = audited(as_control(digits, "constant"), tmp_path)["headline"]
    assert headline["normalised_leakage"] <= 0.01


def test_an_honest_guess_that_beats_the_class_mean_is_no_cheat(tmp_path: Path) -> None:
    # Of few noisy samples without classes to speak of, the mean of all is better than that of a class.
    random = np.random.default_rng(2)
    stroke = (random.random((1, 1, 16, 16)) < 0.3) * 0.5
    noise = random.random((600, 1, 16, 16)) * random.choice([0.05, 0.5], (600, 1, 1, 1))
    raw = np.clip(stroke + noise, 0, 1).astype(np.float32)
    labels = random.integers(0, 20, 600)
    subject = AuditSubject(
        name="noise",
        kind="pictures",
        attacker=AttackerPart(raw=raw[:300], received=1 - raw[:300], labels=labels[:300]),
        scored=ScoredPart(raw=raw[300:], received=1 - raw[300:], answered=labels[300:]),
        classes=tuple(map(str, range(20))),
        threat_level="T3",
    )
    (row,) = audited(subject, tmp_path, attacks=("ridge",))["attacks"]
    means = np.stack([raw[:300][labels[:300] == label].mean(axis=0) for label in range(20)])
    of_class = float(ssim(raw[300:], means[labels[300:]]).mean())
    of_all = float(ssim(raw[300:], np.broadcast_to(raw[:300].mean(axis=0), raw[300:].shape)).mean())
    assert of_all > of_class + 0.005
    assert row["counted"], row["reason"]
    # The better guess is the floor.
    assert row["floor"]["ssim"] > of_class + 0.004


def test_an_attack_with_a_low_ceiling_may_lead_but_its_guesses_are_not_shown(
    digits: AuditSubject, tmp_path: Path
) -> None:
    settings = AuditSettings(budget="quick", attacks=("ridge", "pca-neighbour"), metrics=("mse",))
    audit = audit_subject(digits, settings, folder=tmp_path, progress=Silent(), about=ABOUT)
    assert audit.closest is not None
    assert audit.closest.leakage is not None
    assert audit.closest.best is not None
    able = audit.closest.leakage
    low = replace(
        audit.closest,
        name="low",
        leakage=replace(
            able,
            mean=replace(able.mean, value=able.mean.value + 0.1),
            attacked=replace(able.attacked, value=able.attacked.value / 2),
        ),
    )
    contests = [low, audit.closest]
    assert headline_contest(contests) is low
    assert closest_contest(contests) is audit.closest
    shown = pictures_of(digits, replace(audit, best=low))
    assert shown is not None
    leaked = able.per_sample
    rows = choose_samples(leaked, worst=shown.worst, average=shown.worst)
    np.testing.assert_array_equal(shown.reconstructed, audit.closest.best.guesses[rows].astype(np.float32))
    headline = audit.document["headline"]
    assert (headline["closest_attack"], headline["closest_threat_level"]) == (
        audit.closest.name,
        audit.closest.threat_level,
    )
