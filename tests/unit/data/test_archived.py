"""A case whose samples are members of a ZIP archive, through the door that every command uses."""

import hashlib
import io
import re
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import httpx
import numpy as np
import pytest

from obfnet.core.errors import ChecksumError, DataError
from obfnet.core.registry import Registry
from obfnet.core.spec import InputSpec, Samples
from obfnet.data import cases
from obfnet.data.archived import archived_table
from obfnet.data.case import CaseSpec, Loading
from obfnet.data.cases import fetch_case, list_cases, load_case
from obfnet.data.fetch import FileSpec, NoSourceError
from obfnet.data.mirrors import Network
from obfnet.data.prepared import Entry
from obfnet.data.table import Table
from tests.unit.data.files import picture, picture_bytes

SPEC = InputSpec(shape=(1, 1, 2), dtype="uint8", low=0, high=255, layout="CHW", preprocessing="none")
GOOD = {
    f"{part}/{label}/{n}.bin": bytes([n, n + 1])
    for part in ("train", "test")
    for label in "ab"
    for n in range(9)
}
PUBLISHED = "https://first.invalid/published.zip"


def packed(files: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return file.getvalue()


class Toy:
    """A case of one archive, and how often a member of it was decoded."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.decoded = folder, 0
        self.spec = CaseSpec(
            name="toy",
            title="toy",
            input=SPEC,
            classes=("a", "b"),
            source="made up",
            licence="none",
            loader="toy_case:load",
            any_file=True,
            how_to_get="ask its publisher",
        )

    def publish(self, data: bytes, *, where: Path | None = None, **file: object) -> None:
        """Makes these bytes the case's archive; it lies in the data folder unless said otherwise."""
        given = {"name": "toy.zip", "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        self.spec = replace(self.spec, files=(*self.spec.files, FileSpec(**{**given, **file})))  # type: ignore[arg-type]
        path = (where or self.folder) / self.spec.files[-1].name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    def load(self, spec: CaseSpec, files: Loading) -> Table:
        return archived_table(
            spec, files, self.describe, self.decode, folders=("train", "test"), version=1, count=36
        )

    def describe(self, name: str) -> Entry | None:
        part, label, file = name.split("/")
        return Entry(name=name, label="ab".index(label), part=part) if file.endswith(".bin") else None

    def decode(self, data: bytes, name: str) -> Samples:
        self.decoded += 1
        if len(data) != 2:
            raise DataError(f"2 bytes in {name}", str(len(data)), "mend it")
        return np.frombuffer(data, np.uint8).reshape(SPEC.shape)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Toy:
    made = Toy(tmp_path / "data")
    module = ModuleType("toy_case")
    module.__getattr__ = lambda name: {"SPEC": made.spec, "load": made.load}[name]  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "toy_case", module)
    monkeypatch.setattr(cases, "CASES", Registry("case", {"toy": "toy_case:SPEC"}))
    made.folder.mkdir()
    monkeypatch.setenv("OBFNET_DATA", str(made.folder))
    return made


def refused(message: str, error: type[DataError] = DataError, **options: bool) -> None:
    with pytest.raises(error, match=message) as caught:
        load_case("toy", **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_members_become_samples_once(toy: Toy) -> None:
    toy.publish(packed({**GOOD, "train/a/readme.txt": b"no sample"}))
    data = load_case("toy")
    assert [len(split.labels) for split in (data.train, data.validation, data.test)] == [16, 2, 18]
    assert (data.test.labels == np.repeat([0, 1], 9)).all()
    assert data.test.names is not None
    for name, sample in zip(data.test.names, data.test.samples[:], strict=True):
        assert sample.tobytes() == GOOD[str(name)]
    assert data.origins[0].file == "toy.zip"
    again = load_case("toy")
    assert toy.decoded == len(GOOD)
    assert again.fingerprint == data.fingerprint
    assert again.origins[0].source == "cache (decoded before)"


def test_what_was_decoded_is_enough_where_the_archive_is_gone(toy: Toy) -> None:
    toy.publish(packed(GOOD))
    former = load_case("toy").fingerprint
    (toy.folder / "toy.zip").unlink()
    assert load_case("toy").fingerprint == former


def test_a_loader_that_gives_another_shape_is_named(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.publish(packed(GOOD))
    table, load = load_case("toy"), toy.load
    assert table.train.samples.shape[1:] == (1, 1, 2)

    def wider(spec: CaseSpec, files: Loading) -> Table:
        made = load(spec, files)
        return replace(made, samples=np.repeat(made.samples[:], 2, axis=-1))

    monkeypatch.setattr(toy, "load", wider)
    refused(r"samples of shape \(1, 1, 2\), got \(1, 1, 4\); mend toy_case:load, the loader of toy")


def test_an_archive_with_other_bytes_is_refused(toy: Toy) -> None:
    toy.publish(packed(GOOD), sha256="0" * 64)
    refused("toy.zip from .* with sha256 000", ChecksumError)


def test_an_archive_cut_short_is_refused(toy: Toy) -> None:
    whole = packed(GOOD)
    toy.publish(whole)
    (toy.folder / "toy.zip").write_bytes(whole[:-30])
    refused("toy.zip from", ChecksumError)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (packed(GOOD)[:-30], r"toy\.zip"),
        (packed({**GOOD, "../../train/a/escape.bin": b"xx"}), r"escape\.bin"),
        (packed({**GOOD, "/train/a/escape.bin": b"xx"}), r"escape\.bin"),
        (packed({"other/a/0.bin": b"xx"}), "files in 'train', 'test'"),
        (packed({"train/a/readme.txt": b"xx"}), "samples that can be read, got none"),
        (b"no archive", r"toy\.zip"),
    ],
    # The bytes have the time in them, and processes that share the tests must call them alike.
    ids=("cut short", "out of the folder", "from the root", "no part", "no sample", "no archive"),
)
def test_an_archive_that_was_published_broken_is_one_line(
    toy: Toy, data: bytes, message: str, home: Path
) -> None:
    toy.publish(data)
    refused(message)
    refused(message, skip_bad=True)
    assert not list(home.rglob("prepared-*"))


def test_a_member_that_cannot_be_read_is_named_and_counted_or_left_out(toy: Toy) -> None:
    broken = bytearray(
        packed({**GOOD, "train/b/3.bin": b"", "test/a/0.bin": b"four", "train/a/7.bin": b"!?"})
    )
    place = broken.index(b"!?")
    broken[place] = 0
    toy.publish(bytes(broken))
    refused(r"2 bytes in test/a/0\.bin, got 4; 2 more cannot be read; .*--skip-bad")
    data = load_case("toy", skip_bad=True)
    assert data.skipped == ("test/a/0.bin", "train/a/7.bin", "train/b/3.bin")
    assert len(data.test.labels) == 17


def test_where_the_preferred_file_cannot_be_had_another_is_fetched(
    toy: Toy, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("OBFNET_DATA")
    published = packed({f"set-1/{name}": data for name, data in GOOD.items()})
    toy.publish(packed(GOOD), where=tmp_path / "elsewhere")
    toy.publish(published, where=tmp_path / "elsewhere", name="published.zip", url=PUBLISHED, packed=True)
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url))
        return httpx.Response(200, stream=httpx.ByteStream(published))

    network = Network(transport=httpx.MockTransport(handle))
    for _ in range(2):
        data = load_case("toy", network=network)
        assert len(data.test.labels) == 18
    assert asked == [PUBLISHED]
    assert {status.spec.name: status.where for status in list_cases()} == {"toy": "cache"}
    assert fetch_case("toy")[0].file == "published.zip"


def test_without_any_file_the_case_says_how_to_get_one(toy: Toy, tmp_path: Path) -> None:
    toy.publish(packed(GOOD), where=tmp_path / "elsewhere")
    toy.publish(packed(GOOD), where=tmp_path / "elsewhere", name="other.zip", url=PUBLISHED)
    with pytest.raises(NoSourceError, match="ask its publisher"):
        load_case("toy")


def test_the_worked_example_of_the_documents_is_a_case(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (Path(__file__).parents[3] / "docs" / "cases.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    name, target = re.findall(r'^"(.*)": "(.*)",$', text, re.MULTILINE)[0]
    data = packed(
        {
            f"{part}/{kind}/{number:03d}.jpg": picture_bytes(picture(label, number), "JPEG")
            for part in ("train", "test")
            for label, kind in enumerate(("rose", "tulip"))
            for number in range(6)
        }
    )
    sha256, size = hashlib.sha256(data).hexdigest(), f"size_bytes={len(data)}"
    code = code.replace("the file's SHA-256", sha256).replace("size_bytes=0", size)
    module = ModuleType("obfnet.data.flowers")
    exec(compile(code, "docs/cases.md", "exec"), module.__dict__)
    monkeypatch.setitem(sys.modules, "obfnet.data.flowers", module)
    monkeypatch.setattr(cases, "CASES", Registry("case", {name: target}))
    (tmp_path / "flowers.zip").write_bytes(data)
    made = load_case("flowers", data_dir=tmp_path)
    assert [len(split.labels) for split in (made.train, made.validation, made.test)] == [11, 1, 12]
    made.spec.input.check(made.test.samples[:])
