"""Servers on loopback that do exactly what a test tells them, and a proxy that keeps what passes."""

import json
import socket
import threading
from contextlib import suppress

METADATA = {
    "name": "model",
    "platform": "",
    "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 1, 4, 4]}],
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 3]}],
}
ANSWER = {
    "model_name": "model",
    "id": "1",
    "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 3], "data": [0.25, 0.5, 0.125]}],
}


def http_answer(body=b"", status="200 OK", headers=()):
    """The bytes of one HTTP answer."""
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode() + body


class _Listener:
    def __init__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._threads = []
        self._open = []
        self._closing = False
        self._start(self._accept)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._closing = True
        # Wakes the accept: closing alone does not.
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)
        for connection in self._open:
            connection.close()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def _start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while not self._closing:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            self._start(self._handle_quietly, connection)

    def _handle_quietly(self, connection):
        with suppress(OSError):
            self.handle(connection)

    def handle(self, connection):
        raise NotImplementedError


class ScriptedServer(_Listener):
    """Answers each HTTP request with what `script(method, path, headers, body)` returns.

    Bytes are sent as they are; None closes the connection without an answer; a tuple of bytes is sent and
    the connection then closed. Keeps all requests, and every byte that came.
    """

    def __init__(self, script, *, tls=None):
        self.script, self._tls = script, tls
        self.requests = []
        self.received = bytearray()
        self.connections = 0
        super().__init__()

    def handle(self, connection):
        self.connections += 1
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
            self._open.append(connection)
        buffer = b""
        while True:
            while b"\r\n\r\n" not in buffer:
                chunk = connection.recv(65536)
                self.received += chunk
                if not chunk:
                    return
                buffer += chunk
            head, buffer = buffer.split(b"\r\n\r\n", 1)
            lines = head.decode().split("\r\n")
            method, path, _ = lines[0].split(" ")
            headers = [tuple(line.split(": ", 1)) for line in lines[1:]]
            length = int({name.lower(): value for name, value in headers}.get("content-length", 0))
            while len(buffer) < length:
                chunk = connection.recv(65536)
                self.received += chunk
                buffer += chunk
            body, buffer = buffer[:length], buffer[length:]
            self.requests.append((method, path, headers, body))
            answer = self.script(method, path, headers, body)
            if answer is None or isinstance(answer, tuple):
                connection.sendall(answer[0] if answer else b"")
                connection.shutdown(socket.SHUT_RDWR)
                connection.close()
                return
            connection.sendall(answer)

    @property
    def inference_requests(self):
        return [request for request in self.requests if request[1].endswith("/infer")]


class RecordingProxy(_Listener):
    """Passes bytes on to a port and back; keeps what the client sent, a bytearray a connection."""

    def __init__(self, upstream_port):
        self._upstream_port = upstream_port
        self.sent = []
        super().__init__()

    def handle(self, connection):
        upstream = socket.create_connection(("127.0.0.1", self._upstream_port))
        self._open.append(upstream)
        kept = bytearray()
        self.sent.append(kept)
        self._start(self._pump_quietly, upstream, connection, None)
        self._pump(connection, upstream, kept)

    def _pump_quietly(self, source, target, kept):
        with suppress(OSError):
            self._pump(source, target, kept)

    def _pump(self, source, target, kept):
        try:
            while chunk := source.recv(65536):
                if kept is not None:
                    kept += chunk
                target.sendall(chunk)
        finally:
            with suppress(OSError):
                target.shutdown(socket.SHUT_WR)
