"""Whose bundles a device accepts: keys named outright, or the first key seen, pinned to a file.

A good signature only says that somebody signed; this decides whether that somebody counts. A key is
pinned only after everything else about its bundle was found good, and never silently.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, final

from obfnet.bundle.keys import create_once, is_public_key_text, parse_public_key, public_key_text
from obfnet.bundle.known_releases import KnownReleases
from obfnet.bundle.steps import refused
from obfnet.bundle.store import read_store
from obfnet.core.errors import UntrustedKeyError
from obfnet.core.files import canonical_json, write_atomic
from obfnet.core.home import home

_MAX_STORE_BYTES: Final = 1 << 20
_STORE_VERSION: Final = 1
_FETCH: Final = "do not use it; fetch the pool again: obfnet pool fetch"


@final
@dataclass(frozen=True, kw_only=True)
class Trust:
    """The keys that a device accepts.

    Args:
        explicit: Public keys as text or as files that hold the text (`--trust`). With any of them
            given, only these count, and nothing is read from or written to the store.
        store: JSON file of the pinned keys; `trusted_keys.json` in ObfNet's home by default. While it
            is missing or holds no key, the first good bundle's key is pinned there.
        releases: JSON file of what releases have revoked; `releases.json` in ObfNet's home by default.
        say: Gets one line when a key is pinned; by default a warning in the log.

    Raises:
        UsageError: a text in `explicit` is neither a key nor a file with one.

    Does not guarantee: trust on first use protects from the second key on. Whoever hands over the
    first bundle chooses the key; where that matters, compare the printed key with the coordinator's
    or give it with `explicit`.
    """

    explicit: tuple[str, ...] = ()
    store: Path | None = None
    releases: Path | None = None
    say: Callable[[str], None] = logging.getLogger("obfnet").warning

    def __post_init__(self) -> None:
        keys = tuple(public_key_text(parse_public_key(entry)) for entry in self.explicit)
        object.__setattr__(self, "explicit", keys)

    @property
    def store_path(self) -> Path:
        """The file that pinned keys are kept in."""
        return self.store or home() / "trusted_keys.json"

    @cached_property
    def known_releases(self) -> KnownReleases:
        """What releases that this device has seen say; looked up when it is asked."""
        return KnownReleases(self.releases or home() / "releases.json")

    def is_known(self, public_key: str) -> bool:
        """Whether the key was named or pinned already, and would not have to be taken for the first seen."""
        return public_key in (self.explicit or self._stored())

    def check_revoked(self, sha256: str, public_key: str) -> None:
        """Raises where a release that this device has seen, of the key that signed it, revokes a bundle.

        Args:
            sha256: Of the bundle's file.
            public_key: Text of that key.

        Raises:
            BundleError: it is revoked.
            DataError: the file of known releases is broken.
        """
        if (public_key, sha256) in self.known_releases.revoked:
            raise refused(
                "revoked", "a bundle that is not revoked", "one that its coordinator revoked", _FETCH
            )

    def check(self, public_key: str, what: str, *, step: str = "trusted-key") -> None:
        """Raises unless the key is trusted, or could be pinned as the first; writes nothing.

        Args:
            public_key: Text of the key that signed.
            what: The bundle's or pool's name, for the message.
            step: Name of the reader's check.

        Raises:
            UntrustedKeyError: another key is trusted, not this one.
            DataError: the store cannot be read or is not one of ours.
        """
        if self.explicit:
            if public_key not in self.explicit:
                raise UntrustedKeyError(
                    step,
                    f"{what} signed by a key given with --trust ({', '.join(self.explicit)})",
                    public_key,
                    "ask the coordinator for its public key, and give it with --trust if it is this one",
                )
            return
        known = self._stored()
        if known and public_key not in known:
            raise UntrustedKeyError(
                step,
                f"{what} signed by a key in {self.store_path} ({', '.join(known)})",
                public_key,
                "ask the coordinator whether its key has changed; if so, give the new one with --trust",
            )

    def confirm(self, public_key: str, what: str, *, step: str = "trusted-key") -> None:
        """Accepts the key for good: pins it and says so if it is the first; else the same as `check`.

        Args:
            public_key: Text of the key that signed.
            what: The bundle's or pool's name, for the line that is said.
            step: Name of the reader's check.

        Raises:
            UntrustedKeyError: another key was pinned meanwhile.
            DataError: the store cannot be read or is not one of ours.
            OutputError: the store cannot be written.
        """
        if self.explicit or self._stored():
            self.check(public_key, what, step=step)
            return
        document = canonical_json({"format_version": _STORE_VERSION, "keys": [public_key]}) + b"\n"
        if not create_once(self.store_path, document):
            # There already: either another command was faster, or a store without keys.
            if self._stored():
                self.check(public_key, what, step=step)
                return
            write_atomic(self.store_path, document, mode=0o600)
        self.say(
            f"trusting {public_key}, the first key seen ({what}); from now on only keys in {self.store_path}"
        )

    def _stored(self) -> tuple[str, ...]:
        store = read_store(
            self.store_path,
            _Store,
            what="trusted keys",
            remedy="repair it, or use --trust",
            max_bytes=_MAX_STORE_BYTES,
            version=_STORE_VERSION,
            possible=lambda store: all(map(is_public_key_text, store.keys)),
        )
        return () if store is None else store.keys


@dataclass(frozen=True, kw_only=True)
class _Store:
    format_version: int
    keys: tuple[str, ...]
