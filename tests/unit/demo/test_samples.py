"""What the report shows of samples, and what is recognised from them: pictures, sounds, sizes, speakers."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from obfnet.core.errors import DataError
from obfnet.core.progress import Silent
from obfnet.core.spec import as_unit
from obfnet.data.cases import Dataset, load_case
from obfnet.data.mfcc import coefficients
from obfnet.data.pictures import jpeg_bytes
from obfnet.data.table import Split
from obfnet.data.wav import read_wav
from obfnet.demo.leakage import Leakage, measure_recognition, scored_part
from obfnet.demo.samples import picture_samples, sample_bytes
from obfnet.edge import ObfuscationSession
from obfnet.export import obfuscation_onnx
from obfnet.nets.obfuscation import ObfuscationMLP
from tests.unit.data.files import picture_folder, save, sound_bytes
from tests.wire.models import pool_of


@pytest.fixture(scope="module")
def sounds(tmp_path_factory) -> Dataset:
    """Two words of two speakers, forty clips."""
    root = tmp_path_factory.mktemp("words")
    lines = ["file,label,attribute"]
    for number in range(40):
        name = f"{number:02d}.wav"
        save(root / name, sound_bytes(number % 2, number // 2 % 2, number))
        lines.append(f"{name},{('no', 'yes')[number % 2]},{('ann', 'bo')[number // 2 % 2]}")
    (root / "words.csv").write_text("\n".join(lines))
    return load_case(str(root / "words.csv"))


@pytest.fixture(scope="module")
def pool(sounds):
    """Three obfuscation networks for sounds, as they are before any training."""
    spec, graphs = sounds.spec.input, []
    for seed in range(3):
        torch.manual_seed(seed)
        graphs.append(obfuscation_onnx(ObfuscationMLP((1, 20, 45), 6).eval(), spec))
    return pool_of(*graphs, spec=spec)


def leakage_of(dataset: Dataset) -> Leakage:
    random = np.random.default_rng(0)
    test = dataset.test.samples[:]

    def some():
        return random.random(test.shape, dtype=np.float32)

    return Leakage(
        reconstructed=some(),
        reconstructed_raw=some(),
        floor=some(),
        ssim=random.random(len(test)),
        raw_ssim=random.random(len(test)),
        floor_ssim=random.random(len(test)),
        mse=random.random(len(test)),
    )


def test_sounds_are_shown_with_the_clip_that_was_captured(sounds, pool):
    leakage = leakage_of(sounds)
    shown = picture_samples(sounds, leakage, pool)
    order = np.argsort(-leakage.ssim)
    raw = as_unit(sounds.test.samples[:])
    count = min(12, len(order))
    np.testing.assert_array_equal(shown.views["worst"]["raw"], raw[order[:count]])
    np.testing.assert_array_equal(shown.views["worst"]["reconstructed"], leakage.reconstructed[order[:count]])
    obfuscated = ObfuscationSession(pool.bundles[0]).obfuscate(sounds.test.samples[:][order[:count]])
    np.testing.assert_array_equal(shown.views["worst"]["obfuscated"], obfuscated)
    assert shown.one_sample["obfuscated"].shape == (3, 1, 20, 45)
    assert len(shown.clips) == 1 + 4
    for clip in shown.clips:
        row = int(np.flatnonzero(leakage.ssim == clip.score)[0])
        captured = read_wav(sounds.original(str(sounds.test.names[row])))
        np.testing.assert_array_equal(clip.captured, captured.samples)
        assert clip.captured_hz == captured.rate_hz
        np.testing.assert_array_equal(clip.raw, coefficients(raw[row]))
        np.testing.assert_array_equal(clip.reconstructed, coefficients(leakage.reconstructed[row]))
    assert shown.clips[0].score == leakage.ssim.max()


def test_a_clip_that_is_not_at_hand_any_more_is_left_out_alone(sounds, pool):
    def gone(name: str) -> bytes:
        raise DataError("the archive", "none", "fetch it")

    for without in (replace(sounds, original=gone), replace(sounds, original=None)):
        clips = picture_samples(without, leakage_of(without), pool).clips
        assert {(clip.captured, clip.captured_hz) for clip in clips} == {(None, 0)}


def test_a_sound_has_no_jpeg_and_a_picture_has(sounds, tmp_path):
    assert sample_bytes(sounds) == {"float32_tensor": 4 * 900}
    photos = load_case(str(picture_folder(tmp_path / "signs")))
    sizes = sample_bytes(photos)
    assert sizes["float32_tensor"] == 4 * photos.spec.input.values
    assert sizes["jpeg"] == round(np.mean([len(jpeg_bytes(sample)) for sample in photos.test.samples[:]]))
    assert set(sample_bytes(load_case("digits"))) == {"float32_tensor", "jpeg"}


def test_at_most_so_many_samples_are_scored_evenly_spaced_and_never_twice():
    small = Split(samples=np.zeros((30, 1, 2, 2), np.uint8), labels=np.zeros(30, np.int64))
    assert scored_part(small).tolist() == list(range(30))
    large = Split(samples=np.zeros((30, 1, 2000, 2000), np.uint8), labels=np.zeros(30, np.int64))
    scored = scored_part(large)
    assert (len(scored), scored[0], scored[-1]) == (6, 0, 29)
    assert len(set(np.diff(scored).tolist()) | {5, 6}) == 2


def planted(count: int, seed: int) -> Split:
    """Noise in which the speaker raises one row, the first of which speaks more often."""
    random = np.random.default_rng(seed)
    values = (random.random(count) > 0.6).astype(np.int64)
    samples = random.uniform(0, 0.6, (count, 1, 20, 45)).astype(np.float32)
    samples[np.arange(count), 0, 5 * values] += 0.3
    return Split(samples=samples, labels=np.zeros(count, np.int64), attribute=values)


def test_the_speaker_is_recognised_from_raw_and_obfuscated_clips(sounds, pool):
    session = ObfuscationSession(pool.bundles[0])
    made_up = replace(sounds, train=planted(600, 0), test=planted(150, 1))
    made = measure_recognition(made_up, session, share=0.05, seed=0, progress=Silent())
    share = (made_up.test.attribute == 0).mean()
    assert (made.attribute, made.samples) == ("attribute", 150)
    assert made.chance == pytest.approx(max(share, 1 - share))
    assert made.raw_accuracy > 0.95
    assert 0 <= made.accuracy <= 1
    assert made.figures()["raw_accuracy"] == made.raw_accuracy


def test_without_an_attribute_that_was_trained_on_nothing_is_measured(sounds, pool, tmp_path):
    session = ObfuscationSession(pool.bundles[0])

    def measured(dataset: Dataset):
        return measure_recognition(dataset, session, share=0.02, seed=0, progress=Silent())

    assert measured(load_case("digits")) is None
    assert measured(replace(sounds, train=replace(sounds.train, attribute=None))) is None
    stranger = replace(sounds.test, attribute=sounds.test.attribute + 2)
    assert measured(replace(sounds, test=stranger)) is None
