"""Samples written as pictures: Pillow and the folder loader read back what was there."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from obfnet.core.errors import OutputError, UsageError
from obfnet.core.progress import Silent
from obfnet.core.spec import as_unit
from obfnet.data.cases import load_case
from obfnet.data.export import export_pictures
from tests.unit.data.files import save, sound_bytes


def test_pictures_are_the_samples_in_a_folder_of_their_class(tmp_path: Path) -> None:
    digits = load_case("digits")
    written = export_pictures(digits, tmp_path / "out", part="test", most=7, progress=Silent())
    assert written == {str(label): 7 for label in range(10)}
    files = sorted((tmp_path / "out").rglob("*.png"))
    assert len(files) == 70
    for file in files[::9]:
        number = int(file.stem)
        assert file.parent.name == digits.spec.classes[digits.test.labels[number]]
        levels = np.rint(as_unit(digits.test.samples[number : number + 1])[0, 0] * 255)
        assert np.array_equal(np.asarray(Image.open(file)), levels)
    again = load_case(str(tmp_path / "out"), shape=(1, 8, 8))
    assert again.spec.classes == digits.spec.classes
    assert sum(len(getattr(again, part).labels) for part in ("train", "validation", "test")) == 70
    # The same command again gives the same files.
    assert export_pictures(digits, tmp_path / "out", part="test", most=7, progress=Silent()) == written
    assert sorted((tmp_path / "out").rglob("*.png")) == files
    # Others take their place and are not mixed with them.
    export_pictures(digits, tmp_path / "out", part="train", most=2, progress=Silent())
    assert len(list((tmp_path / "out").rglob("*.png"))) == 20


def test_a_stopped_export_leaves_no_pictures(tmp_path: Path) -> None:
    class Stopped(Silent):
        def advance(self, done: int, note: str = "") -> None:
            if done == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        export_pictures(load_case("digits"), tmp_path / "out", part="test", most=None, progress=Stopped())
    assert not list((tmp_path / "out").rglob("*.png"))


def test_a_foreign_folder_and_sounds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OutputError, match="other files"):
        export_pictures(load_case("digits"), tmp_path, part="test", most=1, progress=Silent())
    for label, name in enumerate(("no", "yes")):
        for number in range(20):
            save(tmp_path / "sounds" / name / f"{number}.wav", sound_bytes(label, 0, number))
    sounds = load_case(str(tmp_path / "sounds"))
    with pytest.raises(UsageError, match="a case of pictures, got sounds"):
        export_pictures(sounds, tmp_path / "out", part="train", most=1, progress=Silent())
