"""Hostile pools, each made by one named function that writes a good pool and then breaks one thing.

Where a breakage would also spoil the signature of the list, the list is signed anew.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from obfnet.bundle import build_bundle, write_pool
from obfnet.bundle.keys import sign
from obfnet.core.files import canonical_json, sha256_hex
from tests.malformed import corpus, graphs
from tests.malformed.corpus import FACTS, KEY, OTHER_KEY


def named_bundle(name: str, *, seed: int, key: Ed25519PrivateKey = KEY, **changes: Any) -> bytes:
    facts = FACTS | {"name": name} | changes
    # A budget must be proved by the graph.
    build = graphs.mlp if facts["budget_bits"] is None else graphs.coded
    return build_bundle(graph=build(facts["input"], seed=seed), key=key, **facts)


def good(folder: Path) -> None:
    write_pool(folder, [named_bundle(f"o{seed}", seed=seed) for seed in range(3)], KEY)


def index(folder: Path) -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads((folder / "pool.json").read_bytes())
    return parsed


def resign(folder: Path, document: dict[str, Any], *, key: Ed25519PrivateKey = KEY) -> None:
    content = {name: value for name, value in document.items() if name != "signature"}
    signature = sign(key, canonical_json(content), purpose=b"obfnet-pool-v1\n").hex()
    (folder / "pool.json").write_bytes(canonical_json(content | {"signature": signature}))


def put(folder: Path, name: str, data: bytes) -> None:
    """Adds or replaces a bundle, and lists it."""
    (folder / f"{name}.obfnet").write_bytes(data)
    document = index(folder)
    others = [entry for entry in document["bundles"] if entry["file"] != f"{name}.obfnet"]
    entry = {"file": f"{name}.obfnet", "sha256": sha256_hex(data)}
    resign(folder, document | {"bundles": [*others, entry]})


def no_folder(folder: Path) -> None:
    pass


def a_file_instead_of_a_folder(folder: Path) -> None:
    folder.write_bytes(b"x")


def empty_folder(folder: Path) -> None:
    folder.mkdir()


def half_written(folder: Path) -> None:
    good(folder)
    (folder / "pool.json").unlink()


def oversized_list(folder: Path) -> None:
    good(folder)
    (folder / "pool.json").write_bytes(b" " * (1 << 21))


def folder_in_place_of_the_list(folder: Path) -> None:
    (folder / "pool.json").mkdir(parents=True)


def list_of_garbage(folder: Path) -> None:
    good(folder)
    (folder / "pool.json").write_bytes(b"\x00\x01")


def truncated_list(folder: Path) -> None:
    good(folder)
    (folder / "pool.json").write_bytes((folder / "pool.json").read_bytes()[:-20])


def list_with_spaces(folder: Path) -> None:
    good(folder)
    (folder / "pool.json").write_text(json.dumps(index(folder), indent=2))


def list_with_broken_text(folder: Path) -> None:
    good(folder)
    text = (folder / "pool.json").read_bytes().replace(b"o0.obfnet", b"\\ud800.obfnet")
    (folder / "pool.json").write_bytes(text)


def unknown_pool_version(folder: Path) -> None:
    good(folder)
    resign(folder, index(folder) | {"format_version": 2})


def unknown_pool_field(folder: Path) -> None:
    good(folder)
    resign(folder, index(folder) | {"note": "x"})


def missing_pool_field(folder: Path) -> None:
    good(folder)
    document = index(folder)
    del document["inference_network_id"]
    resign(folder, document)


def list_that_points_outside(folder: Path) -> None:
    good(folder)
    document = index(folder)
    document["bundles"][0]["file"] = "../o0.obfnet"
    resign(folder, document)


def unsigned(folder: Path) -> None:
    good(folder)
    document = index(folder)
    del document["signature"]
    (folder / "pool.json").write_bytes(canonical_json(document))


def signature_that_is_no_text(folder: Path) -> None:
    good(folder)
    (folder / "pool.json").write_bytes(canonical_json(index(folder) | {"signature": 1}))


def signature_that_is_no_hex(folder: Path) -> None:
    good(folder)
    (folder / "pool.json").write_bytes(canonical_json(index(folder) | {"signature": "z" * 128}))


def bundle_left_out_after_signing(folder: Path) -> None:
    good(folder)
    document = index(folder)
    (folder / "o2.obfnet").unlink()
    document["bundles"] = document["bundles"][:2]
    (folder / "pool.json").write_bytes(canonical_json(document))


def signed_by_another_key_in_the_name_of_ours(folder: Path) -> None:
    good(folder)
    resign(folder, index(folder), key=OTHER_KEY)


def signed_by_another_key(folder: Path) -> None:
    bundles = [named_bundle(f"o{seed}", seed=seed, key=OTHER_KEY) for seed in range(2)]
    write_pool(folder, bundles, OTHER_KEY)


def list_of_nothing(folder: Path) -> None:
    good(folder)
    resign(folder, index(folder) | {"bundles": []})


def same_bundle_listed_twice(folder: Path) -> None:
    good(folder)
    document = index(folder)
    resign(folder, document | {"bundles": [*document["bundles"], document["bundles"][0]]})


def same_bundle_under_two_names(folder: Path) -> None:
    good(folder)
    put(folder, "copy", (folder / "o0.obfnet").read_bytes())


def for_another_inference_network(folder: Path) -> None:
    bundles = [named_bundle("o0", seed=0, inference_network_id="2b" * 32)]
    write_pool(folder, bundles, KEY)


def bundle_missing(folder: Path) -> None:
    good(folder)
    (folder / "o1.obfnet").unlink()


def bundle_not_in_the_list(folder: Path) -> None:
    good(folder)
    (folder / "o9.obfnet").write_bytes(named_bundle("o9", seed=9))


def bundles_swapped(folder: Path) -> None:
    good(folder)
    first, second = (folder / "o0.obfnet").read_bytes(), (folder / "o1.obfnet").read_bytes()
    (folder / "o0.obfnet").write_bytes(second)
    (folder / "o1.obfnet").write_bytes(first)


def bundle_replaced_by_another_good_one(folder: Path) -> None:
    good(folder)
    (folder / "o1.obfnet").write_bytes(named_bundle("o1", seed=7))


def bundle_half_written(folder: Path) -> None:
    good(folder)
    data = (folder / "o1.obfnet").read_bytes()
    (folder / "o1.obfnet").write_bytes(data[: len(data) // 2])


def bundle_of_another_signer(folder: Path) -> None:
    good(folder)
    put(folder, "o1", named_bundle("o1", seed=7, key=OTHER_KEY))


def hostile_bundle_in_a_signed_pool(folder: Path) -> None:
    good(folder)
    put(folder, "o1", corpus.returns_its_input())


def bundles_for_two_inference_networks(folder: Path) -> None:
    good(folder)
    put(folder, "o1", named_bundle("o1", seed=7, inference_network_id="2b" * 32))


def bundles_for_another_network_than_the_list_says(folder: Path) -> None:
    bundles = [named_bundle("o0", seed=0, inference_network_id="2b" * 32)]
    write_pool(folder, bundles, KEY)
    resign(folder, index(folder) | {"inference_network_id": corpus.NETWORK_ID})


def bundles_of_two_input_specs(folder: Path) -> None:
    good(folder)
    put(folder, "o1", named_bundle("o1", seed=7, input=graphs.BYTE_SPEC))


def same_network_in_two_bundles(folder: Path) -> None:
    good(folder)
    put(folder, "o1", named_bundle("o1", seed=0))


STEP_OF: dict[Callable[[Path], None], str] = {
    no_folder: "pool-folder",
    a_file_instead_of_a_folder: "pool-folder",
    empty_folder: "pool-index",
    half_written: "pool-index",
    oversized_list: "pool-index",
    folder_in_place_of_the_list: "pool-index",
    list_of_garbage: "pool-json",
    truncated_list: "pool-json",
    list_with_spaces: "pool-json",
    list_with_broken_text: "pool-json",
    unknown_pool_version: "pool-version",
    unknown_pool_field: "pool-fields",
    missing_pool_field: "pool-fields",
    list_that_points_outside: "pool-fields",
    unsigned: "pool-signature",
    signature_that_is_no_text: "pool-signature",
    signature_that_is_no_hex: "pool-signature",
    bundle_left_out_after_signing: "pool-signature",
    signed_by_another_key_in_the_name_of_ours: "pool-signature",
    signed_by_another_key: "pool-key",
    list_of_nothing: "pool-empty",
    same_bundle_listed_twice: "pool-duplicates",
    same_bundle_under_two_names: "pool-duplicates",
    for_another_inference_network: "pool-inference-network",
    bundle_missing: "pool-missing",
    bundle_not_in_the_list: "pool-extra",
    bundles_swapped: "pool-hash",
    bundle_replaced_by_another_good_one: "pool-hash",
    bundle_half_written: "pool-hash",
    bundle_of_another_signer: "pool-signer",
    hostile_bundle_in_a_signed_pool: "pass-through-structure",
    bundles_for_two_inference_networks: "pool-agreement",
    bundles_for_another_network_than_the_list_says: "pool-agreement",
    bundles_of_two_input_specs: "pool-agreement",
    same_network_in_two_bundles: "pool-agreement",
}
