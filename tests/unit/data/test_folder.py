"""A user's own folder or CSV file, loaded as a case."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from obfnet.core.errors import DataError, UnknownNameError
from obfnet.core.progress import Silent
from obfnet.data.cases import case_spec, fetch_case, list_cases, load_case
from obfnet.data.mfcc import PREPROCESSING, speech_features
from obfnet.data.table import Split
from obfnet.data.wav import read_wav
from obfnet.nets import INFERENCE_ARCHITECTURES, OBFUSCATION_ARCHITECTURES
from tests.unit.data.files import (
    HEIGHT,
    WIDTH,
    picture,
    picture_bytes,
    picture_folder,
    save,
    sound_bytes,
)


class Heard(Silent):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def names(split: Split) -> list[str]:
    assert split.names is not None
    return [str(name) for name in split.names]


def all_names(data: object) -> list[str]:
    return [name for part in ("train", "validation", "test") for name in names(getattr(data, part))]


def write_csv(path: Path, rows: list[dict[str, str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_folder_is_a_case_of_its_pictures(tmp_path: Path) -> None:
    root = picture_folder(tmp_path / "My signs")
    data = load_case(str(root))
    assert data.spec.name == "own-My-signs"
    assert data.spec.classes == ("blue", "green", "red")
    assert data.spec.input.shape == (3, HEIGHT, WIDTH)
    assert (data.spec.input.dtype, data.spec.kind, data.spec.attribute) == ("uint8", "pictures", None)
    assert sorted(all_names(data)) == sorted(str(path.relative_to(root)) for path in root.rglob("*.*"))
    assert [len(split.labels) for split in (data.train, data.validation, data.test)] == [27, 3, 6]
    for split in (data.train, data.validation, data.test):
        data.spec.input.check(split.samples[:])
        for sample, label, name in zip(split.samples[:], split.labels, names(split), strict=True):
            assert data.spec.classes[label] == Path(name).parent.name
            # Pillow as the oracle, which needs no resizing here.
            expected = np.asarray(Image.open(root / name)).transpose(2, 0, 1)
            np.testing.assert_array_equal(sample, expected)
    assert [origin.source for origin in data.origins] == ["the user's own folder"]
    assert data.original is not None
    assert data.original(names(data.test)[0]) == (root / names(data.test)[0]).read_bytes()
    with pytest.raises(DataError, match=r"to read red/99\.png"):
        data.original("red/99.png")


def test_the_same_folder_gives_the_same_splits_and_another_file_gives_others(tmp_path: Path) -> None:
    root = picture_folder(tmp_path / "signs")
    one, again = load_case(str(root)), load_case(str(root))
    assert one.fingerprint == again.fingerprint
    assert all_names(one) == all_names(again)
    (root / "red" / "01.png").write_bytes(picture_bytes(picture(0, 77)))
    os.utime(root / "red" / "01.png", ns=(1, 1))
    changed = load_case(str(root))
    assert changed.fingerprint != one.fingerprint
    assert all_names(changed) == all_names(one)


def test_pictures_of_many_sizes_are_resized_and_that_is_said(tmp_path: Path) -> None:
    root = picture_folder(tmp_path / "signs", sizes=((20, 24), (64, 64), (90, 70)))
    heard = Heard()
    data = load_case(str(root), progress=heard)
    assert data.spec.input.shape == (3, 64, 64)
    assert data.spec.input.preprocessing == "RGB uint8, centred and resized to 64x64"
    assert "24 of 36 pictures were resized to 64x64" in heard.lines


def test_grey_pictures_have_one_channel(tmp_path: Path) -> None:
    for label in range(2):
        for number in range(5):
            save(
                tmp_path / "x" / str(label) / f"{number}.png", picture_bytes(picture(label, number)[:, :, 0])
            )
    spec = case_spec(str(tmp_path / "x"))
    assert spec.input.shape == (1, HEIGHT, WIDTH)
    assert spec.input.preprocessing.startswith("grey")


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (6, 6), (8, 30), (300, 8)])
def test_tiny_and_narrow_pictures_are_a_case_with_networks_that_take_them(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    data = load_case(str(picture_folder(tmp_path / "signs", sizes=(size,), count=5)))
    spec = data.spec
    shape = (spec.input.shape[0], spec.input.shape[1], spec.input.shape[2])
    samples = torch.rand(2, *shape)
    assert INFERENCE_ARCHITECTURES.get(spec.inference_architecture())(shape, 3)(samples).shape == (2, 3)
    obfuscation = OBFUSCATION_ARCHITECTURES.get(spec.obfuscation_architecture())
    assert obfuscation(shape, obfuscation.default_hidden)(samples).shape == samples.shape
    assert data.spec.input.shape == (3, *(size if max(size) <= 64 else (64, 64)))
    data.spec.input.check(data.test.samples[:])


def test_given_splits_attribute_and_groups_are_kept(tmp_path: Path) -> None:
    root = picture_folder(tmp_path / "signs")
    rows = [
        {
            "file": str(path.relative_to(root)),
            "label": path.parent.name,
            "split": ("train", "train", "val", "TEST")[int(path.stem) // 3],
            "attribute": ("bo", "ann")[int(path.stem) % 2],
            "group": f"scene {int(path.stem) // 3}",
        }
        for path in sorted(root.rglob("*.*"))
    ]
    data = load_case(str(write_csv(root / "signs.csv", rows)))
    assert data.spec.attribute is not None
    assert data.spec.attribute.values == ("ann", "bo")
    wanted = {row["file"]: row for row in rows}
    for part, written in (("train", "train"), ("validation", "val"), ("test", "TEST")):
        split = getattr(data, part)
        assert sorted(names(split)) == sorted(row["file"] for row in rows if row["split"] == written)
        values = [data.spec.attribute.values[value] for value in split.attribute]
        assert values == [wanted[name]["attribute"] for name in names(split)]


def test_a_split_that_was_not_given_never_cuts_a_group(tmp_path: Path) -> None:
    root = picture_folder(tmp_path / "signs")
    rows = [
        {"file": str(path.relative_to(root)), "label": path.parent.name, "group": f"{int(path.stem) // 2}"}
        for path in sorted(root.rglob("*.*"))
    ]
    data = load_case(str(write_csv(root / "signs.csv", rows)))
    group = {row["file"]: row["group"] for row in rows}
    groups = [
        {group[name] for name in names(getattr(data, part))} for part in ("train", "validation", "test")
    ]
    assert all(groups)
    assert sum(map(len, groups)) == len(set.union(*groups)) == 6


def test_sounds_are_the_features_that_a_device_makes(tmp_path: Path) -> None:
    for label, word in enumerate(("no", "yes")):
        for number in range(6):
            save(tmp_path / "words" / word / f"{number}.wav", sound_bytes(label, number % 2, number))
    data = load_case(str(tmp_path / "words"))
    assert (data.spec.kind, data.spec.input.shape) == ("sounds", (1, 20, 45))
    assert data.spec.input.preprocessing == PREPROCESSING
    for sample, name in zip(data.train.samples[:], names(data.train), strict=True):
        sound = read_wav((tmp_path / "words" / name).read_bytes())
        np.testing.assert_array_equal(sample, speech_features(sound))


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Pictures of which three cannot be read."""
    root = picture_folder(tmp_path / "signs")
    whole = (root / "red" / "03.jpeg").read_bytes()
    (root / "red" / "03.jpeg").write_bytes(whole[: len(whole) // 2])
    (root / "blue" / "05.png").write_bytes(b"")
    (root / "green" / "06.jpeg").write_text("a text file")
    return root


def test_a_file_that_cannot_be_read_is_named_with_how_many_others(damaged: Path) -> None:
    with pytest.raises(DataError) as caught:
        load_case(str(damaged))
    assert "'blue/05.png'" in str(caught.value)
    assert "2 more cannot be read" in str(caught.value)
    assert "--skip-bad" in str(caught.value)


def test_files_that_cannot_be_read_are_left_out_and_counted(damaged: Path) -> None:
    heard = Heard()
    data = load_case(str(damaged), skip_bad=True, progress=heard)
    assert data.skipped == ("blue/05.png", "green/06.jpeg", "red/03.jpeg")
    assert len(all_names(data)) == 33
    assert not set(data.skipped) & set(all_names(data))
    assert "3 files cannot be read and are left out, the first: blue/05.png" in heard.lines
    assert load_case(str(damaged), skip_bad=True).skipped == data.skipped


def test_a_class_of_which_nothing_can_be_read_is_not_left_out_silently(damaged: Path) -> None:
    for path in (damaged / "red").iterdir():
        path.write_bytes(b"")
    with pytest.raises(
        DataError, match="training samples of class 'red' that can be read, got none, 14 files"
    ):
        load_case(str(damaged), skip_bad=True)


def test_a_test_part_of_which_nothing_can_be_read_is_an_error(tmp_path: Path) -> None:
    root = tmp_path / "signs"
    picture_folder(root / "train", count=5)
    picture_folder(root / "test", count=3)
    for path in (root / "test").rglob("*.*"):
        path.write_bytes(b"")
    with pytest.raises(DataError, match="none of one kind"):
        load_case(str(root), skip_bad=True)


def test_names_that_are_no_text_can_be_loaded(tmp_path: Path) -> None:
    root = picture_folder(tmp_path / os.fsdecode(b"sch\xf6n"), classes=("süß", "日 本", "a b"), count=5)
    os.rename(root / "a b" / "01.png", os.path.join(os.fsencode(root / "a b"), b"caf\xe9.png"))
    data = load_case(str(root))
    assert data.spec.classes == ("a b", "süß", "日 本")
    assert data.spec.name == "own-sch-n"
    assert "a b/caf\\xe9.png" in all_names(data)
    assert data.spec.title.encode()
    assert load_case(str(root)).fingerprint == data.fingerprint


def test_a_path_and_a_name_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture_folder(tmp_path / "digits")
    picture_folder(tmp_path / "signs")
    monkeypatch.chdir(tmp_path)
    assert case_spec("digits").name == "digits"
    assert case_spec("./digits").name == "own-digits"
    assert case_spec("signs").name == "own-signs"
    for name in ("nowhere/signs", "signs.csv"):
        with pytest.raises(DataError, match="a folder or CSV file at"):
            case_spec(name)
    with pytest.raises(UnknownNameError, match="known: mnist, fsd"):
        case_spec("sings")
    with pytest.raises(UnknownNameError, match=r"split of own-signs.*known: own"):
        load_case("signs", split="official")
    with pytest.raises(UnknownNameError):
        fetch_case("signs")
    assert "own-signs" not in [status.spec.name for status in list_cases()]
