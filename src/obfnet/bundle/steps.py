"""The checks that a bundle, a pool and a release pass before anything of them is used, in order, by name.

`BundleError.step` is one of these names; the readers' blocks carry the same numbers, `obfnet verify`
prints the list, and `tests/malformed` holds at least one hostile file for each. Holds no check itself.
"""

from typing import Final

from obfnet.core.errors import BundleError

BUNDLE_STEPS: Final[dict[str, str]] = {
    "file": "a regular file of bounded size",
    "zip": "one whole zip archive with nothing before, after or beside it",
    "member-names": "plain member names, none twice, no links",
    "extra-member": "no member but manifest.json, obfuscate.onnx and signature",
    "missing-member": "all three of them",
    "member-size": "members of bounded size",
    "member-storage": "members stored as they are: not compressed, not encrypted, sizes that agree",
    "exact-bytes": "byte for byte the archive that these members make",
    "manifest-json": "a manifest that is one JSON object",
    "format-version": "a format version that this release reads",
    "manifest-fields": "exactly the known manifest fields, each of its type",
    "manifest-values": "manifest values that are possible",
    "signature": "the manifest signed by the key that it names",
    "trusted-key": "a key that this device trusts",
    "member-hash": "the graph's SHA-256 as signed",
    "inference-network": "made for the inference network that was asked for",
    "graph-format": "an ONNX model of known fields only",
    "external-data": "all weights inside the file",
    "operators": "standard operators only: none of our own or of others, no control flow, no functions",
    "tensor-size": "tensors of bounded size whose data is as long as their shape says",
    "graph-shape": "one input and one output, both as the manifest says, with a free batch axis",
    "pass-through-structure": "a graph that mixes raw values, and not only moves or rescales them",
    "runs": "a graph that ONNX Runtime loads and runs within the memory limit",
    "outputs": "obfuscated samples of the shape, type and range of raw ones on every probe",
    "pass-through-probes": "obfuscated values that are no copies of raw ones on random probes",
    "budget-cut": "the claimed budget proved by the graph: all of the sample passes a cut of known size",
    "budget-exact": "nothing behind the cut that is ever rounded: the same code, the same bytes",
    "revoked": "not revoked by any release that this device has seen",
}

RELEASE_STEPS: Final[dict[str, str]] = {
    "release-index": "a release.json of bounded size that can be had",
    "release-json": "a release.json that is one JSON object in canonical form",
    "release-version": "a format version that this release of ObfNet reads",
    "release-fields": "exactly the known fields, each of its type, with possible values",
    "release-signature": "an index signed by the key that it names",
    "release-key": "a key that this device trusts",
    "release-rollback": "no older version than this device has seen, and no other one of the same number",
    "release-empty": "at least one shard with bundles that are not revoked",
    "release-shard": "the shard that was listed, byte for byte, of one inference network",
}

POOL_STEPS: Final[dict[str, str]] = {
    "pool-folder": "a folder that can be read",
    "pool-index": "a pool.json of bounded size; without it the pool is empty or half written",
    "pool-json": "a pool.json that is one JSON object in canonical form",
    "pool-version": "a format version that this release reads",
    "pool-fields": "exactly the known index fields, each of its type, with possible values",
    "pool-signature": "an index signed by the key that it names",
    "pool-key": "a key that this device trusts",
    "pool-empty": "at least one bundle",
    "pool-duplicates": "no bundle listed twice",
    "pool-inference-network": "made for the inference network that was asked for",
    "pool-missing": "every listed bundle in the folder",
    "pool-extra": "no bundle in the folder that is not listed",
    "pool-hash": "every bundle's SHA-256 as listed",
    "pool-signer": "every bundle good by itself, and signed by the pool's key",
    "pool-agreement": "one inference network and one input spec, and no graph twice",
}

_AGAIN: Final = "do not use it; get it again from its coordinator"


def refused(step: str, expected: str, got: str, remedy: str = _AGAIN) -> BundleError:
    """A `BundleError` of that step; the step must be a known one."""
    if not any(step in steps for steps in (BUNDLE_STEPS, POOL_STEPS, RELEASE_STEPS)):
        raise KeyError(step)
    return BundleError(step, expected, got, remedy)


def named(error: BundleError, name: str) -> BundleError:
    """The same error, saying which file it is about."""
    got = error.got.removesuffix(f" (check '{error.step}')")
    return type(error)(error.step, f"{error.expected} for {shown(name)}", got, error.remedy)


def shown(text: str) -> str:
    """A foreign text made safe for a message: quoted, control characters escaped, cut at 60 characters."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")
