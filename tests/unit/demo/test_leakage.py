"""The leakage part of a result: scaled between the floor and raw, or not at all where the control fails."""

import json
from dataclasses import replace

import numpy as np
import pytest

from obfnet.auditing.normalised import normalised_leakage
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case
from obfnet.demo.leakage import Leakage, as_unit, measure_leakage


def leakage(*, ssim, raw, floor, times=20):
    picture = np.zeros((2 * times, 1, 4, 4), np.float32)
    return Leakage(
        reconstructed=picture,
        reconstructed_raw=picture,
        floor=picture,
        ssim=np.repeat(ssim, times),
        raw_ssim=np.repeat([raw, raw], times),
        floor_ssim=np.repeat([floor, floor], times),
        mse=np.repeat([0.1, 0.2], times),
    )


def test_0_is_what_the_label_gives_and_1_what_raw_data_give():
    assert leakage(ssim=[0.2, 0.2], raw=0.8, floor=0.2).figures()["normalised"] == pytest.approx(0)
    assert leakage(ssim=[0.8, 0.8], raw=0.8, floor=0.2).figures()["normalised"] == pytest.approx(1)


def test_the_worst_sample_is_beside_the_mean():
    figures = leakage(ssim=[0.3, 0.7], raw=0.8, floor=0.2).figures()
    assert figures["ssim"] == pytest.approx(0.5)
    assert figures["ssim_worst"] == 0.7
    assert figures["share_over_half"] == 0.5


@pytest.mark.parametrize("raw", [0.1, 0.2])
def test_an_attack_that_fails_its_control_is_not_scaled(raw):
    figures = leakage(ssim=[0.3, 0.3], raw=raw, floor=0.2).figures()
    assert figures["normalised"] is None
    assert figures["share_over_half"] is None
    json.dumps(figures, allow_nan=False)


def test_bytes_become_unit_range():
    assert as_unit(np.array([0, 255], np.uint8)).tolist() == [0.0, 1.0]
    assert as_unit(np.array([0.5], np.float32)).dtype == np.float32


def test_the_figures_are_those_of_the_audit():
    random = np.random.default_rng(0)
    raw, floor = random.uniform(0.5, 1, 200), random.uniform(0, 0.5, 200)
    attacked = random.uniform(0, 1, 200)
    picture = np.zeros((200, 1, 4, 4), np.float32)
    figures = Leakage(
        reconstructed=picture,
        reconstructed_raw=picture,
        floor=picture,
        ssim=attacked,
        raw_ssim=raw,
        floor_ssim=floor,
        mse=attacked,
    ).figures()
    audited = normalised_leakage(attacked, floor, raw, seed=0)
    assert figures["normalised"] == audited.mean.value
    assert figures["normalised_interval"] == [audited.mean.low, audited.mean.high]
    assert figures["normalised_p95"] == audited.p95.value
    assert figures["share_over_half"] == audited.share_over_half.value


def test_a_handful_of_samples_gives_no_normalised_figure():
    figures = leakage(ssim=[0.3, 0.7], raw=0.8, floor=0.2, times=1).figures()
    assert figures["normalised"] is None
    assert figures["ssim"] == pytest.approx(0.5)


def test_what_the_attack_makes_of_the_label_alone_is_the_floor_where_it_is_higher():
    plain = leakage(ssim=[0.5, 0.5], raw=0.8, floor=0.2)
    assert plain.figures()["label_ssim"] is None
    higher = replace(plain, label_ssim=np.full(40, 0.5)).figures()
    assert higher["label_ssim"] == 0.5
    assert higher["normalised"] == pytest.approx(0)
    assert higher["floor_ssim"] == pytest.approx(0.2)
    lower = replace(plain, label_ssim=np.full(40, 0.1)).figures()
    assert lower["normalised"] == plain.figures()["normalised"]


class LabelOnly:
    """What a device would send that gives nothing away but the label, by the row of a sample."""

    def __init__(self, dataset):
        pictures = np.random.default_rng(5).random((10, *dataset.spec.input.shape), dtype=np.float32)
        both = (dataset.train, dataset.test)
        self.sent = {
            sample.tobytes(): pictures[label]
            for split in both
            for sample, label in zip(split.samples[:], split.labels, strict=True)
        }

    def obfuscate(self, raw):
        return np.stack([self.sent[sample.tobytes()] for sample in raw])


def test_an_obfuscation_that_keeps_only_the_label_leaks_nothing_beyond_it(tmp_path):
    dataset = load_case("digits")
    found = measure_leakage(
        dataset,
        LabelOnly(dataset),
        answered=dataset.test.labels,
        epochs=160,
        seed=0,
        folder=tmp_path,
        progress=Silent(),
        from_label=True,
    ).figures()
    # Trained for the score, the attack gets more from the label than the mean of its class.
    assert found["label_ssim"] > found["floor_ssim"]
    assert abs(found["normalised"]) < 0.1
