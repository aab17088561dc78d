"""Hostile bundles, each made by one named function that breaks one thing and leaves all else right.

Where a breakage would also spoil a hash or a signature, these are made anew, so that only the check in
question can refuse the file.
"""

import io
import math
import struct
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper

from obfnet.bundle.archive import MAX_BUNDLE_BYTES, MEMBER_LIMITS, pack
from obfnet.bundle.graph import MAX_NODES, MAX_TENSOR_BYTES
from obfnet.bundle.keys import public_key_text, sign
from obfnet.bundle.reader import SIGNED_AS
from obfnet.core.files import canonical_json, sha256_hex
from tests.malformed import graphs
from tests.malformed.graphs import SPEC, bytes_of, f32, graph_of, i64, node

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64)))
PUBLIC_KEY = public_key_text(KEY)
NETWORK_ID = "1a" * 32
FACTS: dict[str, Any] = {
    "name": "digits-published-00",
    "case": "digits",
    "input": SPEC,
    "protection": "published",
    "architecture": "mlp",
    "hidden": 12,
    "parameters": 1612,
    "macs": 1536,
    "budget_bits": None,
    "inference_network_id": NETWORK_ID,
}


def document(graph: bytes, **changes: Any) -> dict[str, Any]:
    """A manifest's JSON object, right but for the changes."""
    facts = FACTS | {"input": SPEC.to_dict(), "public_key": PUBLIC_KEY, "format_version": 1}
    return facts | {"members": {"obfuscate.onnx": sha256_hex(graph)}} | changes


def members(graph: bytes | None = None, *, manifest: bytes | None = None, **changes: Any) -> dict[str, bytes]:
    """The three members, signed."""
    graph = graphs.mlp() if graph is None else graph
    manifest = canonical_json(document(graph, **changes)) if manifest is None else manifest
    return {
        "manifest.json": manifest,
        "obfuscate.onnx": graph,
        "signature": sign(KEY, manifest, purpose=SIGNED_AS),
    }


def good() -> bytes:
    return pack(members())


def bundle(graph: bytes, **changes: Any) -> bytes:
    return pack(members(graph, **changes))


def zipped(
    parts: list[tuple[str, bytes]], *, method: int = zipfile.ZIP_STORED, mode: int = 0o100644
) -> bytes:
    """An archive as any zip tool would make it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in parts:
            info = zipfile.ZipInfo(name)
            info.create_system, info.external_attr, info.compress_type = 3, mode << 16, method
            # Past zipfile's own warning about duplicates.
            archive.NameToInfo.pop(name, None)
            archive.writestr(info, data)
    return buffer.getvalue()


def _parts() -> list[tuple[str, bytes]]:
    return list(members().items())


# Steps 1 to 8: the file and the archive.


def too_large_file() -> bytes:
    return bytes(MAX_BUNDLE_BYTES + 1)


def empty_file() -> bytes:
    return b""


def no_zip_at_all() -> bytes:
    return b"\x89PNG\r\n\x1a\n" * 100


def truncated_zip() -> bytes:
    return good()[:-100]


def data_after_the_zip() -> bytes:
    return good() + b"#!/bin/sh\n"


def data_before_the_zip() -> bytes:
    return b"#!/bin/sh\n" + good()


def zip_with_a_comment() -> bytes:
    data = good()
    return data[:-2] + struct.pack("<H", 5) + b"hello"


def two_zips_in_one() -> bytes:
    return good() + good()


def endless_list_of_members() -> bytes:
    return zipped([*_parts(), *((f"m{number:05d}", b"") for number in range(1000))])


def path_traversal_member() -> bytes:
    return zipped([*_parts(), ("../../.ssh/authorized_keys", b"x")])


def absolute_member() -> bytes:
    return zipped([("/etc/passwd", b"x"), *_parts()])


def backslash_member() -> bytes:
    return zipped([*_parts(), ("..\\evil", b"x")])


def member_in_a_folder() -> bytes:
    return zipped([(f"bundle/{name}", data) for name, data in _parts()])


def null_in_a_member_name() -> bytes:
    return zipped([*_parts(), ("xxxxx", b"x")]).replace(b"xxxxx", b"x\x00xxx")


def symlink_member() -> bytes:
    return zipped(_parts(), mode=0o120777)


def duplicate_member() -> bytes:
    return zipped([*_parts(), ("obfuscate.onnx", graphs.identity())])


def extra_member() -> bytes:
    return zipped([*_parts(), ("inference.onnx", b"x")])


def missing_graph() -> bytes:
    return zipped([part for part in _parts() if part[0] != "obfuscate.onnx"])


def missing_manifest() -> bytes:
    return zipped([part for part in _parts() if part[0] != "manifest.json"])


def missing_signature() -> bytes:
    return zipped([part for part in _parts() if part[0] != "signature"])


def zip_bomb() -> bytes:
    """Under 200 kB of file for a graph of 128 MiB and one byte."""
    bomb = bytes(MEMBER_LIMITS["obfuscate.onnx"] + 1)
    parts = [(name, bomb if name == "obfuscate.onnx" else data) for name, data in _parts()]
    return zipped(parts, method=zipfile.ZIP_DEFLATED)


def oversized_manifest() -> bytes:
    return pack(members() | {"manifest.json": b" " * (MEMBER_LIMITS["manifest.json"] + 1)})


def oversized_signature() -> bytes:
    return pack(members() | {"signature": bytes(65)})


def compressed_member() -> bytes:
    return zipped(_parts(), method=zipfile.ZIP_DEFLATED)


def zip_bomb_that_lies_about_its_size() -> bytes:
    """Declares 1000 bytes for a graph that inflates to a million."""
    real = struct.pack("<L", 1_000_000)
    parts = [(name, bytes(1_000_000) if name == "obfuscate.onnx" else data) for name, data in _parts()]
    return zipped(parts, method=zipfile.ZIP_DEFLATED).replace(real, struct.pack("<L", 1000))


def encrypted_member() -> bytes:
    data = bytearray(good())
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.rindex(mark) + offset] |= 1
    return bytes(data)


def two_sizes_for_one_member() -> bytes:
    data = bytearray(good())
    directory = data.rindex(b"PK\x01\x02")
    data[directory + 20 : directory + 24] = struct.pack("<L", 32)
    return bytes(data)


def members_in_another_order() -> bytes:
    return zipped(_parts()[::-1])


def dated_today() -> bytes:
    data = bytearray(good())
    data[data.rindex(b"PK\x01\x02") + 14] ^= 8
    return bytes(data)


def wrong_checksum_in_the_zip() -> bytes:
    data = bytearray(good())
    data[data.index(b"obfuscate.onnx") + 200] ^= 1
    return bytes(data)


def local_header_that_disagrees() -> bytes:
    data = bytearray(good())
    data[data.index(b"PK\x03\x04") + 22] ^= 1
    return bytes(data)


def gap_between_members() -> bytes:
    """Bytes that belong to no member, with every offset right."""
    data, hidden = good(), b"hidden data"
    start, end = data.index(b"PK\x01\x02"), len(data) - 22
    offset = struct.pack("<L", start + len(hidden))
    return data[:start] + hidden + data[start:end] + data[end:-6] + offset + data[-2:]


# Steps 9 to 16: manifest, signature, hashes.


def manifest_of_garbage() -> bytes:
    return pack(members(manifest=b"\xff\xfe{"))


def manifest_with_a_duplicate_key() -> bytes:
    text = canonical_json(document(graphs.mlp()))
    return pack(members(manifest=text[:-1] + b',"name":"another"}'))


def manifest_with_nan() -> bytes:
    text = canonical_json(document(graphs.mlp())).replace(b'"budget_bits":null', b'"budget_bits":NaN')
    return pack(members(manifest=text))


def manifest_nested_without_end() -> bytes:
    return pack(members(manifest=b"[" * 60_000))


def manifest_that_is_a_list() -> bytes:
    return pack(members(manifest=b"[]"))


def unknown_format_version() -> bytes:
    return pack(members(format_version=2))


def format_version_as_text() -> bytes:
    return pack(members(format_version="1"))


def huge_format_version() -> bytes:
    return pack(members(format_version=10**4000))


def unknown_field() -> bytes:
    return pack(members(pre_shared_weights="x"))


def unknown_input_field() -> bytes:
    return pack(members(input=SPEC.to_dict() | {"mean": 0.5}))


def missing_field() -> bytes:
    text = document(graphs.mlp())
    del text["protection"]
    return pack(members(manifest=canonical_json(text)))


def field_of_another_type() -> bytes:
    return pack(members(parameters="many"))


def impossible_shape() -> bytes:
    return pack(members(input=SPEC.to_dict() | {"shape": [1, 8, -8]}))


def shape_beyond_all_bounds() -> bytes:
    return pack(members(input=SPEC.to_dict() | {"shape": [10**9, 10**9]}))


def infinite_number() -> bytes:
    text = canonical_json(document(graphs.mlp())).replace(b'"budget_bits":null', b'"budget_bits":1e999')
    return pack(members(manifest=text))


def number_too_large_for_a_float() -> bytes:
    return pack(members(budget_bits=10**400))


def negative_budget() -> bytes:
    return pack(members(budget_bits=-1.0))


def name_with_a_path() -> bytes:
    return pack(members(name="../../evil"))


def terminal_codes_in_a_text() -> bytes:
    return pack(members(input=SPEC.to_dict() | {"layout": "\x1b[2JCHW"}))


def member_list_with_another_name() -> bytes:
    return pack(members(members={"inference.onnx": "00" * 32}))


def wrong_signature() -> bytes:
    parts = members()
    flipped = bytes([parts["signature"][0] ^ 1]) + parts["signature"][1:]
    return pack(parts | {"signature": flipped})


def short_signature() -> bytes:
    return pack(members() | {"signature": b""})


def manifest_changed_after_signing() -> bytes:
    parts = members()
    return pack(parts | {"manifest.json": parts["manifest.json"].replace(b"published", b"gaussian_")})


def signature_of_another_kind_of_document() -> bytes:
    parts = members()
    return pack(parts | {"signature": sign(KEY, parts["manifest.json"], purpose=b"obfnet-pool-v1\n")})


def signed_by_another_key_in_the_name_of_ours() -> bytes:
    parts = members()
    return pack(parts | {"signature": sign(OTHER_KEY, parts["manifest.json"], purpose=SIGNED_AS)})


def untrusted_key() -> bytes:
    manifest = canonical_json(document(graphs.mlp(), public_key=public_key_text(OTHER_KEY)))
    signature = sign(OTHER_KEY, manifest, purpose=SIGNED_AS)
    return pack(members(manifest=manifest) | {"signature": signature})


def wrong_hash() -> bytes:
    return pack(members(members={"obfuscate.onnx": "00" * 32}))


def graph_swapped_after_signing() -> bytes:
    return pack(members() | {"obfuscate.onnx": graphs.identity()})


def bundle_for_another_inference_network() -> bytes:
    return pack(members(inference_network_id="2b" * 32))


# Steps 17 to 22: the graph as data.


def graph_of_garbage() -> bytes:
    return bundle(b"\x08\xff")


def graph_of_nothing() -> bytes:
    return bundle(b"")


def pickle_instead_of_a_graph() -> bytes:
    return bundle(b"\x80\x04cos\nsystem\n(S'true'\ntR.")


def graph_with_an_unknown_field() -> bytes:
    return bundle(graphs.mlp() + b"\xfa\x7f\x03abc")


def graph_with_training_information() -> bytes:
    model = graphs.mlp_model()
    model.training_info.add()
    return bundle(bytes_of(model))


def graph_with_sparse_weights() -> bytes:
    model = graphs.mlp_model()
    model.graph.sparse_initializer.add().dims.append(4)
    return bundle(bytes_of(model))


def graph_without_operators() -> bytes:
    model = graphs.mlp_model()
    del model.graph.node[:]
    return bundle(bytes_of(model))


def graph_of_too_many_operators() -> bytes:
    chain = [node("Relu", f"v{number}", f"v{number + 1}") for number in range(MAX_NODES)]
    ends = [node("Relu", "input", "v0"), node("Relu", f"v{MAX_NODES}", "output")]
    return bundle(bytes_of(graph_of([ends[0], *chain, ends[1]], {})))


def graph_without_an_operator_set() -> bytes:
    model = graphs.mlp_model()
    del model.opset_import[:]
    return bundle(bytes_of(model))


def external_data() -> bytes:
    model = graphs.mlp_model()
    weight = model.graph.initializer[0]
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="/etc/passwd")
    return bundle(bytes_of(model))


def external_data_in_a_constant() -> bytes:
    model = graphs.mlp_model()
    value = helper.make_tensor("t", TensorProto.FLOAT, [1], [0.0])
    value.external_data.add(key="location", value="../../secret")
    model.graph.node.append(helper.make_node("Constant", [], ["unused"], value=value))
    return bundle(bytes_of(model))


def custom_operator() -> bytes:
    model = graphs.mlp_model()
    model.graph.node[2].domain = "evil.example"
    model.opset_import.append(helper.make_opsetid("evil.example", 1))
    return bundle(bytes_of(model))


def operator_of_the_engine_only() -> bytes:
    model = graphs.mlp_model()
    model.graph.node[3].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return bundle(bytes_of(model))


def random_operator() -> bytes:
    model = graphs.mlp_model()
    model.graph.node.append(node("RandomNormalLike", "input", "noise"))
    return bundle(bytes_of(model))


def control_flow() -> bytes:
    branch = helper.make_graph(
        [node("Identity", "input", "inner")], "b", [], [helper.make_empty_tensor_value_info("inner")]
    )
    nodes = [node("If", "yes", "output", then_branch=branch, else_branch=branch)]
    return bundle(bytes_of(graph_of(nodes, {"yes": np.array(True)})))


def graph_within_a_known_operator() -> bytes:
    model = graphs.mlp_model()
    inner = helper.make_graph([], "b", [], [])
    model.graph.node[3].attribute.append(helper.make_attribute("body", inner))
    return bundle(bytes_of(model))


def function_of_its_own() -> bytes:
    model = graphs.mlp_model()
    body = [node("Identity", "x", "y")]
    opsets = [helper.make_opsetid("", 20)]
    model.functions.append(helper.make_function("", "Relu", ["x"], ["y"], body, opsets))
    return bundle(bytes_of(model))


def _with_weight(change: Callable[[onnx.TensorProto], None]) -> bytes:
    model = graphs.mlp_model()
    change(model.graph.initializer[0])
    return bundle(bytes_of(model))


def oversized_tensor() -> bytes:
    """Claims 4 TiB of weights and brings none."""

    def change(weight: onnx.TensorProto) -> None:
        weight.dims[:] = [1 << 20, 1 << 20]

    return _with_weight(change)


def tensor_just_over_the_bound() -> bytes:
    model = graphs.mlp_model()
    model.graph.initializer.append(
        helper.make_tensor(
            "big", TensorProto.UINT8, [MAX_TENSOR_BYTES + 1], bytes(MAX_TENSOR_BYTES + 1), raw=True
        )
    )
    return bundle(bytes_of(model))


def tensor_shorter_than_its_shape() -> bytes:
    def change(weight: onnx.TensorProto) -> None:
        weight.raw_data = weight.raw_data[:-4]

    return _with_weight(change)


def tensor_with_data_twice() -> bytes:
    def change(weight: onnx.TensorProto) -> None:
        weight.float_data.append(1.0)

    return _with_weight(change)


def tensor_of_negative_size() -> bytes:
    def change(weight: onnx.TensorProto) -> None:
        weight.dims[:] = [-64, -12]

    return _with_weight(change)


def tensor_of_strings() -> bytes:
    def change(weight: onnx.TensorProto) -> None:
        weight.data_type = TensorProto.STRING

    return _with_weight(change)


def shape_mismatch() -> bytes:
    return bundle(graphs.mlp(graphs.DIGIT_SPEC))


def type_mismatch() -> bytes:
    return bundle(graphs.mlp(graphs.BYTE_SPEC))


def output_of_another_shape() -> bytes:
    return bundle(bytes_of(graph_of([node("Softmax", "input", "output")], {}, output_shape=("N", 1, 64))))


def output_of_unsaid_shape() -> bytes:
    model = graphs.mlp_model()
    model.graph.output[0].type.tensor_type.ClearField("shape")
    return bundle(bytes_of(model))


def fixed_batch_axis() -> bytes:
    return bundle(bytes_of(graph_of([node("Softmax", "input", "output")], {}, batch=1)))


def two_outputs() -> bytes:
    model = graphs.mlp_model()
    model.graph.output.append(helper.make_tensor_value_info("code", TensorProto.FLOAT, ["N", 12]))
    return bundle(bytes_of(model))


def second_input() -> bytes:
    model = graphs.mlp_model()
    model.graph.input.append(helper.make_tensor_value_info("key", TensorProto.FLOAT, [1]))
    return bundle(bytes_of(model))


def returns_its_input() -> bytes:
    return bundle(graphs.identity())


def returns_its_input_reshaped() -> bytes:
    return bundle(graphs.identity_through_reshapes())


def returns_an_affine_copy() -> bytes:
    return bundle(graphs.affine_copy())


def returns_a_permutation() -> bytes:
    return bundle(graphs.gathered_permutation())


def returns_its_halves_swapped() -> bytes:
    return bundle(graphs.pieces_put_together())


# Steps 23 to 25: the graph run.


def value_that_nothing_makes() -> bytes:
    model = graphs.mlp_model()
    model.graph.node[2].input[0] = "nowhere"
    return bundle(bytes_of(model))


def graph_that_does_not_load() -> bytes:
    """A product of matrices that do not fit, which the engine sees before it runs."""
    constants = {"m": np.ones((9, 8), np.float32), "v": np.ones((8, 8), np.float32)}
    nodes = [node("MatMul", "v m", "a"), node("MatMul", "input a", "output")]
    return bundle(bytes_of(graph_of(nodes, constants)))


def graph_that_fails_when_run() -> bytes:
    constants = {"m": np.ones((8, 8), np.float32), "shape": i64(-1, 7)}
    nodes = [
        node("MatMul", "input m", "a"),
        node("Reshape", "a shape", "b"),
        node("Reshape", "b back", "output"),
    ]
    return bundle(bytes_of(graph_of(nodes, constants | {"back": i64(-1, 1, 8, 8)})))


def memory_bomb() -> bytes:
    """Half a megabyte of weights whose product takes 14 GB."""
    size = 60_000
    constants = {"a": np.ones((size, 1), np.float32), "b": np.ones((1, size), np.float32)}
    nodes = [
        node("MatMul", "a b", "c"),
        node("ReduceMax", "c", "d", keepdims=0),
        node("Softmax", "input", "e"),
        node("Mul", "e d", "output"),
    ]
    return bundle(bytes_of(graph_of(nodes, constants)))


def _after_a_softmax(*nodes: onnx.NodeProto, **constants: np.ndarray) -> bytes:
    return bundle(bytes_of(graph_of([node("Softmax", "input", "mixed"), *nodes], constants)))


def nan_output() -> bytes:
    return _after_a_softmax(node("Log", "mixed", "a"), node("Sqrt", "a", "output"))


def infinite_output() -> bytes:
    return _after_a_softmax(node("Div", "mixed zero", "output"), zero=f32(0))


def out_of_range_output() -> bytes:
    return _after_a_softmax(node("Mul", "mixed many", "output"), many=f32(20))


def negative_output() -> bytes:
    return _after_a_softmax(node("Neg", "mixed", "output"))


def output_shaped_otherwise_when_run() -> bytes:
    """Declares (N, 1, 8, 8) and gives one sample for any batch: seen only by batches of more than one."""
    return _after_a_softmax(
        node("ReduceMean", "mixed axis", "a", keepdims=1), node("Identity", "a", "output"), axis=i64(0)
    )


def identity_matrix() -> bytes:
    return bundle(graphs.identity_matrix())


def permutation_matrix() -> bytes:
    return bundle(graphs.permutation_matrix())


def negative_matrix() -> bytes:
    return bundle(graphs.negative_matrix())


def mostly_identity_matrix() -> bytes:
    return bundle(graphs.mostly_identity_matrix())


def identity_under_noise() -> bytes:
    return bundle(graphs.identity_under_noise())


def delta_convolution() -> bytes:
    return bundle(graphs.delta_convolution())


def residual_without_rest() -> bytes:
    return bundle(graphs.residual_without_rest())


def copy_of_dark_samples() -> bytes:
    return bundle(graphs.copy_of_dark_samples())


def copy_in_batches_of_one() -> bytes:
    return bundle(graphs.copy_in_batches_only())


def coarse_copy_of_bytes() -> bytes:
    return bundle(graphs.coarse_copy_of_bytes(), input=graphs.BYTE_SPEC.to_dict())


def operators_in_another_order() -> bytes:
    """The engine would sort them; who reads them in one pass would not see what gets past the code."""
    model = onnx.load_from_string(
        graphs.signed_code(
            node("Mul", "flat little", "past"),
            node("Add", "generated past", "sum"),
            node("Clip", "sum zero one", "legal"),
            node("Reshape", "legal shape", "output"),
            little=f32(0.01),
        )
    )
    turned = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(turned)
    return bundle(bytes_of(model), protection="coded", budget_bits=6.0)


def value_made_twice() -> bytes:
    model = onnx.load_from_string(graphs.signed_code())
    model.graph.node.insert(0, node("Flatten", "input", "code", axis=1))
    return bundle(bytes_of(model), protection="coded", budget_bits=6.0)


def constant_named_as_the_input() -> bytes:
    model = onnx.load_from_string(graphs.signed_code())
    model.graph.initializer.add().CopyFrom(
        onnx.numpy_helper.from_array(np.zeros((1, *SPEC.shape), np.float32), "input")
    )
    return bundle(bytes_of(model), protection="coded", budget_bits=6.0)


# Steps 26 and 27: a budget that the graph does not keep. All of them pass the probes.


def _coded(*tail: onnx.NodeProto, claimed: float = 6, **constants: np.ndarray) -> bytes:
    return bundle(graphs.signed_code(*tail, **constants), protection="coded", budget_bits=float(claimed))


def budget_for_a_published_network() -> bytes:
    return bundle(graphs.mlp(), budget_bits=8.0)


def more_bits_than_claimed() -> bytes:
    return _coded(claimed=5)


def skip_connection_round_the_code() -> bytes:
    return _coded(
        node("Mul", "flat little", "past"),
        node("Add", "generated past", "sum"),
        node("Clip", "sum zero one", "legal"),
        node("Reshape", "legal shape", "output"),
        little=f32(0.01),
    )


def real_value_times_the_sign() -> bytes:
    return _coded(
        node("Tanh", "logits", "loudness"),
        node("Mul", "code loudness", "loud"),
        node("Gemm", "loud g half", "loud_values"),
        node("Clip", "loud_values zero one", "legal"),
        node("Reshape", "legal shape", "output"),
    )


def sign_with_a_slope() -> bytes:
    return _coded(
        node("Tanh", "logits", "slope"),
        node("Where", "bits slope minus", "sloped"),
        node("Gemm", "sloped g half", "sloped_values"),
        node("Clip", "sloped_values zero one", "legal"),
        node("Reshape", "legal shape", "output"),
    )


def place_that_the_sample_decides() -> bytes:
    return _coded(
        node("Cast", "flat", "levels", to=TensorProto.INT64),
        node("ReduceMax", "levels", "first", keepdims=0),
        node("Reshape", "first single", "places"),
        node("CumSum", "generated places", "rolled"),
        node("Clip", "rolled zero one", "legal"),
        node("Reshape", "legal shape", "output"),
        single=i64(),
    )


def rounding_behind_the_code() -> bytes:
    return _coded(g=np.full((6, graphs.SPEC.values), 0.1, np.float32))


def sums_that_outgrow_their_bits() -> bytes:
    return _coded(g=np.full((6, graphs.SPEC.values), 2.0**14 + 2.0**-9, np.float32))


def softmax_behind_the_code() -> bytes:
    return _coded(node("Softmax", "generated", "soft", axis=1), node("Reshape", "soft shape", "output"))


def _flipped(*join: onnx.NodeProto, **changes: Any) -> bytes:
    # Six bits, each inverted one time in four: 6 log2(1.5) bits, and an epsilon of 6 ln 3.
    facts = {"epsilon": 6 * math.log(3), "budget_bits": 6 * math.log2(1.5) + 1e-9}
    facts |= {name: changes.pop(name) for name in tuple(changes) if name in facts}
    return bundle(graphs.flipped_code(*join, **changes), protection="randomised", **facts)


def epsilon_without_flips() -> bytes:
    return bundle(graphs.signed_code(), protection="randomised", budget_bits=6.0, epsilon=1.0)


def flips_without_an_epsilon() -> bytes:
    return bundle(graphs.flipped_code(), protection="coded", budget_bits=6.0)


def flips_of_another_type() -> bytes:
    return _flipped(
        node("Cast", "flips", "coins", to=TensorProto.BOOL),
        node("Xor", "bits coins", "sent"),
        kind=TensorProto.FLOAT,
    )


def flips_of_another_name() -> bytes:
    return _flipped(node("Xor", "bits noise", "sent"), name="noise")


def flips_of_no_known_number() -> bytes:
    return _flipped(flips=("N", "M"))


def epsilon_of_nothing() -> bytes:
    return pack(members(graphs.flipped_code(), budget_bits=6.0, epsilon=0.0))


def epsilon_without_a_budget() -> bytes:
    return pack(members(graphs.flipped_code(), epsilon=1.0))


def flips_that_are_not_used() -> bytes:
    return _flipped(node("Identity", "bits", "sent"))


def flips_that_are_or_ed_in() -> bytes:
    return _flipped(node("Or", "bits flips", "sent"))


def bits_that_also_go_past_their_flips() -> bytes:
    return _flipped(
        node("Xor", "bits flips", "hidden"),
        node("And", "bits hidden", "both"),
        node("Or", "both hidden", "sent"),
    )


def flips_that_the_sample_can_switch_off() -> bytes:
    return _flipped(
        node("And", "flips bits", "some"),
        node("Xor", "bits some", "sent"),
    )


def flips_that_are_sent_too() -> bytes:
    return _flipped(
        node("Xor", "bits flips", "hidden"),
        node("And", "flips yes", "told"),
        node("Or", "hidden told", "sent"),
        yes=np.array(True),
    )


def one_flip_for_all_bits() -> bytes:
    return _flipped(flips=("N", 1))


def a_bit_under_several_flips() -> bytes:
    return _flipped(
        node("Reshape", "bits upright", "column"),
        node("Xor", "column flips", "square"),
        node("Slice", "square none first", "sent"),
        upright=i64(6, 1),
        none=i64(0),
        first=i64(1),
    )


def less_noise_than_the_budget_needs() -> bytes:
    return _flipped(epsilon=7 * math.log(3))


def _graded(*join: onnx.NodeProto, **changes: Any) -> bytes:
    facts = {"budget_bits": 6.0, "poor_bits": 3.0, "rich_share": 0.1}
    facts |= {name: changes.pop(name) for name in tuple(changes) if name in (*facts, "epsilon")}
    return bundle(graphs.graded_code(*join, **changes), protection="selective", **facts)


def poor_requests_of_more_bits_than_claimed() -> bytes:
    return _graded(poor_bits=2.0)


def rich_requests_of_more_bits_than_claimed() -> bytes:
    return _graded(budget_bits=5.0)


def a_word_cut_from_a_code_of_more_bits() -> bytes:
    return _graded(
        node("Slice", "bits at0 at3 second", "part"),
        *graphs.fair_levels(word="part"),
    )


def leave_that_is_not_asked_for() -> bytes:
    return _graded(node("Concat", "word doubt more", "sent", axis=1))


def a_level_that_shows_without_leave() -> bytes:
    return _graded(
        node("And", "doubt leave", "level"),
        node("And", "more level", "details"),
        node("Concat", "word doubt details", "sent", axis=1),
    )


def details_let_through_by_doubt_alone() -> bytes:
    return _graded(
        node("And", "doubt leave", "level"),
        node("And", "more doubt", "details"),
        node("Concat", "word level details", "sent", axis=1),
    )


def leave_turned_round() -> bytes:
    return _graded(
        node("Not", "leave", "turned"),
        node("And", "doubt turned", "level"),
        node("And", "more level", "details"),
        node("Concat", "word level details", "sent", axis=1),
    )


def leave_that_is_or_ed_in() -> bytes:
    return _graded(
        node("Or", "doubt leave", "level"),
        node("And", "more level", "details"),
        node("Concat", "word level details", "sent", axis=1),
    )


def details_hidden_in_what_has_none() -> bytes:
    return _graded(
        node("And", "doubt leave", "level"),
        node("And", "more level", "gone"),
        node("Xor", "more gone", "details"),
        node("Concat", "word level details", "sent", axis=1),
    )


def details_times_leave() -> bytes:
    return _graded(
        node("Cast", "leave", "number", to=TensorProto.FLOAT),
        node("Cast", "more", "as_numbers", to=TensorProto.FLOAT),
        node("Mul", "number as_numbers", "product"),
        node("Greater", "product zero", "details"),
        node("And", "doubt leave", "level"),
        node("Concat", "word level details", "sent", axis=1),
    )


def leave_of_another_type() -> bytes:
    return _graded(
        node("Cast", "leave", "permitted", to=TensorProto.BOOL),
        node("And", "doubt permitted", "level"),
        node("And", "more level", "details"),
        node("Concat", "word level details", "sent", axis=1),
        kind=TensorProto.FLOAT,
    )


def leave_of_another_name() -> bytes:
    return _graded(
        node("And", "doubt flips", "level"),
        node("And", "more level", "details"),
        node("Concat", "word level details", "sent", axis=1),
        name="flips",
    )


def levels_without_an_input_for_leave() -> bytes:
    return bundle(
        graphs.signed_code(), protection="selective", budget_bits=6.0, poor_bits=3.0, rich_share=0.1
    )


def leave_without_a_share() -> bytes:
    return bundle(graphs.graded_code(), protection="coded", budget_bits=6.0)


def a_share_without_poor_bits() -> bytes:
    return pack(members(graphs.graded_code(), budget_bits=6.0, rich_share=0.1))


def poor_bits_without_a_share() -> bytes:
    return pack(members(graphs.graded_code(), budget_bits=6.0, poor_bits=3.0))


def a_share_of_everything() -> bytes:
    return _graded(rich_share=1.0)


def poor_bits_above_the_budget() -> bytes:
    return _graded(poor_bits=7.0)


def levels_and_flips_at_once() -> bytes:
    return _graded(epsilon=1.0)


def _noisy(*join: onnx.NodeProto, **changes: Any) -> bytes:
    facts = {"noise": 0.5, "budget_bits": 9.0}
    facts |= {name: changes.pop(name) for name in tuple(changes) if name in ("epsilon", "budget_bits")}
    return bundle(graphs.noisy_code(*join, **changes), protection="gaussian", **facts)


def noise_too_little_for_its_budget() -> bytes:
    return _noisy(budget_bits=7.0)


def noise_and_flips_at_once() -> bytes:
    return _noisy(epsilon=1.0)


def noise_without_an_input_for_it() -> bytes:
    return bundle(graphs.signed_code(), protection="gaussian", noise=0.5, budget_bits=9.0)


def noise_that_is_not_used() -> bytes:
    return _noisy(node("Clip", "logits zero one", "sent"))


def numbers_without_a_bound() -> bytes:
    return _noisy(node("Add", "logits noise", "sent"))


def numbers_with_a_wider_bound() -> bytes:
    return _noisy(high=np.array(640, np.int32))


def numbers_with_one_end() -> bytes:
    return _noisy(
        node("Cast", "logits", "whole", to=TensorProto.INT32),
        node("Clip", "whole low", "bounded"),
        node("Cast", "bounded", "numbers", to=TensorProto.FLOAT),
        node("Add", "numbers noise", "sent"),
    )


def numbers_that_may_be_nan() -> bytes:
    # Among floats NaN passes a clip, and noise does not hide it.
    return _noisy(
        node("Clip", "logits lowest highest", "bounded"),
        node("Cast", "bounded", "numbers", to=TensorProto.FLOAT),
        node("Add", "numbers noise", "sent"),
        lowest=f32(-64),
        highest=f32(64),
    )


def numbers_that_are_also_sent_without_noise() -> bytes:
    return _noisy(
        *graphs.fair_noise("hidden"),
        node("Mul", "numbers little", "past"),
        node("Add", "hidden past", "sent"),
        little=f32(0.01),
    )


def noise_that_is_taken_off_again() -> bytes:
    return _noisy(*graphs.fair_noise("hidden"), node("Sub", "hidden noise", "sent"))


def noise_that_the_sample_scales() -> bytes:
    return _noisy(
        node("Cast", "logits", "whole", to=TensorProto.INT32),
        node("Clip", "whole low high", "bounded"),
        node("Cast", "bounded", "numbers", to=TensorProto.FLOAT),
        node("Mul", "noise logits", "scaled"),
        node("Add", "numbers scaled", "sent"),
    )


def one_noise_for_all_numbers() -> bytes:
    return _noisy(noise=("N", 1))


def something_past_the_noisy_numbers() -> bytes:
    return _noisy(
        *graphs.fair_noise("hidden"),
        node("Mul", "logits little", "past"),
        node("Add", "hidden past", "sent"),
        little=f32(0.001),
    )


def _with_constant(graph: bytes, name: str, *attributes: onnx.AttributeProto) -> bytes:
    """The same graph with one of its initializers as a Constant node of these attributes."""
    model = onnx.load_from_string(graph)
    kept = [tensor for tensor in model.graph.initializer if tensor.name != name]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    model.graph.node.insert(0, onnx.NodeProto(op_type="Constant", output=[name], attribute=attributes))
    return bytes_of(model)


def _attribute(name: str, kind: int, **held: Any) -> onnx.AttributeProto:
    return onnx.AttributeProto(name=name, type=kind, **held)


def _far() -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.array(2**31 - 1, np.int32))


def _near() -> onnx.TensorProto:
    return onnx.numpy_helper.from_array(np.array(64, np.int32))


def _noisy_with_end(*attributes: onnx.AttributeProto) -> bytes:
    facts = {"protection": "gaussian", "noise": 0.5, "budget_bits": 9.0}
    return bundle(_with_constant(graphs.noisy_code(), "high", *attributes), **facts)


def constant_whose_type_is_not_its_name() -> bytes:
    # The engine takes the tensor, a reader that goes by the name the number.
    return _noisy_with_end(_attribute("value_int", onnx.AttributeProto.TENSOR, i=64, t=_far()))


def constant_of_two_attributes() -> bytes:
    tensor = onnx.AttributeProto.TENSOR
    return _noisy_with_end(_attribute("other", tensor, t=_far()), _attribute("value", tensor, t=_near()))


def constant_given_twice() -> bytes:
    tensor = onnx.AttributeProto.TENSOR
    return _noisy_with_end(_attribute("value", tensor, t=_far()), _attribute("value", tensor, t=_near()))


def constant_of_nothing() -> bytes:
    return _noisy_with_end()


def constant_without_a_name() -> bytes:
    model = onnx.load_from_string(graphs.mlp())
    model.graph.initializer.add().CopyFrom(onnx.numpy_helper.from_array(np.array(64, np.int32), ""))
    return bundle(bytes_of(model))


def fails_for_some_samples() -> bytes:
    # What it fails by has two values, and is no part of the code.
    return _coded(
        node("MatMul", "flat looks", "seen"),
        node("Greater", "seen nearly", "bright"),
        node("Cast", "bright", "yes", to=TensorProto.INT64),
        node("Mul", "yes huge", "place"),
        node("Gather", "nothing place", "none"),
        node("Add", "logits none", "again"),
        node("Greater", "again zero", "code_bits"),
        node("Where", "code_bits one minus", "other_code"),
        node("Gemm", "other_code g half", "other_values"),
        node("Clip", "other_values zero one", "legal"),
        node("Reshape", "legal shape", "output"),
        # Two bright pixels and a dark one: no probe is so.
        looks=np.eye(graphs.SPEC.values, dtype=np.float32)[:, :3] @ f32([[1], [1], [-1]]),
        nearly=f32(1.95),
        huge=i64(1000),
        nothing=np.zeros(1, np.float32),
    )


def noise_itself_as_the_output() -> bytes:
    model = onnx.load_from_string(graphs.noisy_code())
    model.graph.output[0].name = "noise"
    return bundle(bytes_of(model), protection="gaussian", noise=0.5, budget_bits=9.0)


STEP_OF: dict[Callable[[], bytes], str] = {
    too_large_file: "file",
    empty_file: "zip",
    no_zip_at_all: "zip",
    truncated_zip: "zip",
    data_after_the_zip: "zip",
    data_before_the_zip: "zip",
    zip_with_a_comment: "zip",
    two_zips_in_one: "zip",
    endless_list_of_members: "zip",
    path_traversal_member: "member-names",
    absolute_member: "member-names",
    backslash_member: "member-names",
    member_in_a_folder: "member-names",
    null_in_a_member_name: "member-names",
    symlink_member: "member-names",
    duplicate_member: "member-names",
    extra_member: "extra-member",
    missing_graph: "missing-member",
    missing_manifest: "missing-member",
    missing_signature: "missing-member",
    zip_bomb: "member-size",
    oversized_manifest: "member-size",
    oversized_signature: "member-size",
    compressed_member: "member-storage",
    zip_bomb_that_lies_about_its_size: "member-storage",
    encrypted_member: "member-storage",
    two_sizes_for_one_member: "member-storage",
    members_in_another_order: "exact-bytes",
    dated_today: "exact-bytes",
    wrong_checksum_in_the_zip: "exact-bytes",
    local_header_that_disagrees: "exact-bytes",
    gap_between_members: "exact-bytes",
    manifest_of_garbage: "manifest-json",
    manifest_with_a_duplicate_key: "manifest-json",
    manifest_with_nan: "manifest-json",
    manifest_nested_without_end: "manifest-json",
    manifest_that_is_a_list: "manifest-json",
    unknown_format_version: "format-version",
    format_version_as_text: "format-version",
    huge_format_version: "format-version",
    unknown_field: "manifest-fields",
    unknown_input_field: "manifest-fields",
    missing_field: "manifest-fields",
    field_of_another_type: "manifest-fields",
    impossible_shape: "manifest-values",
    shape_beyond_all_bounds: "manifest-values",
    infinite_number: "manifest-values",
    number_too_large_for_a_float: "manifest-values",
    negative_budget: "manifest-values",
    name_with_a_path: "manifest-values",
    terminal_codes_in_a_text: "manifest-values",
    member_list_with_another_name: "manifest-values",
    wrong_signature: "signature",
    short_signature: "signature",
    manifest_changed_after_signing: "signature",
    signature_of_another_kind_of_document: "signature",
    signed_by_another_key_in_the_name_of_ours: "signature",
    untrusted_key: "trusted-key",
    wrong_hash: "member-hash",
    graph_swapped_after_signing: "member-hash",
    bundle_for_another_inference_network: "inference-network",
    graph_of_garbage: "graph-format",
    graph_of_nothing: "graph-format",
    pickle_instead_of_a_graph: "graph-format",
    graph_with_an_unknown_field: "graph-format",
    graph_with_training_information: "graph-format",
    graph_with_sparse_weights: "graph-format",
    graph_without_operators: "graph-format",
    graph_of_too_many_operators: "graph-format",
    graph_without_an_operator_set: "graph-format",
    external_data: "external-data",
    external_data_in_a_constant: "external-data",
    custom_operator: "operators",
    operator_of_the_engine_only: "operators",
    random_operator: "operators",
    control_flow: "operators",
    graph_within_a_known_operator: "operators",
    function_of_its_own: "operators",
    oversized_tensor: "tensor-size",
    tensor_just_over_the_bound: "tensor-size",
    tensor_shorter_than_its_shape: "tensor-size",
    tensor_with_data_twice: "tensor-size",
    tensor_of_negative_size: "tensor-size",
    tensor_of_strings: "tensor-size",
    shape_mismatch: "graph-shape",
    type_mismatch: "graph-shape",
    output_of_another_shape: "graph-shape",
    output_of_unsaid_shape: "graph-shape",
    fixed_batch_axis: "graph-shape",
    two_outputs: "graph-shape",
    second_input: "graph-shape",
    returns_its_input: "pass-through-structure",
    returns_its_input_reshaped: "pass-through-structure",
    returns_an_affine_copy: "pass-through-structure",
    returns_a_permutation: "pass-through-structure",
    returns_its_halves_swapped: "pass-through-structure",
    graph_that_does_not_load: "runs",
    graph_that_fails_when_run: "runs",
    memory_bomb: "runs",
    nan_output: "outputs",
    infinite_output: "outputs",
    out_of_range_output: "outputs",
    negative_output: "outputs",
    output_shaped_otherwise_when_run: "outputs",
    identity_matrix: "pass-through-probes",
    permutation_matrix: "pass-through-probes",
    negative_matrix: "pass-through-probes",
    mostly_identity_matrix: "pass-through-probes",
    identity_under_noise: "pass-through-probes",
    delta_convolution: "pass-through-probes",
    residual_without_rest: "pass-through-probes",
    copy_of_dark_samples: "pass-through-probes",
    copy_in_batches_of_one: "pass-through-probes",
    coarse_copy_of_bytes: "pass-through-probes",
    operators_in_another_order: "graph-format",
    value_that_nothing_makes: "graph-format",
    value_made_twice: "graph-format",
    constant_named_as_the_input: "graph-format",
    budget_for_a_published_network: "budget-cut",
    more_bits_than_claimed: "budget-cut",
    skip_connection_round_the_code: "budget-cut",
    real_value_times_the_sign: "budget-cut",
    sign_with_a_slope: "budget-cut",
    place_that_the_sample_decides: "budget-cut",
    rounding_behind_the_code: "budget-exact",
    sums_that_outgrow_their_bits: "budget-exact",
    softmax_behind_the_code: "budget-exact",
    constant_whose_type_is_not_its_name: "operators",
    constant_of_two_attributes: "operators",
    constant_given_twice: "operators",
    constant_of_nothing: "operators",
    constant_without_a_name: "graph-format",
    fails_for_some_samples: "budget-cut",
    noise_itself_as_the_output: "outputs",
    noise_too_little_for_its_budget: "budget-cut",
    noise_and_flips_at_once: "manifest-values",
    noise_without_an_input_for_it: "graph-shape",
    noise_that_is_not_used: "budget-cut",
    numbers_without_a_bound: "budget-cut",
    numbers_with_a_wider_bound: "budget-cut",
    numbers_with_one_end: "budget-cut",
    numbers_that_may_be_nan: "budget-cut",
    numbers_that_are_also_sent_without_noise: "budget-cut",
    noise_that_is_taken_off_again: "budget-cut",
    noise_that_the_sample_scales: "budget-cut",
    one_noise_for_all_numbers: "budget-cut",
    something_past_the_noisy_numbers: "budget-cut",
    epsilon_without_flips: "graph-shape",
    flips_without_an_epsilon: "graph-shape",
    flips_of_another_type: "graph-shape",
    flips_of_another_name: "graph-shape",
    flips_of_no_known_number: "graph-shape",
    epsilon_of_nothing: "manifest-values",
    epsilon_without_a_budget: "manifest-values",
    flips_that_are_not_used: "budget-cut",
    flips_that_are_or_ed_in: "budget-cut",
    bits_that_also_go_past_their_flips: "budget-cut",
    flips_that_the_sample_can_switch_off: "budget-cut",
    flips_that_are_sent_too: "budget-cut",
    one_flip_for_all_bits: "budget-cut",
    a_bit_under_several_flips: "runs",
    less_noise_than_the_budget_needs: "budget-cut",
    poor_requests_of_more_bits_than_claimed: "budget-cut",
    rich_requests_of_more_bits_than_claimed: "budget-cut",
    a_word_cut_from_a_code_of_more_bits: "budget-cut",
    leave_that_is_not_asked_for: "budget-cut",
    a_level_that_shows_without_leave: "budget-cut",
    details_let_through_by_doubt_alone: "budget-cut",
    leave_turned_round: "budget-cut",
    leave_that_is_or_ed_in: "budget-cut",
    details_hidden_in_what_has_none: "budget-cut",
    details_times_leave: "budget-cut",
    leave_of_another_type: "graph-shape",
    leave_of_another_name: "graph-shape",
    levels_without_an_input_for_leave: "graph-shape",
    leave_without_a_share: "graph-shape",
    a_share_without_poor_bits: "manifest-values",
    poor_bits_without_a_share: "manifest-values",
    a_share_of_everything: "manifest-values",
    poor_bits_above_the_budget: "manifest-values",
    levels_and_flips_at_once: "manifest-values",
}
