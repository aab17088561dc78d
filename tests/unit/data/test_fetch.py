"""The chain of sources: its order, its checks, and what it says when all fail."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from obfnet.core.errors import ChecksumError, DataError, OutputError
from obfnet.core.progress import Silent
from obfnet.data.fetch import NoSourceError, Obtained, Sources, locate, obtain
from obfnet.data.mirrors import Network
from tests.unit.data.conftest import CONTENT, FILE, FIRST, SECOND, FakeNet, answer, zipped

WRONG = b"x" * len(CONTENT)


class Said(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def get(net: FakeNet, data_dir: Path | None = None, *, said: Said | None = None, **more: bool) -> Obtained:
    (found,) = obtain([FILE], net.sources(), data_dir=data_dir, network=net.network, progress=said, **more)
    assert found.content == CONTENT
    return found


def test_each_source_is_asked_only_when_the_former_gave_nothing(
    net: FakeNet, cached: Path, tmp_path: Path
) -> None:
    """Takes the sources away from the last to the first."""
    net.always(FIRST, zipped())
    net.always(SECOND, zipped())
    net.wheel = CONTENT
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / FILE.name).write_bytes(CONTENT)
    assert get(net, folder).path == folder / FILE.name
    assert (net.asked, cached.exists()) == ([], False)

    assert get(net).source == FIRST
    assert cached.read_bytes() == CONTENT
    assert get(net).path == cached
    assert net.asked == ["https://first.invalid"]

    cached.unlink()
    net.answers.pop(f"{FIRST}{FILE.name}.gz")
    assert get(net).source == SECOND

    cached.unlink()
    net.answers.clear()
    net.asked.clear()
    assert get(net).source.startswith("wheel")
    assert net.asked == ["https://first.invalid", "https://second.invalid", "pip toy==1"]
    assert cached.read_bytes() == CONTENT


@pytest.mark.parametrize("place", ["toy/letters", "toy/letters.gz", "letters", "letters.gz"])
def test_a_data_folder_may_hold_the_file_in_four_ways(
    net: FakeNet, tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "data" / place
    path.parent.mkdir(parents=True)
    path.write_bytes(zipped() if place.endswith(".gz") else CONTENT)
    assert get(net, tmp_path / "data").path == path
    monkeypatch.setenv("OBFNET_DATA", str(tmp_path / "data"))
    assert get(net).source.startswith("OBFNET_DATA")
    assert net.asked == []


def test_the_named_folder_wins_over_the_configured_one(
    net: FakeNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OBFNET_DATA", str(tmp_path / "not-there"))
    (tmp_path / FILE.name).write_bytes(CONTENT)
    assert get(net, tmp_path).source.startswith("--data-dir")


@pytest.mark.parametrize("stored", [WRONG, CONTENT[:-1], CONTENT + b"x", zipped()[:-9], b""])
def test_a_damaged_file_in_a_named_folder_is_an_error(net: FakeNet, tmp_path: Path, stored: bytes) -> None:
    """What the user named is never passed over, however many other sources there are."""
    net.always(FIRST, zipped())
    (tmp_path / FILE.name).write_bytes(stored)
    with pytest.raises(DataError, match=f"{tmp_path / FILE.name}") as caught:
        get(net, tmp_path)
    assert not isinstance(caught.value, NoSourceError)
    assert net.asked == []


def test_a_wrong_checksum_in_a_named_folder_says_both(net: FakeNet, tmp_path: Path) -> None:
    (tmp_path / FILE.name).write_bytes(WRONG)
    with pytest.raises(ChecksumError, match=FILE.sha256):
        get(net, tmp_path)


def test_a_named_folder_that_is_not_there_is_an_error(
    net: FakeNet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"gone \(--data-dir\)"):
        get(net, tmp_path / "gone")
    monkeypatch.setenv("OBFNET_DATA", str(tmp_path / "gone"))
    with pytest.raises(DataError, match=r"gone \(OBFNET_DATA\)"):
        get(net)


def test_an_empty_named_folder_is_said_aloud_and_the_chain_goes_on(net: FakeNet, tmp_path: Path) -> None:
    net.always(FIRST, zipped())
    (tmp_path / "data").mkdir()
    said = Said()
    assert get(net, tmp_path / "data", said=said).source == FIRST
    assert len(said.lines) == 1
    assert "holds no letters" in said.lines[0]


def test_a_damaged_cache_is_fetched_again(net: FakeNet, cached: Path) -> None:
    net.always(FIRST, zipped())
    cached.parent.mkdir(parents=True)
    cached.write_bytes(WRONG)
    said = Said()
    assert get(net, said=said).source == FIRST
    assert cached.read_bytes() == CONTENT
    assert "wrong checksum" in said.lines[0]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (zipped(WRONG), "wrong checksum"),
        (zipped()[:-9], "cut short"),
        (zipped(CONTENT * 2), "more"),
        (b"<html>log in</html>", "wrong checksum"),
        (b"y" * (len(CONTENT) + 100_000), "more"),
    ],
    ids=["other content", "truncated", "too long", "web page", "flood"],
)
def test_a_damaged_download_is_fetched_once_more_then_refused(
    net: FakeNet, cached: Path, body: bytes, reason: str
) -> None:
    net.always(FIRST, body)
    net.always(SECOND, body)
    with pytest.raises(NoSourceError) as caught:
        get(net)
    assert net.asked[:4] == ["https://first.invalid"] * 2 + ["https://second.invalid"] * 2
    refused = [attempt for attempt in caught.value.attempts if attempt.source in (FIRST, SECOND)]
    assert len(refused) == 2
    assert all(reason in attempt.reason and "twice" in attempt.reason for attempt in refused)
    assert not cached.exists()


def test_a_good_second_download_is_taken(net: FakeNet) -> None:
    url = f"{FIRST}{FILE.name}.gz"
    net.answers[url] = iter([answer(zipped(WRONG)), answer(zipped())])
    assert get(net).source == FIRST


def test_a_mirror_may_serve_the_plain_file(net: FakeNet) -> None:
    net.always(FIRST, CONTENT)
    assert get(net).source == FIRST


@pytest.mark.parametrize("status", [302, 403, 404, 503])
def test_an_answer_other_than_200_is_not_repeated(net: FakeNet, status: int) -> None:
    net.always(FIRST, zipped(), status)
    net.always(SECOND, zipped())
    assert get(net).source == SECOND
    assert net.asked == ["https://first.invalid", "https://second.invalid"]


def test_without_a_network_all_that_was_tried_is_listed(net: FakeNet, tmp_path: Path, cached: Path) -> None:
    with pytest.raises(NoSourceError) as caught:
        get(net, tmp_path)
    reasons = [(attempt.source, attempt.reason) for attempt in caught.value.attempts]
    assert [source.split()[0] for source, _ in reasons] == ["--data-dir", "cache", FIRST, SECOND, "wheel"]
    assert reasons[2:] == [
        (FIRST, "no connection"),
        (SECOND, "no connection"),
        ("wheel", "no such distribution"),
    ]
    for source, reason in reasons:
        assert f"{source}: {reason}" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "--data-dir" in caught.value.remedy
    assert not cached.parent.exists()


def test_a_host_that_is_not_reached_is_not_asked_for_the_next_file(net: FakeNet) -> None:
    other = replace(FILE, name="digits")

    def wheel(download: object) -> dict[str, bytes]:
        net.asked.append("wheel")
        return {FILE.name: CONTENT, "digits": CONTENT}

    sources = Sources(case="toy", mirrors=(FIRST,), wheel=wheel)
    found = obtain([FILE, other], sources, network=net.network)
    assert [file.spec.name for file in found] == ["letters", "digits"]
    assert net.asked == ["https://first.invalid", "wheel"]


def test_a_wheel_with_other_content_is_refused(net: FakeNet, cached: Path) -> None:
    net.wheel = WRONG
    with pytest.raises(NoSourceError, match="wheel: wrong checksum"):
        get(net)
    assert not cached.exists()


def test_offline_asks_neither_mirror_nor_wheel(net: FakeNet) -> None:
    net.always(FIRST, zipped())
    net.wheel = CONTENT
    for network in (None, replace(net.network, enabled=False)):
        with pytest.raises(NoSourceError, match="mirrors: offline by OBFNET_OFFLINE; wheel: offline"):
            obtain([FILE], net.sources(), network=network)
    assert net.asked == []


def test_the_environment_decides_whether_there_is_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Network.of_environment().enabled
    monkeypatch.delenv("OBFNET_OFFLINE")
    assert Network.of_environment().enabled


def test_a_cache_that_cannot_be_written_is_said_or_raised(net: FakeNet, cached: Path) -> None:
    net.always(FIRST, zipped())
    cached.parent.parent.mkdir(parents=True)
    cached.parent.write_text("a file where the folder should be")
    said = Said()
    assert get(net, said=said).path is None
    assert "using it from memory" in said.lines[-1]
    with pytest.raises(OutputError):
        get(net, must_cache=True)


def test_an_interrupted_download_leaves_nothing(net: FakeNet, cached: Path) -> None:
    class Cut(httpx.SyncByteStream):
        def __iter__(self):
            yield zipped()[:20]
            raise KeyboardInterrupt

    net.answers[f"{FIRST}{FILE.name}.gz"] = iter([httpx.Response(200, stream=Cut())])
    with pytest.raises(KeyboardInterrupt):
        get(net)
    assert not cached.parent.exists()


def test_locate_goes_by_name_and_size(cached: Path, tmp_path: Path) -> None:
    assert locate(FILE, "toy") is None
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT[:-1])
    assert locate(FILE, "toy") is None
    cached.write_bytes(CONTENT)
    assert locate(FILE, "toy") == ("cache", cached)
    folder = tmp_path / "data"
    folder.mkdir()
    assert locate(FILE, "toy", data_dir=folder) == ("cache", cached)
    (folder / "letters.gz").write_bytes(zipped())
    assert locate(FILE, "toy", data_dir=folder) == ("data dir", folder / "letters.gz")
