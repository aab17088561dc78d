"""Somebody's network of waveforms, protected: from WAV files to requests that it understands."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from obfnet import load_case, load_pool, protect, verify
from obfnet.core.errors import ModelError, UsageError
from obfnet.edge import ObfuscationSession
from obfnet.edge.inputs import read_samples
from obfnet.models.source import open_model
from obfnet.models.wishes import Wishes, candidate_wires, sound_shape
from obfnet.protecting.run import Protected
from obfnet.protecting.settings import ProtectSettings
from tests.unit.data.sounds import wav_bytes

RATE_HZ, COUNT = 4000, 1600
PITCHES = {"high": 900.0, "low": 250.0, "middle": 500.0}
QUICK = ProtectSettings(bits=8, count=1, epochs=20, attacks=("ridge", "code-lookup"))
WISHES = Wishes(shape=(COUNT,), rate_hz=RATE_HZ)


class Tones(nn.Module):
    """Which of three pitches is loudest: `(N, 1600)` in [-1, 1] to `(N, 3)`, with gradients."""

    def __init__(self) -> None:
        super().__init__()
        time = torch.arange(COUNT) / RATE_HZ
        angles = 2 * torch.pi * torch.tensor(list(PITCHES.values()))[:, None] * time
        self.waves = nn.Parameter(torch.cat([angles.sin(), angles.cos()]) / COUNT)

    def forward(self, sounds: Tensor) -> Tensor:
        if sounds.ndim != 2:
            raise RuntimeError("waveforms, (N, 1600)")
        found = sounds @ self.waves.T
        return 60 * (found[:, :3] ** 2 + found[:, 3:] ** 2 + 1e-9).sqrt()


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of 8,000 Hz, of three pitches and many phases, with noise."""
    root, random = tmp_path_factory.mktemp("sounds") / "tones", np.random.default_rng(0)
    time = np.arange(4000) / 8000
    for name, pitch in PITCHES.items():
        (root / name).mkdir(parents=True)
        for number in range(80):
            tone = np.sin(2 * np.pi * pitch * time + random.uniform(0, 6.28)) * random.uniform(0.3, 0.7)
            noisy = tone + random.normal(0, 0.05, len(time))
            (root / name / f"{number:02d}.wav").write_bytes(
                wav_bytes((noisy.clip(-1, 1) * 32767).astype("<i2").tobytes())
            )
    return root


@pytest.fixture(scope="module")
def made(words: Path, tmp_path_factory: pytest.TempPathFactory) -> Protected:
    out = tmp_path_factory.mktemp("protect") / "pool"
    return protect(Tones(), words, out=out, settings=QUICK, wishes=WISHES)


def test_it_keeps_most_of_the_accuracy(made: Protected) -> None:
    right = made.figures["accuracy"]
    assert right["raw"] == 1.0
    # Three classes: chance is a third.
    assert right["obfuscated"] > 0.8
    assert any("takes float32 T 1600" in note for note in made.figures["model"]["worked_out"])


def test_a_device_sends_what_the_model_takes(made: Protected, words: Path) -> None:
    (bundle,) = load_pool(made.folder).bundles
    spec = bundle.input
    assert (spec.shape, spec.layout, spec.rate_hz, spec.low, spec.high) == ((COUNT,), "T", RATE_HZ, -1.0, 1.0)
    verify(made.folder)
    samples = read_samples(words / "high" / "00.wav", spec)
    assert samples.shape == (1, COUNT)
    data = load_case(str(words), shape=spec.unit_shape, rate_hz=RATE_HZ)
    assert data.train.names is not None
    row = [str(name) for name in data.train.names[:]].index("high/01.wav")
    again = read_samples(words / "high" / "01.wav", spec)
    np.testing.assert_allclose(spec.from_wire(again), data.train.samples[row : row + 1], atol=1e-6)
    sent = ObfuscationSession(bundle).obfuscate(samples)
    spec.check(sent, name="obfuscated")
    assert len(np.unique(sent)) <= 257


def test_what_leaks_is_heard(made: Protected) -> None:
    assert made.figures["leakage"]["attacks_counted"] >= 1
    assert "20x45 MFCCs of the first 0.40 of 0.40 s" in made.figures["leakage"]["verdict"]
    assert "<audio" in (made.folder / "report.html").read_text()


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        (Wishes(shape=(COUNT,)), r"the rate in Hz of the waveforms that Tones takes, got none; give --rate"),
        (Wishes(rate_hz=RATE_HZ), r"of a fixed length, got none said, Tones; give --shape"),
        (Wishes(shape=(1, 20, 45), rate_hz=RATE_HZ), r"waveforms, .*, got \(N, 1, 20, 45\), Tones"),
        (Wishes(shape=(COUNT,), rate_hz=RATE_HZ, layout="CT"), "layout T, for a waveform, got CT"),
        (Wishes(shape=(COUNT,), rate_hz=RATE_HZ, dtype="uint8"), "float32 with a range"),
        (Wishes(shape=(1, COUNT), rate_hz=RATE_HZ), r"takes samples \(N, 1, 1600\), got RuntimeError"),
        (Wishes(shape=(1, 8, 8)), "pictures, for samples of shape"),
        (Wishes(shape=(1, 20, 45)), r"takes samples \(N, 1, 20, 45\), got RuntimeError"),
    ],
)
def test_what_it_cannot_know_is_asked_for(wishes: Wishes, said: str, words: Path, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=said):
        protect(Tones(), words, out=tmp_path / "pool", settings=QUICK, wishes=wishes)
    assert not (tmp_path / "pool").exists()


def test_a_layout_of_waveforms_needs_a_rate_and_floats() -> None:
    with pytest.raises(UsageError, match="--rate with layout T, of a waveform, got none"):
        Wishes(layout="T")
    model = replace(open_model(Tones()), input_dtype="int16")
    with pytest.raises(ModelError, match="a model of float32 waveforms, got one of int16"):
        candidate_wires(model, WISHES, (COUNT,), "T")
    free = replace(model, input_shape=(None, None, None))
    assert sound_shape(free, Wishes(), of_data=(1, 20, 45)) == ((20, 45), "HW")


def test_pictures_have_no_rate(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="sounds, for --rate, got pictures in digits"):
        protect(Tones(), "digits", out=tmp_path / "pool", settings=QUICK, wishes=WISHES)


def test_waveforms_in_arrays_are_those_of_files(words: Path, made: Protected, tmp_path: Path) -> None:
    data = load_case(str(words), shape=(1, 1, COUNT), rate_hz=RATE_HZ)
    splits = (data.train, data.validation, data.test)
    waves = np.concatenate([split.samples[:] for split in splits]).reshape(-1, COUNT) * 2 - 1
    labels = np.concatenate([split.labels for split in splits])
    pool = protect(Tones(), (waves, labels), out=tmp_path / "pool", settings=QUICK, wishes=WISHES)
    (bundle,), (former,) = load_pool(pool.folder).bundles, load_pool(made.folder).bundles
    assert bundle.input == former.input
    assert pool.figures["accuracy"]["raw"] == 1.0
    assert pool.figures["accuracy"]["obfuscated"] > 0.8
    assert "20x45 MFCCs of the first 0.40 of 0.40 s" in pool.figures["leakage"]["verdict"]
    with pytest.raises(ModelError, match=r"samples of 1x1x1600, as .*, got 1x1x1000; give waveforms of that"):
        protect(Tones(), (waves[:, :1000], labels), settings=QUICK, wishes=WISHES)
