"""`obfnet serve` and `obfnet infer`: a file goes in, a label comes out; where it cannot, nothing is sent."""

import json
import shutil
import signal
import socket
from contextlib import contextmanager

import numpy as np
import png
import pytest

from obfnet.core.files import canonical_json
from obfnet.data.cases import load_case
from obfnet.data.idx import idx_bytes
from tests.e2e.command import obfnet, obfnet_each, start

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def pixels():
    """Test digits as uint8 in [0, 255], `(N, 8, 8)`, as the coordinator's networks take them."""
    test = load_case("digits").test
    return np.round(test.samples[:, 0] * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def url(coordinator, tmp_path_factory):
    ready = tmp_path_factory.mktemp("server") / "ready.json"
    arguments = ("serve", coordinator.inference, "--port", "0", "--grpc-port", "0", "--json", "--out", ready)
    running = start(*arguments)
    said = json.loads(running.wait_for('"url"'))
    assert said == json.loads(ready.read_text())
    yield said["url"]
    running.send(signal.SIGTERM)
    stopped = running.finish(20)
    assert (stopped.code, stopped.err) == (0, "")


@pytest.fixture
def silent():
    with silent_server() as url:
        yield url


def save_png(path, picture):
    png.from_array(picture.tolist(), "L").save(path)
    return path


@contextmanager
def silent_server():
    """A URL that somebody listens on, and a check that nobody ever came."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        server.settimeout(0.05)
        with pytest.raises(TimeoutError):
            server.accept()


def ask(coordinator, url, source, *options):
    trusted = ("--trust", coordinator.key)
    return obfnet("infer", "--pool", coordinator.pool, "--url", url, "--input", source, *trusted, *options)


def test_a_png_the_item_of_an_idx_file_and_an_array_get_the_same_label(coordinator, url, pixels, tmp_path):
    save_png(tmp_path / "digit.png", pixels[3])
    (tmp_path / "digits-idx3-ubyte").write_bytes(idx_bytes(pixels[:5]))
    np.save(tmp_path / "digit.npy", pixels[3][None, None])
    labels = []
    for name in ("digit.png", "digits-idx3-ubyte#3", "digit.npy"):
        outcome = ask(coordinator, url, tmp_path / name, "--json", "--raw")
        assert outcome.code == 0, outcome.err
        assert "unprotected" in outcome.err
        answer = json.loads(outcome.out)
        assert answer["bundle"] is None
        labels.append(answer["labels"])
    assert labels[0] == labels[1] == labels[2]


def test_an_obfuscated_batch_is_answered_and_looks_like_a_raw_one(coordinator, url, pixels, tmp_path):
    np.save(tmp_path / "batch.npy", pixels[:, None])
    kept = tmp_path / "answer.json"
    obfuscated = ask(coordinator, url, tmp_path / "batch.npy", "--json", "--out", kept)
    raw = ask(coordinator, url, tmp_path / "batch.npy", "--json", "--raw")
    answers = [json.loads(outcome.out) for outcome in (obfuscated, raw)]
    assert obfuscated.err == ""
    assert answers[0] == json.loads(kept.read_text())
    assert answers[0]["bundle"] in ("digits-000", "digits-001")
    assert answers[0]["request_bytes"] == answers[1]["request_bytes"]
    truth = load_case("digits").test.labels
    for answer in answers:
        assert (np.array(answer["labels"]) == truth).mean() > 0.8
        assert np.array(answer["scores"]).shape == (len(truth), 10)


def test_people_read_the_label_and_what_was_sent(coordinator, url, pixels, tmp_path):
    outcome = ask(coordinator, url, save_png(tmp_path / "digit.png", pixels[0]))
    assert outcome.code == 0, outcome.err
    first, second = outcome.out.splitlines()
    assert first.startswith("label ")
    assert second.startswith("sent obfuscated by digits-00")


def test_the_first_key_is_pinned_aloud_and_then_silently_trusted(coordinator, url, pixels, tmp_path):
    picture = save_png(tmp_path / "digit.png", pixels[0])
    arguments = ("infer", "--pool", coordinator.pool, "--url", url, "--input", picture)
    env = {"OBFNET_HOME": str(tmp_path / "home")}
    first, second = obfnet(*arguments, env=env), obfnet(*arguments, env=env)
    assert (first.code, second.code) == (0, 0)
    assert f"trusting {coordinator.key}" in first.err
    assert str(tmp_path / "home" / "trusted_keys.json") in first.err
    assert second.err == ""


def bad_samples(folder, pixels):
    """Samples that the demo's pool, of float32 in [0, 1] and 8x8, must refuse; and why."""
    good = (pixels[:1, None] / 255).astype(np.float32)
    with_nan = good.copy()
    with_nan[0, 0, 0, 0] = np.nan
    arrays = {
        "nan": (with_nan, "finite"),
        "above-range": (good + 1, "[0"),
        "wrong-dtype": (good.astype(np.float64), "float32"),
        "wrong-shape": (good[..., :5], "(N, 1, 8, 8)"),
        "empty-batch": (good[:0], ""),
    }
    for name, (array, _) in arrays.items():
        np.save(folder / f"{name}.npy", array)
    np.save(folder / "pickled.npy", np.array([{}], object), allow_pickle=True)
    save_png(folder / "too-large.png", np.zeros((9, 9), np.uint8))
    (folder / "text.png").write_text("not a picture")
    (folder / "cut.png").write_bytes((folder / "too-large.png").read_bytes()[:30])
    idx = idx_bytes(pixels[:2])
    (folder / "cut-idx3-ubyte").write_bytes(idx[:-1])
    (folder / "idx3-ubyte").write_bytes(idx)
    files = {
        "pickled.npy": "without pickles",
        "too-large.png": "9x9",
        "text.png": "of another kind",
        "cut.png": "PNG",
        "cut-idx3-ubyte": "bytes",
        "idx3-ubyte#2": "below 2",
        "missing.png": "No such file",
        ".": "directory",
    }
    return {**{f"{name}.npy": why for name, (_, why) in arrays.items()}, **files}


BAD = [
    *("nan.npy", "above-range.npy", "wrong-dtype.npy", "wrong-shape.npy", "empty-batch.npy", "pickled.npy"),
    *("too-large.png", "text.png", "cut.png", "cut-idx3-ubyte", "idx3-ubyte#2", "missing.png", "."),
]


@pytest.fixture(scope="module")
def refused_samples(finished_demo, coordinator, pixels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("samples")
    why = bad_samples(folder, pixels)
    assert sorted(why) == sorted(BAD)
    with silent_server() as url:
        infer = ("infer", "--pool", finished_demo.folder / "pool", "--url", url, "--trust", coordinator.key)
        outcomes = obfnet_each({name: (*infer, "--input", f"{folder}/{name}") for name in BAD})
    return {name: (outcomes[name], why[name]) for name in BAD}


@pytest.mark.parametrize("name", BAD)
def test_a_sample_that_does_not_fit_is_refused_and_nobody_is_asked(refused_samples, name):
    outcome, why = refused_samples[name]
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert outcome.complaint.startswith("expected ")
    assert why.lower() in outcome.complaint.lower()
    assert outcome.out == ""


def unlisted(pool):
    (pool / "pool.json").unlink()
    return "half written"


def emptied(pool):
    for path in pool.iterdir():
        path.unlink()
    return "empty pool"


def unsigned(pool):
    index = json.loads((pool / "pool.json").read_bytes())
    del index["signature"]
    (pool / "pool.json").write_bytes(canonical_json(index))
    return "no signature"


def tampered(pool):
    bundle = pool / "digits-001.obfnet"
    content = bytearray(bundle.read_bytes())
    content[len(content) // 2] ^= 1
    bundle.write_bytes(content)
    return "pool-hash"


def shortened(pool):
    (pool / "digits-001.obfnet").unlink()
    return "pool-missing"


def removed(pool):
    shutil.rmtree(pool)
    return "No such file"


SPOILERS = [unlisted, emptied, unsigned, tampered, shortened, removed]


@pytest.fixture(scope="module")
def refused_pools(coordinator, pixels, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pools")
    picture = save_png(folder / "digit.png", pixels[0])
    why, calls = {}, {}
    with silent_server() as url:
        for spoil in SPOILERS:
            name = spoil.__name__
            pool = shutil.copytree(coordinator.pool, folder / name)
            why[name] = spoil(pool)
            calls[f"infer {name}"] = ("infer", "--pool", pool, "--url", url, "--input", picture)
            calls[f"verify {name}"] = ("verify", pool)
        trust = ("--trust", coordinator.key)
        outcomes = obfnet_each({name: (*call, *trust) for name, call in calls.items()})
    return {name: (outcome, why[name.split()[1]]) for name, outcome in outcomes.items()}


@pytest.mark.parametrize("name", [spoil.__name__ for spoil in SPOILERS])
@pytest.mark.parametrize("command", ["infer", "verify"])
def test_a_spoilt_pool_is_refused_and_nobody_is_asked(refused_pools, command, name):
    outcome, why = refused_pools[f"{command} {name}"]
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert why in outcome.complaint
    assert outcome.out == ""


def test_a_pool_signed_by_another_key_is_refused(coordinator, pixels, silent, tmp_path):
    picture = save_png(tmp_path / "digit.png", pixels[0])
    arguments = ("infer", "--pool", coordinator.pool, "--url", silent, "--input", picture)
    other = "ed25519:" + "0f" * 32

    named = obfnet(*arguments, "--trust", other, env={"OBFNET_HOME": str(tmp_path / "unused")})
    assert named.code == 1
    assert other in named.complaint
    assert "--trust" in named.complaint
    assert not (tmp_path / "unused").exists()

    store = tmp_path / "home" / "trusted_keys.json"
    store.parent.mkdir()
    store.write_bytes(canonical_json({"format_version": 1, "keys": [other]}))
    before = store.read_bytes()
    pinned = obfnet(*arguments, env={"OBFNET_HOME": str(store.parent)})
    assert pinned.code == 1
    assert str(store) in pinned.complaint
    assert store.read_bytes() == before


def test_a_key_that_is_none_is_bad_usage(coordinator, pixels, silent, tmp_path):
    picture = save_png(tmp_path / "digit.png", pixels[0])
    arguments = ("infer", "--pool", coordinator.pool, "--url", silent, "--input", picture)
    outcome = obfnet(*arguments, "--trust", "nonsense")
    assert outcome.code == 2
    assert "ed25519:" in outcome.complaint


def test_a_server_that_is_down_is_one_line(coordinator, pixels, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    picture = save_png(tmp_path / "digit.png", pixels[0])
    outcome = ask(coordinator, f"http://127.0.0.1:{port}", picture)
    assert outcome.code == 1
    assert len(outcome.err.splitlines()) == 1
    assert str(port) in outcome.complaint


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (("--url", "ftp://127.0.0.1"), 2, "http"),
        (("--model", "other"), 1, "other"),
        (("--timeout", "0"), 2, "timeout"),
        (("--protocol", "telegraph"), 2, "binary"),
    ],
)
def test_a_wrong_url_model_timeout_or_protocol(coordinator, url, pixels, tmp_path, options, code, why):
    picture = save_png(tmp_path / "digit.png", pixels[0])
    outcome = ask(coordinator, url, picture, *options)
    assert outcome.code == code
    assert why in outcome.complaint


def test_samples_for_another_backend_are_refused_by_the_device(
    finished_demo, coordinator, url, pixels, tmp_path
):
    # The demo's pool sends float32; this backend takes uint8.
    np.save(tmp_path / "digit.npy", (pixels[:1, None] / 255).astype(np.float32))
    outcome = obfnet(
        *("infer", "--pool", finished_demo.folder / "pool", "--url", url, "--trust", coordinator.key),
        *("--input", tmp_path / "digit.npy"),
    )
    assert outcome.code == 1
    assert "FP32" in outcome.complaint or "float32" in outcome.complaint


def test_serve_refuses_what_it_cannot_serve(tmp_path):
    missing = obfnet("serve", tmp_path / "missing.onnx", "--port", "0")
    assert missing.code == 1
    assert "missing.onnx" in missing.complaint
    (tmp_path / "text.onnx").write_text("no model")
    text = obfnet("serve", tmp_path / "text.onnx", "--port", "0")
    assert text.code == 1
    assert "ONNX" in text.complaint


def test_serve_refuses_a_port_in_use(coordinator):
    with socket.create_server(("127.0.0.1", 0)) as busy:
        port = busy.getsockname()[1]
        outcome = obfnet("serve", coordinator.inference, "--port", port)
    assert outcome.code == 1
    assert f"port {port}" in outcome.complaint
    assert len(outcome.err.splitlines()) == 1
