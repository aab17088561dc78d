import json
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from obfnet.bundle import Trust
from obfnet.core.errors import DataError, ObfNetError, UntrustedKeyError, UsageError

KEY, OTHER = "ed25519:" + "01" * 32, "ed25519:" + "02" * 32


def test_first_key_is_pinned_and_said_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBFNET_HOME", str(tmp_path))
    said: list[str] = []
    trust = Trust(say=said.append)
    trust.check(KEY, "a bundle")
    assert said == []
    assert not trust.store_path.exists()
    for _ in range(2):
        trust.confirm(KEY, "pool digits")
    assert len(said) == 1
    assert KEY in said[0]
    assert "pool digits" in said[0]
    assert str(tmp_path / "trusted_keys.json") in said[0]
    assert stat.S_IMODE(trust.store_path.stat().st_mode) == 0o600
    trust.check(KEY, "a bundle")


def test_second_key_is_refused_with_the_remedy(tmp_path: Path) -> None:
    trust = Trust(store=tmp_path / "t.json", say=lambda _: None)
    trust.confirm(KEY, "a bundle")
    for act in (trust.check, trust.confirm):
        with pytest.raises(UntrustedKeyError) as caught:
            act(OTHER, "a bundle")
        assert caught.value.step == "trusted-key"
        assert str(tmp_path / "t.json") in str(caught.value)
        assert "--trust" in str(caught.value)
    assert OTHER not in (tmp_path / "t.json").read_text()


def test_pinning_is_a_warning_in_the_log_by_default(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    Trust(store=tmp_path / "t.json").confirm(KEY, "a bundle")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_explicit_keys_alone_count_and_nothing_is_written(tmp_path: Path) -> None:
    store = tmp_path / "t.json"
    Trust(store=store, say=lambda _: None).confirm(OTHER, "a bundle")
    before = store.read_bytes()
    (tmp_path / "key.pub").write_text(KEY)
    trust = Trust(explicit=(str(tmp_path / "key.pub"),), store=store)
    trust.confirm(KEY, "a bundle")
    with pytest.raises(UntrustedKeyError, match="given with --trust"):
        trust.check(OTHER, "a bundle")
    assert store.read_bytes() == before


def test_bad_explicit_key_is_refused_at_once() -> None:
    with pytest.raises(UsageError):
        Trust(explicit=("nonsense",))


def test_store_without_keys_takes_the_first(tmp_path: Path) -> None:
    store = tmp_path / "t.json"
    store.write_text('{"format_version": 1, "keys": []}')
    Trust(store=store, say=lambda _: None).confirm(KEY, "a bundle")
    assert json.loads(store.read_text())["keys"] == [KEY]


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "{",
        '{"keys": []}',
        '{"format_version": 2, "keys": []}',
        '{"format_version": 1, "keys": ["x"]}',
    ],
)
def test_broken_store_trusts_nobody_and_is_kept(content: str, tmp_path: Path) -> None:
    store = tmp_path / "t.json"
    store.write_text(content)
    for act in (Trust(store=store).check, Trust(store=store).confirm):
        with pytest.raises(DataError, match="repair it, or use --trust"):
            act(KEY, "a bundle")
    assert store.read_text() == content
    with pytest.raises(DataError):
        Trust(store=tmp_path).check(KEY, "a bundle")


def test_of_two_first_keys_at_once_one_wins(tmp_path: Path) -> None:
    def pin(key: str) -> bool:
        try:
            Trust(store=tmp_path / "t.json", say=lambda _: None).confirm(key, "a bundle")
        except ObfNetError:
            return False
        return True

    keys = [f"ed25519:{number:064x}" for number in range(8)]
    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(pin, keys))
    stored = json.loads((tmp_path / "t.json").read_text())["keys"]
    assert [key for key, good in zip(keys, won, strict=True) if good] == stored
