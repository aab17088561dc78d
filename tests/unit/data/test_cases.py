"""Cases through their public doors: load, fetch, list."""

import gzip
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from obfnet.core.errors import DataError, MissingExtraError, UnknownNameError, UsageError
from obfnet.data import cases
from obfnet.data.cases import CASES, fetch_case, list_cases, load_case, load_case_for, split_table
from obfnet.data.fetch import NoSourceError
from obfnet.data.idx import idx_bytes
from obfnet.data.mnist import CASE, load
from obfnet.data.pictures import picture_input
from obfnet.data.table import Split


def small_mnist(train: int = 6000, test: int = 20) -> dict[str, bytes]:
    random = np.random.default_rng(0)
    files = {}
    for part, count in (("train", train), ("t10k", test)):
        images = random.integers(0, 256, (count, 28, 28)).astype(np.uint8)
        files[f"{part}-images-idx3-ubyte"] = idx_bytes(images)
        files[f"{part}-labels-idx1-ubyte"] = idx_bytes((np.arange(count) % 10).astype(np.uint8))
    return files


@pytest.mark.parametrize("ask", [load_case, fetch_case])
def test_an_unknown_case_lists_the_known_ones(ask) -> None:
    with pytest.raises(UnknownNameError, match=r"got 'mnits'; known: mnist, fsd, asl, cifar10, digits"):
        ask("mnits")


@pytest.mark.parametrize("ask", [load_case, fetch_case])
def test_mnist_without_any_source_says_what_was_tried(ask, home: Path) -> None:
    with pytest.raises(NoSourceError) as caught:
        ask("mnist")
    assert [attempt.source.split()[0] for attempt in caught.value.attempts] == [
        "data",
        "cache",
        "mirrors",
        "wheel",
    ]
    assert not home.exists()


def test_mnist_files_become_scaled_read_only_splits() -> None:
    files = small_mnist()
    data = split_table(CASE, load(CASE, files), CASE.splits[0])
    assert [len(split.labels) for split in (data.train, data.validation, data.test)] == [1000, 5000, 20]
    raw = np.frombuffer(files["t10k-images-idx3-ubyte"], np.uint8, offset=16).reshape(-1, 1, 28, 28)
    np.testing.assert_allclose(data.test.samples, raw / 255, rtol=1e-6)
    for split in (data.train, data.validation, data.test):
        CASE.input.check(split.samples)
        with pytest.raises(ValueError, match="read-only"):
            split.samples[0] = 0
        with pytest.raises(ValueError, match="read-only"):
            split.labels[0] = 0


def test_mnist_files_that_do_not_belong_together_are_refused() -> None:
    files = small_mnist()
    with pytest.raises(DataError, match="N labels"):
        load(CASE, {**files, "t10k-labels-idx1-ubyte": small_mnist(test=19)["t10k-labels-idx1-ubyte"]})
    with pytest.raises(DataError, match="N labels"):
        load(CASE, {**files, "t10k-images-idx3-ubyte": files["train-labels-idx1-ubyte"]})


def test_a_split_needs_as_many_labels_as_samples() -> None:
    with pytest.raises(DataError, match="2 samples, 3 labels"):
        Split(samples=np.zeros((2, 1)), labels=np.zeros(3, np.int64))
    with pytest.raises(DataError, match="0 samples"):
        Split(samples=np.zeros((0, 1)), labels=np.zeros(0, np.int64))


def test_a_split_leaves_the_callers_array_writable() -> None:
    samples = np.zeros((2, 1))
    Split(samples=samples, labels=np.zeros(2, np.int64))
    samples[0] = 1


def test_digits_come_with_the_package() -> None:
    data = load_case("digits")
    assert [len(split.labels) for split in (data.train, data.validation, data.test)] == [1257, 180, 360]
    assert data.origins == fetch_case("digits")
    assert (data.origins[0].path, data.origins[0].source) == (None, "bundled in sklearn")
    assert data.test.samples.max() == 1


def test_digits_without_the_package_name_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(MissingExtraError, match=r"obfnet\[train\]"):
        load_case("digits")
    monkeypatch.setattr(cases.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"obfnet\[train\]"):
        fetch_case("digits")
    assert {status.spec.name: status.where for status in list_cases()}["digits"] == "missing"


def test_the_list_says_what_is_at_hand(home: Path, tmp_path: Path) -> None:
    def mnist(data_dir: Path | None = None) -> tuple[str, Path | None]:
        statuses = {status.spec.name: status for status in list_cases(data_dir=data_dir)}
        assert list(statuses) == CASES.names()
        assert statuses["digits"].where == "bundled"
        assert statuses["mnist"].size_bytes == 54_950_048
        return statuses["mnist"].where, statuses["mnist"].path

    assert mnist() == ("missing", None)
    folder, cached = tmp_path / "data", home / "cache" / "mnist"
    folder.mkdir()
    cached.mkdir(parents=True)
    for file in CASE.files:
        (folder / f"{file.name}.gz").write_bytes(gzip.compress(b""))
    assert mnist(folder) == ("data dir", folder)
    (folder / f"{CASE.files[0].name}.gz").unlink()
    assert mnist(folder) == ("missing", None)
    with (cached / CASE.files[0].name).open("wb") as sparse:
        sparse.truncate(CASE.files[0].size_bytes)
    assert mnist(folder) == ("cache", cached)


def test_the_fingerprint_names_the_samples_and_labels() -> None:
    files = small_mnist()

    def fingerprint(files: dict[str, bytes]) -> str:
        return split_table(CASE, load(CASE, files), CASE.splits[0]).fingerprint

    assert fingerprint(files) == fingerprint(files)
    other = files["t10k-labels-idx1-ubyte"][:-1] + b"\x00"
    assert fingerprint({**files, "t10k-labels-idx1-ubyte": other}) != fingerprint(files)


@pytest.mark.parametrize(
    ("case", "split", "known"),
    [
        ("fsd", "scene", "official, random, speaker"),
        ("fsd", "speaker:zoe", "speaker:george, speaker:jackson"),
    ],
)
def test_an_unknown_split_lists_the_known_ones(case: str, split: str, known: str) -> None:
    with pytest.raises(UnknownNameError, match=f"known: {known}"):
        load_case(case, split=split)


@pytest.mark.parametrize("case", ["fsd", "asl", "cifar10"])
def test_a_case_of_one_archive_says_where_it_looked(case: str, home: Path) -> None:
    with pytest.raises(NoSourceError) as caught:
        fetch_case(case)
    assert {attempt.source.split()[0] for attempt in caught.value.attempts} >= {"data", "cache"}
    assert not home.exists()


def test_a_cases_pictures_are_brought_to_another_size() -> None:
    data, plain = load_case("digits", shape=(3, 16, 12)), load_case("digits")
    assert data.spec.input.unit_shape == (3, 16, 12)
    for part in ("train", "validation", "test"):
        split = getattr(data, part)
        data.spec.input.check(split.samples[:5])
        np.testing.assert_array_equal(split.labels, getattr(plain, part).labels)
    assert load_case("digits", shape=plain.spec.input.unit_shape).fingerprint == plain.fingerprint
    with pytest.raises(UsageError, match="1 or 3 channels"):
        load_case("digits", shape=(2, 16, 16))
    with pytest.raises(UsageError, match=r"of fsd"):
        load_case("fsd", shape=(1, 20, 20))


def test_a_case_for_a_pool_takes_the_size_that_its_samples_were_resized_to() -> None:
    resized = picture_input(3, (16, 12))
    assert load_case_for(resized, "digits").spec.input.shape == (3, 16, 12)
    # Channels last on the wire; networks see them first.
    turned = replace(resized, shape=(16, 12, 3), layout="HWC")
    assert load_case_for(turned, "digits").spec.input.shape == (3, 16, 12)
    unbent = replace(resized, preprocessing="uint8 / 255")
    with pytest.raises(UsageError, match=r"samples of shape \(3, 16, 12\), got \(1, 8, 8\)"):
        load_case_for(unbent, "digits")
