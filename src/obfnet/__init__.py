"""ObfNet: cloud classification of samples that the cloud does not see, and an honest measure of what leaks.

The public names are imported when they are used, so that `import obfnet` is quick and a device never
loads what it does not need.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "BackendProcess": "obfnet.serve.process:BackendProcess",
    "Device": "obfnet.edge.device:Device",
    "InputSpec": "obfnet.core.spec:InputSpec",
    "ObfNetError": "obfnet.core.errors:ObfNetError",
    "PoolSettings": "obfnet.training.obfuscation:PoolSettings",
    "Trust": "obfnet.bundle.trust:Trust",
    "UnsafeRawPassthrough": "obfnet.edge.device:UnsafeRawPassthrough",
    "audit": "obfnet.auditing.run:audit",
    "connect": "obfnet.oip.client:connect",
    "evaluate": "obfnet.edge.evaluate:evaluate",
    "fetch_pool": "obfnet.edge.fetch:fetch_pool",
    "load_bundle": "obfnet.bundle.reader:read_bundle",
    "load_case": "obfnet.data.cases:load_case",
    "load_inference": "obfnet.training.inference:load_inference",
    "load_or_create_coordinator_key": "obfnet.bundle.keys:load_or_create_coordinator_key",
    "load_pool": "obfnet.bundle.pool:read_pool",
    "protect": "obfnet.protecting.run:protect",
    "publish_pools": "obfnet.bundle.publishing:publish",
    "revoke_bundles": "obfnet.bundle.publishing:revoke",
    "run_server": "obfnet.serve.server:run_server",
    "sweep": "obfnet.protecting.sweep:sweep",
    "train_inference": "obfnet.training.inference:train_inference",
    "train_obfuscation": "obfnet.training.obfuscation:train_obfuscation",
    "verify": "obfnet.bundle.verify:verify",
}

_EXTRAS = {"auditing": "train", "protecting": "train", "training": "train", "serve": "serve"}

__all__ = [*_PUBLIC, "__version__"]  # noqa: PLE0604

if TYPE_CHECKING:
    from obfnet.auditing.run import audit
    from obfnet.bundle.keys import load_or_create_coordinator_key
    from obfnet.bundle.pool import read_pool as load_pool
    from obfnet.bundle.publishing import publish as publish_pools
    from obfnet.bundle.publishing import revoke as revoke_bundles
    from obfnet.bundle.reader import read_bundle as load_bundle
    from obfnet.bundle.trust import Trust
    from obfnet.bundle.verify import verify
    from obfnet.core.errors import ObfNetError
    from obfnet.core.spec import InputSpec
    from obfnet.data.cases import load_case
    from obfnet.edge.device import Device, UnsafeRawPassthrough
    from obfnet.edge.evaluate import evaluate
    from obfnet.edge.fetch import fetch_pool
    from obfnet.oip.client import connect
    from obfnet.protecting.run import protect
    from obfnet.protecting.sweep import sweep
    from obfnet.serve.process import BackendProcess
    from obfnet.serve.server import run_server
    from obfnet.training.inference import load_inference, train_inference
    from obfnet.training.obfuscation import PoolSettings, train_obfuscation


def __getattr__(name: str) -> Any:
    target = _PUBLIC.get(name)
    if target is None:
        raise AttributeError(f"module 'obfnet' has no attribute {name!r}")
    module, _, attribute = target.partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except ModuleNotFoundError as exc:
        if (exc.name or "").startswith("obfnet"):
            raise
        from obfnet.core.errors import MissingExtraError

        extra = _EXTRAS.get(module.split(".")[1], "all")
        raise MissingExtraError(exc.name or module, extra) from exc
