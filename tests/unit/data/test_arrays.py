"""Pictures that a program holds become a case of three parts, or are refused with what would be right."""

from typing import Any

import numpy as np
import pytest

from obfnet.core.errors import DataError, UsageError
from obfnet.core.spec import as_unit
from obfnet.data.arrays import LEAST_SAMPLES, array_dataset, positions_in, relabelled
from obfnet.data.case import Dataset

Array = np.ndarray[Any, np.dtype[Any]]
COUNT = 200
BYTES = np.random.default_rng(0).integers(0, 256, (COUNT, 3, 6, 8)).astype(np.uint8)
LABELS = np.arange(COUNT) % 4
WAVES = np.random.default_rng(1).integers(-32768, 32768, (COUNT, 30)).astype(np.int16)
# Told apart by their first samples, in half precision too.
WAVES[:, 0] = np.arange(COUNT) * 300 - 32000


def parts(dataset: Dataset) -> list[tuple[Array, Array]]:
    splits = (dataset.train, dataset.validation, dataset.test)
    return [(np.asarray(split.samples[:]), np.asarray(split.labels[:])) for split in splits]


@pytest.mark.parametrize(
    ("samples", "wanted"),
    [
        (BYTES, BYTES),
        (np.moveaxis(BYTES, 1, 3), BYTES),
        (BYTES[:, :1], BYTES[:, :1]),
        (np.moveaxis(BYTES[:, :1], 1, 3), BYTES[:, :1]),
        (BYTES[:, 0], BYTES[:, :1]),
        (BYTES / 255, (BYTES / 255).astype(np.float32)),
        ((BYTES / 255).astype(np.float16), (BYTES / 255).astype(np.float16).astype(np.float32)),
        (np.moveaxis(BYTES / 255, 1, 3), (BYTES / 255).astype(np.float32)),
    ],
)
def test_pictures_of_any_layout_become_channels_first(samples: Array, wanted: Array) -> None:
    dataset = array_dataset(samples, LABELS)
    spec = dataset.spec.input
    assert (spec.shape, spec.layout, spec.dtype) == (wanted.shape[1:], "CHW", str(wanted.dtype))
    found = np.concatenate([one for one, _ in parts(dataset)])
    spec.check(found)
    assert sorted(map(bytes, found)) == sorted(map(bytes, np.ascontiguousarray(wanted)))


@pytest.mark.parametrize(
    "samples", [WAVES, WAVES[:, None], WAVES / 32768, (WAVES / 32768).astype(np.float16)]
)
def test_waveforms_become_one_row(samples: Array) -> None:
    dataset = array_dataset(samples, LABELS, rate_hz=4000)
    spec = dataset.spec.input
    assert (spec.shape, spec.rate_hz, dataset.spec.kind) == ((1, 1, 30), 4000, "sounds")
    found = np.concatenate([one for one, _ in parts(dataset)])
    spec.check(found)
    wanted = (WAVES.astype(np.float64) / 32768 + 1) / 2
    by_first = [one.reshape(COUNT, -1)[np.argsort(one.reshape(COUNT, -1)[:, 0])] for one in (found, wanted)]
    # Half precision itself rounds to 1 in 4096; no further digit may be lost.
    np.testing.assert_allclose(
        by_first[0], by_first[1], atol=2.0**-13 if samples.dtype == np.float16 else 1e-7
    )


@pytest.mark.parametrize(
    ("samples", "rate_hz", "message"),
    [
        (WAVES[:, None, None], 4000, r"\(N, T\) or \(N, 1, T\), got \(200, 1, 1, 30\)"),
        (np.repeat(WAVES[:, None], 2, 1), 4000, r"got \(200, 2, 30\); give one channel"),
        (WAVES[:, :0], 4000, r"got \(200, 0\)"),
        (WAVES.astype(np.float32), 4000, r"floats in \[-1, 1\], got float32 outside"),
        (np.full((COUNT, 30), np.nan), 4000, r"floats in \[-1, 1\], got float64 outside"),
        (WAVES.astype(np.uint8), 4000, r"int16, or floats in \[-1, 1\], got uint8"),
        (WAVES, 3, "a rate of"),
        (np.zeros((COUNT, 40_001), np.int16), 4000, "clips of at most 10 s"),
    ],
)
def test_what_is_no_waveform_is_refused(samples: Array, rate_hz: int, message: str) -> None:
    with pytest.raises((DataError, UsageError), match=message):
        array_dataset(samples, LABELS, rate_hz=rate_hz)


def test_each_sample_keeps_its_label_and_is_in_one_part() -> None:
    places = np.arange(COUNT)
    samples = np.broadcast_to(places[:, None, None], (COUNT, 4, 4)).astype(np.uint8)
    dataset = array_dataset(samples, places % 4, classes=("a", "b", "c", "d"))
    seen = []
    for pictures, labels in parts(dataset):
        np.testing.assert_array_equal(pictures[:, 0, 0, 0] % 4, labels)
        seen += pictures[:, 0, 0, 0].tolist()
    assert sorted(seen) == places.tolist()
    assert dataset.spec.classes == ("a", "b", "c", "d")
    assert len(dataset.test.labels) == COUNT // 10
    assert len(dataset.validation.labels) == (COUNT - COUNT // 10) // 10


def test_the_same_arrays_are_cut_alike_and_stay_as_they_are() -> None:
    before = BYTES.copy()
    first, again = (parts(array_dataset(BYTES, LABELS)) for _ in range(2))
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_array_equal(BYTES, before)


def test_without_labels_there_is_one_class() -> None:
    dataset = array_dataset(BYTES, None)
    assert dataset.spec.classes == ("0",)
    assert all(not labels.any() for _, labels in parts(dataset))


@pytest.mark.parametrize(("labels", "classes"), [(LABELS, 4), (LABELS.astype(np.uint8) * 2, 7)])
def test_labels_without_names_are_numbered(labels: Array, classes: int) -> None:
    assert array_dataset(BYTES, labels).spec.classes == tuple(map(str, range(classes)))


def test_there_may_be_more_names_than_labels() -> None:
    assert len(array_dataset(BYTES, LABELS, classes=tuple("abcdef")).spec.classes) == 6


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (BYTES[: LEAST_SAMPLES - 1], "at least 40 samples, got 39"),
        (BYTES[:0], "at least 40 samples, got 0"),
        (BYTES.reshape(COUNT, -1), r"pictures \(N, C, H, W\)"),
        (BYTES[:, :2], r"got \(200, 2, 6, 8\)"),
        (BYTES[:, :, None], "with 1 or 3 channels"),
        (BYTES.astype(np.int64), "floats in .*got int64"),
        (BYTES.astype(np.float32), "got float32 outside of it; give raw pixels"),
        (BYTES / 127.5 - 1, "got float64 outside of it"),
        (np.full(BYTES.shape, np.nan), "uint8 pixels, or floats"),
        (np.full(BYTES.shape, np.inf), "uint8 pixels, or floats"),
        (BYTES > 127, "got bool"),
        (BYTES.astype(object), "got object"),
        (BYTES / 255 + 0j, "got complex128"),
    ],
)
def test_other_arrays_are_refused(samples: Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        array_dataset(samples, None)


@pytest.mark.parametrize(
    "labels",
    [LABELS[:-1], LABELS[:, None], LABELS - 1, LABELS / 1, LABELS > 1, LABELS.astype(str), np.array(3)],
)
def test_other_labels_are_refused(labels: Array) -> None:
    with pytest.raises(DataError, match="200 labels, whole numbers from 0"):
        array_dataset(BYTES, labels)


def test_labels_without_a_name_are_refused() -> None:
    with pytest.raises(DataError, match="a name for each of 4 labels, got 3"):
        array_dataset(BYTES, LABELS, classes=("a", "b", "c"))


def test_other_labels_are_put_on_the_same_samples() -> None:
    dataset = array_dataset(BYTES / 255, LABELS)
    answers = {
        part: np.ones(len(getattr(dataset, part).labels), np.int64)
        for part in ("train", "validation", "test")
    }
    other = relabelled(dataset, answers, ("no", "yes"))
    assert other.spec.classes == ("no", "yes")
    for (before, _), (after, labels) in zip(parts(dataset), parts(other), strict=True):
        np.testing.assert_array_equal(as_unit(before), as_unit(after))
        assert bool((labels == 1).all())


def test_classes_have_one_place_each_among_a_models_outputs() -> None:
    # Outputs that no sample has may be called alike.
    assert positions_in(("c", "x", "a", "x", "b"), ("a", "b", "c")).tolist() == [2, 4, 0]
    with pytest.raises(UsageError, match="no 'b' in c, a"):
        positions_in(("c", "a"), ("a", "b"))
    with pytest.raises(UsageError, match="'a' twice"):
        positions_in(("a", "b", "a"), ("a", "b"))
