"""Files of `torch.export`, whole and with parts of them rewritten, for the tests of the reader."""

import io
import json
import warnings
import zipfile
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

MODEL = "models/model.json"
WEIGHTS = "data/weights/model_weights_config.json"
CONSTANTS = "data/constants/model_constants_config.json"
SAMPLES = "data/sample_inputs/model.pt"
Document = dict[str, Any]


def exported_bytes(
    network: nn.Module,
    shape: tuple[int, ...] = (2, 3, 8, 8),
    *,
    free: bool = True,
    dtype: Any = torch.float32,
) -> bytes:
    dynamic = ({0: torch.export.Dim("N")},) if free else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (torch.zeros(shape, dtype=dtype),), dynamic_shapes=dynamic)
        buffer = io.BytesIO()
        torch.export.save(program, buffer)
    return buffer.getvalue()


def parts_of(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


def packed(parts: list[tuple[str, bytes]], *, compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", compression) as archive:
        warnings.simplefilter("ignore")
        for name, content in parts:
            archive.writestr(name, content)
    return buffer.getvalue()


def with_parts(data: bytes, changes: dict[str, bytes]) -> bytes:
    parts = parts_of(data) | changes
    return packed([(f"archive/{name}", content) for name, content in parts.items()])


def with_document(data: bytes, change: Callable[[Document], None], *, part: str = MODEL) -> bytes:
    document = json.loads(parts_of(data)[part])
    change(document)
    return with_parts(data, {part: json.dumps(document).encode()})
