"""`obfnet evaluate` against real servers: what it counts is what a direct run of the same networks gives."""

import hashlib
import json
import shutil
import signal
import socket
from contextlib import contextmanager

import numpy as np
import onnx
import png
import pytest
from onnx import TensorProto, helper, numpy_helper
from scipy.stats import binomtest

from obfnet import Device, UnsafeRawPassthrough, evaluate
from obfnet.bundle import Trust, read_pool, write_pool
from obfnet.core.errors import UsageError
from obfnet.core.files import sha256_hex
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.edge import ObfuscationSession
from tests.e2e.command import obfnet, start
from tests.e2e.test_cli_infer import silent_server
from tests.malformed.corpus import KEY, PUBLIC_KEY
from tests.malformed.pools import named_bundle
from tests.unit.data.files import picture_folder

pytestmark = pytest.mark.e2e

BITS = 8.0
TURNED = tuple("5678901234")
HEAVY = ("torch", "onnx", "sklearn", "skimage", "scipy", "kserve")


@pytest.fixture(scope="module")
def digits():
    return load_case("digits")


@pytest.fixture(scope="module")
def weights(digits):
    """A linear classifier of digits, by least squares: 65 numbers a class."""
    return np.linalg.lstsq(with_one(digits.train.samples[:]), np.eye(10)[digits.train.labels], rcond=None)[0]


def with_one(samples):
    return np.hstack([samples.reshape(len(samples), -1), np.ones((len(samples), 1))])


def answered(samples, weights):
    return (with_one(samples) @ weights).argmax(1)


def model_file(path, weights):
    constants = {"w": weights[:-1].astype(np.float32), "b": weights[-1].astype(np.float32)}
    graph = helper.make_graph(
        [
            helper.make_node("Flatten", ["x"], ["f"]),
            helper.make_node("MatMul", ["f", "w"], ["m"]),
            helper.make_node("Add", ["m", "b"], ["y"]),
        ],
        "linear",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", weights.shape[1]])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    path.write_bytes(model.SerializeToString())
    onnx.checker.check_model(str(path))
    return path


def pool_for(folder, model, *, count, bits=BITS):
    made_for = sha256_hex(model.read_bytes())
    bundles = [
        named_bundle(f"o{seed}", seed=seed, budget_bits=bits, inference_network_id=made_for)
        for seed in range(count)
    ]
    return write_pool(folder, bundles, KEY)


@contextmanager
def served(model):
    running = start("serve", model, "--port", "0", "--grpc-port", "0", "--json")
    yield json.loads(running.wait_for('"url"'))["url"]
    running.send(signal.SIGTERM)
    running.finish(20)


@pytest.fixture(scope="module")
def model(weights, tmp_path_factory):
    return model_file(tmp_path_factory.mktemp("model") / "model.onnx", weights)


@pytest.fixture(scope="module")
def url(model):
    with served(model) as address:
        yield address


@pytest.fixture(scope="module")
def single(model, tmp_path_factory):
    return pool_for(tmp_path_factory.mktemp("single") / "pool", model, count=1)


@pytest.fixture(scope="module")
def pair(model, tmp_path_factory):
    return pool_for(tmp_path_factory.mktemp("pair") / "pool", model, count=2)


def asked(pool, url, *options, case="digits", **more):
    trusted = ("--trust", PUBLIC_KEY)
    return obfnet("evaluate", "--pool", pool, "--url", url, "--case", case, *trusted, *options, **more)


def through(pool, samples):
    """What each bundle makes of the samples, without a device."""
    return {
        bundle.name: ObfuscationSession(bundle).obfuscate(samples)
        for bundle in read_pool(pool, trust=Trust(explicit=(PUBLIC_KEY,))).bundles
    }


def check_share(found, name, hits):
    """A share is the one of these hits, with the interval that SciPy gives."""
    expected = binomtest(int(hits.sum()), len(hits)).proportion_ci(0.95, method="wilson")
    assert found[name] == pytest.approx(hits.mean())
    assert found[f"{name}_interval"] == pytest.approx([expected.low, expected.high], abs=1e-6)


def test_all_figures_are_those_of_a_direct_run(single, url, digits, weights, tmp_path):
    kept = tmp_path / "result.json"
    outcome = asked(single, url, "--samples", "9999", "--raw", "--json", "--out", kept)
    assert outcome.code == 0, outcome.err
    assert "raw too, unprotected" in outcome.err
    found = json.loads(outcome.out)
    assert found == json.loads(kept.read_text())
    samples, labels = digits.test.samples[:], digits.test.labels
    sent = answered(through(single, samples)["o0"], weights)
    raw = answered(samples, weights)
    check_share(found["accuracy"], "obfuscated", sent == labels)
    check_share(found["accuracy"], "raw", raw == labels)
    check_share(found, "agreement", sent == raw)
    assert found["accuracy"]["raw"] > 0.85
    assert found["samples"] == {"asked": len(labels), "wanted": len(labels), "test": len(labels)}
    assert (found["complete"], found["stopped"], found["spent_bits"]) == (True, None, BITS * len(labels))
    assert (found["case"], found["labels_from"]) == ("digits", "the case")


def test_each_bundle_is_counted_for_itself(pair, url, digits, weights):
    outcome = asked(pair, url, "--samples", "9999", "--pick", "sample", "--batch", "50", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    samples, labels = digits.test.samples[:], digits.test.labels
    # As the device says that it picks: by the sample's SHA-256.
    digests = [hashlib.sha256(sample.tobytes()).digest()[:8] for sample in samples]
    picked = np.array([int.from_bytes(digest, "big") % 2 for digest in digests])
    for number, (name, obfuscated) in enumerate(through(pair, samples).items()):
        row = found["bundles"][number]
        right = (answered(obfuscated, weights) == labels)[picked == number]
        assert (row["name"], row["samples"], row["right"]) == (name, len(right), right.sum())
        check_share(row, "accuracy", right)
    assert found["agreement"] is None
    assert found["accuracy"]["raw"] is None


def test_people_read_the_same(pair, url):
    outcome = asked(pair, url, "--samples", "60")
    assert outcome.code == 0, outcome.err
    assert "unprotected" not in outcome.err
    first, *rows, order, spent = outcome.out.splitlines()
    assert first.startswith(
        "accuracy of the backend's answers, 60 of 360 test samples of digits, obfuscated: "
    )
    assert sum(int(row.split(" of ")[1].split()[0]) for row in rows) == 60
    assert order == "labels in the order of the case"
    # Chance picked for each request: no bits for the choice.
    assert spent == f"bits spent so far: {60 * BITS:g}"


def test_the_seed_draws_the_samples(single, url):
    one, again, other = (
        asked(single, url, "--samples", "40", "--json", "--seed", seed) for seed in (3, 3, 4)
    )
    one, again, other = (json.loads(outcome.out)["bundles"] for outcome in (one, again, other))
    assert one == again
    assert other[0]["samples"] == 40


def test_a_part_is_never_taken_for_the_whole(single, url, tmp_path):
    meter, kept = tmp_path / "meter.json", tmp_path / "result.json"
    limit = ("--meter", meter, "--limit-bits", 3.5 * BITS)
    outcome = asked(single, url, "--samples", "10", *limit, "--json", "--out", kept)
    assert outcome.code == 1
    assert "the limit after 3, 24 spent and 8 more asked for" in outcome.complaint
    found = json.loads(outcome.out)
    assert found == json.loads(kept.read_text())
    assert not found["complete"]
    assert found["samples"] == {"asked": 3, "wanted": 10, "test": 360}
    assert found["bundles"][0]["samples"] == 3
    told = asked(single, url, "--samples", "10", "--raw", "--meter", tmp_path / "other.json", *limit[2:])
    assert told.code == 1
    assert told.out.startswith("A PART ONLY, 3 of 10 samples")

    spent = asked(single, url, "--samples", "10", *limit)
    assert spent.code == 1
    assert "nothing was sent" in spent.complaint
    assert spent.out == ""


@pytest.mark.parametrize(("raw", "killed"), [(False, 5), (True, 5), (True, 25)])
def test_a_server_that_dies_on_the_way_leaves_the_figures_until_then(single, model, raw, killed):
    running = start("serve", model, "--port", "0", "--grpc-port", "0", "--json")
    url = json.loads(running.wait_for('"url"'))["url"]

    class Killing(Silent):
        answers = 0

        def advance(self, done, note=""):
            self.answers += 1
            if self.answers == killed:
                running.send(signal.SIGKILL)
                running.finish(20)

    pool = read_pool(single, trust=Trust(explicit=(PUBLIC_KEY,)))
    with Device(pool, url, timeout_s=5) as device, UnsafeRawPassthrough(url, pool.input) as plain:
        found = evaluate(device, "digits", raw=plain if raw else None, samples=20, progress=Killing())
    assert not found.complete
    assert found.figures["samples"]["asked"] == min(killed, 20)
    assert found.figures["accuracy"]["raw"] is None
    assert found.figures["accuracy"]["obfuscated"] is not None
    assert found.report.startswith("A PART ONLY, ")
    assert ("the same samples raw" if killed > 20 else "none after 5") in found.report


def with_result(pool, folder, model, classes, **more):
    """The pool as `protect` leaves it."""
    shutil.copytree(pool, folder)
    named = {"model": {"id": model, "classes": classes}, **more}
    (folder / "result.json").write_text(json.dumps(named))
    return folder


def test_labels_are_in_the_order_that_protect_left(weights, digits, tmp_path):
    order = [int(name) for name in TURNED]
    model = model_file(tmp_path / "turned.onnx", weights[:, order])
    pool = pool_for(tmp_path / "made", model, count=1)
    identity = sha256_hex(model.read_bytes())
    full = ("--samples", "9999", "--raw", "--json")
    wanted = answered(digits.test.samples[:], weights) == digits.test.labels
    with served(model) as url:
        plain = json.loads(asked(pool, url, *full).out)
        assert plain["accuracy"]["raw"] < 0.3
        told = json.loads(asked(pool, url, *full, "--classes", ",".join(TURNED)).out)
        left = with_result(pool, tmp_path / "left", identity, list(TURNED))
        read = json.loads(asked(left, url, *full).out)
        for found, said_by in ((told, "--classes"), (read, "the pool's result.json")):
            check_share(found["accuracy"], "raw", wanted)
            assert (found["labels_from"], found["classes"]) == (said_by, list(TURNED))

        unknown = with_result(pool, tmp_path / "unknown", identity, None)
        agreed = json.loads(asked(unknown, url, *full).out)
        assert set(agreed["accuracy"].values()) == {None}
        assert agreed["agreement"] == read["agreement"]
    with silent_server() as silent:
        refused = asked(unknown, silent)
        assert refused.code == 2
        assert "--classes" in refused.complaint
        foreign = with_result(pool, tmp_path / "foreign", "0" * 64, list(TURNED))
        refused = asked(foreign, silent)
        assert refused.code == 1
        assert "that of another model" in refused.complaint
        (foreign / "result.json").write_text("{}")
        assert "or a broken one" in asked(foreign, silent).complaint


@pytest.mark.parametrize(("added", "said"), [(0, True), (5, False)])
def test_a_case_that_is_no_longer_cut_as_for_training_is_marked(
    single, model, url, digits, tmp_path, added, said
):
    counts = {part: len(getattr(digits, part).labels) for part in ("train", "validation", "test")}
    counts["train"] -= added
    identity, names = sha256_hex(model.read_bytes()), [str(number) for number in range(10)]
    left = with_result(single, tmp_path / "left", identity, names, samples=counts)
    with Device(read_pool(left, trust=Trust(explicit=(PUBLIC_KEY,))), url) as device:
        for classes in ((), names):
            found = evaluate(device, "digits", samples=10, classes=classes)
            assert found.figures["cut_as_trained"] is said
            assert found.report.startswith("MAYBE NOT UNSEEN") is not said


def digit_folder(root, digits, *, classes):
    """Test digits of some classes as a folder of pictures."""
    for number, (sample, label) in enumerate(zip(digits.test.samples[:], digits.test.labels, strict=True)):
        if label < classes:
            path = root / str(label) / f"{number:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            png.from_array(np.round(sample[0] * 255).astype(np.uint8).tolist(), "L").save(path)
    return root


def test_a_folder_is_asked_about_where_nothing_of_training_is_installed(single, url, digits, tmp_path):
    folder = digit_folder(tmp_path / "pictures", digits, classes=10)
    missing = "; ".join(f"sys.modules[{name!r}] = None" for name in HEAVY)
    outcome = asked(single, url, "--raw", "--json", case=folder, prelude=f"import sys; {missing}")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["case"] == "own-pictures"
    assert found["samples"]["asked"] == found["samples"]["test"] < 100
    assert found["accuracy"]["raw"] > 0.75


@pytest.mark.parametrize(
    ("options", "code", "why"),
    [
        (("--case", "no-such-case"), 2, "known case"),
        (("--case", "large"), 2, "a case with samples of shape (1, 8, 8)"),
        (("--split", "no-such-split"), 2, "split of digits"),
        (("--samples", "0"), 2, "x>=1"),
        (("--batch", "2"), 2, "give --pick sample"),
        (("--classes", "0,1,2"), 2, "every class of the samples in --classes"),
        (("--classes", "0,1,2,3,4,5,6,7,8,9,3"), 2, "'3' twice"),
        (("--limit-bits", "-1"), 2, "a limit above 0 bits"),
        (("--pool", "missing"), 1, "No such file"),
    ],
)
def test_what_does_not_fit_is_refused_and_nobody_is_asked(pair, tmp_path, options, code, why):
    picture_folder(tmp_path / "large")
    options = [tmp_path / part if part in {"large", "missing"} else part for part in options]
    with silent_server() as silent:
        outcome = asked(pair, silent, *options)
    assert outcome.code == code
    assert why in outcome.complaint
    assert outcome.out == ""


def test_a_backend_of_other_classes_is_refused(single, url, digits, tmp_path):
    folder = digit_folder(tmp_path / "three", digits, classes=3)
    outcome = asked(single, url, case=folder)
    assert outcome.code == 1
    assert "scores of 3 classes, as the case has them, got 10 from the backend" in outcome.complaint
    assert outcome.out == ""


def test_a_dead_server_is_one_line(single, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    outcome = asked(single, f"http://127.0.0.1:{port}", "--out", tmp_path / "result.json")
    assert outcome.code == 1
    assert str(port) in outcome.complaint
    assert outcome.out == ""
    assert not (tmp_path / "result.json").exists()


def test_a_program_asks_in_a_few_lines(pair, url):
    pool = read_pool(pair, trust=Trust(explicit=(PUBLIC_KEY,)))
    with Device(pool, url) as device, UnsafeRawPassthrough(url, device.spec) as raw:
        found = evaluate(device, "digits", raw=raw, samples=30)
        with pytest.raises(UsageError, match="at least 1 sample"):
            evaluate(device, "digits", samples=0)
        assert device.spent_bits == 30 * BITS
    assert found.complete
    assert found.figures["samples"]["asked"] == 30
    assert "the same answer to raw and to obfuscated, 30 of 360" in found.report


def test_protect_is_told_that_an_endpoint_cannot_be_trained_with(url, tmp_path):
    outcome = obfnet("protect", "--model", url, "--data", "digits", "--out", tmp_path / "pool")
    assert outcome.code == 1
    assert "no gradient to train with" in outcome.complaint
    assert "obfnet evaluate" in outcome.complaint
    assert not (tmp_path / "pool").exists()


def test_the_pool_of_protect_is_as_right_as_its_result_says(model, url, tmp_path):
    """The backend serves the model of `protect`, and the same test samples give the same accuracy."""
    pictures, pool = tmp_path / "pictures", tmp_path / "pool"
    assert obfnet("data", "export", "digits", "--out", pictures).code == 0
    made = ("--bits", "8", "--count", "1", "--epochs", "10", "--attacks", "ridge", "--out", pool)
    done = obfnet("protect", "--model", model, "--data", pictures, *made)
    assert done.code == 0, done.err
    said = json.loads((pool / "result.json").read_text())
    outcome = obfnet(
        *(
            "evaluate",
            "--pool",
            pool,
            "--url",
            url,
            "--case",
            pictures,
            "--samples",
            "9999",
            "--raw",
            "--json",
        )
    )
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["labels_from"] == "the pool's result.json"
    assert found["samples"]["asked"] == said["accuracy"]["samples"]
    # One rounding apart on a sample that lies between two codes or two classes.
    slack = 1.5 / said["accuracy"]["samples"]
    assert found["accuracy"]["obfuscated"] == pytest.approx(said["accuracy"]["obfuscated"], abs=slack)
    assert found["accuracy"]["raw"] == pytest.approx(said["accuracy"]["raw"], abs=slack)
