"""The monitor: learns what is usual, keeps it in a file that nothing else passes for, and judges windows."""

import json

import numpy as np
import pytest

from obfnet.core.errors import DataError, UsageError
from obfnet.core.spec import InputSpec
from obfnet.edge.monitor import Monitor, Reference, probe_samples, verdict_document

SPEC = InputSpec(shape=(1, 6, 6), dtype="float32", low=0.0, high=1.0, layout="CHW", preprocessing="none")


def requests(count, *, seed, shift=0.0, spread=1.0):
    generator = np.random.default_rng(seed)
    raw = np.clip(generator.normal(0.4 + shift, 0.15, (count, *SPEC.shape)), 0, 1).astype(np.float32)
    return raw, generator.normal(0, spread, (count, 3)).astype(np.float32)


@pytest.fixture
def reference():
    raw, scores = requests(3_000, seed=0)
    return Reference.learnt(raw, scores, spec=SPEC, pool="p" * 64, probes=np.ones((16, 3), np.float32))


def verdict(reference, raw, scores, probes=None):
    monitor = Monitor(reference, SPEC, window=len(raw))
    assert monitor.observe(raw, scores)
    return monitor.judge(probes)


def test_nothing_is_said_of_what_is_as_before(reference):
    said = verdict(reference, *requests(500, seed=1), np.ones((16, 3), np.float32) + 1e-5)
    assert not said.alarm
    assert said.sentence() == "window 1, 500 requests: as before"


def test_other_samples_other_answers_and_another_model_are_told_apart(reference):
    samples = verdict(reference, *requests(500, seed=1, shift=0.1))
    assert (samples.samples_moved, samples.model_changed) == (True, False)
    assert "samples are not what they were" in samples.sentence()
    answers = verdict(reference, *requests(500, seed=1, spread=2.0))
    assert (answers.samples_moved, answers.model_changed, answers.alarm) == (False, False, True)
    assert "answers moved though samples did not" in answers.sentence()
    for probes in (
        np.full((16, 3), 1.01, np.float32),
        np.full((16, 3), np.nan, np.float32),
        np.ones((4, 3), np.float32),
    ):
        model = verdict(reference, *requests(500, seed=1), probes)
        assert model.model_changed
        assert model.alarm
        assert "the backend's model has changed" in model.sentence()


def test_windows_fill_up_over_several_calls_and_begin_anew(reference):
    raw, scores = requests(500, seed=1)
    monitor = Monitor(reference, SPEC)
    assert not monitor.observe(raw[:200], scores[:200])
    assert monitor.waiting == 200
    with pytest.raises(UsageError, match="at most 300 more requests, got 301"):
        monitor.observe(*requests(301, seed=2))
    assert monitor.observe(raw[200:], scores[200:])
    first = monitor.judge()
    assert (first.number, first.requests, monitor.waiting) == (1, 500, 0)
    assert first.moved == verdict(reference, raw, scores).moved


def test_a_file_gives_back_the_same_verdicts(reference, tmp_path):
    path = tmp_path / "monitor.json"
    reference.save(path)
    again, shifted = Reference.load(path, pool="p" * 64), requests(500, seed=1, shift=0.03)
    assert verdict(again, *shifted).moved == verdict(reference, *shifted).moved
    assert np.array_equal(again.probes, reference.probes)


def test_the_file_holds_counts_and_no_sample(reference, tmp_path):
    reference.save(tmp_path / "monitor.json")
    document = json.loads((tmp_path / "monitor.json").read_text())
    assert set(document) == {"format_version", "pool", "limits", "counts", "probes"}
    assert sum(len(cells) for cells in document["counts"].values()) <= 6 * 8
    assert len((tmp_path / "monitor.json").read_bytes()) < 20_000


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "[]",
        "{}",
        '{"limits": 3, "counts": 4}',
        {"counts": {"mean": [1, 2]}},
        {"probes": [[1.0]]},
        {"probes": "many"},
        {"limits": {"mean": [3.0, 2.0, 1.0]}},
        {"limits": {"mean": [float("nan")]}},
        {"counts": {"label": [3_000, -1, 1]}},
    ],
)
def test_a_broken_file_is_refused_in_one_line(reference, tmp_path, broken):
    path = tmp_path / "monitor.json"
    reference.save(path)
    if isinstance(broken, str):
        path.write_text(broken)
    else:
        document = json.loads(path.read_text())
        for name, value in broken.items():
            document[name] = {**document[name], **value} if isinstance(value, dict) else value
        path.write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"expected a monitor's reference .*broken file; learn it again"):
        Reference.load(path, pool="p" * 64)


def test_another_pools_file_and_none_are_refused(reference, tmp_path):
    path = tmp_path / "monitor.json"
    with pytest.raises(DataError, match="--learn"):
        Reference.load(path, pool="p" * 64)
    reference.save(path)
    with pytest.raises(DataError, match="learn it again for this pool"):
        Reference.load(path, pool="q" * 64)


def test_windows_that_are_too_small_are_refused(reference):
    with pytest.raises(UsageError, match="windows of at least 100 requests, got 99"):
        Monitor(reference, SPEC, window=99)


def test_answers_of_other_classes_are_another_model(reference):
    raw, _ = requests(500, seed=1)
    for scores, probes in ((4, 3), (3, 4), (4, 4), (2, None)):
        _, answers = requests(500, seed=1)
        answers = np.resize(answers, (500, scores)).astype(np.float32)
        given = None if probes is None else np.ones((16, probes), np.float32)
        said = verdict(reference, raw, answers, given)
        assert said.model_changed
        assert "its answers are of other classes" in said.sentence()
        assert not said.samples_moved
        json.dumps(verdict_document(said), allow_nan=False)


def test_samples_of_noise_are_legal_and_always_the_same():
    spec = InputSpec(shape=(8, 8, 3), dtype="uint8", low=0, high=255, layout="HWC", preprocessing="none")
    probes = probe_samples(spec)
    spec.check(probes)
    assert np.array_equal(probes, probe_samples(spec))
    assert probes.std() > 50
