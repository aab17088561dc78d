"""Every hostile pool is refused, at its own step and by that step's name, and its files are left alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from obfnet.bundle import POOL_STEPS, Trust, read_pool, verify
from obfnet.core.errors import BundleError, UntrustedKeyError
from tests.malformed import corpus, pools

TRUST = Trust(explicit=(corpus.PUBLIC_KEY,))


def test_the_pool_that_they_are_made_from_is_good(tmp_path: Path) -> None:
    pools.good(tmp_path / "pool")
    pool = read_pool(tmp_path / "pool", trust=TRUST, inference_network_id=corpus.NETWORK_ID)
    assert [bundle.name for bundle in pool.bundles] == ["o0", "o1", "o2"]


@pytest.mark.parametrize(
    ("build", "step"), pools.STEP_OF.items(), ids=lambda part: getattr(part, "__name__", None)
)
def test_hostile_pool_fails_at_its_step(build: Callable[[Path], None], step: str, tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    build(folder)
    before = {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")}
    with pytest.raises(BundleError) as caught:
        read_pool(folder, trust=TRUST, inference_network_id=corpus.NETWORK_ID)
    assert caught.value.step == step
    assert "pool pool" in str(caught.value)
    assert str(caught.value).isprintable()
    assert isinstance(caught.value, UntrustedKeyError) == (step == "pool-key")
    assert {path: path.is_file() and path.read_bytes() for path in tmp_path.rglob("*")} == before


def test_every_step_has_a_hostile_pool() -> None:
    assert set(POOL_STEPS) <= set(pools.STEP_OF.values())


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    pools.good(tmp_path)
    (tmp_path / "o0.obfnet").unlink()
    (tmp_path / "o1.obfnet").write_bytes(b"x")
    (tmp_path / "o9.obfnet").write_bytes(b"x")
    pools.put(tmp_path, "o2", corpus.identity_matrix())
    with pytest.raises(BundleError, match="4 problems") as caught:
        verify(tmp_path, trust=TRUST)
    assert caught.value.step == "pool-missing"
    for told in ("'o0.obfnet'", "'pool-extra'", "'o1.obfnet'", "'pool-hash'", "'pass-through-probes'"):
        assert told in str(caught.value)


@pytest.mark.parametrize("build", [pools.bundle_missing, pools.hostile_bundle_in_a_signed_pool])
def test_no_refused_pool_pins_its_key(build: Callable[[Path], None], tmp_path: Path) -> None:
    build(tmp_path / "pool")
    with pytest.raises(BundleError):
        read_pool(tmp_path / "pool", trust=Trust(store=tmp_path / "trusted_keys.json"))
    assert not (tmp_path / "trusted_keys.json").exists()
