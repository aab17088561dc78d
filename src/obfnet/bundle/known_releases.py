"""What a device remembers of releases: the newest version of each, so that no older one passes for it again.

There is no such file before a release was fetched on this device. What was revoked once stays revoked,
also for a device that is offline and for copies of a bundle that lie elsewhere on it.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Final, final

from obfnet.bundle.keys import is_public_key_text
from obfnet.bundle.manifest import is_sha256
from obfnet.bundle.steps import refused
from obfnet.bundle.store import read_store
from obfnet.core.errors import OutputError
from obfnet.core.files import canonical_json, locked, write_atomic

_VERSION: Final = 1
_MAX_BYTES: Final = 16 << 20


@final
@dataclass(frozen=True, kw_only=True)
class Known:
    """The newest version that was seen of one release.

    Args:
        version: Its number.
        sha256: Of its index.
        revoked: SHA-256 of every bundle that any version seen has revoked.
    """

    version: int
    sha256: str
    revoked: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Store:
    format_version: int
    releases: dict[str, Known]


@final
class KnownReleases:
    """The file of known releases.

    Args:
        path: JSON, written by `remember` alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def revoked(self) -> frozenset[tuple[str, str]]:
        """Key and SHA-256 of every bundle that a release of that key has revoked, as when first asked for.

        Raises:
            DataError: the file is broken.
        """
        return frozenset(
            (_key_of(name), sha256) for name, known in self._read().items() for sha256 in known.revoked
        )

    def check(self, public_key: str, release: str, version: int, sha256: str) -> None:
        """Raises where this device has seen a newer version, or another one of the same number.

        Args:
            public_key: Text of the key that signed it; another key's release of that name is another one.
            release: Which release.
            version: Its number.
            sha256: Of its index.

        Raises:
            BundleError: step `release-rollback`.
            DataError: the file is broken.
        """
        known = self._read().get(_name(public_key, release))
        if known is not None and version < known.version:
            raise refused(
                "release-rollback",
                f"version {known.version} of the release or a newer one",
                f"version {version}",
                "ask its coordinator; an older list may hold bundles that were revoked since",
            )
        if known is not None and version == known.version and sha256 != known.sha256:
            raise refused(
                "release-rollback",
                f"the version {version} that this device has seen",
                "another list of the same number",
                "ask its coordinator, who signed both",
            )

    def remember(
        self, public_key: str, release: str, version: int, sha256: str, revoked: tuple[str, ...]
    ) -> None:
        """Keeps a version that was checked; raises as `check`, and `OutputError` where it cannot be kept."""
        remedy = "set OBFNET_HOME to a folder that can be written"
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as exc:
            raise OutputError(f"to write {self.path}", exc.strerror or str(exc), remedy) from exc
        with locked(self.path, what="known releases", remedy=remedy):
            self.check(public_key, release, version, sha256)
            releases, name = self._read(), _name(public_key, release)
            before = releases[name].revoked if name in releases else ()
            every = tuple(sorted({*before, *revoked}))
            releases[name] = Known(version=version, sha256=sha256, revoked=every)
            known = {name: {**asdict(one), "revoked": list(one.revoked)} for name, one in releases.items()}
            document = canonical_json({"format_version": _VERSION, "releases": known}) + b"\n"
            if len(document) > _MAX_BYTES:
                raise OutputError(
                    f"at most {_MAX_BYTES:,} bytes in {self.path}",
                    f"{len(document):,}",
                    "have its coordinators make their releases anew; they revoke too much to be remembered",
                )
            write_atomic(self.path, document, mode=0o600)
        self.__dict__.pop("revoked", None)

    def _read(self) -> dict[str, Known]:
        store = read_store(
            self.path,
            _Store,
            what="known releases",
            remedy="have it restored; it says what was revoked",
            max_bytes=_MAX_BYTES,
            version=_VERSION,
            possible=_is_possible,
        )
        return {} if store is None else dict(store.releases)


def _is_possible(store: _Store) -> bool:
    keys = map(_key_of, store.releases)
    hashes = (value for known in store.releases.values() for value in (known.sha256, *known.revoked))
    return all(map(is_public_key_text, keys)) and all(map(is_sha256, hashes))


def _name(public_key: str, release: str) -> str:
    return f"{public_key}/{release}"


def _key_of(name: str) -> str:
    return name.partition("/")[0]
