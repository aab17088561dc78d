"""A signed list: one JSON document in canonical form, of a version, with exactly the known fields and a key.

What it lists is an affair of a pool or of a release; the order of its checks is the same for both.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from obfnet.bundle.keys import SIGNATURE_BYTES, is_signed, sign
from obfnet.bundle.manifest import parse_object
from obfnet.bundle.steps import refused, shown
from obfnet.core.files import canonical_json
from obfnet.core.parsing import FieldError, parse_strict

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

MAX_LIST_BYTES: Final = 1 << 20


class Signed(Protocol):
    """What a signed list holds besides its own."""

    @property
    def public_key(self) -> str:
        """Text of the key that signed it."""


T = TypeVar("T", bound=Signed)


def signed_list(content: Mapping[str, Any], key: "Ed25519PrivateKey", *, purpose: bytes) -> bytes:
    """The document with its signature, the same bytes for the same content.

    Args:
        content: JSON-ready; its `public_key` is that of `key`.
        key: The coordinator's.
        purpose: What kind of list this is, so that none passes for another.
    """
    signature = sign(key, canonical_json(content), purpose=purpose)
    return canonical_json({**content, "signature": signature.hex()})


def read_signed_list(
    data: bytes, kind: type[T], *, steps: str, version: int, purpose: bytes, possible: Callable[[T], bool]
) -> T:
    """A list whose signature is that of the key that it names; whether that key counts is left to `Trust`.

    Args:
        data: The document.
        kind: Dataclass of its fields, without the signature.
        steps: What the names of the checks begin with: `pool` or `release`.
        version: Of the format.
        purpose: As for `signed_list`.
        possible: Whether the values can be meant.

    Raises:
        BundleError: of the steps `-json`, `-version`, `-fields` and `-signature`.
    """
    document = parse_object(data, step=f"{steps}-json", max_bytes=MAX_LIST_BYTES)
    try:
        canonical = canonical_json(document)
    except ValueError as exc:
        raise refused(f"{steps}-json", "JSON of possible values", "something else") from exc
    if data != canonical:
        raise refused(f"{steps}-json", "canonical JSON", "the same JSON written differently")

    found = document.get("format_version")
    if type(found) is not int or found != version:
        raise refused(f"{steps}-version", f"format version {version}", "another", "update obfnet")

    signature = document.pop("signature", "")
    try:
        parsed = parse_strict(kind, document)
    except (FieldError, OverflowError) as exc:
        raise refused(f"{steps}-fields", f"the fields of format version {version}", shown(str(exc))) from exc
    if not possible(parsed):
        raise refused(f"{steps}-fields", "plain names, hashes and a key", "impossible values")

    if not _is_signed(parsed.public_key, signature, document, purpose):
        got = "no signature" if signature == "" else "no valid signature"
        raise refused(f"{steps}-signature", f"a list signed by {parsed.public_key}", got)
    return parsed


def _is_signed(public_key: str, signature: object, document: Mapping[str, Any], purpose: bytes) -> bool:
    if not isinstance(signature, str) or len(signature) != 2 * SIGNATURE_BYTES:
        return False
    try:
        raw = bytes.fromhex(signature)
    except ValueError:
        return False
    return is_signed(public_key, raw, canonical_json(document), purpose=purpose)
