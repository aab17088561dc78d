"""Sounds as waveforms: of one rate and length, the same whatever follows, and back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.signal import resample_poly

from obfnet import load_case
from obfnet.core.errors import DataError, RangeError, UsageError
from obfnet.core.spec import InputSpec
from obfnet.data.cases import case_spec
from obfnet.data.resampling import resample
from obfnet.data.wav import Sound, read_wav
from obfnet.data.waveforms import SILENCE, is_waveform, layout_of_sounds, sound_of, waveform, waveform_input
from tests.unit.data.files import picture_folder
from tests.unit.data.sounds import voiced, wav_bytes

SECOND = waveform_input(16000, 16000)


def test_a_sound_of_its_rate_stays_as_it_is_and_is_followed_by_silence() -> None:
    sound = Sound(samples=voiced(0.5, 16000), rate_hz=16000)
    made = waveform(sound, SECOND)
    assert (made.shape, made.dtype) == ((1, 1, 16000), np.float32)
    np.testing.assert_allclose(made[0, 0, :8000] * 2 - 1, sound.samples, atol=1e-7)
    assert (made[0, 0, 8000:] == SILENCE).all()
    np.testing.assert_allclose(sound_of(made, 16000).samples[:8000], sound.samples, atol=1e-7)


def test_another_rate_is_resampled_as_scipy_does_it() -> None:
    sound = voiced(1.0, 8000)
    made = waveform(Sound(samples=sound, rate_hz=8000), SECOND)[0, 0] * 2 - 1
    wanted = resample_poly(sound.astype(np.float64), 2, 1, window=("kaiser", 12.0))
    # The filters differ at the band's edge and where the sound begins and ends.
    assert np.abs(made - wanted)[200:-200].max() < 0.01


@pytest.mark.parametrize("rate_hz", [8000, 16000, 44100])
def test_what_follows_changes_nothing(rate_hz: int) -> None:
    whole = voiced(3.0, rate_hz)
    made = waveform(Sound(samples=whole, rate_hz=rate_hz), SECOND)
    longer = np.concatenate([whole, np.ones(5 * rate_hz, np.float32)])
    assert np.array_equal(made, waveform(Sound(samples=longer, rate_hz=rate_hz), SECOND))
    cut = waveform(Sound(samples=whole[: rate_hz + rate_hz // 10], rate_hz=rate_hz), SECOND)
    assert np.array_equal(made, cut)


def test_a_clip_of_a_low_rate_is_that_of_the_whole_recording() -> None:
    whole, spec = voiced(3.0, 44100), waveform_input(1000, 1000)
    made = waveform(Sound(samples=whole, rate_hz=44100), spec)[0, 0] * 2 - 1
    np.testing.assert_allclose(made, resample(whole, 44100, 1000)[:1000], atol=1e-6)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(RangeError, match="finite samples"):
        waveform(Sound(samples=np.array([0, np.nan], np.float32), rate_hz=8000), SECOND)


@pytest.mark.parametrize(
    ("count", "rate_hz", "said"),
    [(8000, 999, "a rate of 1000 to 384000 Hz"), (8000, 400_000, "a rate"), (80_001, 8000, "at most 10 s")],
)
def test_rates_and_lengths_that_no_clip_has_are_refused(count: int, rate_hz: int, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        waveform_input(count, rate_hz)


def test_layouts_of_waveforms_are_told_from_others() -> None:
    assert layout_of_sounds((16000,)) == "T"
    assert layout_of_sounds((1, 16000)) == "CT"
    assert [layout_of_sounds(shape) for shape in ((), (2, 16000), (20, 45), (1, 1, 9))] == [None] * 4


def test_a_folder_of_sounds_becomes_waveforms(tmp_path: Path) -> None:
    for label, word in enumerate(("no", "yes")):
        (tmp_path / "words" / word).mkdir(parents=True)
        for number in range(6):
            samples = voiced(0.2 + 0.1 * label + 0.01 * number, 8000) * 32767
            file = tmp_path / "words" / word / f"{number}.wav"
            file.write_bytes(wav_bytes(samples.astype("<i2").tobytes()))
    data = load_case(str(tmp_path / "words"), shape=(1, 1, 3200), rate_hz=16000)
    spec = data.spec.input
    assert (spec.shape, spec.rate_hz, is_waveform(spec)) == ((1, 1, 3200), 16000, True)
    assert data.spec.recipe.augmentation == ("delay", "loudness")
    assert data.train.names is not None
    for sample, name in zip(data.train.samples[:], data.train.names[:], strict=True):
        sound = read_wav((tmp_path / "words" / str(name)).read_bytes())
        np.testing.assert_array_equal(sample, waveform(sound, spec))
    # Prepared anew for another length, and not taken for the first.
    assert (
        load_case(str(tmp_path / "words"), shape=(1, 1, 1600), rate_hz=16000).train.samples.shape[3] == 1600
    )
    assert load_case(str(tmp_path / "words")).train.samples.shape[1:] == (1, 20, 45)
    with pytest.raises(DataError, match="pictures, for samples of shape"):
        load_case(str(tmp_path / "words"), shape=(1, 1, 3200))


def test_pictures_have_no_rate(tmp_path: Path) -> None:
    root = picture_folder(tmp_path / "signs")
    with pytest.raises(UsageError, match="sounds, for samples at 8000 Hz, got pictures"):
        case_spec(str(root), shape=(1, 1, 800), rate_hz=8000)
    with pytest.raises(UsageError, match="sounds, for samples at 8000 Hz"):
        case_spec("mnist", shape=(1, 1, 800), rate_hz=8000)
    with pytest.raises(UsageError, match=r"a shape \(1, 1, T\) with a rate"):
        case_spec("fsd", rate_hz=8000)


@pytest.mark.parametrize("layout", ["T", "CT"])
def test_on_the_wire_they_have_the_models_shape_and_range(layout: str) -> None:
    shape = (16000,) if layout == "T" else (1, 16000)
    wire = InputSpec(
        shape=shape, dtype="float32", low=-1, high=1, layout=layout, preprocessing="none", rate_hz=16000
    )
    assert wire.unit_shape == (1, 1, 16000)
    unit = waveform(Sound(samples=voiced(1.0, 16000), rate_hz=16000), wire)[np.newaxis]
    sent = wire.to_wire(unit)
    wire.check(sent)
    assert sent.shape == (1, *shape)
    np.testing.assert_allclose(wire.from_wire(sent), unit, atol=1e-6)
    for other in ({"shape": (4, 4), "layout": "HW"}, {"shape": (1, 8, 8), "layout": "CHW"}, {"rate_hz": -1}):
        with pytest.raises(UsageError, match="a rate above 0, of a waveform"):
            replace(wire, **other)
