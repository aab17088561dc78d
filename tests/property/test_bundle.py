"""Bundles and manifests survive the round trip; nothing that differs by a byte is taken for one."""

import json
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes

from obfnet.bundle import Manifest, Trust, build_bundle, read_pool
from obfnet.bundle.reader import inspect_bundle
from obfnet.core.errors import BundleError
from obfnet.core.spec import InputSpec
from tests.malformed import corpus, graphs, pools
from tests.malformed.corpus import FACTS, KEY, PUBLIC_KEY

TRUST = Trust(explicit=(PUBLIC_KEY,))
GOOD = corpus.good()
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,30}", fullmatch=True)
HASHES = st.binary(min_size=32, max_size=32).map(bytes.hex)
COUNTS = st.integers(0, 10**15)
TEXTS = st.text(max_size=50).filter(str.isprintable)
PROPERTY = settings(max_examples=150, deadline=None)


@st.composite
def specs(draw: st.DrawFn, *, max_values: int = 10**6) -> InputSpec:
    shapes = array_shapes(max_dims=4, max_side=40).filter(lambda s: 16 <= _product(s) <= max_values)
    byte = draw(st.booleans())
    low, high = draw(
        st.sampled_from([(0, 255)] if byte else [(0, 1), (0.0, 1.0), (-1.5, 2.25), (-80.0, 300.0)])
    )
    return InputSpec(
        shape=draw(shapes),
        dtype="uint8" if byte else "float32",
        low=low,
        high=high,
        layout=draw(TEXTS),
        preprocessing=draw(TEXTS),
    )


def _product(shape: tuple[int, ...]) -> int:
    product = 1
    for size in shape:
        product *= size
    return product


MANIFESTS = st.builds(
    Manifest,
    name=NAMES,
    case=NAMES,
    input=specs(),
    protection=NAMES,
    architecture=NAMES,
    hidden=st.none() | st.integers(1, 10**15),
    parameters=COUNTS,
    macs=COUNTS,
    budget_bits=st.none() | st.floats(0, 1e9),
    inference_network_id=HASHES,
    members=HASHES.map(lambda text: {"obfuscate.onnx": text}),
    public_key=HASHES.map("ed25519:{}".format),
)


@given(MANIFESTS)
@PROPERTY
def test_manifest_round_trip(manifest: Manifest) -> None:
    data = manifest.to_bytes()
    assert Manifest.from_bytes(data) == manifest
    assert Manifest.from_bytes(data).to_bytes() == data


@given(MANIFESTS, st.data())
@PROPERTY
def test_manifest_with_a_field_of_another_type_is_refused(manifest: Manifest, data: st.DataObject) -> None:
    document = json.loads(manifest.to_bytes())
    field = data.draw(st.sampled_from(sorted(document)))
    other = data.draw(st.sampled_from([[], True, {"x": 1}, "\x00", 1.5]).filter(lambda v: _unlike(v, field)))
    with pytest.raises(BundleError, match=r"manifest-|format-version"):
        Manifest.from_bytes(json.dumps({**document, field: other}).encode())


def _unlike(value: object, field: str) -> bool:
    return not (value == 1.5 and field == "budget_bits")


@given(
    st.binary(max_size=2000) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps)
)
@PROPERTY
def test_anything_else_is_no_manifest(data: bytes | str) -> None:
    with pytest.raises(BundleError):
        Manifest.from_bytes(data if isinstance(data, bytes) else data.encode())


@given(specs(max_values=400), NAMES, st.integers(0, 1000), st.integers(1, 40))
@settings(max_examples=30, deadline=None)
def test_bundle_round_trip(spec: InputSpec, name: str, seed: int, hidden: int) -> None:
    graph = _fair_graph(spec, hidden, seed)
    data = build_bundle(graph=graph, key=KEY, **FACTS | {"input": spec, "name": name})
    bundle = inspect_bundle(data, name="a", trust=TRUST)
    assert (bundle.graph, bundle.input, bundle.name) == (graph, spec, name)
    assert build_bundle(graph=graph, key=KEY, **FACTS | {"input": spec, "name": name}) == data


def _fair_graph(spec: InputSpec, hidden: int, seed: int) -> bytes:
    # The network works in [0, 1] or bytes; any range that holds [0, 1] holds its output.
    return graphs.mlp(spec, hidden=hidden, seed=seed)


@given(st.integers(0, len(GOOD) - 1), st.integers(1, 255))
@settings(max_examples=400, deadline=None)
def test_any_changed_byte_is_refused(position: int, change: int) -> None:
    data = bytearray(GOOD)
    data[position] ^= change
    with pytest.raises(BundleError):
        inspect_bundle(bytes(data), name="changed", trust=TRUST)


FRAME = [*range(200), *range(len(GOOD) - 260, len(GOOD))]


@pytest.mark.parametrize("bit", [0, 3, 7])
def test_every_byte_of_the_frame_counts(bit: int) -> None:
    for position in FRAME:
        data = bytearray(GOOD)
        data[position] ^= 1 << bit
        with pytest.raises(BundleError):
            inspect_bundle(bytes(data), name="changed", trust=TRUST)


@given(st.integers(0, len(GOOD) - 1))
@settings(max_examples=200, deadline=None)
def test_any_truncation_is_refused(size: int) -> None:
    with pytest.raises(BundleError):
        inspect_bundle(GOOD[:size], name="short", trust=TRUST)


@given(st.binary(min_size=1, max_size=100), st.integers(0, len(GOOD)))
@PROPERTY
def test_any_inserted_byte_is_refused(extra: bytes, position: int) -> None:
    with pytest.raises(BundleError):
        inspect_bundle(GOOD[:position] + extra + GOOD[position:], name="long", trust=TRUST)


@given(st.binary(max_size=3000))
@PROPERTY
def test_signed_garbage_for_a_graph_is_refused(graph: bytes) -> None:
    with pytest.raises(BundleError):
        inspect_bundle(corpus.bundle(graph), name="garbage", trust=TRUST)


@given(st.integers(0, len(graphs.mlp()) - 1), st.integers(1, 255))
@settings(max_examples=300, deadline=None)
def test_signed_graph_with_a_changed_byte_is_read_or_refused(position: int, change: int) -> None:
    """A weight may be another; whatever else comes of it is a BundleError, never a crash."""
    graph = bytearray(graphs.mlp())
    graph[position] ^= change
    with suppress(BundleError):
        inspect_bundle(corpus.bundle(bytes(graph)), name="changed", trust=TRUST)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_changed_byte_of_a_pool_list_is_refused(data: st.DataObject) -> None:
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "pool"
        pools.good(folder)
        listed = bytearray((folder / "pool.json").read_bytes())
        listed[data.draw(st.integers(0, len(listed) - 1))] ^= data.draw(st.integers(1, 255))
        (folder / "pool.json").write_bytes(listed)
        with pytest.raises(BundleError):
            read_pool(folder, trust=TRUST)
