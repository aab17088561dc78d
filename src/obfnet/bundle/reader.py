"""Reads a bundle: every check that can fail comes before anything of it is used, in a fixed order.

From the outside in: the file, the archive, the manifest, who signed it, what it was made for, the graph as
data, and only then the graph in an engine. Whatever is wrong with a file, a `BundleError` names the step.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from obfnet.bundle.archive import MANIFEST_MEMBER, SIGNATURE_MEMBER, read_file, unpack
from obfnet.bundle.chance_cut import check_budget
from obfnet.bundle.exact import check_exact
from obfnet.bundle.graph import check_graph
from obfnet.bundle.keys import is_signed
from obfnet.bundle.manifest import GRAPH_MEMBER, Manifest
from obfnet.bundle.probes import check_outputs
from obfnet.bundle.steps import named, refused
from obfnet.bundle.trust import Trust
from obfnet.core.errors import BundleError
from obfnet.core.files import sha256_hex
from obfnet.core.spec import InputSpec

SUFFIX = ".obfnet"
SIGNED_AS = b"obfnet-bundle-v1\n"


@final
@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A bundle that passed every check.

    Args:
        manifest: What its coordinator says of it.
        graph: The obfuscation network's ONNX bytes.
        sha256: Of the whole file, 64 hex digits.
        size_bytes: Of the whole file.
        path: Where it was read from; None if it never was a file.
    """

    manifest: Manifest
    graph: bytes = field(repr=False)
    sha256: str
    size_bytes: int
    path: Path | None = None

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.manifest.name

    @property
    def input(self) -> InputSpec:
        """What samples look like, raw and obfuscated alike."""
        return self.manifest.input

    @property
    def public_key(self) -> str:
        """Text of the key that signed it."""
        return self.manifest.public_key


def read_bundle(
    path: Path | str, *, trust: Trust | None = None, inference_network_id: str | None = None
) -> Bundle:
    """Reads a bundle file and checks everything about it.

    Args:
        path: The `.obfnet` file.
        trust: Whose signature counts; by default the keys pinned in ObfNet's home, or the first seen.
        inference_network_id: SHA-256 of the inference network's ONNX file that the bundle must have been
            made for; None to accept any.

    Returns:
        The bundle.

    Raises:
        BundleError: it was refused; `step` is one of `BUNDLE_STEPS`.
        UntrustedKeyError: a `BundleError`: everything about the signature is right but who made it.
        DataError: the file of trusted keys is broken.
        OutputError: the first key cannot be pinned.

    Does not guarantee: that the graph hides anything, see `check_outputs`.
    """
    path, trust = Path(path), trust or Trust()
    try:
        data = read_file(path)
    except BundleError as exc:
        raise named(exc, path.name) from exc.__cause__
    bundle = inspect_bundle(
        data, name=path.name, trust=trust, inference_network_id=inference_network_id, path=path
    )
    # Only a bundle that is good in every way may decide which key is trusted from now on.
    trust.confirm(bundle.public_key, path.name)
    return bundle


def inspect_bundle(
    data: bytes, *, name: str, trust: Trust, inference_network_id: str | None = None, path: Path | None = None
) -> Bundle:
    """Makes every check of `read_bundle` on bytes, and pins no key.

    Args:
        data: The whole file.
        name: What to call it in messages.
        trust: Whose signature counts.
        inference_network_id: As for `read_bundle`.
        path: Where the bytes came from, if from a file.

    Returns:
        The bundle.

    Raises:
        BundleError: as `read_bundle`.
        DataError: as `read_bundle`.
    """
    try:
        # 2. zip ... 8. exact-bytes
        members = unpack(data)

        # 9. manifest-json ... 12. manifest-values
        signed = members[MANIFEST_MEMBER]
        manifest = Manifest.from_bytes(signed)

        # 13. signature
        if not is_signed(manifest.public_key, members[SIGNATURE_MEMBER], signed, purpose=SIGNED_AS):
            raise refused("signature", f"a manifest signed by {manifest.public_key}", "no valid signature")

        # 14. trusted-key
        trust.check(manifest.public_key, "a bundle")

        # 15. member-hash
        graph = members[GRAPH_MEMBER]
        if sha256_hex(graph) != manifest.members[GRAPH_MEMBER]:
            raise refused("member-hash", f"the {GRAPH_MEMBER} that was signed", "another")

        # 16. inference-network
        check_inference_network("inference-network", manifest.inference_network_id, inference_network_id)

        # 17. graph-format ... 22. pass-through-structure
        check_graph(graph, manifest.input, chance=manifest.chance)

        # 23. runs ... 25. pass-through-probes
        check_outputs(graph, manifest.input, seed=int(manifest.members[GRAPH_MEMBER][:16], 16))

        # 26. budget-cut, 27. budget-exact
        if manifest.budget_bits is not None:
            cut = check_budget(graph, manifest.input, manifest.budget_bits, manifest.chance)
            if manifest.noise is None:
                check_exact(graph, cut)

        # 28. revoked
        sha256 = sha256_hex(data)
        trust.check_revoked(sha256, manifest.public_key)
    except BundleError as exc:
        raise named(exc, name) from exc.__cause__
    return Bundle(manifest=manifest, graph=graph, sha256=sha256, size_bytes=len(data), path=path)


def check_inference_network(step: str, made_for: str, wanted: str | None) -> None:
    """Raises a `BundleError` of that step unless the ids are the same, or none is wanted."""
    if wanted is not None and made_for != wanted:
        remedy = "get the bundles of this inference network from its coordinator"
        raise refused(
            step, f"one made for the inference network {wanted[:12]}...", f"{made_for[:12]}...", remedy
        )
