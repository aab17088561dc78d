"""`obfnet audit`: pools, bundles and recorded pairs, its gate for build pipelines, and what goes wrong."""

import json
import signal

import numpy as np
import pytest

from obfnet.auditing.pairs import write_pairs
from obfnet.core.files import sha256_hex
from obfnet.data.cases import load_case
from tests.e2e.command import obfnet, start, wait_until

pytestmark = pytest.mark.e2e

CHEAP = ("--budget", "quick", "--attacks", "ridge,pca-neighbour", "--metrics", "mse")


@pytest.fixture(scope="module")
def inverted(tmp_path_factory):
    """Pairs of an obfuscator that hides nothing: the negative picture."""
    digits = load_case("digits")
    raw = np.kron(digits.train.samples[:], np.ones((1, 1, 2, 2), np.float32))
    path = tmp_path_factory.mktemp("pairs") / "inverted.npz"
    write_pairs(path, raw, 1 - raw, digits.train.labels)
    return path


@pytest.fixture(scope="module")
def audited(inverted, tmp_path_factory):
    out = tmp_path_factory.mktemp("audited") / "audit"
    return out, obfnet("audit", inverted, *CHEAP, "--out", out)


def test_pairs_of_a_negative_picture_leak_everything(audited):
    out, outcome = audited
    assert outcome.code == 0, outcome.err
    assert "A backend that holds pairs" in outcome.out
    result = json.loads((out / "audit.json").read_text())
    headline = result["headline"]
    assert headline["normalised_leakage"] == pytest.approx(1, abs=0.02)
    assert headline["raw_ssim"] >= headline["ssim"] - 0.01 > headline["floor_ssim"]
    assert (result["complete"], result["subject"]["source"]) == (True, "pairs")
    assert {attack["name"] for attack in result["attacks"]} == {"ridge", "pca-neighbour"}
    assert result["guarantee"]["budget_bits"] is None
    assert result["attribute"] is None
    page = (out / "report.html").read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert headline["verdict"].split("(")[0].strip()[:40] in page


def test_a_pipeline_can_gate_on_it(inverted, audited):
    out, _ = audited
    outcome = obfnet("audit", inverted, *CHEAP, "--out", out, "--fail-over", "0.25")
    assert outcome.code == 3
    assert "expected a normalised leakage of at most 0.25, got 1.0" in outcome.complaint
    # Nothing was attacked again.
    assert "attacked before" in outcome.err
    assert obfnet("audit", inverted, *CHEAP, "--out", out, "--fail-over", "1.1").code == 0


def test_json_is_the_file(inverted, audited):
    out, _ = audited
    outcome = obfnet("audit", inverted, *CHEAP, "--out", out, "--json")
    assert json.loads(outcome.out)["headline"] == json.loads((out / "audit.json").read_text())["headline"]


def test_a_pool_and_its_bundle_agree(coordinator, tmp_path):
    answers = {}
    bundle = sorted(coordinator.pool.glob("*.obfnet"))[0]
    for name, source in (("pool", coordinator.pool), ("bundle", bundle)):
        outcome = obfnet("audit", source, "--case", "digits", *CHEAP, "--out", tmp_path / name, "--json")
        assert outcome.code == 0, outcome.err
        answers[name] = json.loads(outcome.out)
    pool, alone = (answers[name]["headline"] for name in ("pool", "bundle"))
    assert (answers["pool"]["subject"]["source"], answers["bundle"]["subject"]["source"]) == (
        "pool",
        "bundle",
    )
    assert pool["normalised_leakage"] == pytest.approx(alone["normalised_leakage"])
    assert pool["threat_level"] == "T2"
    assert any("the true label counts as its answer" in one for one in answers["pool"]["subject"]["warnings"])


def test_a_bundle_is_judged_the_same_by_onnx_by_torch_and_by_pairs(coordinator, tmp_path):
    bundle, out = sorted(coordinator.pool.glob("*.obfnet"))[0], tmp_path / "audit.json"
    attacks = ("--attacks", "ridge,pca-neighbour", "--work", tmp_path / "work")
    outcome = obfnet(
        "bench", "audit", "--known", "shrunk", "--case", "digits", "--bundle", bundle, *attacks, "--out", out
    )
    assert outcome.code == 0, outcome.err
    assert "agree within their intervals: onnx" in outcome.out
    assert "| shrunk | as expected" in outcome.out
    readings = json.loads(out.read_text())["readings"]
    by_onnx, by_torch, by_pairs = (one["normalised"] for one in readings["each"])
    assert by_onnx == pytest.approx(by_torch, abs=1e-3)
    assert by_onnx == pytest.approx(by_pairs, abs=1e-3)


def test_ctrl_c_leaves_a_valid_partial_report(inverted, tmp_path):
    out = tmp_path / "audit"
    running = start(
        "audit", inverted, "--budget", "quick", "--attacks", "ridge,decoder", "--metrics", "mse", "--out", out
    )
    assert wait_until((out / "audit.json").exists, 120)
    running.send(signal.SIGINT)
    outcome = running.finish()
    assert outcome.code == 130
    assert outcome.complaint.startswith("stopped")
    result = json.loads((out / "audit.json").read_text())
    assert result["complete"] is False
    assert [attack["name"] for attack in result["attacks"]] == ["ridge"]
    assert "partial" in (out / "report.html").read_text().lower()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("missing.npz",), 1, "missing.npz"),
        (("some",), 2, "--case for a pool or a bundle, got none"),
        (("some.npz", "--side", "model"), 2, "a pool or a bundle for --side model, got recorded pairs"),
        (("some", "--case", "digits", "--side", "model"), 2, "--inference for --side model, got none"),
        (
            ("some", "--case", "digits", "--side", "model", "--fail-over", "0.2"),
            2,
            "--fail-over with --side data",
        ),
        (
            ("some", "--case", "digits", "--side", "model", "--inference", "i", "--engine", "ray"),
            2,
            "--engine local for --side model",
        ),
        (("some.npz", "--workers", "2"), 2, "--address and --workers with --engine ray, got --engine local"),
        (("some.npz", "--engine", "ray", "--address", "127.0.0.1:1"), 2, "a Ray cluster at 127.0.0.1:1"),
        (("missing.npz", "--attacks", "magic"), 2, "a known attack, got 'magic'; known: class-mean"),
        (("missing.npz", "--metrics", "taste"), 2, "a known metric, got 'taste'"),
        (("missing.npz", "--budget", "huge"), 2, "'huge' is not one of"),
        (("missing.npz", "--threat", "T7"), 2, "'T7' is not one of"),
        (("nothing", "--case", "digits"), 1, "nothing"),
    ],
    ids=lambda value: None if isinstance(value, int) else str(value)[:30],
)
def test_what_cannot_be_audited_is_one_line(tmp_path, arguments, code, message):
    (tmp_path / "some").mkdir()
    (tmp_path / "some.npz").write_bytes(b"no archive")
    source, *others = arguments
    outcome = obfnet("audit", tmp_path / source, *others, "--out", tmp_path / "out")
    assert outcome.code == code, outcome.err
    assert message in outcome.complaint
    assert not (tmp_path / "out").exists()


def test_a_truncated_file_is_one_line(inverted, tmp_path):
    cut = tmp_path / "cut.npz"
    cut.write_bytes(inverted.read_bytes()[:5_000])
    outcome = obfnet("audit", cut, "--out", tmp_path / "out")
    assert outcome.code == 1
    assert "cut.npz" in outcome.complaint


def test_another_network_than_the_pools_is_refused(coordinator, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    outcome = obfnet(
        "audit",
        coordinator.pool,
        "--case",
        "digits",
        "--inference",
        other,
        "--out",
        tmp_path / "out",
    )
    assert outcome.code == 2
    assert "an inference network at" in outcome.complaint
    assert sha256_hex(b"") not in outcome.err


def test_the_model_side_says_what_a_bundle_adds(coordinator, tmp_path):
    out = tmp_path / "audit"
    pool = ("audit", coordinator.pool, "--case", "digits", "--inference", coordinator.inference)
    outcome = obfnet(*pool, "--side", "model", "--budget", "quick", "--out", out)
    assert outcome.code == 0, outcome.err
    result = json.loads((out / "audit.json").read_text())
    side = result["model_confidentiality"]
    assert {row["bundles"] for row in side["substitute"]} == {False, True}
    for row in side["substitute"]:
        low, high = row["agreement_interval"]
        assert 0.1 < low <= row["agreement"] <= high <= 1
        assert 0 <= row["transfer"] <= 1
    low, high = side["membership"]["interval"]
    assert low <= side["membership"]["auc"] <= high
    assert result["headline"]["normalised_leakage"] is None
    assert "The other side" in (out / "report.html").read_text()
    # The data side of the same pool goes into the same file and keeps the model's.
    outcome = obfnet(*pool, *CHEAP, "--out", out)
    assert outcome.code == 0, outcome.err
    both = json.loads((out / "audit.json").read_text())
    assert both["model_confidentiality"] == side
    assert both["headline"]["normalised_leakage"] is not None
