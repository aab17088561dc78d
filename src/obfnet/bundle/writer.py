"""Makes bundles: what the coordinator does once an obfuscation network is trained and exported.

Everything that is written has passed the reader's checks first, so that nobody publishes what nobody can
read. The same arguments and key give the same bytes.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NotRequired, TypedDict, Unpack

from obfnet.bundle.archive import MANIFEST_MEMBER, SIGNATURE_MEMBER, pack
from obfnet.bundle.keys import public_key_text, sign
from obfnet.bundle.manifest import GRAPH_MEMBER, Manifest
from obfnet.bundle.reader import SIGNED_AS, inspect_bundle
from obfnet.bundle.trust import Trust
from obfnet.core.files import sha256_hex, write_atomic
from obfnet.core.spec import InputSpec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class BundleFacts(TypedDict):
    """What a coordinator says of an obfuscation network; the meaning is `Manifest`'s."""

    name: str
    case: str
    input: InputSpec
    protection: str
    architecture: str
    hidden: int | None
    parameters: int
    macs: int
    budget_bits: float | None
    inference_network_id: str
    epsilon: NotRequired[float | None]
    noise: NotRequired[float | None]
    poor_bits: NotRequired[float | None]
    rich_share: NotRequired[float | None]


def build_bundle(*, graph: bytes, key: "Ed25519PrivateKey", **facts: Unpack[BundleFacts]) -> bytes:
    """The bytes of a signed bundle.

    Args:
        graph: The obfuscation network's ONNX bytes, at most 128 MiB.
        key: The coordinator's key.
        facts: The further fields of the manifest, each by name.

    Returns:
        What belongs into an `.obfnet` file; the same for the same arguments.

    Raises:
        UsageError: a fact is not possible; lists everything that is wrong.
        BundleError: a device would refuse the bundle; `step` says at which check.
    """
    public_key = public_key_text(key)
    manifest = Manifest(**facts, members={GRAPH_MEMBER: sha256_hex(graph)}, public_key=public_key)
    signed = manifest.to_bytes()
    members = {
        MANIFEST_MEMBER: signed,
        GRAPH_MEMBER: graph,
        SIGNATURE_MEMBER: sign(key, signed, purpose=SIGNED_AS),
    }
    data = pack(members)
    inspect_bundle(data, name=manifest.name, trust=Trust(explicit=(public_key,)))
    return data


def write_bundle(path: Path, *, graph: bytes, key: "Ed25519PrivateKey", **facts: Unpack[BundleFacts]) -> Path:
    """Writes a signed bundle, atomically.

    Args:
        path: The file, by custom with the suffix `.obfnet`.
        graph: As for `build_bundle`.
        key: As for `build_bundle`.
        facts: As for `build_bundle`.

    Returns:
        `path`.

    Raises:
        UsageError: as `build_bundle`.
        BundleError: as `build_bundle`; nothing is written.
        OutputError: the file cannot be written; a former one is still there.
    """
    write_atomic(path, build_bundle(graph=graph, key=key, **facts))
    return path
