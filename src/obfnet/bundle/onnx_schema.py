"""The part of the ONNX file format that an obfuscation network may use, as protobuf messages of our own.

A device carries no `onnx` package, yet a graph must be inspected before any engine loads it. The schema
is deliberately not whole: whatever it does not know is refused, never skipped, so that this reader and
the engine cannot see two different graphs in the same bytes. Judges nothing (`graph`).
"""

from functools import cache
from typing import Any, Final

from obfnet.bundle.steps import refused, shown

_PACKAGE: Final = "obfnet.onnx"
# Field: (number, type). A capital letter is one of the messages here; a trailing `*` means repeated.
# Parts that are refused anyway stand as bytes, which have the same wire form as a message.
_MESSAGES: Final[dict[str, dict[str, tuple[int, str]]]] = {
    "Model": {
        "ir_version": (1, "int64"),
        "producer_name": (2, "string"),
        "producer_version": (3, "string"),
        "domain": (4, "string"),
        "model_version": (5, "int64"),
        "doc_string": (6, "string"),
        "graph": (7, "Graph"),
        "opset_import": (8, "OperatorSet*"),
        "metadata_props": (14, "Entry*"),
        "functions": (25, "bytes*"),
    },
    "OperatorSet": {"domain": (1, "string"), "version": (2, "int64")},
    "Entry": {"key": (1, "string"), "value": (2, "string")},
    "Graph": {
        "node": (1, "Node*"),
        "name": (2, "string"),
        "initializer": (5, "Tensor*"),
        "doc_string": (10, "string"),
        "input": (11, "Value*"),
        "output": (12, "Value*"),
        "value_info": (13, "Value*"),
        "metadata_props": (16, "Entry*"),
    },
    "Node": {
        "input": (1, "string*"),
        "output": (2, "string*"),
        "name": (3, "string"),
        "op_type": (4, "string"),
        "attribute": (5, "Attribute*"),
        "doc_string": (6, "string"),
        "domain": (7, "string"),
        "overload": (8, "string"),
        "metadata_props": (9, "Entry*"),
    },
    "Attribute": {
        "name": (1, "string"),
        "f": (2, "float"),
        "i": (3, "int64"),
        "s": (4, "bytes"),
        "t": (5, "Tensor"),
        "g": (6, "bytes"),
        "floats": (7, "float*"),
        "ints": (8, "int64*"),
        "strings": (9, "bytes*"),
        "tensors": (10, "Tensor*"),
        "graphs": (11, "bytes*"),
        "doc_string": (13, "string"),
        "type": (20, "int32"),
        "ref_attr_name": (21, "string"),
    },
    "Tensor": {
        "dims": (1, "int64*"),
        "data_type": (2, "int32"),
        "float_data": (4, "float*"),
        "int32_data": (5, "int32*"),
        "int64_data": (7, "int64*"),
        "name": (8, "string"),
        "raw_data": (9, "bytes"),
        "double_data": (10, "double*"),
        "uint64_data": (11, "uint64*"),
        "doc_string": (12, "string"),
        "external_data": (13, "Entry*"),
        "data_location": (14, "int32"),
        "metadata_props": (16, "Entry*"),
    },
    "Value": {
        "name": (1, "string"),
        "type": (2, "Type"),
        "doc_string": (3, "string"),
        "metadata_props": (4, "Entry*"),
    },
    "Type": {"tensor_type": (1, "TensorType"), "denotation": (6, "string")},
    "TensorType": {"elem_type": (1, "int32"), "shape": (2, "Shape")},
    "Shape": {"dim": (1, "Dimension*")},
    "Dimension": {"dim_value": (1, "int64"), "dim_param": (2, "string"), "denotation": (3, "string")},
}


def parse_model(data: bytes) -> Any:
    """Reads an ONNX model.

    Args:
        data: The file's bytes.

    Returns:
        A protobuf message with the fields of ONNX's ModelProto that are known here.

    Raises:
        BundleError: at `graph-format`; it is no ONNX model, or has fields that are not known here.
    """
    from google.protobuf.message import DecodeError

    try:
        model = model_class().FromString(data)
        unknown = _unknown(model)
    except (DecodeError, UnicodeDecodeError, RecursionError) as exc:
        raise refused("graph-format", "an ONNX model", "something else") from exc
    if unknown:
        raise refused(
            "graph-format", "an ONNX model of known fields", f"an unknown field in {shown(unknown)}"
        )
    return model


@cache
def model_class() -> Any:
    """The protobuf class of a model, in a pool of our own so that it never meets the `onnx` package's."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="obfnet/onnx.proto", package=_PACKAGE, syntax="proto2")
    for message_name, members in _MESSAGES.items():
        message = file.message_type.add(name=message_name)
        for name, (number, kind) in members.items():
            base = kind.removesuffix("*")
            declared = message.field.add(name=name, number=number)
            declared.label = field.LABEL_REPEATED if kind.endswith("*") else field.LABEL_OPTIONAL
            if base in _MESSAGES:
                declared.type, declared.type_name = field.TYPE_MESSAGE, f".{_PACKAGE}.{base}"
            else:
                declared.type = getattr(field, f"TYPE_{base.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.Model"))


def _unknown(message: Any) -> str:
    from google.protobuf.unknown_fields import UnknownFieldSet

    if len(UnknownFieldSet(message)):
        return str(message.DESCRIPTOR.name)
    known = _MESSAGES[message.DESCRIPTOR.name]
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for part in value if known[field.name][1].endswith("*") else (value,):
                if found := _unknown(part):
                    return found
    return ""
