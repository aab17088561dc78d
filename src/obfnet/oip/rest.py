"""Open Inference Protocol v2 over REST as pure functions: samples to bodies, bodies to scores.

Knows nothing of connections, so that a codec fault and a network fault never mix. Bodies are made to give
nothing away by their length: binary tensors have one size by nature, and in JSON every value is printed in
the same number of characters, whatever its sign or size. Compression is left out for the same reason.
"""

import json
import re
from functools import lru_cache
from typing import Any, Final

from obfnet.core.errors import BackendProtocolError, RangeError
from obfnet.core.spec import Samples
from obfnet.oip.tensors import ModelMetadata, ReceivedTensor, Scores, TensorMetadata, datatype_of, scores_of

BINARY_EXTENSION: Final = "binary_tensor_data"
# Nine significant digits bring every float32 back bit for bit. The blank stands where a minus would, and
# uint8 is padded with blanks, since JSON forbids leading zeros but allows white space before a number.
_PRINTED: Final = {"FP32": "% .8e", "UINT8": "%3d"}
_LIKE_VALUES: Final = re.compile(r"\d\.\d|\d[eE]-?\d|(\d+\W+){8}")


def encode_request_json(samples: Samples, *, input_name: str, output_name: str | None = None) -> bytes:
    """The body of an inference request in plain JSON.

    Args:
        samples: `(N, ...)` float32 (finite) or uint8.
        input_name: The model's input.
        output_name: The output asked for; None asks for whatever the model gives.

    Returns:
        UTF-8 JSON. Its length depends on the names, the shape and the datatype only: a float32 takes 15
        characters (`-1.23456789e-01`, a blank for the minus where there is none), a uint8 three. So the
        length gives away nothing about the values, and parsing gives every float32 back bit for bit.

    Raises:
        DtypeError: another dtype.
        RangeError: NaN or infinity, which JSON cannot say.

    Example:
        >>> import numpy as np
        >>> encode_request_json(np.array([[0.5, -1]], np.float32), input_name="x")[-43:]
        b'"data":[ 5.00000000e-01,-1.00000000e+00]}]}'
    """
    datatype = datatype_of(samples)
    rows = samples.reshape(len(samples), -1)
    row = _row_format(datatype, rows.shape[1])
    data = ",".join([row % tuple(values) for values in rows.tolist()])
    # Only the words nan and inf hold an n, and only they are no JSON numbers.
    if "n" in data:
        raise RangeError("finite values", "NaN or infinity", "clean the samples first")
    head, tail = _json_frame(input_name, samples.shape, datatype, output_name)
    return (head + data + tail).encode()


def encode_request_binary(
    samples: Samples, *, input_name: str, output_name: str | None = None
) -> tuple[bytes, int]:
    r"""The body of an inference request under the binary tensor extension.

    Args:
        samples: `(N, ...)` float32 or uint8.
        input_name: The model's input.
        output_name: The output asked for, in binary too; None asks for whatever the model gives.

    Returns:
        The body and the length of its JSON part, for the header `Inference-Header-Content-Length`. The
        tensor is little-endian, row-major and closes the body; nothing before it depends on its values.

    Raises:
        DtypeError: another dtype.

    Example:
        >>> import numpy as np
        >>> body, length = encode_request_binary(np.zeros((1, 2), np.uint8), input_name="x")
        >>> body[length:]
        b'\x00\x00'
    """
    datatype = datatype_of(samples)
    head = _binary_head(input_name, samples.shape, datatype, samples.nbytes, output_name)
    little = samples.astype("<f4", copy=False) if datatype == "FP32" else samples
    return head + little.tobytes(), len(head)


def decode_response(
    body: bytes, json_bytes: int | None, *, model: str, wanted: TensorMetadata | None, samples: int
) -> Scores:
    """The scores in the body of an answer.

    Args:
        body: As received.
        json_bytes: Length of the JSON part where binary tensors follow it; None for plain JSON.
        model: Name of the model that was asked.
        wanted: The output that its metadata promised, if any.
        samples: How many samples were sent.

    Returns:
        `(samples, classes)` float32, finite.

    Raises:
        BackendProtocolError: not the protocol's, or not of this model. Nothing else, whatever the bytes.
    """
    if json_bytes is not None and not 0 <= json_bytes <= len(body):
        raise _garbage("a JSON part within the answer", f"length {json_bytes} of {len(body)} bytes")
    answer = _json_object(body if json_bytes is None else body[:json_bytes])
    if answer.get("model_name") != model:
        raise _garbage(f"an answer of model {model!r}", f"one of {str(answer.get('model_name'))[:80]!r}")
    outputs = answer.get("outputs")
    if not isinstance(outputs, list) or not outputs:
        raise _garbage("a list 'outputs' in the answer", "none")
    offset = json_bytes or 0
    received: list[ReceivedTensor] = []
    for output in outputs:
        tensor, offset = _received(output, body, offset, binary=json_bytes is not None)
        received.append(tensor)
    if json_bytes is not None and offset != len(body):
        raise _garbage("an answer that ends with its last tensor", f"{len(body) - offset} more bytes")
    named = [tensor for tensor in received if wanted is None or tensor.name == wanted.name]
    return scores_of((named or received)[0], wanted=wanted, samples=samples)


def parse_model_metadata(body: bytes, *, model: str) -> ModelMetadata:
    """The answer of `GET v2/models/MODEL`; raises `BackendProtocolError` where it is none."""
    answer = _json_object(body)
    if answer.get("name") != model:
        raise _garbage(f"metadata of model {model!r}", f"of {str(answer.get('name'))[:80]!r}")
    return ModelMetadata(
        name=model,
        inputs=_tensor_list(answer.get("inputs"), "inputs"),
        outputs=_tensor_list(answer.get("outputs"), "outputs"),
    )


def parse_extensions(body: bytes) -> tuple[str, ...]:
    """The extensions that the answer of `GET v2` lists; empty where it lists none or is no such answer."""
    try:
        listed = _json_object(body).get("extensions")
    except BackendProtocolError:
        return ()
    return tuple(name for name in listed if isinstance(name, str)) if isinstance(listed, list) else ()


def parse_error_text(body: bytes) -> str:
    """What a refusing server says, fit for a message: one short line without anything like tensor values.

    Example:
        >>> parse_error_text(b'{"error": "Model with name x does not exist."}')
        'Model with name x does not exist.'
        >>> parse_error_text(b'{"error": "bad value 0.25"}')
        ''
    """
    try:
        text = _json_object(body[:65536]).get("error")
    except BackendProtocolError:
        return ""
    if not isinstance(text, str):
        return ""
    line = " ".join(text.split())[:160]
    # A server may echo what it was sent; sizes and shapes are welcome, decimals and long lists are not.
    return line if line.isprintable() and not _LIKE_VALUES.search(line) else ""


@lru_cache(maxsize=16)
def _row_format(datatype: str, values: int) -> str:
    return ",".join([_PRINTED[datatype]] * values)


@lru_cache(maxsize=64)
def _json_frame(name: str, shape: tuple[int, ...], datatype: str, output_name: str | None) -> tuple[str, str]:
    asked = "" if output_name is None else f',"outputs":[{{"name":{json.dumps(output_name)}}}]'
    sizes = ",".join(map(str, shape))
    head = f'{{"inputs":[{{"name":{json.dumps(name)},"shape":[{sizes}],"datatype":"{datatype}","data":['
    return head, f"]}}]{asked}}}"


@lru_cache(maxsize=64)
def _binary_head(
    name: str, shape: tuple[int, ...], datatype: str, size_bytes: int, output_name: str | None
) -> bytes:
    request: dict[str, Any] = {
        "inputs": [
            {
                "name": name,
                "shape": list(shape),
                "datatype": datatype,
                "parameters": {"binary_data_size": size_bytes},
            }
        ]
    }
    if output_name is None:
        request["parameters"] = {"binary_data_output": True}
    else:
        request["outputs"] = [{"name": output_name, "parameters": {"binary_data": True}}]
    return json.dumps(request, separators=(",", ":")).encode()


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body)
    # A deep nest of brackets ends in RecursionError, not in ValueError.
    except (ValueError, RecursionError) as exc:
        raise _garbage("a JSON answer", "something else") from exc
    if not isinstance(parsed, dict):
        raise _garbage("a JSON object", f"a JSON {type(parsed).__name__}")
    return parsed


def _received(output: Any, body: bytes, offset: int, *, binary: bool) -> tuple[ReceivedTensor, int]:
    tensor = _tensor(output, "outputs")
    if any(size < 0 for size in tensor.shape):
        raise _garbage("an output of a definite shape", str(tensor.shape[:8]))
    parameters = output.get("parameters")
    size = parameters.get("binary_data_size") if isinstance(parameters, dict) else None
    data: bytes | list[float]
    if binary and size is not None:
        if type(size) is not int or not 0 <= size <= len(body) - offset:
            raise _garbage("as many bytes as 'binary_data_size' says", f"{len(body) - offset} bytes")
        data = body[offset : offset + size]
        offset += size
    else:
        data = _numbers(output.get("data"))
    return ReceivedTensor(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape, data=data), offset


def _numbers(data: Any) -> list[float]:
    if not isinstance(data, list):
        raise _garbage("a list 'data' in the output", type(data).__name__)
    # The protocol allows tensors flat or nested; scores nest once.
    flat = (
        [value for row in data for value in row] if data and all(type(row) is list for row in data) else data
    )
    if not all(type(value) in (float, int) for value in flat):
        raise _garbage("numbers in 'data'", "other things")
    try:
        return [float(value) for value in flat]
    except OverflowError as exc:
        raise _garbage("finite scores", "a number too large") from exc


def _tensor_list(listed: Any, what: str) -> tuple[TensorMetadata, ...]:
    if listed is None:
        return ()
    if not isinstance(listed, list):
        raise _garbage(f"a list '{what}' in the metadata", type(listed).__name__)
    return tuple(_tensor(entry, what) for entry in listed)


def _tensor(entry: Any, what: str) -> TensorMetadata:
    if not isinstance(entry, dict):
        raise _garbage(f"objects in '{what}'", type(entry).__name__)
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    if not isinstance(name, str) or not isinstance(datatype, str):
        raise _garbage(f"'name' and 'datatype' in '{what}'", "something missing")
    if not isinstance(shape, list) or not all(type(size) is int and -1 <= size < 2**31 for size in shape):
        raise _garbage(f"'shape' as a list of sizes in '{what}'", "something else")
    return TensorMetadata(name=name, datatype=datatype, shape=tuple(shape))


def _garbage(expected: str, got: str) -> BackendProtocolError:
    return BackendProtocolError(
        expected, got, "check that the URL is of an Open Inference Protocol v2 server"
    )
