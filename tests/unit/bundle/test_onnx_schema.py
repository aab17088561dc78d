"""The schema is compared with the `onnx` package's, field by field."""

from typing import Any

import onnx
import pytest
from google.protobuf.descriptor import FieldDescriptor

from obfnet.bundle.onnx_schema import model_class, parse_model
from tests.malformed import graphs

REAL_NAMES = {
    "Model": onnx.ModelProto,
    "OperatorSet": onnx.OperatorSetIdProto,
    "Entry": onnx.StringStringEntryProto,
    "Graph": onnx.GraphProto,
    "Node": onnx.NodeProto,
    "Attribute": onnx.AttributeProto,
    "Tensor": onnx.TensorProto,
    "Value": onnx.ValueInfoProto,
    "Type": onnx.TypeProto,
    "TensorType": onnx.TypeProto.Tensor,
    "Shape": onnx.TensorShapeProto,
    "Dimension": onnx.TensorShapeProto.Dimension,
}
SAME_ON_THE_WIRE = {
    FieldDescriptor.TYPE_ENUM: FieldDescriptor.TYPE_INT32,
    # Parts that are refused unread.
    FieldDescriptor.TYPE_MESSAGE: FieldDescriptor.TYPE_BYTES,
}


def messages(descriptor: Any, found: dict[str, Any]) -> dict[str, Any]:
    if descriptor.name not in found:
        found[descriptor.name] = descriptor
        for field in descriptor.fields:
            if field.message_type is not None:
                messages(field.message_type, found)
    return found


def test_every_field_is_onnx_own() -> None:
    ours = messages(model_class().DESCRIPTOR, {})
    assert set(ours) == set(REAL_NAMES)
    for name, descriptor in ours.items():
        for field in descriptor.fields:
            real = REAL_NAMES[name].DESCRIPTOR.fields_by_name[field.name]
            assert field.number == real.number, (name, field.name)
            assert field.is_repeated == real.is_repeated, (name, field.name)
            assert field.type in (real.type, SAME_ON_THE_WIRE.get(real.type)), (name, field.name)


@pytest.mark.parametrize("build", [graphs.mlp, graphs.cnn, graphs.coded])
def test_reads_what_the_onnx_package_reads(build: Any) -> None:
    data = build()
    ours, real = parse_model(data), onnx.load_from_string(data)
    assert ours.SerializeToString(deterministic=True) == data
    assert [node.op_type for node in ours.graph.node] == [node.op_type for node in real.graph.node]
    assert [list(t.dims) for t in ours.graph.initializer] == [list(t.dims) for t in real.graph.initializer]
