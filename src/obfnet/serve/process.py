"""A backend in a process of its own, started and stopped by a `with` block, which leaves no orphan.

The child picks its port and reports it, so that nobody can take the port in between; it stops when its
parent ends, however that ends. Restarting a server that died is left out.
"""

import json
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from obfnet.core.errors import BackendUnavailableError

_STOP_S: Final = 10.0


class BackendProcess:
    """Serves a model in a child process for as long as the `with` block runs.

    Args:
        model: The ONNX file.
        grpc: Whether gRPC is served too.
        name: The model's name.
        port: TCP port of REST; 0 takes a free one.
        threads: CPU threads that one request may use.
        startup_timeout_s: Longest wait until the server answers; seconds.

    Example:
        >>> backend = BackendProcess(Path("inference.onnx"))
        >>> backend.pid is None
        True
    """

    def __init__(
        self,
        model: Path,
        *,
        grpc: bool = False,
        name: str = "model",
        port: int = 0,
        threads: int = 1,
        startup_timeout_s: float = 60.0,
    ) -> None:
        self._command = [
            sys.executable,
            "-m",
            "obfnet.serve",
            str(model),
            "--port",
            str(port),
            "--name",
            name,
        ]
        self._command += ["--threads", str(threads), "--die-with-parent"]
        self._command += ["--grpc-port", "0"] if grpc else []
        self._startup_timeout_s = startup_timeout_s
        self._process: subprocess.Popen[bytes] | None = None
        self._readers: list[threading.Thread] = []
        self._log: deque[str] = deque(maxlen=50)
        self._ports: tuple[int, int | None] | None = None

    @property
    def url(self) -> str:
        """The REST URL; raises `BackendUnavailableError` while it does not run."""
        return f"http://127.0.0.1:{self._running()[0]}"

    @property
    def grpc_url(self) -> str | None:
        """The gRPC URL, or None where gRPC is not served; raises `BackendUnavailableError` as `url`."""
        port = self._running()[1]
        return None if port is None else f"grpc://127.0.0.1:{port}"

    @property
    def pid(self) -> int | None:
        """The child's process number while it runs."""
        return None if self._process is None else self._process.pid

    @property
    def log_tail(self) -> list[str]:
        """The last lines that the child wrote on stderr, at most 50."""
        return list(self._log)

    def start(self) -> Self:
        """Starts the child and waits until its model answers; `with` calls it.

        Raises:
            BackendUnavailableError: it ended, or did not answer in time; holds the child's last line.
        """
        # Its own session, so that Ctrl-C in a terminal reaches the parent alone, which then stops it.
        self._process = process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        said: queue.Queue[str] = queue.Queue()
        self._read(process.stdout, said.put, lambda: said.put(""))
        self._read(process.stderr, self._log.append)
        try:
            ready = json.loads(said.get(timeout=self._startup_timeout_s))
            self._ports = (int(ready["port"]), ready["grpc_port"])
        except queue.Empty:
            self._fail(f"no answer within {self._startup_timeout_s:g} s")
        except (ValueError, KeyError, TypeError):
            self._fail("an end")
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Stops the child and waits for its end; harmless if it does not run."""
        process, self._process, self._ports = self._process, None, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for reader in self._readers:
            reader.join()
        self._readers.clear()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _running(self) -> tuple[int, int | None]:
        if self._ports is None:
            raise BackendUnavailableError(
                "a running backend", "one that is not started", "use it in a `with` block"
            )
        return self._ports

    def _fail(self, got: str) -> None:
        self.stop()
        last = next((line for line in reversed(self._log) if line.strip()), "it said nothing")
        raise BackendUnavailableError("the backend to start", got, f"its last line: {last}")

    def _read(
        self, pipe: IO[bytes] | None, take: Callable[[str], None], at_end: Callable[[], None] | None = None
    ) -> None:
        def read() -> None:
            for line in pipe or ():
                take(line.decode(errors="replace").rstrip())
            if at_end is not None:
                at_end()

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        self._readers.append(reader)
