import json
from dataclasses import replace

import pytest

from obfnet.bundle import Manifest
from obfnet.core.errors import BundleError, UsageError
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


def test_a_normalised_input_survives_and_no_other_mentions_it() -> None:
    spec = InputSpec(
        shape=(8, 8, 3),
        dtype="float32",
        low=-0.485 / 0.229,
        high=(1 - 0.406) / 0.225,
        layout="HWC",
        preprocessing="uint8 / 255 less the mean, by the deviation",
        mean=(0.485, 0.456, 0.406),
        std=(0.229, 0.224, 0.225),
    )
    manifest = replace(MANIFEST, input=spec)
    assert Manifest.from_bytes(manifest.to_bytes()) == manifest
    assert manifest.to_bytes() == Manifest.from_bytes(manifest.to_bytes()).to_bytes()
    former = (
        b'"input":{"dtype":"float32","high":1.0,"layout":"CHW","low":0.0,"preprocessing":"uint8 / 255",'
        b'"shape":[1,8,8]},'
    )
    assert former in MANIFEST.to_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"mean": [0.5, 0.5, 0.5]},
        {"mean": None},
        {"mean": [], "std": [0.5]},
        {"mean": [0.5], "std": ["0.5"]},
        {"mean": [0.5], "std": [0.0]},
        {"mean": [0.25], "std": [0.25]},
    ],
)
def test_an_impossible_normalisation_is_refused(change: dict[str, object]) -> None:
    document = json.loads(MANIFEST.to_bytes())
    document["input"] |= change
    with pytest.raises(BundleError, match="manifest-"):
        Manifest.from_bytes(json.dumps(document).encode())
