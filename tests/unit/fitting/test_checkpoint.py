"""A checkpoint is whole, of these settings, or counts as absent; it never unpickles."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save

from obfnet.fitting import Checkpoint, State, fingerprint

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "rng": torch.get_rng_state()}


@pytest.fixture
def saved(tmp_path: Path) -> Checkpoint:
    checkpoint = Checkpoint(path=tmp_path / "new" / "state", fingerprint="f", every_s=0)
    checkpoint.save(State(done=7, tensors=TENSORS))
    return checkpoint


def test_what_was_saved_is_loaded(saved: Checkpoint) -> None:
    state = saved.load()
    assert state is not None
    assert state.done == 7
    assert state.tensors.keys() == TENSORS.keys()
    assert all(torch.equal(state.tensors[name], TENSORS[name]) for name in TENSORS)
    assert [path.name for path in saved.path.parent.iterdir()] == ["state"]


def test_a_file_of_other_settings_counts_as_absent(saved: Checkpoint) -> None:
    assert Checkpoint(path=saved.path, fingerprint="g").load() is None


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.999])
def test_a_truncated_file_counts_as_absent(saved: Checkpoint, share: float) -> None:
    data = saved.path.read_bytes()
    saved.path.write_bytes(data[: int(len(data) * share)])
    assert saved.load() is None


@pytest.mark.parametrize(
    "content",
    [
        b"\x80\x04\x95 a pickle",
        b"\xff" * 64,
        save({"a": torch.zeros(1)}),
        save({"a": torch.zeros(1)}, {"obfnet": "not json"}),
        save({"a": torch.zeros(1)}, {"obfnet": "[]"}),
        save({"a": torch.zeros(1)}, {"obfnet": json.dumps({"fingerprint": "f"})}),
        save({"a": torch.zeros(1)}, {"obfnet": json.dumps({"fingerprint": "f", "done": "7"})}),
    ],
    ids=["pickle", "noise", "no head", "no json", "no object", "no step", "step of another type"],
)
def test_a_file_that_is_no_checkpoint_counts_as_absent(saved: Checkpoint, content: bytes) -> None:
    saved.path.write_bytes(content)
    assert saved.load() is None


def test_no_file_counts_as_absent_and_is_dropped_gladly(tmp_path: Path) -> None:
    checkpoint = Checkpoint(path=tmp_path / "state", fingerprint="f")
    assert checkpoint.load() is None
    checkpoint.drop()


def test_a_dropped_file_is_gone(saved: Checkpoint) -> None:
    saved.drop()
    assert not saved.path.exists()


def test_it_is_due_at_once_only_where_asked_for(tmp_path: Path) -> None:
    assert Checkpoint(path=tmp_path / "state", fingerprint="f", every_s=0).due()
    assert not Checkpoint(path=tmp_path / "state", fingerprint="f", every_s=3600).due()


def test_a_fingerprint_names_settings_whatever_their_order() -> None:
    assert fingerprint({"a": 1, "b": [2.5]}) == fingerprint({"b": [2.5], "a": 1})
    assert len({fingerprint({"a": value}) for value in (1, 2, "1", None, True)}) == 5
