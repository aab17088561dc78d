"""What a client needs of a connection, whichever wire it runs on, and how often a fault is tried again.

Two implementations: `rest_channel` and `grpc_channel`. Choosing between them is `client.connect`'s.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

from obfnet.core.errors import BackendProtocolError, BackendUnavailableError
from obfnet.core.spec import Samples
from obfnet.oip.tensors import Exchange, ModelMetadata

BACKOFF_S: Final = 0.1

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """Where a backend is and how patiently it is asked.

    Args:
        url: As the user gave it, for messages.
        host: Host name or address.
        port: TCP port.
        secure: Whether TLS is spoken.
        model: Name of the model on the server.
        timeout_s: Longest wait to connect, and longest wait for an answer.
        retries: How often a fault is tried again that cannot have changed anything on the server.
        ca_path: File of PEM certificates to trust instead of the usual ones.
        use_environment_proxies: Whether proxies named in the environment are used; otherwise data goes
            nowhere but to `host`.
    """

    url: str
    host: str
    port: int
    secure: bool
    model: str
    timeout_s: float
    retries: int
    ca_path: str | None
    use_environment_proxies: bool


class Channel(ABC):
    """A connection to one model on one server; reused until it is closed. May be shared by threads."""

    @property
    @abstractmethod
    def protocol(self) -> str:
        """`"binary"`, `"json"` or `"grpc"`; `"auto"` while it is still to be negotiated."""

    @abstractmethod
    def metadata(self) -> ModelMetadata:
        """What the server says of the model; raises `BackendError`."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether the server answers and says that the model is ready; asks once."""

    @abstractmethod
    def exchange(self, samples: Samples, metadata: ModelMetadata) -> Exchange:
        """Sends samples and waits for their scores; raises `BackendError`."""

    @abstractmethod
    def close(self) -> None:
        """Closes the connection."""


class TransientError(Exception):
    """A fault that may be tried again, since the server gave no answer; `__cause__` is what to raise."""


def with_retries(call: Callable[[], T], *, retries: int) -> T:
    """Calls until it succeeds, at most `retries` times more, waiting 0.1, 0.2, 0.4 ... s between.

    Args:
        call: Raises `TransientError` from the error to report.
        retries: At least 0.

    Returns:
        What `call` returned.

    Raises:
        BackendUnavailableError: the last fault, or any other error of `call` at once.
    """
    for attempt in range(retries + 1):
        try:
            return call()
        except TransientError as fault:
            if attempt == retries:
                if fault.__cause__ is None:
                    raise
                raise fault.__cause__ from fault.__cause__.__cause__
        time.sleep(BACKOFF_S * 2**attempt)
    raise AssertionError("unreachable")


def timed_out(endpoint: Endpoint) -> BackendUnavailableError:
    """The error of a server that did not answer in time."""
    return BackendUnavailableError(
        f"an answer of {endpoint.url} within {endpoint.timeout_s:g} s",
        "none",
        "try again, or give a longer timeout",
    )


def unreachable(endpoint: Endpoint, why: str) -> BackendUnavailableError:
    """The error of a server that no connection leads to; `why` in a few words."""
    return BackendUnavailableError(
        f"a server at {endpoint.url}", why, "check the URL and that the server is running"
    )


def untrue(endpoint: Endpoint, expected: str, got: str) -> BackendProtocolError:
    """The error of an answer that is none of the protocol's."""
    return BackendProtocolError(f"{expected} of {endpoint.url}", got, "check that the URL is the backend's")
