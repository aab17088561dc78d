"""Every hostile bundle is refused, at its own step and by that step's name, and moves nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest

from obfnet.bundle import BUNDLE_STEPS, Trust, read_bundle, verify
from obfnet.bundle.steps import refused
from obfnet.core.errors import BundleError, UntrustedKeyError
from tests.malformed import corpus

TRUST = Trust(explicit=(corpus.PUBLIC_KEY,))


def test_the_bundle_that_they_are_made_from_is_good(tmp_path: Path) -> None:
    (tmp_path / "good.obfnet").write_bytes(corpus.good())
    bundle = read_bundle(tmp_path / "good.obfnet", trust=TRUST, inference_network_id=corpus.NETWORK_ID)
    assert bundle.name == "digits-published-00"


@pytest.mark.parametrize(
    ("build", "step"), corpus.STEP_OF.items(), ids=lambda part: getattr(part, "__name__", None)
)
def test_hostile_bundle_fails_at_its_step(build: Callable[[], bytes], step: str, tmp_path: Path) -> None:
    path = tmp_path / "hostile.obfnet"
    path.write_bytes(build())
    with pytest.raises(BundleError) as caught:
        read_bundle(path, trust=TRUST, inference_network_id=corpus.NETWORK_ID)
    assert caught.value.step == step
    assert f"check '{step}'" in str(caught.value)
    assert "hostile.obfnet" in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert str(caught.value).isprintable()
    assert isinstance(caught.value, UntrustedKeyError) == (step == "trusted-key")
    assert [entry.name for entry in tmp_path.iterdir()] == ["hostile.obfnet"]


def test_every_step_has_a_hostile_bundle() -> None:
    # What a release has revoked is no matter of the file: tests/unit/bundle/test_release.py.
    assert set(corpus.STEP_OF.values()) == set(BUNDLE_STEPS) - {"revoked"}


def test_every_builder_is_in_the_table() -> None:
    plumbing = {"document", "members", "good", "bundle", "zipped", "as_json", "f32", "i64"}
    plumbing |= {
        "node",
        "graph_of",
        "bytes_of",
        "pack",
        "sign",
        "public_key_text",
        "canonical_json",
        "sha256_hex",
    }
    builders = {name for name, value in vars(corpus).items() if callable(value) and name[0].islower()}
    assert builders - plumbing == {build.__name__ for build in corpus.STEP_OF}


def test_steps_run_in_their_order(tmp_path: Path) -> None:
    """A file that is wrong in two ways is refused for the earlier one."""
    path = tmp_path / "twice.obfnet"
    path.write_bytes(corpus.bundle(corpus.graphs.identity(), budget_bits=-1.0, extra=1))
    with pytest.raises(BundleError, match="manifest-fields"):
        verify(path, trust=TRUST)


@pytest.mark.parametrize("build", [corpus.untrusted_key, corpus.returns_its_input, corpus.identity_matrix])
def test_no_refused_bundle_pins_its_key(build: Callable[[], bytes], tmp_path: Path) -> None:
    path, store = tmp_path / "x.obfnet", tmp_path / "trusted_keys.json"
    path.write_bytes(build())
    said: list[str] = []
    with pytest.raises(BundleError):
        read_bundle(path, trust=Trust(store=store, say=said.append), inference_network_id="3c" * 32)
    assert not store.exists()
    assert said == []


def test_a_folder_a_pipe_and_a_missing_file_are_no_bundles(tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe.obfnet")
    (tmp_path / "folder.obfnet").mkdir()
    for name in ("pipe.obfnet", "folder.obfnet", "nothing.obfnet", "a\0b"):
        with pytest.raises(BundleError) as caught:
            read_bundle(tmp_path / name, trust=TRUST)
        assert caught.value.step == "file"


def test_a_refusal_needs_a_known_step() -> None:
    with pytest.raises(KeyError):
        refused("no-such-step", "this", "that")


def test_the_engine_says_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for build in (corpus.memory_bomb, corpus.graph_that_does_not_load, corpus.graph_that_fails_when_run):
        (tmp_path / "x.obfnet").write_bytes(build())
        with pytest.raises(BundleError):
            read_bundle(tmp_path / "x.obfnet", trust=TRUST)
    assert capfd.readouterr() == ("", "")
