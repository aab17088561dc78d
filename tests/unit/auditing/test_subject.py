"""What is audited: no sample on both sides, one object whatever the source, and controls that are known."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from obfnet.auditing.controls import as_control
from obfnet.auditing.duplicates import names_of_rows
from obfnet.auditing.pairs import RecordedPairs, read_pairs, write_pairs
from obfnet.auditing.subject import AuditSubject, subject_of_pairs, subject_of_sessions
from obfnet.core.errors import DataError, UsageError
from obfnet.data.case import Dataset
from obfnet.data.cases import load_case
from obfnet.guarantees.statement import guarantee_of
from tests.unit.auditing.recorded import recorded

Samples = np.ndarray[Any, Any]


class Mirror:
    """Turns samples upside down."""

    def obfuscate(self, raw: Samples) -> Samples:
        return np.ascontiguousarray(raw[:, :, ::-1])

    def differentiable(self) -> Any:
        raise NotImplementedError


class Noise(Mirror):
    """Another sample each time."""

    def __init__(self) -> None:
        self.random = np.random.default_rng(0)

    def obfuscate(self, raw: Samples) -> Samples:
        return (raw * self.random.uniform(0, 1, raw.shape)).astype(np.float32)


def pairs_of(tmp_path: Path, **arrays: Any) -> RecordedPairs:
    path = tmp_path / "pairs.npz"
    arrays = {**recorded(), **arrays}
    write_pairs(path, arrays["raw"], arrays["obfuscated"], arrays["label"], arrays.get("attribute"))
    return read_pairs(path)


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return load_case("digits")


def of_sessions(dataset: Dataset, *networks: Any, **changed: Any) -> AuditSubject:
    settings: dict[str, Any] = {"index": 0, "answered": None, "limit_pairs": 500, "limit_scored": 100}
    return subject_of_sessions(dataset, networks or (Mirror(),), **{**settings, **changed})


def test_pairs_are_cut_by_label_and_none_is_on_both_sides(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path, attribute=np.arange(400) % 3)
    subject = subject_of_pairs(pairs, seed=0, scored=80, limit=10_000)
    assert (len(subject.attacker), len(subject.scored)) == (320, 80)
    assert (subject.threat_level, subject.kind, subject.pool, subject.network) == ("T3", "pictures", (), None)
    assert not np.isin(names_of_rows(subject.attacker.raw), names_of_rows(subject.scored.raw)).any()
    shares = np.bincount(subject.scored.answered) / np.bincount(pairs.labels)
    np.testing.assert_allclose(shares, 0.2, atol=0.03)
    # Each row still belongs to its others.
    everything = recorded()
    names = names_of_rows(everything["raw"])
    for part, labels in (
        (subject.attacker, subject.attacker.labels),
        (subject.scored, subject.scored.answered),
    ):
        place = np.array([int(np.flatnonzero(names == name)[0]) for name in names_of_rows(part.raw)])
        np.testing.assert_array_equal(part.received[:], everything["obfuscated"][place])
        np.testing.assert_array_equal(labels, everything["label"][place])
        np.testing.assert_array_equal(part.attribute, place % 3)


def test_the_seed_decides_the_cut(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path)
    first, same, other = (subject_of_pairs(pairs, seed=seed, scored=80, limit=100) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.scored.raw[:], same.scored.raw[:])
    assert first.fingerprint == same.fingerprint != other.fingerprint
    assert len(first.attacker) == 100


def test_at_most_a_quarter_is_scored(tmp_path: Path) -> None:
    subject = subject_of_pairs(pairs_of(tmp_path), seed=0, scored=10_000, limit=10_000)
    assert (len(subject.attacker), len(subject.scored)) == (300, 100)


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8"])
def test_copies_across_the_cut_are_left_out_and_said(tmp_path: Path, dtype: str) -> None:
    arrays = recorded()
    arrays["raw"][200:300] = arrays["raw"][:100]
    arrays["label"][200:300] = arrays["label"][:100]
    raw = (arrays["raw"] * (255 if dtype == "uint8" else 1)).astype(dtype)
    pairs = pairs_of(tmp_path, raw=raw, label=arrays["label"])
    subject = subject_of_pairs(pairs, seed=0, scored=80, limit=10_000)
    assert not np.isin(names_of_rows(subject.attacker.raw), names_of_rows(subject.scored.raw)).any()
    assert len(subject.scored) == 80
    lost = 320 - len(subject.attacker)
    assert 10 < lost < 80
    assert f"{lost} of the attacker's samples are copies of scored ones" in " ".join(subject.warnings)


def test_the_same_few_samples_again_and_again_are_refused(tmp_path: Path) -> None:
    arrays = recorded(40)
    again = {key: np.concatenate([value] * 10) for key, value in arrays.items()}
    with pytest.raises(DataError, match="at least 100 pairs whose raw sample is not scored on"):
        subject_of_pairs(pairs_of(tmp_path, **again), seed=0, scored=80, limit=10_000)


def test_vectors_are_vectors(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path, raw=recorded()["raw"].reshape(400, 64))
    assert subject_of_pairs(pairs, seed=0, scored=80, limit=100).kind == "vectors"


def test_a_pool_attacks_train_and_scores_test(dataset: Dataset) -> None:
    first, second = Noise(), Mirror()
    answered = dataset.test.labels * 0 + 3
    subject = of_sessions(dataset, first, second, index=1, answered=answered, guarantee=guarantee_of(8.0))
    assert (len(subject.attacker), len(subject.scored)) == (500, 100)
    assert (subject.pool, subject.network, subject.repeats) == ((first, second), second, None)
    assert (subject.threat_level, subject.guarantee.budget_bits, subject.name) == ("T2", 8.0, "digits")
    assert set(subject.scored.answered) == {3}
    assert subject.warnings == ()
    for part in (subject.attacker, subject.scored):
        assert part.received.dtype == part.raw.dtype == np.float32
        np.testing.assert_array_equal(part.received[:], part.raw[:][:, :, ::-1])
    assert np.isin(names_of_rows(subject.scored.raw), names_of_rows(dataset.test.samples)).all()
    assert np.isin(names_of_rows(subject.attacker.raw), names_of_rows(dataset.train.samples)).all()


def test_true_labels_in_place_of_answers_are_said(dataset: Dataset) -> None:
    (warning,) = of_sessions(dataset).warnings
    assert "the backend was not asked" in warning


def test_published_copies_across_the_split_are_left_out_and_said(dataset: Dataset) -> None:
    samples = np.array(dataset.train.samples)
    samples[:7] = np.array(dataset.test.samples)[:7]
    mixed = replace(dataset, train=replace(dataset.train, samples=samples))
    subject = of_sessions(mixed, answered=dataset.test.labels, limit_pairs=10**6, limit_scored=10**6)
    assert len(subject.attacker) == len(dataset.train.labels) - 7
    assert subject.warnings == (
        "7 of the attacker's samples are copies of scored ones, value by value: left out",
    )
    nothing = replace(dataset, train=dataset.test)
    with pytest.raises(DataError, match="not among the tested"):
        of_sessions(nothing, limit_pairs=10**6, limit_scored=10**6)


@pytest.mark.parametrize("changed", [{"index": 1}, {"index": -1}, {"answered": np.zeros(5, np.int64)}])
def test_wrong_use_is_refused(dataset: Dataset, changed: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        of_sessions(dataset, **changed)


def test_a_random_obfuscation_is_sent_again_and_scored_once(dataset: Dataset) -> None:
    subject = of_sessions(dataset, Noise())
    assert subject.repeats is not None
    assert not np.array_equal(subject.repeats(0), subject.repeats(1))
    np.testing.assert_array_equal(subject.scored.received[:], subject.scored.received[:])
    assert subject.fingerprint == of_sessions(dataset, Noise()).fingerprint


def test_whatever_differs_has_another_fingerprint(dataset: Dataset) -> None:
    subjects = [
        of_sessions(dataset),
        of_sessions(dataset, identity="another"),
        of_sessions(dataset, Noise()),
        of_sessions(dataset, limit_pairs=400),
        of_sessions(dataset, answered=dataset.test.labels * 0),
        of_sessions(dataset, Mirror(), Mirror()),
        *(as_control(of_sessions(dataset), kind) for kind in ("identity", "label", "constant")),
    ]
    assert len({subject.fingerprint for subject in subjects}) == len(subjects)
    assert of_sessions(dataset).fingerprint == subjects[0].fingerprint


def test_what_it_is_called_is_not_in_the_fingerprint(dataset: Dataset) -> None:
    # So a benchmark takes what an audit has attacked, and the other way round.
    assert of_sessions(dataset, name="a row of a table").fingerprint == of_sessions(dataset).fingerprint


def test_fewer_of_the_attackers_samples(dataset: Dataset) -> None:
    subject = of_sessions(dataset)
    fewer = subject.limited(10)
    assert (len(fewer.attacker), len(fewer.scored)) == (10, 100)
    np.testing.assert_array_equal(fewer.attacker.received[:], fewer.attacker.raw[:][:, :, ::-1])
    assert subject.limited(10_000) is subject


@pytest.mark.parametrize("network", [Mirror, Noise])
def test_the_identity_and_the_constant_are_what_they_say(dataset: Dataset, network: Any) -> None:
    subject = of_sessions(dataset, network(), network(), guarantee=guarantee_of(4.0))
    for kind in ("identity", "constant"):
        control = as_control(subject, kind)  # type: ignore[arg-type]
        assert control.guarantee.budget_bits is None
        assert len(control.pool) == 2
        assert control.network is not None
        expected = subject.scored.raw[:] if kind == "identity" else np.full(subject.scored.raw.shape, 0.5)
        np.testing.assert_array_equal(control.scored.received[:], expected)
        assert control.scored.received.dtype == np.float32
        np.testing.assert_array_equal(control.network.obfuscate(subject.scored.raw[:]), expected)
        out = control.network.differentiable()(torch.from_numpy(subject.scored.raw[:]))
        np.testing.assert_array_equal(out.numpy(), expected)
        assert (control.repeats is None) == (subject.repeats is None)
        if control.repeats is not None:
            np.testing.assert_array_equal(control.repeats(5), expected)
        np.testing.assert_array_equal(control.scored.raw[:], subject.scored.raw[:])


def test_the_label_control_tells_the_label_and_nothing_else(dataset: Dataset) -> None:
    answered = np.roll(dataset.test.labels, 1)
    control = as_control(of_sessions(dataset, answered=answered), "label")
    assert (control.network, control.pool, control.repeats) == (None, (), None)
    for part, labels in (
        (control.attacker, control.attacker.labels),
        (control.scored, control.scored.answered),
    ):
        assert part.received.shape == part.raw.shape
        pictures = part.received[:]
        assert set(np.unique(pictures)) == {0, 1}
        for label in range(10):
            own = pictures[labels == label]
            assert (own == own[:1]).all()
            assert own[0].sum() >= 6
        assert len(np.unique(pictures, axis=0)) == 10


@pytest.mark.parametrize(("side", "classes"), [(8, 64), (8, 70), (3, 8)])
def test_pictures_of_any_number_of_labels_differ(tmp_path: Path, side: int, classes: int) -> None:
    arrays = recorded(400)
    subject = subject_of_pairs(
        pairs_of(tmp_path, raw=arrays["raw"][:, :, :side, :side], label=np.arange(400) % classes),
        seed=0,
        scored=100,
        limit=1_000,
    )
    control = as_control(subject, "label")
    assert len(np.unique(control.attacker.received[:], axis=0)) == classes


def test_vectors_get_one_value_a_label(tmp_path: Path) -> None:
    pairs = pairs_of(tmp_path, raw=recorded()["raw"].reshape(400, 64))
    control = as_control(subject_of_pairs(pairs, seed=0, scored=80, limit=100), "label")
    np.testing.assert_array_equal(control.scored.received[:], np.eye(8)[control.scored.answered])
    assert (control.network, control.repeats) == (None, None)


def test_controls_of_recorded_pairs_have_no_networks(tmp_path: Path) -> None:
    subject = subject_of_pairs(pairs_of(tmp_path), seed=0, scored=80, limit=100)
    control = as_control(subject, "identity")
    assert (control.network, control.pool) == (None, ())
    np.testing.assert_array_equal(control.attacker.received[:], subject.attacker.raw[:])
