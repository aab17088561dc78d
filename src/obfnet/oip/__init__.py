"""A client of the Open Inference Protocol v2: REST with JSON or binary tensors, and gRPC.

There is one code path for whatever is sent: nothing in here knows whether samples are raw or obfuscated.
"""

from obfnet.oip.client import PROTOCOLS, Client, connect
from obfnet.oip.tensors import Exchange, ModelMetadata, TensorMetadata

__all__ = ["PROTOCOLS", "Client", "Exchange", "ModelMetadata", "TensorMetadata", "connect"]
