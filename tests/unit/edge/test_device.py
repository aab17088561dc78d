"""The device without a network: how it picks, what it answers, what it refuses."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from obfnet.core.errors import BackendError, BudgetSpentError, BundleError, DataError, RangeError, UsageError
from obfnet.edge import Device, UnsafeRawPassthrough
from tests.wire.models import SPEC, faulty_obfuscators, obfuscator_bytes, pool_of, raw_samples
from tests.wire.sockets import ANSWER, METADATA, ScriptedServer, http_answer


def answers(method, path, headers, body):
    if path.endswith("/infer"):
        return http_answer(ANSWER)
    return http_answer(METADATA if path.endswith("/models/model") else {"extensions": ["binary_tensor_data"]})


@pytest.fixture
def server():
    with ScriptedServer(answers) as running:
        yield running


def test_an_answer_has_labels_scores_and_costs(server):
    with Device(pool_of(obfuscator_bytes()), server.url) as device:
        answer = device.infer(raw_samples())
    assert answer.labels.tolist() == [1]
    assert answer.labels.dtype == np.int64
    assert answer.scores.tolist() == [[0.25, 0.5, 0.125]]
    assert (answer.bundle, answer.bundles) == ("bundle-0", ("bundle-0",))
    assert answer.protocol == "binary"
    assert answer.request_bytes == len(server.inference_requests[0][3])
    assert answer.obfuscate_s > 0
    assert answer.obfuscate_s + answer.encode_s + answer.decode_s < answer.total_s


def test_what_is_sent_is_what_the_bundle_made(server):
    raw = raw_samples()
    with Device(pool_of(obfuscator_bytes()), server.url) as device:
        device.infer(raw)
    sent = np.frombuffer(server.inference_requests[0][3][-64:], np.float32).reshape(raw.shape)
    from obfnet.edge import ObfuscationSession

    assert (sent == ObfuscationSession(pool_of(obfuscator_bytes()).bundles[0]).obfuscate(raw)).all()
    assert raw.tobytes() not in bytes(server.received)


def test_every_bundle_is_picked_at_some_time_and_one_a_request(server):
    pool = pool_of(*(obfuscator_bytes(seed=seed) for seed in range(4)))
    with Device(pool, server.url) as device:
        picked = Counter(device.infer(raw_samples()).bundle for _ in range(80))
    assert set(picked) == {f"bundle-{index}" for index in range(4)}
    assert server.connections == 1


def test_an_empty_pool_is_refused():
    with pytest.raises(BundleError, match="at least one bundle"):
        Device(pool_of(), "http://127.0.0.1:1")


def test_raw_samples_out_of_range_are_refused_before_anything_else(server):
    with Device(pool_of(obfuscator_bytes()), server.url) as device, pytest.raises(RangeError):
        device.infer(raw_samples() * 3)
    assert server.connections == 0


@pytest.mark.parametrize("fault", faulty_obfuscators())
def test_a_fault_after_a_good_request_sends_nothing_more(server, fault):
    pool = pool_of(obfuscator_bytes())
    with Device(pool, server.url) as device:
        device.infer(raw_samples())
        before = len(server.received)
        faulty = Device(pool_of(faulty_obfuscators()[fault][1]), server.url)
        device._pool, device._sessions = faulty._pool, {}
        with pytest.raises(BundleError):
            device.infer(raw_samples(seed=5))
        faulty.close()
    assert len(server.received) == before


def test_only_the_unsafe_class_sends_raw_samples(server):
    raw = raw_samples()
    with UnsafeRawPassthrough(server.url, SPEC) as unsafe:
        answer = unsafe.infer(raw)
    assert (answer.bundle, answer.bundles) == (None, ())
    assert answer.obfuscate_s == 0
    assert raw.tobytes() in bytes(server.received)


def test_a_device_imports_no_torch_and_no_training_code():
    code = (
        "import sys, obfnet.edge, obfnet.oip; "
        "heavy = {'torch', 'onnx', 'sklearn', 'skimage', 'kserve', 'grpc'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bits_are_counted_before_a_request_and_kept_for_the_next_device(server, tmp_path):
    pool, path = pool_of(obfuscator_bytes(), budget_bits=16.0), tmp_path / "meter.json"
    with Device(pool, server.url, meter=path) as device:
        assert (device.budget_bits, device.spent_bits) == (16, 0)
        device.infer(raw_samples())
        device.infer(raw_samples(3)[:1])
        assert device.spent_bits == 32
    with Device(pool, server.url, meter=path, limit_bits=40) as device:
        before = len(server.received)
        with pytest.raises(BudgetSpentError, match="got 32 spent and 16 more"):
            device.infer(raw_samples())
        assert len(server.received) == before
    other = pool_of(obfuscator_bytes(seed=9), budget_bits=16.0)
    with pytest.raises(DataError, match="got that of pool"):
        Device(other, server.url, meter=path)


def test_a_lost_request_counts_too(tmp_path):
    with Device(pool_of(obfuscator_bytes(), budget_bits=4.0), "http://127.0.0.1:1", retries=0) as device:
        with pytest.raises(BackendError):
            device.infer(raw_samples())
        assert device.spent_bits == 4


def test_without_a_ceiling_there_is_nothing_to_count(server, tmp_path):
    with Device(pool_of(obfuscator_bytes()), server.url) as device:
        assert (device.budget_bits, device.spent_bits) == (None, None)
    for options in ({"meter": tmp_path / "m"}, {"limit_bits": 10}):
        with pytest.raises(UsageError, match="a pool with a budget"):
            Device(pool_of(obfuscator_bytes()), server.url, **options)


def test_a_sample_that_picks_always_goes_through_the_same_bundle(server):
    pool = pool_of(*(obfuscator_bytes(seed=seed) for seed in range(4)), budget_bits=16.0)
    with Device(pool, server.url, pick="sample") as device:
        assert device.budget_bits == 18
        each = {seed: {device.infer(raw_samples(seed=seed)).bundle for _ in range(3)} for seed in range(30)}
        assert device.spent_bits == 90 * 18
    assert all(len(names) == 1 for names in each.values())
    assert set().union(*each.values()) == {f"bundle-{index}" for index in range(4)}
    # Another device, with nothing in common but the pool, picks the same.
    with Device(pool, server.url, pick="sample") as other:
        assert {other.infer(raw_samples(seed=7)).bundle} == each[7]


def test_a_batch_of_samples_that_pick_is_obfuscated_one_by_one_as_each_picks(server):
    from obfnet.edge import ObfuscationSession

    pool = pool_of(*(obfuscator_bytes(seed=seed) for seed in range(3)))
    batch = np.concatenate([raw_samples(seed=seed) for seed in range(12)])
    with Device(pool, server.url, pick="sample") as device:
        single = [device.infer(sample[None]).bundle for sample in batch]
        # The scripted server answers for one sample, whatever it gets.
        with pytest.raises(BackendError):
            device.infer(batch)
    sent = np.frombuffer(server.inference_requests[-1][3][-batch.nbytes :], np.float32).reshape(batch.shape)
    assert len(set(single)) > 1
    for sample, name, got in zip(batch, single, sent, strict=True):
        session = ObfuscationSession(pool.bundles[int(name[-1])])
        assert (session.obfuscate(sample[None])[0] == got).all()


def test_an_unknown_pick_is_refused():
    with pytest.raises(UsageError, match="a pick of request or sample"):
        Device(pool_of(obfuscator_bytes()), "http://127.0.0.1:1", pick="dice")


def test_a_pool_that_draws_lots_cannot_have_the_sample_pick(server):
    pool = pool_of(obfuscator_bytes(seed=0), obfuscator_bytes(seed=1), budget_bits=16.0)
    bundles = tuple(
        replace(bundle, manifest=replace(bundle.manifest, noise=0.5, protection="gaussian"))
        for bundle in pool.bundles
    )
    with pytest.raises(UsageError, match="pick 'request' for a pool that draws lots"):
        Device(replace(pool, bundles=bundles), server.url, pick="sample")


def test_a_sample_that_cannot_be_obfuscated_is_counted_all_the_same(server):
    # Whether it failed may depend on the sample: what it tells was paid for.
    for _, graph in faulty_obfuscators().values():
        with Device(pool_of(graph, budget_bits=4.0), server.url) as device:
            before = len(server.received)
            try:
                device.infer(raw_samples())
            except BundleError:
                assert len(server.received) == before
            assert device.spent_bits == 4
