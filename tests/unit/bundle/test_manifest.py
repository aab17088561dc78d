from dataclasses import replace

import pytest

from obfnet.bundle import Manifest
from obfnet.core.errors import UsageError
from obfnet.core.spec import InputSpec
from tests.malformed.corpus import FACTS, PUBLIC_KEY

MANIFEST = Manifest(**FACTS, members={"obfuscate.onnx": "00" * 32}, public_key=PUBLIC_KEY)


def test_reads_back_what_it_wrote() -> None:
    assert Manifest.from_bytes(MANIFEST.to_bytes()) == MANIFEST


def test_whole_numbers_and_fractions_give_the_same_bytes() -> None:
    whole = InputSpec(shape=(2,), dtype="float32", low=0, high=1, layout="C", preprocessing="")
    fraction = InputSpec(shape=(2,), dtype="float32", low=0.0, high=1.0, layout="C", preprocessing="")
    first, second = (
        replace(MANIFEST, input=whole, budget_bits=4),
        replace(MANIFEST, input=fraction, budget_bits=4.0),
    )
    assert first.to_bytes() == second.to_bytes()
    assert Manifest.from_bytes(first.to_bytes()) == second


def test_all_problems_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        replace(
            MANIFEST, name="", case="a b", parameters=-1, hidden=0, budget_bits=-1.0, inference_network_id="x"
        )
    for field in ("name", "case", "parameters", "hidden", "budget_bits", "inference_network_id"):
        assert f"`{field}`" in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"public_key": "x"},
        {"members": {}},
        {"format_version": 2},
        {"protection": "publi\nshed"},
        {"input": replace(MANIFEST.input, shape=(1,) * 7)},
        {"input": replace(MANIFEST.input, layout="x" * 201)},
        {"input": replace(MANIFEST.input, low=-1.0, dtype="uint8")},
        {"input": replace(MANIFEST.input, high=1e39)},
        {"input": replace(MANIFEST.input, low=1e6, high=1e6 + 1)},
    ],
)
def test_impossible_values(changes: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="a possible manifest"):
        replace(MANIFEST, **changes)
