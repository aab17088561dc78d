"""Reads a `.pt2` file of `torch.export` without running anything that the file brings.

`torch.export.load` unpickles sample inputs and odd tensors, imports what a result's structure names,
evaluates shape expressions and writes names into code that it compiles. So the archive is checked first, and
what is loaded is a copy made anew from the parts that are plain: named operators and the raw bytes of the
weights.
"""

import ast
import io
import json
import math
import re
import zipfile
from collections.abc import Iterator
from typing import Any, Final, NoReturn

import torch

from obfnet.core.errors import ModelError

MAX_FILE_BYTES: Final = 2 * 1024**3
_MODEL: Final = "models/model.json"
_CONFIGS: Final = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_PLAIN: Final = re.compile(
    r"data/weights/weight_\d+|data/constants/tensor_\d+|archive_format|archive_version|byteorder|\.data/version",
    re.ASCII,
)
_LEFT_OUT: Final = re.compile(r"data/sample_inputs/model\.pt|extra/.*|\.data/.*")
_SAMPLES: Final = "data/sample_inputs/model.pt"

# Names become Python source, and dotted ones texts in it.
_NAME: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_FIELDS: Final[dict[str, re.Pattern[str]]] = {
    "name": re.compile(r"([A-Za-z_]\w*)?", re.ASCII),
    "as_name": _NAME,
    **dict.fromkeys(
        ("parameter_name", "buffer_name", "tensor_constant_name", "user_input_name"),
        re.compile(r"[\w.-]+", re.ASCII),
    ),
    "path_name": re.compile(r"(weight|tensor)_\d+", re.ASCII),
    "verifiers": re.compile(r"[A-Z]*"),
    # Arguments of operators, which are written as literals.
    **dict.fromkeys(("as_string", "as_strings"), re.compile(r".*", re.DOTALL)),
    **dict.fromkeys(
        ("as_float", "as_floats", "as_float_lists", "real", "imag"), re.compile(r"-?Infinity|NaN")
    ),
}
_NOT_PLAIN: Final = ("as_graph", "as_operator", "as_custom_obj", "as_string_to_argument")

_ATEN: Final = re.compile(r"torch\.ops\.aten\.(\w+)\.(\w+)", re.ASCII)
_OF_SIZES: Final = re.compile(
    r"_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|eq|ne|lt|le|gt|ge)"
    r"|torch\.sym_(int|float|max|min|not)|torch\._check(_is_size)?"
)
# Shapes are written as expressions of symbols such as s77, which SymPy evaluates as Python.
_DECLARED: Final = re.compile(r"(?<!\w)Symbol\('(\w+)'(?:, \w+=(?:True|False))*\)", re.ASCII)
_EXPONENT: Final = re.compile(r"-?[1-4]|Integer\(-?[1-4]\)")
_MOST_POWERS: Final = 6
_EXPRESSION: Final = re.compile(r"[\w\s+\-*/%(),<>=]{0,10000}", re.ASCII)
_WORD: Final = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_SYMBOL: Final = re.compile(
    r"(s|u|i|f|z|zf|zuf)\d+|Add|Mul|Pow|Max|Min|Mod|FloorDiv|CeilDiv|CleanDiv|PythonMod|Integer|Rational"
    r"|Eq|Ne|Equality|Unequality|StrictGreaterThan|GreaterThan|StrictLessThan|LessThan|true|false",
    re.ASCII,
)
_LEAF: Final[dict[str, Any]] = {"type": None, "context": None, "children_spec": []}
_ONE_SAMPLE: Final = [
    1,
    {
        "type": "builtins.tuple",
        "context": "null",
        "children_spec": [
            {"type": "builtins.tuple", "context": "null", "children_spec": [_LEAF]},
            {"type": "builtins.dict", "context": "[]", "children_spec": []},
        ],
    },
]
_REMEDY: Final = "export it again with torch.export.save, from a model of standard operators"


def read_exported(data: bytes) -> torch.export.ExportedProgram:
    """The program of a `.pt2` file.

    Args:
        data: The file's bytes.

    Returns:
        The program; its sample inputs, guards and everything that describes its source are left out.

    Raises:
        ModelError: no such file, truncated, of another format, of several inputs, not on the CPU, or with
            anything in it that would be unpickled, imported or run: pickled tensors, objects, operators
            outside of ATen, odd names and expressions.

    Does not guarantee: anything about what the operators compute, nor that they do so in bounded time.
    """
    members = _members(data)
    try:
        made = {config: _payloads(_json(members, config)) for config in _CONFIGS}
        made[_MODEL] = _program(_json(members, _MODEL))
    except (
        LookupError,
        TypeError,
        AttributeError,
        ValueError,
        SyntaxError,
        RecursionError,
        MemoryError,
    ) as exc:
        _refuse(f"one of another form ({type(exc).__name__})", exc)
    members |= {name: json.dumps(document).encode() for name, document in made.items()}
    members[_SAMPLES] = b""
    try:
        program: torch.export.ExportedProgram = torch.export.load(io.BytesIO(_archive(members)))
    except Exception as exc:  # of many kinds, none of torch.export's own
        raise ModelError(
            f"a program that torch {torch.__version__} loads", type(exc).__name__, _REMEDY
        ) from exc
    return program


def _members(data: bytes) -> dict[str, bytes]:
    """Content of the archive by path, below its one folder; only what a program needs."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            # As torch writes them, parts are not compressed: none can be larger than the file.
            if sum(entry.file_size for entry in entries) > len(data):
                _refuse("compressed parts")
            split = [(*entry.filename.partition("/")[::2], archive.read(entry)) for entry in entries]
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, OSError, EOFError, ValueError) as exc:
        raise ModelError("a whole .pt2 file", f"a broken one ({type(exc).__name__})", _REMEDY) from exc
    found = {name: content for _, name, content in split}
    one_folder = len(found) == len(entries) and len({root for root, _, _ in split}) == 1
    if not one_folder or found.get("archive_format", b"").strip() != b"pt2":
        _refuse("an archive of another format")
    kept = {}
    for name, content in found.items():
        if name in (_MODEL, *_CONFIGS) or _PLAIN.fullmatch(name):
            kept[name] = content
        elif not _LEFT_OUT.fullmatch(name):
            _refuse(f"a part that is not known, {name[:80]!r}")
    return kept


def _json(members: dict[str, bytes], name: str) -> dict[str, Any]:
    try:
        document = json.loads(members[name])
    except (KeyError, ValueError, RecursionError) as exc:
        raise ModelError(f"{name} in a .pt2 file", "none that can be read", _REMEDY) from exc
    if not isinstance(document, dict):
        _refuse(f"{name} of another form")
    return document


def _payloads(document: dict[str, Any]) -> dict[str, Any]:
    """What says where the bytes of each tensor are, made anew."""
    made, size_bytes = {}, 0
    for name, payload in document["config"].items():
        if not _FIELDS["parameter_name"].fullmatch(name):
            _refuse(f"a value of an odd name, {name[:80]!r}")
        if payload["use_pickle"] or payload["tensor_meta"] is None:
            _refuse(f"a pickled part, {name!r}")
        keys = ("path_name", "is_param", "tensor_meta")
        made[name] = {key: payload[key] for key in keys} | {"use_pickle": False}
        _check_plain(made[name])
        # One byte can stand for many values.
        size_bytes += 8 * math.prod(abs(size["as_int"]) for size in payload["tensor_meta"]["sizes"])
    if size_bytes > 4 * MAX_FILE_BYTES:
        _refuse("weights of more than 2 GiB")
    return {"config": made}


def _program(document: dict[str, Any]) -> dict[str, Any]:
    """The graph and its signature, made anew: no sources, guards, or submodules."""
    given = document["graph_module"]
    root = given["module_call_graph"][0]["signature"]
    if json.loads(root["in_spec"]) != _ONE_SAMPLE or any(
        "as_tensor" not in one for one in given["graph"]["inputs"]
    ):
        raise ModelError(
            "a program of one input",
            "several, or one with a name",
            "export the classifier alone: torch.export.export(model, (example_batch,))",
        )
    _check_result(json.loads(root["out_spec"]))
    for node in given["graph"]["nodes"]:
        node["metadata"] = {}
        _check_operator(node["target"])
    graph = {
        **given["graph"],
        "nodes": [
            {key: value for key, value in node.items() if key != "target"} for node in given["graph"]["nodes"]
        ],
    }
    kept = {
        key: document[key] for key in ("opset_version", "range_constraints", "schema_version", "verifiers")
    }
    _check_plain({**kept, "graph": graph, "signature": given["signature"]})
    signature = {"inputs": [], "outputs": [], "in_spec": root["in_spec"], "out_spec": root["out_spec"]}
    return {
        **kept,
        "guards_code": [],
        "graph_module": {
            "graph": given["graph"],
            "signature": given["signature"],
            "module_call_graph": [{"fqn": "", "signature": signature}],
        },
    }


def _check_result(spec: Any) -> None:
    """Only tuples, lists and dicts: torch imports what other structures name."""
    protocol, tree = spec
    waiting = [tree]
    while waiting:
        one = waiting.pop()
        kind, context = one["type"], one["context"]
        plain = kind is None and context is None
        plain |= kind in ("builtins.tuple", "builtins.list") and context == "null"
        if kind in ("builtins.dict", "collections.OrderedDict"):
            keys = json.loads(context)
            plain = isinstance(keys, list) and all(isinstance(key, str) for key in keys)
        if not plain or protocol != 1:
            _refuse(f"a result of another kind, {str(kind)[:80]!r}")
        waiting += one["children_spec"]


def _check_operator(target: str) -> None:
    if named := _ATEN.fullmatch(target):
        operator = getattr(getattr(torch.ops.aten, named[1], None), named[2], None)
        # Beside operators the namespace has methods of its own; and some operators use files, or print.
        if isinstance(operator, torch._ops.OpOverload) and named[1] not in (
            "from_file",
            "save",
            "_print",
            "warn",
        ):
            return
    elif _OF_SIZES.fullmatch(target):
        return
    _refuse(f"operator {target[:80]!r}")


def _check_plain(document: dict[str, Any]) -> None:
    """Every key and every text: torch's reader takes whatever type a field has."""
    for key, value in _values(document):
        if not _NAME.fullmatch(key) or key in _NOT_PLAIN:
            _refuse(f"a field or value of an odd name, {key[:80]!r}")
        if key == "expr_str":
            _check_expression(value)
        elif key == "type" and isinstance(value, str):
            if value != "cpu":
                raise ModelError(
                    "a program on the CPU",
                    f"one on {value[:80]!r}",
                    "call model.cpu() before torch.export.export",
                )
        elif isinstance(value, str) and not (key in _FIELDS and _FIELDS[key].fullmatch(value)):
            _refuse(f"an odd text in {key!r}, {value[:80]!r}")


def _check_expression(text: Any) -> None:
    plain = _DECLARED.sub(r"\1", str(text))
    words = _WORD.findall(plain)
    sound = isinstance(text, str) and _EXPRESSION.fullmatch(plain)
    if not sound or not all(map(_SYMBOL.fullmatch, words)) or not _has_small_powers(plain):
        _refuse(f"a shape expression that is not plain, {str(text)[:80]!r}")


def _has_small_powers(plain: str) -> bool:
    """Whether it can be computed soon: a power of a power of numbers takes forever."""
    nodes = list(ast.walk(ast.parse(plain.strip(), mode="eval")))
    named = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func) == "Pow"]
    powers = [node.right for node in nodes if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)]
    powers += [node.args[1] for node in named]
    return len(powers) <= _MOST_POWERS and all(_EXPONENT.fullmatch(ast.unparse(power)) for power in powers)


def _values(document: Any) -> Iterator[tuple[str, Any]]:
    """Every value in the document, with the name of the field that holds it; lists by their members too."""
    waiting: list[tuple[str, Any]] = list(document.items())
    while waiting:
        key, value = waiting.pop()
        yield key, value
        if isinstance(value, dict):
            waiting += value.items()
        elif isinstance(value, list):
            waiting += [(key, one) for one in value]


def _archive(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            archive.writestr(f"model/{name}", content)
    return buffer.getvalue()


def _refuse(got: str, cause: Exception | None = None) -> NoReturn:
    raise ModelError("a .pt2 file of plain weights and ATen operators", got, _REMEDY) from cause
