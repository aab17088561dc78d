"""Memory that one obfuscation network takes on a device.

Resident memory as Linux counts it; elsewhere nothing is said.
"""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

from onnx import TensorProto, helper

from obfnet.bundle import Bundle

_STATUS: Final = Path("/proc/self/status")
_RUNS: Final = 20
_MOST_S: Final = 120.0
_OPSET: Final = 17
_IR: Final = 9
# A device's process: what it takes beyond the runtime, once started, is what it takes from here on.
_DEVICE: Final = f"""
import sys
from pathlib import Path
import numpy, onnxruntime
from obfnet.bundle import Trust, read_bundle
from obfnet.edge import ObfuscationSession
def resident():
    lines = Path("{_STATUS}").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * 1024
engine = onnxruntime.InferenceSession(Path(sys.argv[3]).read_bytes(), providers=["CPUExecutionProvider"])
engine.run(None, {{"x": numpy.zeros(1, numpy.float32)}})
before = resident()
bundle = read_bundle(Path(sys.argv[1]), trust=Trust(explicit=(sys.argv[2],)))
session, spec = ObfuscationSession(bundle), bundle.input
raw = numpy.random.default_rng(0).uniform(spec.low, spec.high, (1, *spec.shape)).astype(spec.dtype)
most = 0
for _ in range({_RUNS}):
    session.obfuscate(raw)
    most = max(most, resident())
print(most - before)
"""


def device_bytes(bundle: Bundle) -> int | None:
    """Resident memory that reading a bundle and obfuscating samples with it adds, one at a time.

    Args:
        bundle: As it was read from its file.

    Returns:
        Bytes beyond a process that has imported NumPy, ONNX Runtime and the device's code and run a graph
        of one node; None where it cannot be measured. While a bundle is checked, which is once, its
        reader takes more.
    """
    if bundle.path is None or not _STATUS.exists():
        return None
    number = helper.make_tensor_value_info
    nothing = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "nothing",
        [number("x", TensorProto.FLOAT, [1])],
        [number("y", TensorProto.FLOAT, [1])],
    )
    # A figure beside the others: whatever goes wrong with it must not lose a pool that took hours.
    try:
        with tempfile.NamedTemporaryFile(suffix=".onnx") as file:
            opset = helper.make_opsetid("", _OPSET)
            file.write(helper.make_model(nothing, opset_imports=[opset], ir_version=_IR).SerializeToString())
            file.flush()
            command = [sys.executable, "-c", _DEVICE, str(bundle.path), bundle.public_key, file.name]
            done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=_MOST_S)
        return int(done.stdout)
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
