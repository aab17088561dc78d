import io
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from obfnet.bundle import Trust, build_bundle, read_bundle, write_bundle
from obfnet.core.errors import BundleError, OutputError, UsageError
from obfnet.core.files import sha256_hex
from tests.malformed import graphs
from tests.malformed.corpus import FACTS, KEY, NETWORK_ID, PUBLIC_KEY, good, zipped

TRUST = Trust(explicit=(PUBLIC_KEY,))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "new" / "a.obfnet", graph=graphs.mlp(), key=KEY, **FACTS)
    bundle = read_bundle(path, trust=TRUST, inference_network_id=NETWORK_ID)
    assert bundle.graph == graphs.mlp()
    assert bundle.path == path
    assert bundle.input == FACTS["input"]
    assert bundle.public_key == PUBLIC_KEY
    assert bundle.sha256 == sha256_hex(path.read_bytes())
    assert bundle.size_bytes == path.stat().st_size
    assert {name: getattr(bundle.manifest, name) for name in FACTS} == FACTS


def test_same_inputs_give_same_bytes_and_those_of_the_first_release() -> None:
    data = build_bundle(graph=graphs.mlp(), key=KEY, **FACTS)
    assert data == build_bundle(graph=graphs.mlp(), key=KEY, **FACTS) == good()
    assert data != build_bundle(graph=graphs.mlp(seed=1), key=KEY, **FACTS)


def test_any_zip_tool_reads_and_makes_the_same_archive() -> None:
    data = good()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        parts = [(name, archive.read(name)) for name in archive.namelist()]
    assert [name for name, _ in parts] == ["manifest.json", "obfuscate.onnx", "signature"]
    assert zipped(parts, mode=0o100644) == data


@pytest.mark.parametrize(
    "spec", [graphs.SPEC, graphs.BYTE_SPEC, graphs.DIGIT_SPEC], ids=["float", "uint8", "28x28"]
)
def test_every_kind_of_sample(spec: Any, tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "a", graph=graphs.mlp(spec), key=KEY, **FACTS | {"input": spec})
    assert read_bundle(path, trust=TRUST).input == spec


def test_a_budget_that_the_graph_keeps_is_read_back(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "a", graph=graphs.signed_code(), key=KEY, **FACTS | {"budget_bits": 8})
    assert read_bundle(path, trust=TRUST).manifest.budget_bits == 8.0


def test_nobody_writes_what_nobody_can_read(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="pass-through-structure"):
        write_bundle(tmp_path / "a.obfnet", graph=graphs.identity(), key=KEY, **FACTS)
    with pytest.raises(BundleError, match="pass-through-probes"):
        write_bundle(tmp_path / "a.obfnet", graph=graphs.identity_matrix(), key=KEY, **FACTS)
    with pytest.raises(UsageError, match="`name`"):
        write_bundle(tmp_path / "a.obfnet", graph=graphs.mlp(), key=KEY, **FACTS | {"name": "../a"})
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError):
        write_bundle(tmp_path / "file" / "a.obfnet", graph=graphs.mlp(), key=KEY, **FACTS)


def test_first_use_pins_the_key_and_says_so(tmp_path: Path) -> None:
    path = write_bundle(tmp_path / "a.obfnet", graph=graphs.mlp(), key=KEY, **FACTS)
    said: list[str] = []
    for _ in range(2):
        read_bundle(path, trust=Trust(store=tmp_path / "t.json", say=said.append))
    assert len(said) == 1
    assert "a.obfnet" in said[0]


def test_import_is_light() -> None:
    heavy = ("onnxruntime", "onnx", "torch", "cryptography", "google.protobuf")
    code = f"import sys, obfnet.bundle; print(*(m for m in {heavy!r} if m in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "\n", "")
