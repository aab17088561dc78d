"""What obfuscation and the wire cost a device, beside the whole request and a bare runtime call.

A real backend in a process of its own on loopback; raw and obfuscated requests in turn, over binary
tensors, JSON and gRPC.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime

from obfnet.bench.spread import in_turn, spread
from obfnet.bundle import Pool, Trust, read_pool
from obfnet.core.progress import Progress
from obfnet.core.result import provenance
from obfnet.core.spec import Samples
from obfnet.edge import Answer, Device, ObfuscationSession, UnsafeRawPassthrough
from obfnet.serve import BackendProcess

_WARM_UP: Final = 20


def bench_serving(
    pool_path: Path,
    inference_onnx: Path,
    raw: Samples,
    *,
    trust: Trust,
    requests: int,
    rounds: int,
    progress: Progress,
    command: str,
    seed: int,
) -> dict[str, Any]:
    """Times single-sample requests of each protocol and one obfuscation against the bare runtime.

    Args:
        pool_path: Folder of the pool.
        inference_onnx: What the backend serves.
        raw: Samples to send, `(N, *shape)`, N ≥ 1; they are taken in turn.
        trust: Whose pools are accepted.
        requests: Requests a round, protocol and kind, ≥ 1.
        rounds: Rounds; medians are over all of them.
        progress: Told of every round.
        command: For the result file.
        seed: Of the backend's network, for the result file.

    Returns:
        The result, JSON-ready.
    """
    pool = read_pool(pool_path, trust=trust)
    protocols: dict[str, Any] = {}
    with BackendProcess(inference_onnx, grpc=True) as backend:
        urls = {"binary": backend.url, "json": backend.url, "grpc": backend.grpc_url or ""}
        for protocol, url in urls.items():
            progress.start(f"requests over {protocol}", rounds)
            protocols[protocol] = _time_protocol(pool, url, protocol, raw, requests, rounds, progress)
            progress.finish()
    progress.start("obfuscation beside the bare runtime", 1)
    obfuscation = _time_obfuscation(pool, raw[:1])
    progress.finish()
    return {
        "command": command,
        "case": pool.bundles[0].manifest.case,
        "protocols": protocols,
        "obfuscation": obfuscation,
        "seed": seed,
        **provenance(),
    }


def _time_protocol(
    pool: Pool, url: str, protocol: str, raw: Samples, requests: int, rounds: int, progress: Progress
) -> dict[str, Any]:
    answers: dict[str, list[Answer]] = {"raw": [], "obfuscated": []}
    with (
        Device(pool, url, protocol=protocol) as device,
        UnsafeRawPassthrough(url, pool.input, protocol=protocol) as passthrough,
    ):
        askers: dict[str, Callable[[Samples], Answer]] = {
            "raw": passthrough.infer,
            "obfuscated": device.infer,
        }
        for number in range(_WARM_UP):
            for ask in askers.values():
                ask(raw[number % len(raw)][None])
        for done in range(rounds):
            for number in range(requests):
                for kind, ask in askers.items():
                    answers[kind].append(ask(raw[number % len(raw)][None]))
            progress.advance(done + 1)
    obfuscated = answers["obfuscated"]
    return {
        "request_us": {kind: spread([a.total_s * 1e6 for a in some]) for kind, some in answers.items()},
        "request_bytes": {kind: sorted({a.request_bytes for a in some}) for kind, some in answers.items()},
        "client_share": spread([(a.obfuscate_s + a.encode_s + a.decode_s) / a.total_s for a in obfuscated]),
        "client_us": {
            "obfuscate": spread([a.obfuscate_s * 1e6 for a in obfuscated]),
            "encode": spread([a.encode_s * 1e6 for a in obfuscated]),
            "decode": spread([a.decode_s * 1e6 for a in obfuscated]),
        },
    }


def _time_obfuscation(pool: Pool, raw: Samples, *, calls: int = 300, rounds: int = 15) -> dict[str, Any]:
    session = ObfuscationSession(pool.bundles[0])
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    bare = onnxruntime.InferenceSession(pool.bundles[0].graph, options, providers=["CPUExecutionProvider"])
    feed = {bare.get_inputs()[0].name: raw}

    def timed(call: Callable[[], object]) -> Callable[[], float]:
        def many() -> float:
            begun = time.perf_counter()
            for _ in range(calls):
                call()
            return (time.perf_counter() - begun) / calls * 1e6

        return many

    measured = in_turn(
        {"bare": timed(lambda: bare.run(None, feed)), "ours": timed(lambda: session.obfuscate(raw))}, rounds
    )
    ratios = np.array(measured["ours"]) / np.array(measured["bare"])
    return {
        "parameters": pool.bundles[0].manifest.parameters,
        "bare_us": spread(measured["bare"]),
        "ours_us": spread(measured["ours"]),
        "ratio": spread(ratios.tolist(), digits=3),
    }
