"""Memory is a figure beside the others: where it cannot be measured nothing is said, and nothing is lost."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from obfnet.bundle import Trust, public_key_text, read_bundle, write_bundle
from obfnet.core.spec import InputSpec
from obfnet.export import obfuscation_onnx
from obfnet.nets.convolutional_obfuscation import ConvolutionalObfuscation
from obfnet.protecting import memory
from obfnet.protecting.memory import device_bytes

# What is missing here: the bundle's file.
BUNDLE: Any = SimpleNamespace(path=Path("missing.obfnet"), public_key="none")


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "print('a line of its own', 7)", "while True: pass"])
def test_a_device_that_fails_talks_or_hangs_says_none(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_DEVICE", code)
    monkeypatch.setattr(memory, "_MOST_S", 2.0)
    assert device_bytes(BUNDLE) is None


@pytest.mark.parametrize("executable", ["", "no-such-python"])
def test_a_process_that_cannot_be_started_says_none(executable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    assert device_bytes(BUNDLE) is None


def test_a_network_for_camera_pictures_takes_little_of_a_device(tmp_path: Path) -> None:
    spec = InputSpec(
        shape=(3, 224, 224), dtype="float32", low=0.0, high=1.0, layout="CHW", preprocessing="none"
    )
    key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    path = write_bundle(
        tmp_path / "camera.obfnet",
        graph=obfuscation_onnx(ConvolutionalObfuscation(spec.unit_shape, 24).eval(), spec),
        key=key,
        name="camera",
        case="own",
        input=spec,
        protection="published",
        architecture="conv",
        hidden=24,
        parameters=21_396,
        macs=24_046_848,
        budget_bits=None,
        inference_network_id="0" * 64,
    )
    taken = device_bytes(read_bundle(path, trust=Trust(explicit=(public_key_text(key),))))
    assert taken is not None
    assert taken < 30e6
