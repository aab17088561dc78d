"""Every case keeps what its spec says; one row a case."""

import os
from pathlib import Path

import numpy as np
import pytest

from obfnet.data.cases import CASES, Dataset, load_case

DATA = os.environ.get("OBFNET_DATA")
needs_data = [
    pytest.mark.real_data,
    pytest.mark.skipif(not DATA, reason="OBFNET_DATA is not set: no real data at hand"),
]

# Name, sizes of train, validation and test.
ROWS = {"mnist": (55_000, 5_000, 10_000), "digits": (1_257, 180, 360)}
NEED_DATA = {"mnist"}


@pytest.fixture(scope="module")
def loaded() -> dict[str, Dataset]:
    return {}


@pytest.fixture(params=[pytest.param(name, marks=needs_data if name in NEED_DATA else []) for name in ROWS])
def data(
    request: pytest.FixtureRequest,
    loaded: dict[str, Dataset],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Dataset:
    monkeypatch.setenv("OBFNET_HOME", str(tmp_path))
    monkeypatch.setenv("OBFNET_OFFLINE", "1")
    if request.param not in loaded:
        loaded[request.param] = load_case(request.param)
    return loaded[request.param]


def test_every_case_has_a_row() -> None:
    assert CASES.names() == list(ROWS)


def test_the_arrays_are_what_the_spec_says(data: Dataset) -> None:
    splits = (data.train, data.validation, data.test)
    assert tuple(len(split.labels) for split in splits) == ROWS[data.spec.name]
    for split in splits:
        data.spec.input.check(split.samples)
        assert split.labels.dtype == np.int64
        assert np.unique(split.labels).tolist() == list(range(len(data.spec.classes)))
        assert not split.samples.flags.writeable
        assert not split.labels.flags.writeable


def test_the_range_is_used_and_not_only_kept(data: Dataset) -> None:
    assert data.train.samples.min() == data.spec.input.low
    assert data.train.samples.max() == data.spec.input.high


def test_validation_keeps_the_shares_of_training(data: Dataset) -> None:
    train = np.bincount(data.train.labels) / len(data.train.labels)
    validation = np.bincount(data.validation.labels) / len(data.validation.labels)
    np.testing.assert_allclose(validation, train, atol=1 / len(data.validation.labels))


def test_the_splits_are_disjoint(data: Dataset) -> None:
    """By content: no data set here holds the same sample twice across its splits."""
    seen: set[bytes] = set()
    for split in (data.train, data.validation, data.test):
        keys = {sample.tobytes() for sample in split.samples}
        assert not keys & seen
        seen |= keys


def test_the_splits_are_the_same_every_time(data: Dataset) -> None:
    again = load_case(data.spec.name)
    for name in ("train", "validation", "test"):
        np.testing.assert_array_equal(getattr(again, name).labels, getattr(data, name).labels)
        np.testing.assert_array_equal(getattr(again, name).samples[:50], getattr(data, name).samples[:50])


def test_the_row_is_complete(data: Dataset) -> None:
    spec = data.spec
    assert CASES.get(spec.name) is spec
    assert all((spec.title, spec.source, spec.licence, spec.classes))
    assert bool(spec.files) != bool(spec.bundled_in)
    assert [origin.file for origin in data.origins] == ([file.name for file in spec.files] or [spec.name])
