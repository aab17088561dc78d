"""Ed25519 keys: the coordinator's, made on first use and kept outside the repository, and their text form.

Signatures are deterministic, so that signing keeps a bundle's bytes reproducible. What is signed is
always prefixed with what it is for, so that a signature of one kind of document is none of another.
Which keys a device trusts is another matter (`trust`).
"""

import os
import re
import secrets
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Final

from obfnet.core.errors import OutputError, UsageError
from obfnet.core.files import write_atomic
from obfnet.core.home import home

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

SIGNATURE_BYTES: Final = 64
_TEXT: Final = re.compile(r"ed25519:[0-9a-f]{64}")
_MAX_KEY_FILE_BYTES: Final = 4096


def load_or_create_coordinator_key(path: Path | None = None) -> "Ed25519PrivateKey":
    """The coordinator's signing key, made now if there is none.

    Two commands that start at once end up with the same key.

    Args:
        path: PEM file (PKCS 8, not encrypted); `coordinator.key` in ObfNet's home by default. A new
            one has mode 0600, its folder 0700.

    Returns:
        The key.

    Raises:
        UsageError: the file is no such key, cannot be read, or others than its owner may read it.
        OutputError: the key cannot be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    path = path or home() / "coordinator.key"
    if not path.exists():
        pem = Ed25519PrivateKey.generate().private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        create_once(path, pem)
    wanted, remedy = f"a coordinator's Ed25519 key in {path}", "move the file away to have a new key made"
    try:
        mode, pem = stat.S_IMODE(path.stat().st_mode), path.read_bytes()
    except OSError as exc:
        raise UsageError(wanted, exc.strerror or str(exc), "give another key file") from exc
    if mode & 0o077:
        raise UsageError(f"{path} readable by its owner only", f"mode {mode:04o}", f"run: chmod 600 {path}")
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError) as exc:
        raise UsageError(wanted, "something else", remedy) from exc
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(wanted, "a key of another kind", remedy)
    return key


def public_key_text(key: "Ed25519PrivateKey | Ed25519PublicKey") -> str:
    """The public key as one writes it down: `ed25519:` and 64 hex digits."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    public = key.public_key() if isinstance(key, Ed25519PrivateKey) else key
    return f"ed25519:{public.public_bytes_raw().hex()}"


def parse_public_key(text_or_file: str | Path) -> "Ed25519PublicKey":
    """A public key from its text, or from a file that holds that text.

    Args:
        text_or_file: `ed25519:` and 64 hex digits, or the path of such a file.

    Returns:
        The key; `public_key_text` gives the text back.

    Raises:
        UsageError: it is neither.

    Example:
        >>> public_key_text(parse_public_key("ed25519:" + "0f" * 32))[:16]
        'ed25519:0f0f0f0f'
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    text = str(text_or_file)
    if not text.startswith("ed25519:"):
        try:
            with Path(text_or_file).open("rb") as file:
                text = file.read(_MAX_KEY_FILE_BYTES).decode("ascii").strip()
        except (OSError, ValueError) as exc:
            raise _no_key(f"no such file: {text_or_file}") from exc
    if not is_public_key_text(text):
        raise _no_key("another text")
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text.removeprefix("ed25519:")))


def is_public_key_text(text: str) -> bool:
    """Whether `text` has the form that `public_key_text` gives."""
    return _TEXT.fullmatch(text) is not None


def sign(key: "Ed25519PrivateKey", message: bytes, *, purpose: bytes) -> bytes:
    """The 64-byte signature of `message` for one purpose; the same inputs give the same bytes."""
    return key.sign(purpose + message)


def is_signed(public_key: str, signature: bytes, message: bytes, *, purpose: bytes) -> bool:
    """Whether `signature` is that key's over `message` for that purpose."""
    from cryptography.exceptions import InvalidSignature

    if len(signature) != SIGNATURE_BYTES:
        return False
    try:
        parse_public_key(public_key).verify(signature, purpose + message)
    except (InvalidSignature, UsageError):
        return False
    return True


def create_once(path: Path, data: bytes) -> bool:
    """Writes a private file (0600) unless it is there already; safe against another who does the same.

    Args:
        path: The file; its folder is made with mode 0700 if it is missing.
        data: What to write.

    Returns:
        True if this call made the file, False if it was there.

    Raises:
        OutputError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_atomic(draft, data, mode=0o600)
        try:
            # A hard link, unlike a rename, never replaces what another process has just made.
            os.link(draft, path)
        except FileExistsError:
            return False
        finally:
            draft.unlink()
    except OSError as exc:
        reason = exc.strerror or str(exc)
        raise OutputError(
            f"to write {path}", reason, "set OBFNET_HOME to a folder that can be written"
        ) from exc
    return True


def _no_key(got: str) -> UsageError:
    return UsageError(
        "a public key, 'ed25519:' and 64 hex digits, or a file with one", got, "ask the coordinator"
    )
