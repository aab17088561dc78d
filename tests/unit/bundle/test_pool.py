from pathlib import Path

import pytest

from obfnet.bundle import Trust, read_pool, write_pool
from obfnet.core import files
from obfnet.core.errors import BundleError, OutputError
from tests.malformed import pools
from tests.malformed.corpus import KEY, NETWORK_ID, OTHER_KEY, PUBLIC_KEY
from tests.malformed.pools import named_bundle

TRUST = Trust(explicit=(PUBLIC_KEY,))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_written_is_read(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "pool"
    (tmp_path / "b.obfnet").write_bytes(named_bundle("b", seed=1))
    assert write_pool(folder, [named_bundle("c", seed=2), tmp_path / "b.obfnet"], KEY) == folder
    pool = read_pool(folder, trust=TRUST, inference_network_id=NETWORK_ID)
    assert [bundle.name for bundle in pool.bundles] == ["b", "c"]
    assert [bundle.path for bundle in pool.bundles] == [folder / "b.obfnet", folder / "c.obfnet"]
    assert (pool.folder, pool.public_key, pool.inference_network_id) == (folder, PUBLIC_KEY, NETWORK_ID)
    assert pool.input == pool.bundles[1].input
    assert names(folder) == ["b.obfnet", "c.obfnet", "pool.json"]


def test_same_bundles_give_same_bytes_in_any_order(tmp_path: Path) -> None:
    bundles = [named_bundle(f"o{seed}", seed=seed) for seed in range(3)]
    write_pool(tmp_path / "a", bundles, KEY)
    write_pool(tmp_path / "b", bundles[::-1], KEY)
    for name in names(tmp_path / "a"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_new_pool_replaces_the_former_and_nothing_else(tmp_path: Path) -> None:
    pools.good(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "folder").mkdir()
    write_pool(tmp_path, [named_bundle("o1", seed=11), named_bundle("p", seed=12)], KEY)
    assert names(tmp_path) == ["folder", "notes.txt", "o1.obfnet", "p.obfnet", "pool.json"]
    assert len(read_pool(tmp_path, trust=TRUST).bundles) == 2


def test_foreign_bundle_is_neither_removed_nor_taken_in(tmp_path: Path) -> None:
    pools.good(tmp_path)
    before = names(tmp_path)
    (tmp_path / "foreign.obfnet").write_bytes(b"x")
    with pytest.raises(OutputError, match=r"foreign\.obfnet"):
        write_pool(tmp_path, [named_bundle("p", seed=12)], KEY)
    assert names(tmp_path) == sorted([*before, "foreign.obfnet"])


@pytest.mark.parametrize("writes", range(4))
def test_interrupted_pool_is_refused_until_it_is_written_again(
    writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.good(tmp_path)
    bundles = [named_bundle(f"{letter}", seed=seed) for seed, letter in enumerate("xyz", 20)]
    done = 0

    def interrupted(source: str, target: Path) -> None:
        nonlocal done
        if done == writes:
            raise KeyboardInterrupt
        done += 1
        Path(source).rename(target)

    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_pool(tmp_path, bundles, KEY)
    if writes:
        with pytest.raises(BundleError, match="pool-"):
            read_pool(tmp_path, trust=TRUST)
    else:
        assert [bundle.name for bundle in read_pool(tmp_path, trust=TRUST).bundles] == ["o0", "o1", "o2"]
    write_pool(tmp_path, bundles, KEY)
    assert [bundle.name for bundle in read_pool(tmp_path, trust=TRUST).bundles] == ["x", "y", "z"]


def test_what_would_be_refused_is_not_written(tmp_path: Path) -> None:
    folder = tmp_path / "pool"
    one, other_network = named_bundle("a", seed=1), named_bundle("b", seed=2, inference_network_id="2b" * 32)
    for bundles, step in (
        ([], "pool-empty"),
        ([one, one], "pool-duplicates"),
        ([one, named_bundle("a", seed=2)], "pool-duplicates"),
        ([one, named_bundle("b", seed=1)], "pool-agreement"),
        ([one, other_network], "pool-agreement"),
        ([one, one[:-1]], "zip"),
        ([one, named_bundle("b", seed=2, key=OTHER_KEY)], "trusted-key"),
        ([one, tmp_path / "missing.obfnet"], "file"),
    ):
        with pytest.raises(BundleError) as caught:
            write_pool(folder, bundles, KEY)
        assert caught.value.step == step
    assert not folder.exists()


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for folder in (tmp_path / "file", tmp_path / "file" / "pool"):
        with pytest.raises(OutputError):
            write_pool(folder, [named_bundle("a", seed=1)], KEY)


def test_first_use_pins_the_key_and_says_so(tmp_path: Path) -> None:
    pools.good(tmp_path / "digits")
    said: list[str] = []
    for _ in range(2):
        read_pool(tmp_path / "digits", trust=Trust(store=tmp_path / "t.json", say=said.append))
    assert len(said) == 1
    assert "pool digits" in said[0]
