"""Downloads from real servers on loopback: requests as they are sent, faults as they happen."""

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from obfnet.core.errors import DataError
from obfnet.core.progress import Silent
from obfnet.data import mirrors
from obfnet.data.mirrors import Mirrors, Network, UnreachableError
from tests.unit.data.conftest import CONTENT, zipped


class Handler(BaseHTTPRequestHandler):
    requests: list[dict[str, str]]

    def do_GET(self) -> None:
        self.requests.append({name.lower(): value for name, value in self.headers.items()})
        body = zipped()
        self.send_response(302 if "moved" in self.path else 200)
        self.send_header("Content-Length", str(len(body)))
        if "moved" in self.path:
            self.send_header("Location", "/letters.gz")
        self.end_headers()
        self.wfile.write(body[:10] if "cut" in self.path else body)

    def log_message(self, *_: object) -> None:
        """Is silent."""


@pytest.fixture(autouse=True)
def without_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def url() -> Iterator[str]:
    Handler.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


class Counted(Silent):
    def __init__(self) -> None:
        self.total, self.done, self.finished = 0, 0, False

    def start(self, task: str, total: int) -> None:
        self.total = total

    def advance(self, done: int, note: str = "") -> None:
        self.done = done

    def finish(self, note: str = "") -> None:
        self.finished = True


def test_a_real_download_is_unpacked_and_its_progress_told(url: str) -> None:
    told = Counted()
    got = Mirrors(Network(), told).get(f"{url}/letters.gz", limit_bytes=len(CONTENT), slack_bytes=100)
    assert got == CONTENT
    assert (told.total, told.done, told.finished) == (len(zipped()), len(zipped()), True)
    assert Handler.requests[0]["accept-encoding"] == "identity"


@pytest.mark.parametrize("path", ["moved", "cut"])
def test_redirects_and_cut_answers_are_no_source(url: str, path: str) -> None:
    with pytest.raises(UnreachableError):
        Mirrors(Network(), Silent()).get(f"{url}/{path}", limit_bytes=1000, slack_bytes=1000)
    assert len(Handler.requests) == 1


def test_too_many_bytes_are_refused(url: str) -> None:
    with pytest.raises(DataError, match="at most"):
        Mirrors(Network(), Silent()).get(f"{url}/letters.gz", limit_bytes=10, slack_bytes=0)


def test_a_closed_port_is_seen_at_once_and_not_asked_again() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}/letters.gz"
        tried = Mirrors(Network(), Silent())
        for _ in range(2):
            with pytest.raises(UnreachableError, match="no connection"):
                tried.get(closed, limit_bytes=1000, slack_bytes=0)


def test_a_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "READ_TIMEOUT_S", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/letters.gz"
        with pytest.raises(UnreachableError, match="ReadTimeout"):
            Mirrors(Network(), Silent()).get(url, limit_bytes=1000, slack_bytes=0)


def test_a_download_that_drips_is_given_up(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mirrors, "DOWNLOAD_LIMIT_S", -1.0)
    with pytest.raises(UnreachableError, match="slower than"):
        Mirrors(Network(), Silent()).get(f"{url}/letters.gz", limit_bytes=1000, slack_bytes=0)


def test_a_name_that_does_not_resolve_in_time_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()
    monkeypatch.setattr(mirrors, "CONNECT_TIMEOUT_S", 0.05)
    monkeypatch.setattr(mirrors, "getaddrinfo", lambda *_: release.wait(5))
    begin = time.monotonic()
    with pytest.raises(UnreachableError, match="ConnectTimeout"):
        Mirrors(Network(), Silent()).get("https://nowhere.invalid/x", limit_bytes=1, slack_bytes=0)
    assert time.monotonic() - begin < 4
    release.set()


def test_certificates_that_cannot_be_read_are_a_reason_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere/certificates.pem")
    with pytest.raises(UnreachableError):
        Mirrors(Network(), Silent()).get("https://127.0.0.1:9/x", limit_bytes=1, slack_bytes=0)
