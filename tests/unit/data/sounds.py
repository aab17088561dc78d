"""Sounds for tests: WAV files put together by hand, and something like a vowel."""

import struct

import numpy as np


def wav_bytes(
    payload: bytes,
    *,
    code: int = 1,
    channels: int = 1,
    rate_hz: int = 8000,
    bits: int = 16,
    frame_bytes: int | None = None,
    more_format: bytes = b"",
    before_data: bytes = b"",
    data_size: int | None = None,
) -> bytes:
    """A RIFF/WAVE file whose every field can be wrong."""
    frame_bytes = channels * bits // 8 if frame_bytes is None else frame_bytes
    fields = struct.pack("<HHIIHH", code, channels, rate_hz, rate_hz * frame_bytes % 2**32, frame_bytes, bits)
    form = chunk(b"fmt ", fields + more_format)
    size = len(payload) if data_size is None else data_size
    body = b"WAVE" + form + before_data + b"data" + struct.pack("<I", size) + payload
    return b"RIFF" + struct.pack("<I", len(body)) + body


def chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def voiced(seconds: float, rate_hz: int) -> np.ndarray:
    """Harmonics below 3 kHz of a falling pitch through two moving resonances, rising and fading."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    part = time / seconds
    phase = 2 * np.pi * np.cumsum(160 - 50 * part) / rate_hz
    sound = np.zeros(len(time))
    for harmonic in range(1, 19):
        at = harmonic * (160 - 50 * part)
        gain = 1 / (1 + ((at - 400 - 400 * part) / 120) ** 2) + 0.5 / (
            1 + ((at - 2200 + 900 * part) / 150) ** 2
        )
        sound += gain * np.sin(harmonic * phase)
    sound *= np.sin(np.pi * part) ** 0.5
    noise = np.random.default_rng(7).normal(0, 1e-3 * np.sqrt(rate_hz / 8000), len(time))
    return (0.5 * sound / np.abs(sound).max() + noise).astype(np.float32)
