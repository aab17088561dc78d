"""`python -m obfnet.serve MODEL`: the server as `BackendProcess` starts it.

Says the ports that it took in one JSON line on stdout once it answers. Users have `obfnet serve`, which does
the same; this entry needs no command line package and adds the watch that leaves no orphan behind.
"""

import argparse
import json
import os
import signal
import sys
import threading
from pathlib import Path

from obfnet.core.errors import ObfNetError
from obfnet.serve.server import run_server

_PARENT_CHECK_S = 1.0


def stop_with_parent() -> None:
    """Stops this process when its parent ends, however that ends; returns at once.

    The parent holds the other end of stdin, which the system closes when it dies. A fork of the parent may
    hold it too, so the parent's process number is looked at as well.
    """
    parent = os.getppid()
    gone = threading.Event()

    def wait_for_stdin() -> None:
        while os.read(0, 1024):
            pass
        gone.set()

    def watch() -> None:
        while not gone.wait(_PARENT_CHECK_S):
            if os.getppid() != parent:
                break
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait_for_stdin, daemon=True).start()
    threading.Thread(target=watch, daemon=True).start()


def main(arguments: list[str] | None = None) -> int:
    """Parses the command line and serves; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m obfnet.serve", description="Serve an ONNX model.")
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--grpc-port", type=int, default=None)
    parser.add_argument("--name", default="model")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--die-with-parent", action="store_true")
    given = parser.parse_args(arguments)
    if given.die_with_parent:
        stop_with_parent()
    try:
        run_server(
            given.model,
            port=given.port,
            host=given.host,
            grpc_port=given.grpc_port,
            name=given.name,
            threads=given.threads,
            on_ready=_say_ready,
        )
    except ObfNetError as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    return 0


def _say_ready(port: int, grpc_port: int | None) -> None:
    print(json.dumps({"port": port, "grpc_port": grpc_port}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
