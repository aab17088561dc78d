"""Downloads files from public mirrors: bounded in size and time, and quick to see that there is no net.

A host that cannot be reached is not asked again, so that a machine without internet goes on within
seconds. Redirects are not followed: a mirror that moved, or a hotel's login page, is no mirror.
"""

import os
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from socket import getaddrinfo
from typing import Final
from urllib.request import getproxies

import httpx

from obfnet.core.errors import DataError
from obfnet.core.progress import Progress
from obfnet.data.content import BoundedContent
from obfnet.data.wheel import WheelDownload, pip_download

CONNECT_TIMEOUT_S: Final = 3.0
READ_TIMEOUT_S: Final = 20.0
DOWNLOAD_LIMIT_S: Final = 900.0


@dataclass(frozen=True, kw_only=True)
class Network:
    """How the internet is reached; a test passes its own.

    Args:
        enabled: Whether it may be used at all.
        transport: Carries the HTTP requests; None is the real network, through the environment's
            proxies if there are any.
        download_wheel: Brings a wheel into a folder.
    """

    enabled: bool = True
    transport: httpx.BaseTransport | None = None
    download_wheel: WheelDownload = pip_download

    @classmethod
    def of_environment(cls) -> "Network":
        """The real network, or none at all where `OBFNET_OFFLINE` is set to something."""
        return cls(enabled=not os.environ.get("OBFNET_OFFLINE"))


class UnreachableError(DataError):
    """A host did not answer, or not with the file: to ask again would be in vain."""


class Mirrors:
    """Downloads, remembering which hosts do not answer.

    Args:
        network: How the internet is reached.
        progress: Told how many bytes have come.
    """

    def __init__(self, network: Network, progress: Progress) -> None:
        self.network, self.progress = network, progress
        self._dead: dict[str, str] = {}

    def get(self, url: str, *, limit_bytes: int, slack_bytes: int, packed: bool = False) -> bytes:
        """The plain bytes of a file, plain or gzip on the wire.

        Args:
            url: The file's address.
            limit_bytes: Most plain bytes that are accepted.
            slack_bytes: How many more may come over the wire.
            packed: Whether a gzip file is wanted as it is.

        Returns:
            The plain bytes, unchecked.

        Raises:
            UnreachableError: no connection, an answer other than 200, or too slow.
            DataError: too large, cut short, or broken gzip.
        """
        host = httpx.URL(url).host
        if host in self._dead:
            raise _unreachable(url, self._dead[host])
        try:
            # Raw bytes without a content coding: the size is bounded here, not by the client.
            with (
                self._client() as client,
                client.stream("GET", url, headers={"Accept-Encoding": "identity"}) as answer,
            ):
                if answer.status_code != httpx.codes.OK:
                    raise _unreachable(url, f"answered {answer.status_code}")
                return self._collect(answer, url, limit_bytes, slack_bytes, packed=packed)
        except (httpx.HTTPError, OSError, ImportError, ValueError) as exc:
            # Beside faults of the network: certificates or proxies of this machine that httpx cannot use.
            reason = "no connection" if isinstance(exc, httpx.ConnectError) else type(exc).__name__
            self._dead[host] = reason
            raise _unreachable(url, reason) from exc

    def _client(self) -> httpx.Client:
        timeout = httpx.Timeout(READ_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        transport = self.network.transport
        # A proxy resolves names itself, and httpx leaves proxies out where a transport is given.
        if transport is None and not getproxies().keys() & {"http", "https", "all"}:
            transport = _ImpatientTransport()
        return httpx.Client(timeout=timeout, transport=transport)

    def _collect(
        self, answer: httpx.Response, url: str, limit_bytes: int, slack_bytes: int, *, packed: bool
    ) -> bytes:
        name = url.rsplit("/", 1)[-1]
        announced = answer.headers.get("Content-Length", "")
        total = int(announced) if announced.isdecimal() else limit_bytes
        content, received, deadline = (
            BoundedContent(limit_bytes, name=name, packed=packed),
            0,
            time.monotonic() + DOWNLOAD_LIMIT_S,
        )
        self.progress.start(f"downloading {name}", total)
        for chunk in answer.iter_raw():
            received += len(chunk)
            if received > limit_bytes + slack_bytes:
                raise DataError(f"at most {limit_bytes + slack_bytes} bytes of {name}", "more", "try again")
            if time.monotonic() > deadline:
                raise _unreachable(url, f"slower than {DOWNLOAD_LIMIT_S:.0f} s")
            content.feed(chunk)
            self.progress.advance(min(received, total))
        self.progress.finish()
        return content.finish()


class _ImpatientTransport(httpx.HTTPTransport):
    """Gives up on names that do not resolve in time; the system's own limit is far longer."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        host, port = request.url.host, request.url.port
        resolved = threading.Event()

        def resolve() -> None:
            # Where this fails, the real attempt says at once what is wrong.
            with suppress(OSError):
                getaddrinfo(host, port)
            resolved.set()

        threading.Thread(target=resolve, daemon=True).start()
        if not resolved.wait(CONNECT_TIMEOUT_S):
            raise httpx.ConnectTimeout("the name was not resolved in time", request=request)
        return super().handle_request(request)


def _unreachable(url: str, reason: str) -> UnreachableError:
    return UnreachableError(f"an answer from {url}", reason, "try again later")
