"""What `obfnet verify` shows: which checks a bundle or a pool passed, who signed it, what is in it.

The readers do the checking; this only gathers the answer into one report. A file that fails a check
raises, as it does for a device.
"""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from obfnet.bundle.pool import INDEX, read_pool
from obfnet.bundle.reader import Bundle, read_bundle
from obfnet.bundle.release import RELEASE_INDEX, read_shards
from obfnet.bundle.steps import BUNDLE_STEPS, POOL_STEPS, RELEASE_STEPS
from obfnet.bundle.trust import Trust

_ONLY_WHEN_ASKED = ("inference-network", "pool-inference-network")
_ONLY_WITH_A_BUDGET = ("budget-cut", "budget-exact")


@final
@dataclass(frozen=True, kw_only=True)
class Check:
    """One numbered check of a report.

    Args:
        number: Its place among the checks of its kind, from 1.
        step: Its name, as `BundleError.step` would give it.
        meaning: What was found right.
        made: False for a check that was not asked for, or that only a claimed budget needs.
    """

    number: int
    step: str
    meaning: str
    made: bool


@final
@dataclass(frozen=True, kw_only=True)
class BundleSummary:
    """The facts of one bundle that passed; the meaning is `Manifest`'s and `Bundle`'s."""

    name: str
    case: str
    protection: str
    architecture: str
    parameters: int
    macs: int
    budget_bits: float | None
    epsilon: float | None
    noise: float | None
    poor_bits: float | None
    rich_share: float | None
    size_bytes: int
    sha256: str


@final
@dataclass(frozen=True, kw_only=True)
class Verification:
    """A bundle or a pool that passed every check.

    Args:
        path: The file or folder.
        kind: `"bundle"`, `"pool"` or `"release"`.
        public_key: Text of the key that signed.
        inference_network_id: What it was made for.
        checks: The release's and the pools' checks, where there are any, and those that every bundle passed.
        bundles: One or more.
    """

    path: Path
    kind: str
    public_key: str
    inference_network_id: str
    checks: tuple[Check, ...]
    bundles: tuple[BundleSummary, ...]

    @property
    def count(self) -> int:
        """Number of bundles."""
        return len(self.bundles)

    @property
    def budget_bits(self) -> float | None:
        """The largest budget among the bundles, as their graphs prove it; None if one has none."""
        budgets = [bundle.budget_bits for bundle in self.bundles if bundle.budget_bits is not None]
        return max(budgets) if len(budgets) == self.count else None

    @property
    def epsilon(self) -> float | None:
        """The largest epsilon among the bundles, as their graphs prove it; None if one has none."""
        each = [bundle.epsilon for bundle in self.bundles if bundle.epsilon is not None]
        return max(each) if len(each) == self.count else None

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dict."""
        document = {
            **asdict(self),
            "path": str(self.path),
            "count": self.count,
            "budget_bits": self.budget_bits,
            "epsilon": self.epsilon,
        }
        return {
            **document,
            "checks": [asdict(c) for c in self.checks],
            "bundles": [asdict(b) for b in self.bundles],
        }


def verify(
    path: Path | str, *, trust: Trust | None = None, inference_network_id: str | None = None
) -> Verification:
    """Checks a bundle file, a pool folder or a release folder as a device would.

    Args:
        path: An `.obfnet` file, a pool's folder or its `pool.json`, or the folder of a release.
        trust: Whose signature counts; by default the keys pinned in ObfNet's home, or the first seen.
        inference_network_id: SHA-256 of the inference network's ONNX file that it must have been made
            for; None to accept any.

    Returns:
        What was checked and found.

    Raises:
        BundleError: as `read_bundle` and `read_pool`.
        DataError: as `read_bundle`.
        OutputError: as `read_bundle`.

    Does not guarantee: that the obfuscation networks hide anything; `obfnet audit` measures that.
    """
    path = Path(path)
    if path.name in (INDEX, RELEASE_INDEX) and path.is_file():
        path = path.parent
    if not path.is_dir():
        bundle = read_bundle(path, trust=trust, inference_network_id=inference_network_id)
        checks = _checks(BUNDLE_STEPS, inference_network_id, (bundle,))
        return _verification(path, "bundle", (bundle,), checks)
    if (path / RELEASE_INDEX).exists():
        bundles = read_shards(path, trust=trust or Trust(), inference_network_id=inference_network_id)
        steps = {**RELEASE_STEPS, **POOL_STEPS}
        checks = _checks(steps, inference_network_id, bundles) + _checks(BUNDLE_STEPS, None, bundles)
        return _verification(path, "release", bundles, checks)
    pool = read_pool(path, trust=trust, inference_network_id=inference_network_id)
    asked = _checks(POOL_STEPS, inference_network_id, pool.bundles)
    # Within a pool the bundles' network is compared with the pool's, by `pool-agreement`.
    return _verification(path, "pool", pool.bundles, asked + _checks(BUNDLE_STEPS, None, pool.bundles))


def _checks(
    steps: dict[str, str], inference_network_id: str | None, bundles: tuple[Bundle, ...]
) -> tuple[Check, ...]:
    not_made = set() if inference_network_id is not None else set(_ONLY_WHEN_ASKED)
    if all(bundle.manifest.budget_bits is None for bundle in bundles):
        not_made |= set(_ONLY_WITH_A_BUDGET)
    elif all(bundle.manifest.noise is not None for bundle in bundles):
        # What comes behind the noise is made of it, rounded or not.
        not_made.add("budget-exact")
    return tuple(
        Check(
            number=number,
            step=step,
            meaning=meaning,
            made=step not in not_made,
        )
        for number, (step, meaning) in enumerate(steps.items(), 1)
    )


def _verification(
    path: Path, kind: str, bundles: tuple[Bundle, ...], checks: tuple[Check, ...]
) -> Verification:
    return Verification(
        path=path,
        kind=kind,
        public_key=bundles[0].public_key,
        inference_network_id=bundles[0].manifest.inference_network_id,
        checks=checks,
        bundles=tuple(_summary(bundle) for bundle in bundles),
    )


def _summary(bundle: Bundle) -> BundleSummary:
    manifest = bundle.manifest
    return BundleSummary(
        name=manifest.name,
        case=manifest.case,
        protection=manifest.protection,
        architecture=manifest.architecture,
        parameters=manifest.parameters,
        macs=manifest.macs,
        budget_bits=manifest.budget_bits,
        epsilon=manifest.epsilon,
        noise=manifest.noise,
        poor_bits=manifest.poor_bits,
        rich_share=manifest.rich_share,
        size_bytes=bundle.size_bytes,
        sha256=bundle.sha256,
    )
