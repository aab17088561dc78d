"""A pool: a folder of bundles with a signed list of them, so that none can be left out, added or swapped.

A device picks a bundle at random for each request; whoever could shorten the list could make the choice
for it. The list, `pool.json`, is written last and is what makes a pool whole.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from obfnet.bundle.archive import read_file
from obfnet.bundle.keys import is_public_key_text, public_key_text
from obfnet.bundle.manifest import is_name, is_sha256
from obfnet.bundle.reader import SUFFIX, Bundle, check_inference_network, inspect_bundle
from obfnet.bundle.signed import MAX_LIST_BYTES, read_signed_list, signed_list
from obfnet.bundle.steps import named, refused, shown
from obfnet.bundle.trust import Trust
from obfnet.core.errors import BundleError, OutputError, UntrustedKeyError
from obfnet.core.files import sha256_hex, write_atomic
from obfnet.core.spec import InputSpec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

INDEX: Final = "pool.json"
POOL_VERSION: Final = 1
MAX_BUNDLES: Final = 8_192
_SIGNED_AS: Final = b"obfnet-pool-v1\n"


@final
@dataclass(frozen=True, kw_only=True)
class Pool:
    """A pool that passed every check, and so did all of its bundles.

    Args:
        bundles: At least one, in the order of their file names; all of one input spec.
        folder: Where they were read from.
        public_key: Text of the key that signed the list and every bundle.
        inference_network_id: SHA-256 of the inference network that all were made for.
    """

    bundles: tuple[Bundle, ...]
    folder: Path
    public_key: str
    inference_network_id: str

    @property
    def input(self) -> InputSpec:
        """What samples look like, raw and obfuscated alike."""
        return self.bundles[0].input


def write_pool(folder: Path, bundles: Sequence[bytes | Path], key: "Ed25519PrivateKey") -> Path:
    """Writes a pool; its list comes last, so that a killed command leaves no half pool that passes for one.

    A former pool of this folder is replaced. Bundles that are in no list are left alone, and refused.

    Args:
        folder: Made if it is missing; each bundle becomes `NAME.obfnet` in it.
        bundles: Bytes of `build_bundle`, or files; all signed by `key`, for one inference network.
        key: The coordinator's key.

    Returns:
        `folder`.

    Raises:
        BundleError: a device would refuse the pool; nothing is written.
        OutputError: the folder holds foreign bundles, or cannot be written.
    """
    public_key = public_key_text(key)
    data = [entry if isinstance(entry, bytes) else read_file(entry) for entry in bundles]
    trust = Trust(explicit=(public_key,))
    checked = [
        inspect_bundle(entry, name=f"bundle {number}", trust=trust) for number, entry in enumerate(data)
    ]
    files = {bundle.name + SUFFIX: entry for bundle, entry in zip(checked, data, strict=True)}
    listed = [Listed(file=bundle.name + SUFFIX, sha256=bundle.sha256) for bundle in checked]
    _check_list(listed)
    _check_agreement(checked)
    former = _former_files(folder)
    if foreign := _bundle_files_if_any(folder) - former - files.keys():
        raise OutputError(
            f"no foreign bundles in {folder}", shown(min(foreign)), "move them away, or give another folder"
        )

    for file, entry in files.items():
        write_atomic(folder / file, entry)
    # Before the new list is written: should this be interrupted, the former list still says what is ours.
    for file in former - files.keys():
        _remove(folder / file)
    content = {
        "format_version": POOL_VERSION,
        "public_key": public_key,
        "inference_network_id": checked[0].manifest.inference_network_id,
        "bundles": [{"file": file, "sha256": sha256_hex(entry)} for file, entry in sorted(files.items())],
    }
    write_atomic(folder / INDEX, signed_list(content, key, purpose=_SIGNED_AS))
    return folder


def read_pool(
    folder: Path | str, *, trust: Trust | None = None, inference_network_id: str | None = None
) -> Pool:
    """Reads a pool and checks everything about it and about each of its bundles.

    Args:
        folder: The folder with `pool.json`.
        trust: Whose signature counts; by default the keys pinned in ObfNet's home, or the first seen.
        inference_network_id: SHA-256 of the inference network's ONNX file that the pool must have been
            made for; None to accept any.

    Returns:
        The pool.

    Raises:
        BundleError: it was refused; `step` is one of `POOL_STEPS` or `BUNDLE_STEPS`. Where several
            bundles are bad, the message lists every one, and `step` is the first one's.
        UntrustedKeyError: a `BundleError`: everything about the signature is right but who made it.
        DataError: the file of trusted keys is broken.
        OutputError: the first key cannot be pinned.
    """
    folder, trust = Path(folder), trust or Trust()
    try:
        index = _read_index(folder, trust, inference_network_id)
        bundles = _read_bundles(folder, index, trust)
        # 15. pool-agreement
        _check_agreement(bundles)
        check_inference_network(
            "pool-agreement", bundles[0].manifest.inference_network_id, index.inference_network_id
        )
    except BundleError as exc:
        raise named(exc, f"pool {folder.name}") from exc.__cause__
    trust.confirm(index.public_key, f"pool {folder.name}", step="pool-key")
    return Pool(
        bundles=tuple(bundles),
        folder=folder,
        public_key=index.public_key,
        inference_network_id=index.inference_network_id,
    )


@dataclass(frozen=True, kw_only=True)
class Listed:
    """A bundle of a pool's list: its file and what it must be."""

    file: str
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Index:
    """The list of a pool."""

    format_version: int
    public_key: str
    inference_network_id: str
    bundles: tuple[Listed, ...]


def _read_index(folder: Path, trust: Trust, inference_network_id: str | None) -> Index:
    # 1. pool-folder
    try:
        present = _bundle_files(folder)
    except OSError as exc:
        raise refused(
            "pool-folder", "a folder with a pool", exc.strerror or str(exc), "check the path"
        ) from exc

    # 2. pool-index
    if not (folder / INDEX).exists():
        state = f"{len(present)} bundles without it: half written" if present else "an empty pool"
        raise refused("pool-index", f"a {INDEX}", state, "have the coordinator write the pool again")
    data = read_file(folder / INDEX, step="pool-index", max_bytes=MAX_LIST_BYTES)

    # 3. pool-json ... 6. pool-signature
    index = parse_index(data)

    # 7. pool-key
    trust.check(index.public_key, "a pool", step="pool-key")

    # 8. pool-empty, 9. pool-duplicates
    _check_list(index.bundles)

    # 10. pool-inference-network
    check_inference_network("pool-inference-network", index.inference_network_id, inference_network_id)
    return index


def parse_index(data: bytes) -> Index:
    """The list of a pool, with a good signature of the key that it names.

    Args:
        data: Content of `pool.json`.

    Raises:
        BundleError: of the steps `pool-json` to `pool-signature`.
    """
    return read_signed_list(
        data, Index, steps="pool", version=POOL_VERSION, purpose=_SIGNED_AS, possible=_is_possible
    )


def _is_possible(index: Index) -> bool:
    files_fit = all(
        entry.file.endswith(SUFFIX) and is_name(entry.file.removesuffix(SUFFIX)) and is_sha256(entry.sha256)
        for entry in index.bundles
    )
    keys_fit = is_public_key_text(index.public_key) and is_sha256(index.inference_network_id)
    return files_fit and keys_fit and len(index.bundles) <= MAX_BUNDLES


def _check_list(listed: Sequence[Listed]) -> None:
    # 8. pool-empty
    if not listed:
        raise refused(
            "pool-empty", "at least one bundle", "none", "have the coordinator write the pool again"
        )
    # 9. pool-duplicates
    for values in ([entry.file for entry in listed], [entry.sha256 for entry in listed]):
        if len(set(values)) != len(values):
            raise refused("pool-duplicates", "every bundle listed once", "one of them twice")


def _read_bundles(folder: Path, index: Index, trust: Trust) -> list[Bundle]:
    """Reads every bundle, also after a bad one, so that all problems are told at once."""
    problems: list[BundleError] = []
    bundles: list[Bundle] = []
    own = replace(trust, explicit=(index.public_key,))
    present, listed = _bundle_files(folder), {entry.file for entry in index.bundles}
    # 11. pool-missing
    for file in sorted(listed - present):
        problems.append(named(refused("pool-missing", "the listed bundle", "no such file"), file))
    # 12. pool-extra
    if extra := present - listed:
        got = f"{len(extra)} more, like {shown(min(extra))}"
        problems.append(refused("pool-extra", "only listed bundles", got, "remove what is not listed"))
    for entry in index.bundles:
        if entry.file in present:
            try:
                bundles.append(_read_listed(folder, entry, own))
            except BundleError as exc:
                problems.append(exc)
    if len(problems) == 1:
        raise problems[0]
    if problems:
        told = "; ".join(
            f"[{number}] expected {p.expected}, got {p.got}" for number, p in enumerate(problems, 1)
        )
        raise refused(problems[0].step, "every bundle to be good", f"{len(problems)} problems: {told}")
    return bundles


def _read_listed(folder: Path, entry: Listed, own: Trust) -> Bundle:
    path = folder / entry.file
    try:
        data = read_file(path)
        # 13. pool-hash
        if sha256_hex(data) != entry.sha256:
            raise refused("pool-hash", "the bundle that was listed", "another")
    except BundleError as exc:
        raise named(exc, entry.file) from exc.__cause__
    # 14. pool-signer
    try:
        return inspect_bundle(data, name=entry.file, trust=own, path=path)
    except UntrustedKeyError as exc:
        got = "another key's signature"
        raise named(refused("pool-signer", "a bundle signed by the pool's key", got), entry.file) from exc


def _check_agreement(bundles: Sequence[Bundle]) -> None:
    # 15. pool-agreement
    first = bundles[0].manifest
    for bundle in bundles[1:]:
        if bundle.manifest.inference_network_id != first.inference_network_id:
            raise refused("pool-agreement", "bundles for one inference network", "bundles for several")
        if bundle.input != first.input:
            raise refused("pool-agreement", "bundles of one input spec", "bundles of several")
    if len({bundle.graph for bundle in bundles}) != len(bundles):
        raise refused("pool-agreement", "different obfuscation networks", "the same network twice")


def _bundle_files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.suffix == SUFFIX and not path.name.startswith(".")}


def _bundle_files_if_any(folder: Path) -> set[str]:
    try:
        return _bundle_files(folder)
    except FileNotFoundError:
        return set()
    except OSError as exc:
        raise OutputError(
            f"a folder to write to at {folder}", exc.strerror or str(exc), "give another"
        ) from exc


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError as exc:
        raise OutputError(
            f"to remove the former {path}", exc.strerror or str(exc), "give another folder"
        ) from exc


def _former_files(folder: Path) -> set[str]:
    """What a former list of this folder names; only such files may be removed from it."""
    try:
        data = read_file(folder / INDEX, max_bytes=MAX_LIST_BYTES)
        return {entry.file for entry in parse_index(data).bundles}
    except BundleError:
        return set()
