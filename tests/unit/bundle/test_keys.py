import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519

from obfnet.bundle import load_or_create_coordinator_key, parse_public_key, public_key_text
from obfnet.bundle.keys import is_signed, sign
from obfnet.core.errors import OutputError, UsageError


def test_key_is_made_once_for_its_owner_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OBFNET_HOME", str(tmp_path / "home"))
    first, second = load_or_create_coordinator_key(), load_or_create_coordinator_key()
    path = tmp_path / "home" / "coordinator.key"
    assert public_key_text(first) == public_key_text(second)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert [entry.name for entry in path.parent.iterdir()] == ["coordinator.key"]


def test_two_commands_at_once_get_the_same_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = list(pool.map(load_or_create_coordinator_key, [tmp_path / "k"] * 8))
    assert len({public_key_text(key) for key in keys}) == 1


def test_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    load_or_create_coordinator_key(tmp_path / "k")
    (tmp_path / "k").chmod(0o644)
    with pytest.raises(UsageError, match="chmod 600"):
        load_or_create_coordinator_key(tmp_path / "k")


def test_something_else_is_no_key_and_is_kept(tmp_path: Path) -> None:
    other = x25519.X25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for content in (b"", b"hello", other):
        (tmp_path / "k").write_bytes(content)
        (tmp_path / "k").chmod(0o600)
        with pytest.raises(UsageError, match="coordinator's Ed25519 key"):
            load_or_create_coordinator_key(tmp_path / "k")
        assert (tmp_path / "k").read_bytes() == content
    with pytest.raises(UsageError):
        load_or_create_coordinator_key(tmp_path)


def test_key_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match="OBFNET_HOME"):
        load_or_create_coordinator_key(tmp_path / "file" / "k")


def test_public_key_as_text_and_as_file(tmp_path: Path) -> None:
    text = public_key_text(load_or_create_coordinator_key(tmp_path / "k"))
    (tmp_path / "k.pub").write_text(text + "\n")
    for form in (text, str(tmp_path / "k.pub"), tmp_path / "k.pub"):
        assert public_key_text(parse_public_key(form)) == text


@pytest.mark.parametrize(
    "text", ["", "ed25519:", "ed25519:" + "0G" * 32, "ed25519:" + "00" * 33, "/no/such", "a\0b"]
)
def test_no_public_key(text: str) -> None:
    with pytest.raises(UsageError, match="64 hex digits"):
        parse_public_key(text)


def test_signature_is_for_one_purpose_one_message_and_one_key(tmp_path: Path) -> None:
    key = load_or_create_coordinator_key(tmp_path / "k")
    text, signature = public_key_text(key), sign(key, b"m", purpose=b"p\n")
    assert signature == sign(key, b"m", purpose=b"p\n")
    assert is_signed(text, signature, b"m", purpose=b"p\n")
    assert not is_signed(text, signature, b"n", purpose=b"p\n")
    assert not is_signed(text, signature, b"m", purpose=b"q\n")
    assert not is_signed(text, signature[:-1], b"m", purpose=b"p\n")
    other = public_key_text(load_or_create_coordinator_key(tmp_path / "o"))
    assert not is_signed(other, signature, b"m", purpose=b"p\n")
    assert not is_signed("ed25519:" + "ff" * 32, signature, b"m", purpose=b"p\n")
