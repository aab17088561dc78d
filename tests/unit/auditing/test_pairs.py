"""Recorded pairs: what is read is what was saved, and a bad file is refused in one line with its remedy."""

import io
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from obfnet.auditing.pairs import RecordedPairs, read_pairs, write_pairs
from obfnet.core.errors import DataError, OutputError
from obfnet.data.rows import Rows
from tests.unit.auditing.recorded import recorded


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pairs.npz"


def read(path: Path, **arrays: Any) -> RecordedPairs:
    np.savez(path, **arrays)
    return read_pairs(path)


def refusal(path: Path, **arrays: Any) -> str:
    """What is said of these pairs, in one line."""
    if arrays:
        np.savez(path, **arrays)
    with pytest.raises(DataError) as caught:
        read_pairs(path)
    message = str(caught.value)
    assert "\n" not in message
    assert caught.value.remedy
    return message


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_is_read_is_what_was_saved(path: Path, save: Any) -> None:
    arrays = recorded()
    save(path, **arrays, attribute=arrays["label"] % 3)
    pairs = read_pairs(path)
    np.testing.assert_array_equal(pairs.raw[:], arrays["raw"])
    np.testing.assert_array_equal(pairs.obfuscated[:], arrays["obfuscated"])
    np.testing.assert_array_equal(pairs.raw[np.array([399, 0, 7])], arrays["raw"][[399, 0, 7]])
    np.testing.assert_array_equal(pairs.labels, arrays["label"])
    assert pairs.attribute is not None
    np.testing.assert_array_equal(pairs.attribute, arrays["label"] % 3)
    assert (pairs.classes, pairs.attribute_values) == (tuple("01234567"), tuple("012"))
    assert pairs.warnings == ()


def test_nothing_is_left_of_unfolded_arrays(path: Path, tmp_path: Path) -> None:
    np.savez_compressed(path, **recorded())
    work = tmp_path / "work"
    work.mkdir()
    pairs = read_pairs(path, work=work)
    assert list(work.iterdir()) == []
    assert pairs.raw[:5].shape == (5, 1, 8, 8)


def test_numpy_reads_what_is_written(path: Path) -> None:
    arrays = recorded() | {"attribute": np.arange(400) % 2}
    rows = Rows(lambda index: arrays["raw"][index], arrays["raw"].shape, np.float32)
    write_pairs(path, rows, arrays["obfuscated"], arrays["label"].astype(str), arrays["attribute"])
    with np.load(path, allow_pickle=False) as stored:
        assert set(stored) == {"raw", "obfuscated", "label", "attribute"}
        for key in ("raw", "obfuscated", "attribute"):
            np.testing.assert_array_equal(stored[key], arrays[key])
        np.testing.assert_array_equal(stored["label"], arrays["label"].astype(str))
    np.testing.assert_array_equal(read_pairs(path).raw[:], arrays["raw"])
    first = path.read_bytes()
    write_pairs(path, rows, arrays["obfuscated"], arrays["label"].astype(str), arrays["attribute"])
    assert path.read_bytes() == first


def test_what_cannot_be_written_leaves_nothing(path: Path) -> None:
    arrays = recorded()
    path.mkdir()
    with pytest.raises(OutputError):
        write_pairs(path, arrays["raw"], arrays["obfuscated"], arrays["label"])
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("dtype", "factor"),
    [("uint8", 255), ("int64", 255), (">i2", 255), ("float64", 1), ("float16", 1), (">f4", 1)],
)
def test_raw_samples_of_any_usual_dtype(path: Path, dtype: str, factor: int) -> None:
    arrays = recorded()
    raw = (arrays["raw"] * factor).astype(dtype)
    pairs = read(path, **arrays | {"raw": raw})
    assert pairs.raw.dtype == np.float32
    np.testing.assert_allclose(pairs.raw[:], raw.astype(np.float64) / factor, atol=1e-6)


def test_booleans_are_black_and_white(path: Path) -> None:
    arrays = recorded()
    pairs = read(path, **arrays | {"raw": arrays["raw"] > 0.4})
    np.testing.assert_array_equal(pairs.raw[:], arrays["raw"] > 0.4)


def test_shapes_may_differ(path: Path) -> None:
    arrays = recorded()
    pairs = read(path, **arrays | {"obfuscated": arrays["obfuscated"].reshape(400, -1)[:, :33]})
    assert (pairs.raw.shape, pairs.obfuscated.shape) == ((400, 1, 8, 8), (400, 33))
    pairs = read(path, **arrays | {"obfuscated": arrays["label"] * 2})
    np.testing.assert_allclose(pairs.obfuscated[:], arrays["label"][:, np.newaxis] / 7, atol=1e-6)


def test_a_missing_axis_of_channels_is_added_and_a_last_one_becomes_the_first(path: Path) -> None:
    arrays = recorded()
    plain = read(path, **arrays | {"raw": arrays["raw"][:, 0]})
    np.testing.assert_array_equal(plain.raw[:], arrays["raw"])
    coloured = np.moveaxis(np.tile(arrays["raw"], (1, 3, 1, 1)), 1, 3)
    last = read(path, **arrays | {"raw": coloured})
    np.testing.assert_array_equal(last.raw[:], np.tile(arrays["raw"], (1, 3, 1, 1)))
    assert any("height, width and channels" in line for line in last.warnings)
    flat = read(path, **arrays | {"raw": arrays["raw"].reshape(400, 1, 64)})
    assert flat.raw.shape == (400, 64)


@pytest.mark.parametrize("kind", ["U", "negative", "float", "column", "bool"])
def test_labels_of_any_kind_become_indices(path: Path, kind: str) -> None:
    arrays = recorded()
    label = {
        "U": np.array([f"class {value}" for value in arrays["label"]]),
        "negative": arrays["label"] - 5,
        "float": arrays["label"].astype(np.float32),
        "column": arrays["label"][:, np.newaxis],
        "bool": arrays["label"] > 3,
    }[kind]
    pairs = read(path, **arrays | {"label": label})
    names = {"U": "class 3", "negative": "-2", "float": "3", "column": "3"}
    if kind == "bool":
        np.testing.assert_array_equal(pairs.labels, arrays["label"] > 3)
    else:
        np.testing.assert_array_equal(pairs.labels, arrays["label"])
        assert pairs.classes[3] == names[kind]


@pytest.mark.parametrize("change", ["scale", "shift", "uneven", "narrow", "bits", "integers", "stray"])
def test_obfuscated_values_of_any_range_are_brought_into_0_to_1(path: Path, change: str) -> None:
    arrays = recorded()
    x = arrays["obfuscated"].astype(np.float64)
    changed: Any = {
        "scale": x * 1e6,
        "shift": x - 1e4,
        "uneven": np.concatenate([x, x * 1e8], axis=1),
        "narrow": 0.5 + x * 1e-9,
        "bits": (x > 0.5).astype(np.uint8),
        "integers": np.round(x * 1e5).astype(np.int64) - 40_000,
        "stray": x.copy(),
    }[change]
    if change == "stray":
        changed[7, 0, 0, :] = 1e20
    pairs = read(path, **arrays | {"obfuscated": changed})
    got = pairs.obfuscated[:]
    assert got.dtype == np.float32
    assert (got.min() >= 0, got.max() <= 1) == (True, True)
    assert any("shifted and scaled" in line for line in pairs.warnings)
    # What could be seen before can be seen still: each value follows its former self.
    for column in range(0, changed[0].size, 17):
        before, after = changed.reshape(400, -1)[:, column], got.reshape(400, -1)[:, column]
        usual = np.arange(400) != 7
        assert np.corrcoef(before[usual], after[usual])[0, 1] > 0.999
        assert np.ptp(after[usual]) > 0.05


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e35])
@pytest.mark.parametrize("key", ["raw", "obfuscated"])
def test_values_that_are_not_finite_are_refused(path: Path, key: str, value: float) -> None:
    arrays = recorded()
    arrays[key][390, 0, 2, 2] = value
    assert f"finite values in `{key}`" in refusal(path, **arrays)


def test_pickled_objects_are_refused(path: Path) -> None:
    arrays = recorded()
    arrays["label"] = arrays["label"].astype(object)
    arrays["raw"] = np.array([None, *range(399)], object)
    message = refusal(path, **arrays)
    assert message.count("pickled objects, which are never loaded") == 2
    assert "(1)" in message
    assert "`raw`" in message


class _Touch:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_pickle_is_never_run(path: Path, tmp_path: Path, wrapped: bool) -> None:
    trap = tmp_path / "run"
    if wrapped:
        payload = np.empty(400, object)
        payload[:] = [_Touch(trap)] * 400
        np.savez(path, **recorded() | {"label": payload})
    else:
        path.write_bytes(pickle.dumps(_Touch(trap)))
    assert "pickle" in refusal(path)
    assert not trap.exists()


@pytest.mark.parametrize("missing", ["raw", "obfuscated", "label"])
def test_missing_keys_are_named(path: Path, missing: str) -> None:
    arrays = recorded()
    del arrays[missing]
    assert f"expected an array `{missing}`" in refusal(path, **arrays)


def test_extra_keys_are_named(path: Path) -> None:
    message = refusal(path, **recorded(), images=np.zeros(400), notes=np.zeros(3))
    assert "no array but raw, obfuscated, label, attribute" in message
    assert "'images', 'notes'; leave it out" in message


def test_every_fault_is_said_at_once(path: Path) -> None:
    arrays = recorded()
    arrays["raw"][3] = 7.0
    arrays["obfuscated"][5] = np.nan
    arrays["label"] = np.zeros(399, int)
    message = refusal(path, **arrays, more=np.zeros(2))
    assert "5 faults" in message
    for part in ("'more'", "399 `label`", "at least 2 labels", "finite values", "floats in [0, 1]"):
        assert part in message


@pytest.mark.parametrize("key", ["raw", "obfuscated", "label", "attribute"])
def test_different_numbers_of_samples_are_refused(path: Path, key: str) -> None:
    arrays = recorded() | {"attribute": np.arange(400) % 2}
    arrays[key] = arrays[key][:-1]
    message = refusal(path, **arrays)
    assert "as many samples in every array" in message
    assert f"399 `{key}`" in message


@pytest.mark.parametrize("count", [0, 1, 199])
def test_too_few_pairs_are_refused_with_how_many_are_needed(path: Path, count: int) -> None:
    message = refusal(path, **recorded(count)).replace(f" in {path}", "")
    assert f"at least 200 pairs, got {count}; record more" in message


@pytest.mark.parametrize(
    ("scale", "remedy"),
    [
        (lambda raw: raw * 2 - 1, "save (raw + 1) / 2"),
        (lambda raw: raw * 255, "save raw / 255"),
        (lambda raw: np.round(raw * 255), "raw.astype('uint8')"),
        (lambda raw: raw * 3 - 1.5, "save (raw - low) / (high - low)"),
    ],
)
def test_floats_out_of_range_are_refused_with_how_to_scale_them(path: Path, scale: Any, remedy: str) -> None:
    arrays = recorded()
    arrays["raw"] = scale(arrays["raw"])
    message = refusal(path, **arrays)
    assert "floats in [0, 1] in `raw`" in message
    assert remedy in message


@pytest.mark.parametrize(("dtype", "factor"), [("uint16", 65535), ("int32", 256), ("int16", -30000)])
def test_integers_out_of_range_are_refused(path: Path, dtype: str, factor: int) -> None:
    arrays = recorded()
    arrays["raw"] = (arrays["raw"].astype(np.float64) * factor).astype(dtype)
    assert "integers of 0 ... 255" in refusal(path, **arrays)


def test_bytes_of_0_and_1_are_refused(path: Path) -> None:
    arrays = recorded()
    assert "raw.astype(bool)" in refusal(path, **arrays | {"raw": (arrays["raw"] > 0.5).astype(np.uint8)})


@pytest.mark.parametrize(
    "raw",
    [np.zeros((400, 4), complex), np.full((400, 4), "a"), np.zeros((400, 4), "m8[s]"), np.zeros((400, 0))],
)
def test_raw_samples_that_are_no_numbers_are_refused(path: Path, raw: Any) -> None:
    assert "`raw`" in refusal(path, **recorded() | {"raw": raw})


def test_raw_samples_without_an_axis_of_their_own_are_refused(path: Path) -> None:
    assert "`raw` of shape (N, ...)" in refusal(path, **recorded() | {"raw": np.linspace(0, 1, 400)})


def test_huge_samples_are_refused(path: Path) -> None:
    raw = np.zeros((2, 1024 * 1024 + 1), bool)
    assert "at most 1048576 values a sample" in refusal(path, **recorded(2) | {"raw": raw})


def test_columns_first_is_refused_with_the_remedy(path: Path) -> None:
    arrays = recorded()
    arrays["raw"] = np.asfortranarray(arrays["raw"])
    assert "numpy.ascontiguousarray(raw)" in refusal(path, **arrays)


def test_one_raw_value_everywhere_is_refused(path: Path) -> None:
    arrays = recorded()
    assert "samples that differ" in refusal(path, **arrays | {"raw": np.full_like(arrays["raw"], 0.5)})


def test_one_label_only_is_refused(path: Path) -> None:
    assert "at least 2 labels" in refusal(path, **recorded() | {"label": np.full(400, 3)})


def test_a_label_of_its_own_for_each_sample_is_refused(path: Path) -> None:
    assert "what the backend answers" in refusal(path, **recorded() | {"label": np.arange(400)})


@pytest.mark.parametrize(
    ("label", "part"),
    [
        (np.linspace(0, 1, 400), "fractions"),
        (np.where(np.arange(400) == 9, np.nan, 1.0), "fractions, NaN"),
        (np.eye(8)[np.arange(400) % 8], "argmax"),
        (np.array([b"a", b"b"] * 200), "astype(str)"),
        (np.array(["2020-01-01", "2021-01-01"] * 200, "M8[D]"), "astype(str)"),
        (np.zeros(400, complex), "dtype complex"),
    ],
)
def test_labels_that_are_no_categories_are_refused(path: Path, label: Any, part: str) -> None:
    assert part in refusal(path, **recorded() | {"label": label})


def test_a_missing_attribute_is_none(path: Path) -> None:
    pairs = read(path, **recorded())
    assert (pairs.attribute, pairs.attribute_values) == (None, ())


@pytest.mark.parametrize(
    ("attribute", "part"), [(np.full(400, "x"), "same in every"), (np.arange(400), "of its own for most")]
)
def test_a_useless_attribute_is_left_out_and_said(path: Path, attribute: Any, part: str) -> None:
    pairs = read(path, **recorded(), attribute=attribute)
    assert pairs.attribute is None
    assert any(part in line for line in pairs.warnings)


def test_copies_are_said(path: Path) -> None:
    arrays = recorded()
    for key in ("raw", "label"):
        arrays[key][390:] = arrays[key][:10]
    arrays["obfuscated"][390:394] = arrays["obfuscated"][:4]
    pairs = read(path, **arrays)
    assert "10 raw samples are copies of others, 4 with the same obfuscated sample" in pairs.warnings


def test_few_different_outputs_are_said(path: Path) -> None:
    arrays = recorded()
    codes = (arrays["obfuscated"].reshape(400, -1)[:, :3] > 0.5) * 1.0
    pairs = read(path, **arrays | {"obfuscated": codes})
    assert f"the 400 obfuscated samples are {len(np.unique(codes, axis=0))} different ones" in pairs.warnings


@pytest.mark.parametrize("seed", range(3))
def test_pairs_that_belong_together_raise_no_doubts(path: Path, seed: int) -> None:
    assert read(path, **recorded(seed=seed)).warnings == ()


@pytest.mark.parametrize("seed", range(3))
def test_shuffled_pairs_are_doubted(path: Path, seed: int) -> None:
    arrays = recorded()
    arrays["obfuscated"] = np.random.default_rng(seed).permutation(arrays["obfuscated"])
    (warning,) = read(path, **arrays).warnings
    assert "look shuffled against each other" in warning
    assert "may also be that nothing leaks" in warning


def test_pairs_shuffled_within_labels_are_doubted(path: Path) -> None:
    arrays = recorded()
    random = np.random.default_rng(0)
    for label in range(8):
        own = np.flatnonzero(arrays["label"] == label)
        arrays["obfuscated"][own] = arrays["obfuscated"][random.permutation(own)]
    (warning,) = read(path, **arrays).warnings
    assert "either little leaks, or the pairs of each label were shuffled" in warning


def test_raw_samples_shuffled_against_the_rest_are_doubted(path: Path) -> None:
    arrays = recorded()
    arrays["raw"] = np.random.default_rng(0).permutation(arrays["raw"])
    warnings = read(path, **arrays).warnings
    assert any("raw samples tell nothing of their labels" in line for line in warnings)
    assert len(warnings) == 2


def test_an_output_of_the_label_alone_is_said(path: Path) -> None:
    arrays = recorded()
    (_, warning) = read(path, **arrays | {"obfuscated": np.eye(8)[arrays["label"]]}).warnings
    assert "nothing but the label was found" in warning


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("share", [0.01, 0.5, 0.95, 0.9999])
def test_a_truncated_file_is_refused(path: Path, save: Any, share: float) -> None:
    save(path, **recorded())
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    assert "a whole ZIP archive" in refusal(path)


@pytest.mark.parametrize(
    ("content", "part"),
    [(b"", "ZIP"), (b"not a zip at all" * 100, "ZIP"), (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5")],
)
def test_other_files_are_refused(path: Path, content: bytes, part: str) -> None:
    path.write_bytes(content)
    assert part in refusal(path)


def test_a_single_array_is_refused(path: Path) -> None:
    with path.open("wb") as file:
        np.save(file, np.zeros(10))
    assert "a single array (.npy)" in refusal(path)


@pytest.mark.parametrize("folder", [False, True])
def test_no_file_is_refused(path: Path, folder: bool) -> None:
    if folder:
        path.mkdir()
    assert "an .npz file at" in refusal(path)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("key", ["raw", "obfuscated", "label"])
def test_damaged_data_are_refused(path: Path, save: Any, key: str) -> None:
    save(path, **recorded())
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(f"{key}.npy")
    data = bytearray(path.read_bytes())
    # The lowest bit in the last values of the array: still a number in range.
    data[info.header_offset + info.compress_size - 6] ^= 1
    path.write_bytes(data)
    assert f"`{key}`" in refusal(path)


def packed(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def saved(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def header(text: str) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no array",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (400, 4)}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 4)}"),
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4)}"),
        header("{'descr': 'nonsense', 'fortran_order': False, 'shape': (4,)}"),
        header("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (0,)}"),
        header("[" * 9_000),
        header("__import__('os').abort()"),
        saved(np.zeros((400, 4)))[:-1],
        saved(np.zeros((400, 4))) + b"x",
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + bytes(100),
        b"\x93NUMPY\x09\x00" + bytes(100),
    ],
    ids=range(13),
)
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_that_are_no_arrays_are_refused(path: Path, data: bytes, method: int) -> None:
    good = {f"{key}.npy": saved(array) for key, array in recorded().items()}
    packed(path, good | {"raw.npy": data}, method)
    assert "`raw`" in refusal(path)
    packed(path, good | {"label.npy": data}, method)
    assert "`label`" in refusal(path)


def test_names_without_the_suffix_are_no_arrays(path: Path) -> None:
    packed(path, {key: saved(array) for key, array in recorded().items()})
    assert "raw (no .npy)" in refusal(path)


def test_a_member_twice_is_refused(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("raw.npy", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("raw.npy", b"")
    assert "'raw.npy' twice" in refusal(path)


def test_other_packings_are_refused(path: Path) -> None:
    good = {f"{key}.npy": saved(array) for key, array in recorded().items()}
    packed(path, good, zipfile.ZIP_LZMA)
    assert "stored or deflated" in refusal(path)


def declared(path: Path, key: str, size_bytes: int) -> None:
    """Makes a member's directory entry declare another size."""
    with zipfile.ZipFile(path) as archive:
        info, start = archive.getinfo(f"{key}.npy"), archive.start_dir
    data = bytearray(path.read_bytes())
    place = data.index(f"{key}.npy".encode(), start) - 46
    assert data[place : place + 4] == b"PK\x01\x02"
    data[place + 24 : place + 28] = size_bytes.to_bytes(4, "little")
    if info.compress_type == zipfile.ZIP_STORED:
        data[place + 20 : place + 24] = size_bytes.to_bytes(4, "little")
    path.write_bytes(data)


@pytest.mark.parametrize("key", ["raw", "label"])
@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("size_bytes", [10, 2**31])
def test_a_wrongly_declared_size_is_refused(path: Path, key: str, method: int, size_bytes: int) -> None:
    packed(path, {f"{name}.npy": saved(array) for name, array in recorded().items()}, method)
    declared(path, key, size_bytes)
    assert f"`{key}`" in refusal(path)


def test_what_unfolds_to_more_than_the_limit_is_refused_unseen(path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr("obfnet.auditing.npz._UNFOLDED_BYTES", 1_000_000)
    arrays = recorded(200) | {"obfuscated": np.zeros((200, 10_000), np.uint8)}
    np.savez_compressed(path, **arrays)
    assert path.stat().st_size < 100_000
    assert "save the pairs uncompressed" in refusal(path)


def test_no_space_to_unfold_is_said(path: Path, monkeypatch: Any) -> None:
    np.savez_compressed(path, **recorded())
    usage = type(shutil.disk_usage("/"))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(100, 90, 10))
    with pytest.raises(OutputError, match="uncompressed"):
        read_pairs(path)


def test_a_file_that_shrinks_while_it_is_read_is_an_error(path: Path) -> None:
    pairs = read(path, **recorded())
    os.truncate(path, 1_000)
    with pytest.raises(DataError, match="cut short"):
        pairs.raw[:]


@pytest.mark.parametrize(("count", "compressed"), [(5_000, False), (2_500, True)])
def test_a_file_larger_than_the_memory_limit_is_read(path: Path, count: int, compressed: bool) -> None:
    # 300 MB of raw samples (150 MB where they must be unfolded), checked by a process that may have 120 MB.
    arrays = recorded(count)
    shape, corner = (count, 1, 250, 250), np.ones((1, 1, 10, 10), np.uint8)

    def upscaled(index: np.ndarray) -> np.ndarray:
        raw = np.zeros((len(index), *shape[1:]), np.uint8)
        raw[:, :, :80, :80] = np.kron((arrays["raw"][index] * 255).astype(np.uint8), corner)
        return raw

    if compressed:
        np.savez_compressed(path, **arrays | {"raw": upscaled(np.arange(count))})
    else:
        write_pairs(path, Rows(upscaled, shape, np.uint8), arrays["obfuscated"], arrays["label"])
        assert path.stat().st_size > 300_000_000
    code = f"""
import resource
resource.setrlimit(resource.RLIMIT_DATA, ({120 * 2**20}, {120 * 2**20}))
from pathlib import Path
from obfnet.auditing.pairs import read_pairs
pairs = read_pairs(Path({str(path)!r}))
print(pairs.raw.shape, pairs.warnings, pairs.raw[{count - 1}:].sum())
"""
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    described, total = done.stdout.strip().rsplit(" ", 1)
    assert described == f"({count}, 1, 250, 250) ()"
    assert float(total) == pytest.approx(upscaled(np.array([count - 1])).sum() / 255, rel=1e-4)
