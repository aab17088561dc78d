"""What `import obfnet` offers, and what it and the device's packages must not load."""

import importlib
import json
import subprocess
import sys

import pytest

import obfnet
from obfnet.core.errors import MissingExtraError

HEAVY = {
    *("torch", "onnx", "onnxscript", "sklearn", "skimage", "scipy", "kserve", "jaxtyping", "safetensors"),
    "transformers",
}


def loaded_by(statement: str) -> set[str]:
    script = f"{statement}\nimport json, sys\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize("name", obfnet.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(obfnet, name) is not None


def test_a_name_that_is_not_there_says_so() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'no_such_name'"):
        _ = obfnet.no_such_name  # type: ignore[attr-defined]


def test_a_name_without_its_extra_says_which_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_torch(module: str) -> None:
        raise ModuleNotFoundError("No module named 'torch'", name="torch")

    monkeypatch.setattr(importlib, "import_module", without_torch)
    with pytest.raises(MissingExtraError, match=r"'torch'.*obfnet\[train\]"):
        _ = obfnet.train_inference


@pytest.mark.parametrize(
    "package", ["obfnet", "obfnet.edge", "obfnet.bundle", "obfnet.oip", "obfnet.data.cases"]
)
def test_a_device_loads_nothing_heavy(package: str) -> None:
    assert not loaded_by(f"import {package}") & HEAVY


def test_a_devices_names_load_nothing_heavy() -> None:
    assert not loaded_by("from obfnet import Device, connect, load_bundle, load_pool, verify") & HEAVY


def test_transformers_is_loaded_for_a_model_of_it_alone() -> None:
    assert "transformers" not in loaded_by("import obfnet.protecting.run")


def test_the_bare_import_loads_no_numpy() -> None:
    assert "numpy" not in loaded_by("import obfnet")
