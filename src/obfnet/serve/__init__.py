"""The reference backend: an unmodified inference network behind KServe, in a process of its own.

It never learns whether what it is sent is obfuscated. Importing this package loads no server code.
"""

from obfnet.serve.process import BackendProcess
from obfnet.serve.server import run_server

__all__ = ["BackendProcess", "run_server"]
