"""Every case keeps what its spec says, cut by each of its rules; one row a case and rule."""

import os

import numpy as np
import pytest

from obfnet.data.case import Dataset
from obfnet.data.cases import CASES, load_case
from obfnet.data.rows import batches

DATA = os.environ.get("OBFNET_DATA")
needs_data = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA, reason="OBFNET_DATA is not set: no real data at hand"),
]

# Case and split rule, sizes of train, validation and test.
ROWS = {
    ("mnist", "official"): (55_000, 5_000, 10_000),
    ("fsd", "official"): (2_430, 270, 300),
    ("fsd", "random"): (2_430, 270, 300),
    ("fsd", "speaker:theo"): (2_250, 250, 500),
    ("asl", "scene"): (None, None, 870),
    ("asl", "random"): (None, None, 2_900),
    ("cifar10", "official"): (47_500, 2_500, 10_000),
    ("digits", "official"): (1_257, 180, 360),
}
NEED_DATA = {"mnist", "fsd", "asl", "cifar10"}


@pytest.fixture(scope="module")
def loaded() -> dict[tuple[str, str], Dataset]:
    return {}


@pytest.fixture(
    params=[
        pytest.param(row, marks=needs_data if row[0] in NEED_DATA else [], id="-".join(row).replace(":", "-"))
        for row in ROWS
    ]
)
def data(request: pytest.FixtureRequest, loaded: dict[tuple[str, str], Dataset]) -> Dataset:
    if request.param not in loaded:
        loaded[request.param] = load_case(request.param[0], split=request.param[1])
    return loaded[request.param]


def test_every_case_and_rule_has_a_row() -> None:
    assert CASES.names() == list(dict.fromkeys(case for case, _ in ROWS))
    rules = {(name, rule.name) for name in CASES.names() for rule in CASES.get(name).splits}
    assert rules == {(case, split.partition(":")[0]) for case, split in ROWS}


def test_the_samples_are_what_the_spec_says(data: Dataset) -> None:
    assert data.split in {split for case, split in ROWS if case == data.spec.name}
    splits = (data.train, data.validation, data.test)
    for split, size in zip(splits, ROWS[data.spec.name, data.split], strict=True):
        assert len(split.labels) == size or size is None
        for some in batches(split.samples, 2_000):
            data.spec.input.check(some)
        assert split.labels.dtype == np.int64
        assert np.unique(split.labels).tolist() == list(range(len(data.spec.classes)))
        assert not split.labels.flags.writeable
        assert (split.attribute is None) == (data.spec.attribute is None)


def test_the_range_is_used_and_not_only_kept(data: Dataset) -> None:
    extremes = [(some.min(), some.max()) for some in batches(data.train.samples, 2_000)]
    spec = data.spec.input
    # Sound features leave some room for louder voices.
    room = 0.1 if data.spec.kind == "sounds" else 0
    assert spec.low <= min(low for low, _ in extremes) <= spec.low + room
    assert spec.high - room <= max(high for _, high in extremes) <= spec.high


def test_validation_keeps_the_shares_of_training(data: Dataset) -> None:
    train = np.bincount(data.train.labels) / len(data.train.labels)
    validation = np.bincount(data.validation.labels) / len(data.validation.labels)
    # Whole runs of film frames are of slightly different lengths.
    slack = 3e-3 if data.split == "scene" else 1 / len(data.validation.labels)
    np.testing.assert_allclose(validation, train, atol=slack)


def test_the_splits_are_disjoint(data: Dataset) -> None:
    """By content: no data set here holds the same sample twice across its splits."""
    seen: set[bytes] = set()
    for split in (data.train, data.validation, data.test):
        keys = {sample.tobytes() for some in batches(split.samples) for sample in some}
        assert not keys & seen
        seen |= keys


def test_the_splits_are_the_same_every_time(data: Dataset) -> None:
    again = load_case(data.spec.name, split=data.split)
    for name in ("train", "validation", "test"):
        one, other = getattr(again, name), getattr(data, name)
        np.testing.assert_array_equal(one.labels, other.labels)
        np.testing.assert_array_equal(one.samples[:50], other.samples[:50])
        np.testing.assert_array_equal(one.attribute, other.attribute)


@pytest.mark.real_data
def test_a_speaker_who_is_left_out_is_the_whole_test() -> None:
    data = load_case("fsd", split="speaker:theo")
    assert len(set(data.test.attribute.tolist())) == 1
    assert not set(data.test.attribute.tolist()) & set(data.train.attribute.tolist())


def test_the_row_is_complete(data: Dataset) -> None:
    spec = data.spec
    assert CASES.get(spec.name) is spec
    assert all((spec.title, spec.source, spec.licence, spec.classes, spec.inference, spec.obfuscation))
    assert bool(spec.files) != bool(spec.bundled_in)
    assert {origin.file for origin in data.origins} <= {file.name for file in spec.files} | {spec.name}
