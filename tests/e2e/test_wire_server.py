"""The life of a backend process: its ports, its end by signal, and that it never outlives its parent."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from obfnet.core.errors import BackendUnavailableError
from obfnet.oip import connect
from obfnet.serve import BackendProcess
from tests.wire.models import classifier_bytes, raw_samples

pytestmark = pytest.mark.e2e


@pytest.fixture
def model(tmp_path):
    path = tmp_path / "inference.onnx"
    path.write_bytes(classifier_bytes())
    return path


@contextmanager
def start(model, *options):
    with subprocess.Popen(
        [sys.executable, "-m", "obfnet.serve", str(model), *options],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            # A test that fails must not wait for ever for a server that runs on.
            process.kill()


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def wait_until(condition, timeout_s=15):
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_promptly_with_exit_code_0(model, number):
    with start(model, "--grpc-port", "0") as process:
        ports = json.loads(process.stdout.readline())
        # A connection that is open and idle must not hold it up.
        with connect(f"http://127.0.0.1:{ports['port']}") as client:
            client.infer(raw_samples())
            began = time.monotonic()
            process.send_signal(number)
            _, complaints = process.communicate(timeout=10)
        assert time.monotonic() - began < 5
    assert process.returncode == 0
    assert complaints == ""


@pytest.mark.parametrize("delay_s", [0.1, 0.6, 1.0])
def test_a_signal_while_it_loads_stops_it_too(model, delay_s):
    with start(model) as process:
        time.sleep(delay_s)
        process.terminate()
        _, complaints = process.communicate(timeout=30)
    assert process.returncode in (0, -signal.SIGTERM)
    assert complaints == ""


@pytest.mark.parametrize("number", ["SIGTERM", "SIGINT"])
def test_a_signal_between_loading_and_serving_stops_it_too(model, number):
    # Nobody else can hit that moment for certain.
    code = f"""
import asyncio, os, signal, sys
run = asyncio.run
def interrupted(main):
    os.kill(os.getpid(), signal.{number})
    return run(main)
asyncio.run = interrupted
from obfnet.serve.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(model)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("which", ["--port", "--grpc-port"])
def test_a_busy_port_is_refused_in_one_line(model, which):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        with start(model, which, str(port)) as process:
            _, complaints = process.communicate(timeout=30)
    assert process.returncode == 1
    assert complaints.count("\n") == 1
    assert f"port {port}" in complaints
    assert "Traceback" not in complaints


def test_it_listens_on_the_given_address_only(model):
    with BackendProcess(model, grpc=True) as backend:
        for url in (backend.url, backend.grpc_url):
            port = int(url.rsplit(":", 1)[1])
            with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.2", port), 5):
                pass


def test_a_process_that_does_not_start_says_why(tmp_path):
    path = tmp_path / "broken.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(BackendUnavailableError, match="ONNX Runtime does not load") as caught:
        BackendProcess(path).start()
    assert "\n" not in str(caught.value)


def test_a_start_that_takes_too_long_is_given_up(model):
    backend = BackendProcess(model, startup_timeout_s=0.01)
    with pytest.raises(BackendUnavailableError, match=r"0\.01 s"):
        backend.start()
    assert backend.pid is None


def test_after_the_block_the_process_is_gone_and_the_url_with_it(model):
    with BackendProcess(model) as backend:
        pid = backend.pid
        assert is_running(pid)
        assert backend.grpc_url is None
    assert not is_running(pid)
    with pytest.raises(BackendUnavailableError, match="not started"):
        _ = backend.url


def test_killing_the_parent_leaves_no_orphan(model):
    code = (
        "import sys, time; from pathlib import Path; from obfnet.serve import BackendProcess\n"
        "with BackendProcess(Path(sys.argv[1])) as backend:\n"
        "    print(backend.pid, flush=True); time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(model)], stdout=subprocess.PIPE, text=True
    ) as parent:
        pid = int(parent.stdout.readline())
        assert is_running(pid)
        os.kill(parent.pid, signal.SIGKILL)
    assert wait_until(lambda: not is_running(pid))


def test_a_server_that_is_killed_is_one_clear_line(model):
    with BackendProcess(model) as backend, connect(backend.url, retries=0) as client:
        client.infer(raw_samples())
        os.kill(backend.pid, signal.SIGKILL)
        assert wait_until(lambda: not is_running(backend.pid))
        with pytest.raises(BackendUnavailableError, match=r"127\.0\.0\.1") as caught:
            client.infer(raw_samples())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "order", [("oip.grpc_channel", "serve.kserve_model"), ("serve.kserve_model", "oip.grpc_channel")]
)
def test_a_server_and_a_grpc_client_in_one_process_is_refused_in_one_line(order):
    code = f"import obfnet.{order[0]}\nfrom obfnet.core.errors import UsageError\n"
    code += f"try:\n    import obfnet.{order[1]}\nexcept UsageError as exc:\n    print(exc)\n"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "process of its own" in done.stdout
