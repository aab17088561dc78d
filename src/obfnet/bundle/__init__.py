"""Signed bundles and pools: how an obfuscation network gets from its coordinator to a device.

Writing and reading, and every check between; see `BUNDLE_STEPS` and `POOL_STEPS` for the list. Needs no
torch and no `onnx`, and imports the engine and the cryptography only when they are used.
"""

from obfnet.bundle.keys import load_or_create_coordinator_key, parse_public_key, public_key_text
from obfnet.bundle.manifest import Manifest
from obfnet.bundle.pool import Pool, read_pool, write_pool
from obfnet.bundle.reader import SUFFIX, Bundle, read_bundle
from obfnet.bundle.steps import BUNDLE_STEPS, POOL_STEPS, RELEASE_STEPS
from obfnet.bundle.trust import Trust
from obfnet.bundle.verify import BundleSummary, Check, Verification, verify
from obfnet.bundle.writer import BundleFacts, build_bundle, write_bundle

__all__ = [
    "BUNDLE_STEPS",
    "POOL_STEPS",
    "RELEASE_STEPS",
    "SUFFIX",
    "Bundle",
    "BundleFacts",
    "BundleSummary",
    "Check",
    "Manifest",
    "Pool",
    "Trust",
    "Verification",
    "build_bundle",
    "load_or_create_coordinator_key",
    "parse_public_key",
    "public_key_text",
    "read_bundle",
    "read_pool",
    "verify",
    "write_bundle",
    "write_pool",
]
