"""The device: reads samples, obfuscates them with a bundle of its pool, asks the backend, gets the label.

Needs NumPy, ONNX Runtime and httpx; never torch. Nothing raw leaves it, except through the one class whose
name says so.
"""

from obfnet.edge.device import Answer, Device, UnsafeRawPassthrough
from obfnet.edge.inputs import read_samples
from obfnet.edge.session import ObfuscationSession

__all__ = ["Answer", "Device", "ObfuscationSession", "UnsafeRawPassthrough", "read_samples"]
