"""Runs a graph on made-up samples and refuses it if what comes out is no sample, or is the raw one again.

A signature says who made a bundle, not that it obfuscates: an exporter that loses a layer, or a careless
coordinator, would have raw data sent under a good signature. Random probes find that cheaply. How much a
graph that passes still gives away is what the audit measures.
"""

import contextlib
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.bundle.chance import no_chance
from obfnet.bundle.engine import give_back_memory, shrinking_run, start_limited_session
from obfnet.bundle.steps import refused
from obfnet.core.errors import InputError
from obfnet.core.spec import InputSpec, Samples

PROBES: Final = 32
COPY_CORRELATION: Final = 0.95
COPY_SHARE: Final = 0.5
_LEVELS: Final = 255
# About the rounding of float32 in [0, 1], so that a flat output is not taken for a changing one.
_SMALLEST_CHANGE: Final = 1e-6
_MAX_BATCH_VALUES: Final = 1 << 18
_MAX_PAIRS: Final = 1 << 23
_MIN_OUTPUTS: Final = 32
_PAIRS_AT_ONCE: Final = 1 << 19
# A device has little memory: samples of a camera's size are compared in parts.
_VALUES_AT_ONCE: Final = 1 << 13
# Below this a check takes too little memory to be worth the time of giving it back.
_MANY_VALUES: Final = 1 << 16

Levels = npt.NDArray[np.uint8]


def check_outputs(graph: bytes, spec: InputSpec, *, seed: int = 0) -> None:
    """Raises unless the graph turns samples into samples, and into others than it was given.

    Three times 32 probes: uniform noise and noise with half of its values at `low`, one sample a run as
    a device sends them, and the noise again as a batch; besides, flat and rising samples. An output
    value counts as a copy where its correlation with some raw value over the probes of one kind is at
    least 0.95 in size, so that copies are found wherever they were moved to and however they were
    scaled, shifted, negated or rounded to a few levels. Outputs that never change count neither way; if
    half of the others are copies, the graph is refused. In samples of many values a random choice of
    outputs is looked at.

    Args:
        graph: ONNX bytes that passed `check_graph`.
        spec: What goes in and must come out.
        seed: Of the probes.

    Raises:
        BundleError: at one of the steps `runs`, `outputs` and `pass-through-probes`.

    Does not guarantee: that raw data cannot be told from the output. A graph passes that copies only
    samples unlike noise (real ones), that mixes raw values invertibly, that hides them in small changes
    of a carrier, or that copies less than half of what it changes; so does a published obfuscation
    network, from which a decoder restores most of a sample. The audit measures leakage.
    """
    # 23. runs
    expected, remedy = "a graph that ONNX Runtime runs", "update obfnet, or get the bundle again"
    try:
        session = start_limited_session(graph)
    except Exception as exc:  # the engine's errors share no base of their own
        raise refused("runs", expected, f"{type(exc).__name__} on loading it", remedy) from exc

    def run(samples: Samples, options: Any = None) -> Samples:
        # 23. runs
        try:
            feed = {session.get_inputs()[0].name: samples, **no_chance(session, len(samples))}
            (obfuscated,) = session.run(None, feed, options)
        except Exception as exc:
            raise refused("runs", expected, f"{type(exc).__name__} on running it", remedy) from exc
        # 24. outputs
        if not isinstance(obfuscated, np.ndarray) or obfuscated.shape[:1] != samples.shape[:1]:
            raise refused("outputs", "one obfuscated sample for each raw one", "another number")
        try:
            spec.check(obfuscated, name="obfuscated")
        except InputError as exc:
            raise refused("outputs", exc.expected, exc.got) from exc
        return obfuscated

    # 24. outputs
    for samples in _plain_samples(spec):
        run(samples)

    # 25. pass-through-probes
    random = np.random.default_rng(seed)
    noise = random.integers(0, _LEVELS + 1, (PROBES, spec.values), dtype=np.uint8)
    watched = _watched_outputs(spec, random)
    _refuse_copies(noise, _obfuscated(run, noise, spec, watched, batch=1))
    batch = min(PROBES, max(2, _MAX_BATCH_VALUES // spec.values))
    _refuse_copies(noise, _obfuscated(run, noise, spec, watched, batch=batch))
    for place in range(PROBES):
        noise[place] *= random.integers(0, 2, spec.values, dtype=np.uint8)
    _refuse_copies(noise, _obfuscated(run, noise, spec, watched, batch=1))
    if spec.values >= _MANY_VALUES:
        # Nothing is decided by it any more.
        with contextlib.suppress(Exception):
            run(_samples(noise[:1], spec), shrinking_run())
        del session, noise
        give_back_memory()


def _plain_samples(spec: InputSpec) -> Iterator[Samples]:
    rising = np.linspace(0, _LEVELS, spec.values).astype(np.uint8)
    for levels in (np.zeros_like(rising), np.full_like(rising, _LEVELS), rising, rising[::-1]):
        yield _samples(levels[None], spec)


def _samples(levels: Levels, spec: InputSpec) -> Samples:
    scaled = np.float32(spec.low) + levels * np.float32((spec.high - spec.low) / _LEVELS)
    # Rounding must not push the largest level over the edge.
    legal = np.clip(scaled, np.float32(spec.low), np.float32(spec.high))
    typed: Samples = (legal.round() if spec.dtype == "uint8" else legal).astype(spec.dtype)
    return typed.reshape(-1, *spec.shape)


def _watched_outputs(spec: InputSpec, random: np.random.Generator) -> npt.NDArray[np.int64]:
    count = min(spec.values, max(_MIN_OUTPUTS, _MAX_PAIRS // spec.values))
    return np.sort(random.choice(spec.values, size=count, replace=False))


def _obfuscated(
    run: Any, noise: Levels, spec: InputSpec, watched: npt.NDArray[np.int64], *, batch: int
) -> npt.NDArray[np.float32]:
    """`(PROBES, watched)`: the watched output values for every probe, in [0, 1]."""
    parts = [
        run(_samples(noise[start : start + batch], spec)).reshape(-1, spec.values)[:, watched]
        for start in range(0, PROBES, batch)
    ]
    return ((np.concatenate(parts) - np.float64(spec.low)) / (spec.high - spec.low)).astype(np.float32)


def _refuse_copies(noise: Levels, obfuscated: npt.NDArray[np.float32]) -> None:
    """Raises if most of the changing outputs `(PROBES, M)` copy some value of `noise` `(PROBES, D)`."""
    outputs = _standardised(obfuscated)
    changing = outputs.any(axis=0)
    if not changing.any():
        return
    outputs = outputs[:, changing]
    largest = np.zeros(outputs.shape[1], dtype=np.float32)
    chunk = max(1, min(_VALUES_AT_ONCE, _PAIRS_AT_ONCE // outputs.shape[1]))
    for start in range(0, noise.shape[1], chunk):
        raw = _standardised(np.divide(noise[:, start : start + chunk], _LEVELS, dtype=np.float32))
        np.maximum(largest, np.abs(raw.T @ outputs).max(axis=0), out=largest)
    if (largest >= COPY_CORRELATION).mean() >= COPY_SHARE:
        raise refused(
            "pass-through-probes",
            "obfuscated values that are no copies of raw ones",
            "copies for most of them",
            "it would send raw data: do not use it, and tell its coordinator",
        )


def _standardised(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Columns of values in [0, 1] with mean 0 and length 1; a column that does not change becomes 0."""
    centred = values - values.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    changes = length > _SMALLEST_CHANGE
    scaled: npt.NDArray[np.float32] = np.divide(centred, length, where=changes, out=np.zeros_like(centred))
    return scaled
