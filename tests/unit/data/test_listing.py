"""A user's own case: what is in it is listed the same way every time, what is wrong is said at once."""

import csv
import io
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from obfnet.core.errors import DataError
from obfnet.data.listing import Entry, list_samples

NOBODY = 65534


def fill(root: Path, *folders: str, count: int = 3, ending: str = ".jpg") -> Path:
    """Makes `count` files in each folder."""
    for folder in folders:
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / folder / f"{number}{ending}").write_bytes(b"x")
    return root


def table(root: Path, *rows: str, header: str = "file,label", count: int = 6) -> Path:
    """Makes files `0.wav` ... and a CSV file of the rows."""
    for number in range(count):
        (root / f"{number}.wav").write_bytes(b"x")
    path = root / "samples.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


GOOD_ROWS = [f"{number}.wav,{'no' if number < 3 else 'yes'}" for number in range(6)]


def said(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        list_samples(path)
    message = str(caught.value)
    assert message.isprintable()
    assert message.count("; ") >= 1, "a remedy"
    return message


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root reads everything, so that for a while this process is nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that nobody may enter too; pytest's own are private."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_a_folder_a_class(tmp_path: Path) -> None:
    fill(tmp_path, "two words", "Ärger", "ящик/deep down")
    (tmp_path / "ящик" / "UPPER.JPEG").write_bytes(b"x")
    got = list_samples(tmp_path)
    assert got.classes == ("two words", "Ärger", "ящик")
    assert got.kind == "pictures"
    assert got.root == tmp_path
    assert len(got.entries) == 10
    assert got.ignored == 0
    assert got.entries[0] == Entry(path=tmp_path / "two words" / "0.jpg", label="two words")
    assert [entry.path for entry in got.entries] == sorted(entry.path for entry in got.entries)
    assert all(entry.path.is_file() and entry.split is None for entry in got.entries)
    assert [got.classes[label] for label in got.labels] == [entry.label for entry in got.entries]
    assert got == list_samples(tmp_path)


def test_other_and_hidden_files_are_counted(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b", ".git", "__MACOSX")
    for name in ("README.md", "a/notes.txt", "a/.hidden.jpg", "b/noending"):
        (tmp_path / name).write_bytes(b"x")
    got = list_samples(tmp_path)
    assert len(got.entries) == 6
    assert got.classes == ("a", "b")
    assert got.ignored == 6


@pytest.mark.parametrize("validation", [None, "validation", "val", "Val"])
def test_a_folder_a_split(tmp_path: Path, validation: str | None) -> None:
    parts = ["train", "test"] + ([validation] if validation else [])
    fill(tmp_path, *(f"{part}/{label}" for part in parts for label in ("a", "b")), ending=".wav")
    got = list_samples(tmp_path)
    assert got.classes == ("a", "b")
    assert got.kind == "sounds"
    assert {entry.split for entry in got.entries} == {"train", "test"} | (
        {"validation"} if validation else set()
    )
    for entry in got.entries:
        assert entry.path.parts[-2] == entry.label
        assert entry.path.parts[-3].lower().startswith(str(entry.split)[:3])


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    assert list_samples(fill(tmp_path, "train", "bus")).classes == ("bus", "train")


def test_a_csv_file(tmp_path: Path) -> None:
    fill(tmp_path, "clips, old", ending=".wav")
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["group", "file", "label", "split", "attribute"])
    rows = [
        ["g1", "clips, old/0.wav", 'say "yes"', "train", "Zoë"],
        ["g1", "./clips, old/1.wav", 'say "yes"', "train", "Zoë"],
        ["g2", str(tmp_path / "clips, old/2.wav"), 'say "yes"', "val", "Al"],
        ["g3", "2.wav", " no ", "Test", "Al"],
        *[["g1", f"{number}.wav", "no", "train", "Al"] for number in (0, 1)],
    ]
    writer.writerows(rows)
    path = table(tmp_path, header="")
    for encoding in ("utf-8", "utf-8-sig"):
        path.write_bytes(text.getvalue().encode(encoding))
        got = list_samples(path)
        assert got.classes == ("no", 'say "yes"')
        assert (got.root, got.kind, got.ignored) == (tmp_path, "sounds", 0)
        assert [entry.split for entry in got.entries] == [
            "train",
            "train",
            "test",
            "train",
            "train",
            "validation",
        ]
        assert got.entries[3] == Entry(
            path=tmp_path / "clips, old/0.wav", label='say "yes"', split="train", attribute="Zoë", group="g1"
        )
    # The order of the rows does not matter.
    header, *lines = text.getvalue().splitlines()
    path.write_text("\r\n".join([header, *reversed(lines)]), encoding="utf-8")
    assert list_samples(path) == got


def test_a_csv_file_may_lie_in_a_linked_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    table(tmp_path / "real", *GOOD_ROWS)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert len(list_samples(tmp_path / "link" / "samples.csv").entries) == 6


def test_nothing_there(tmp_path: Path) -> None:
    assert "No such file" in said(tmp_path / "none")
    assert "no such path" in said(Path("a\0b"))
    assert "no samples" in said(tmp_path)
    assert "one folder a class" in said(fill(tmp_path, "."))


def one_class(root: Path) -> None:
    fill(root, "cat")


def empty_class(root: Path) -> None:
    fill(root, "cat", "dog")
    (root / "bird").mkdir()


def one_sample(root: Path) -> None:
    fill(root, "cat", "dog")
    fill(root, "bird", count=1)


def two_samples(root: Path) -> None:
    fill(root, "cat", "dog")
    fill(root, "bird", count=2)


def mixture(root: Path) -> None:
    fill(root, "cat", "dog")
    fill(root, "dog", ending=".wav", count=1)


def link_to_file_outside(root: Path) -> None:
    fill(root, "case/cat", "case/dog", "elsewhere")
    (root / "case/cat/9.jpg").symlink_to(root / "elsewhere/0.jpg")


def link_to_folder_outside(root: Path) -> None:
    fill(root, "case/cat", "case/dog", "elsewhere")
    (root / "case/bird").symlink_to(root / "elsewhere")


def link_to_folder_beside_it(root: Path) -> None:
    # Its name begins as the case's does.
    fill(root, "case/cat", "case/dog", "case2")
    (root / "case/cat/9.jpg").symlink_to(root / "case2/0.jpg")


def link_in_a_circle(root: Path) -> None:
    fill(root, "cat", "dog")
    (root / "cat/loop").symlink_to(root)


def dangling_link(root: Path) -> None:
    fill(root, "cat", "dog")
    (root / "cat/9.jpg").symlink_to("nothing.jpg")


def link_to_itself(root: Path) -> None:
    fill(root, "cat", "dog")
    (root / "cat/9.jpg").symlink_to("9.jpg")


def unwritable_class_names(root: Path) -> None:
    fill(root, "cat", "dog\ntwo", os.fsdecode(b"d\xff"))


def file_twice_by_link(root: Path) -> None:
    fill(root, "cat", "dog")
    (root / "cat/9.jpg").symlink_to(root / "dog/0.jpg")


def pipe(root: Path) -> None:
    fill(root, "cat", "dog")
    os.mkfifo(root / "cat/9.jpg")


def no_train(root: Path) -> None:
    fill(root, "test/cat", "test/dog", "val/cat", "val/dog")


def split_twice(root: Path) -> None:
    fill(root, "train/cat", "train/dog", "val/cat", "validation/dog")


def folder_beside_splits(root: Path) -> None:
    fill(root, "train/cat", "train/dog", "test/cat", "extra/cat")


def untrained_class(root: Path) -> None:
    fill(root, "train/cat", "train/dog", "test/bird")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (one_class, "one class only, 'cat'"),
        (empty_class, "class 'bird' without samples"),
        (one_sample, "1 sample in class 'bird'; give it at least 3"),
        (two_samples, "2 samples in class 'bird'; give it at least 3"),
        (mixture, "6 pictures and 1 sounds together"),
        (link_to_file_outside, "a link that leads out of the folder, 'cat/9.jpg'"),
        (link_to_folder_outside, "a link that leads out of the folder, 'bird'"),
        (link_to_folder_beside_it, "a link that leads out of the folder, 'cat/9.jpg'"),
        (link_in_a_circle, "'cat/loop'"),
        (dangling_link, "'cat/9.jpg': No such file"),
        (link_to_itself, "'cat/9.jpg': Too many levels"),
        (unwritable_class_names, "2 problems: a control character or no UTF-8 in the class name 'dog\\ntwo'"),
        (file_twice_by_link, "is there twice"),
        (pipe, "'cat/9.jpg' is no picture or sound"),
        (no_train, "without train"),
        (split_twice, "a split twice among train, val, validation"),
        (folder_beside_splits, "folder 'extra' beside test, train"),
        (untrained_class, "class 'bird' without training samples"),
    ],
)
def test_a_folder_that_cannot_be_used(tmp_path: Path, make: Callable[[Path], None], message: str) -> None:
    make(tmp_path)
    case = tmp_path / "case" if (tmp_path / "case").is_dir() else tmp_path
    assert message in said(case)


def test_a_link_that_stays_inside_is_followed(tmp_path: Path) -> None:
    fill(tmp_path, "cat", "dog")
    (tmp_path / ".store").mkdir()
    (tmp_path / ".store/9.jpg").write_bytes(b"x")
    (tmp_path / "cat/9.jpg").symlink_to("../.store/9.jpg")
    assert len(list_samples(tmp_path).entries) == 7


def test_what_cannot_be_read_is_named(shared: Path) -> None:
    fill(shared, "cat", "dog")
    (shared / "cat/1.jpg").chmod(0)
    (shared / "dog/inner").mkdir(mode=0)
    with unprivileged():
        message = said(shared)
    assert "2 problems" in message
    assert "'cat/1.jpg' cannot be read (make it readable)" in message
    assert "folder 'dog/inner' cannot be read (Permission denied)" in message
    path = table(shared, *GOOD_ROWS)
    path.chmod(0)
    with unprivileged():
        assert "Permission denied; make it readable" in said(path)
    (shared / "closed").mkdir(mode=0)
    with unprivileged():
        assert "the folder cannot be read" in said(shared / "closed")


def test_several_problems_are_said_at_once_and_counted(tmp_path: Path) -> None:
    fill(tmp_path, "cat", "dog")
    for number in range(7):
        (tmp_path / f"bird{number}").mkdir()
    message = said(tmp_path)
    assert "7 problems: class 'bird0' without samples (add some, or remove it); class 'bird1'" in message
    assert "bird4" in message
    assert "bird5" not in message
    assert "and 2 more" in message


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("file", ["0.wav"], "got the columns 'file' (no 'label')"),
        ("path,class", ["0.wav,no"], "(no 'file', no 'label', unknown 'path', unknown 'class')"),
        ("file;label", ["0.wav;no"], "the columns 'file;label'"),
        ("file,label,colour", ["0.wav,no,red"], "(unknown 'colour')"),
        ("file,label,label", ["0.wav,no,no"], "(one is there twice)"),
        ("", [], "got no header line"),
        ("file,label", [], "a header without rows"),
        ("file,label", [*GOOD_ROWS, "7.wav,no"], "line 8: '7.wav': No such file"),
        ("file,label", [*GOOD_ROWS, "0.wav,no"], "line 8: '0.wav' is there twice, as line 2 too"),
        ("file,label", [*GOOD_ROWS, "./0.wav,yes"], "line 8: './0.wav' is there twice, as line 2 too"),
        (
            "file,label",
            [*GOOD_ROWS, "../6.wav,no"],
            "line 8: a path that leads out of the folder, '../6.wav'",
        ),
        ("file,label", [*GOOD_ROWS, "/etc/passwd,no"], "a path that leads out of the folder"),
        ("file,label", [*GOOD_ROWS, "..,no"], "a path that leads out of the folder"),
        ("file,label", [*GOOD_ROWS, "a\0b.wav,no"], "line 8"),
        ("file,label", [*GOOD_ROWS, "samples.csv,no"], "line 8: 'samples.csv' is no picture or sound"),
        ("file,label", [*GOOD_ROWS, "6.wav"], "line 8: 1 cells; give 2"),
        ("file,label", [*GOOD_ROWS, "6.wav,a,b"], "line 8: 3 cells; give 2"),
        ("file,label", [*GOOD_ROWS, "6.wav, "], "line 8: empty label"),
        ("file,label", [*GOOD_ROWS, ",no"], "line 8: empty file"),
        ("file,label", [*GOOD_ROWS, '"6.wav,no'], "row that ends on line 8"),
        ("file,label", [*GOOD_ROWS, '"6.wav"x,no'], "well-quoted cells"),
        ("file,label,split", [f"{row},train" for row in GOOD_ROWS] + ["6.wav,no,dev"], "line 8: split 'dev'"),
        ("file,label,split", [f"{row},train" for row in GOOD_ROWS] + ["6.wav,no,"], "line 8: empty split"),
        (
            "file,label,split",
            [f"{row},{'test' * (row > '3') or 'train'}" for row in GOOD_ROWS],
            "'yes' without tr",
        ),
        (
            "file,label,split,group",
            [f"{row},{'test' if row[0] in '05' else 'train'},g{int(row[0]) // 5}" for row in GOOD_ROWS],
            "group 'g0' in test and train",
        ),
    ],
)
def test_a_csv_file_that_cannot_be_used(tmp_path: Path, header: str, rows: list[str], message: str) -> None:
    assert message in said(table(tmp_path, *rows, header=header))


def test_a_csv_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path)
    path.write_bytes("file,label\n0.wav,na\u00efve\n".encode("latin-1"))
    assert "UTF-8" in said(path)
    assert "no header line" in said(tmp_path / "0.wav").replace(
        "the columns 'x' (no 'file'", "no header line"
    )
    os.mkfifo(tmp_path / "pipe")
    assert "neither" in said(tmp_path / "pipe")
