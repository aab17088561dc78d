"""What training samples go through: still samples, the same by seed, and of the geometry promised."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor

from obfnet.core.errors import UnknownNameError
from obfnet.data.cases import CASES
from obfnet.training.augmentation import AUGMENTATIONS, augmented

NAMES = ("flip", "crop", "affine", "colour", "erase", "shift", "mask", "delay", "loudness")
SHAPES = [(3, 32, 32), (1, 20, 45), (3, 17, 40), (1, 2, 2), (3, 1, 1), (1, 1, 9)]


@pytest.fixture(autouse=True)
def _own_random_state() -> Iterator[None]:
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def some(shape: tuple[int, ...] = (3, 32, 32), count: int = 64) -> Tensor:
    return torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))


def changed(name: str, samples: Tensor, seed: int = 0) -> Tensor:
    torch.manual_seed(seed)
    return augmented(samples, (name,))


def test_the_names_are_those_of_the_registry_and_the_cases_use_them() -> None:
    assert tuple(AUGMENTATIONS.names()) == NAMES
    for case in CASES.names():
        assert set(CASES.get(case).recipe.augmentation) <= set(NAMES)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="augmentation, got 'turn'; known: flip, crop"):
        augmented(some(), ("flip", "turn"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_samples_stay_samples(name: str, shape: tuple[int, ...], layout: torch.memory_format) -> None:
    samples = some(shape).contiguous(memory_format=layout)
    before = samples.clone()
    made = changed(name, samples)
    assert (made.shape, made.dtype) == (samples.shape, torch.float32)
    assert bool(torch.isfinite(made).all())
    assert 0 <= float(made.min()) <= float(made.max()) <= 1
    assert torch.equal(samples, before), "the samples themselves are left as they are"
    assert changed(name, samples[:1]).shape == (1, *shape)


@pytest.mark.parametrize("name", NAMES)
def test_the_seed_decides_and_something_changes(name: str) -> None:
    samples = some()
    made = changed(name, samples)
    assert torch.equal(made, changed(name, samples))
    assert not torch.equal(made, changed(name, samples, seed=1))
    assert not torch.equal(made, samples)
    # Each sample has a change of its own.
    same = samples[:1].expand_as(samples)
    made = changed(name, same.contiguous())
    assert len({row.numpy().tobytes() for row in made}) > 1


def test_names_are_applied_in_their_order() -> None:
    torch.manual_seed(3)
    both = augmented(some(), ("crop", "flip"))
    torch.manual_seed(3)
    assert torch.equal(both, AUGMENTATIONS.get("flip")(AUGMENTATIONS.get("crop")(some())))
    assert augmented(some(), ()) is not None
    assert torch.equal(augmented(some(), ()), some())


def test_flip_mirrors_about_half_of_the_samples_and_twice_is_nothing() -> None:
    samples = some(count=400)
    made = changed("flip", samples)
    mirrored = (made != samples).flatten(1).any(1)
    assert 0.4 < float(mirrored.float().mean()) < 0.6
    assert torch.equal(made[mirrored], torch.from_numpy(samples[mirrored].numpy()[..., ::-1].copy()))
    assert torch.equal(changed("flip", made), samples), "the same seed flips the same ones back"


@pytest.mark.parametrize(("shape", "margin"), [((3, 32, 32), 2), ((3, 64, 64), 4), ((1, 8, 20), 1)])
def test_crop_moves_by_up_to_a_sixteenth_over_a_reflection(shape: tuple[int, ...], margin: int) -> None:
    samples, found = some(shape, 300), set()
    made = changed("crop", samples).numpy()
    height, width = shape[1:]
    # The oracle: NumPy's own padding, and every place that the sample may have come from.
    padded = np.pad(samples.numpy(), ((0, 0), (0, 0), (margin, margin), (margin, margin)), mode="reflect")
    for number in range(len(made)):
        places = [
            (y, x)
            for y in range(2 * margin + 1)
            for x in range(2 * margin + 1)
            if np.array_equal(padded[number, :, y : y + height, x : x + width], made[number])
        ]
        assert len(places) == 1
        found.add(places[0])
    assert len({y for y, _ in found}) == len({x for _, x in found}) == 2 * margin + 1


def test_affine_keeps_what_is_the_same_everywhere_and_moves_the_rest() -> None:
    flat = torch.full((20, 3, 32, 32), 0.25)
    torch.testing.assert_close(changed("affine", flat), flat)
    spot = torch.zeros(200, 1, 65, 65)
    spot[:, :, 32, 32] = 1
    made = changed("affine", spot)[:, 0].numpy()
    rows, columns = np.mgrid[0:65, 0:65]
    mass = made.sum((1, 2))
    assert (mass > 0.15).all()
    moved = [np.abs((made * axis).sum((1, 2)) / mass - 32).max() for axis in (rows, columns)]
    # An eighth of 65 pixels, enlarged by zoom and stretch, turned, and half a pixel of interpolation.
    assert all(4 < distance < 65 / 8 * 1.5 * 1.15 * 1.3 + 0.5 for distance in moved)


def test_colour_keeps_shapes_and_changes_brightness() -> None:
    samples = 0.45 + 0.1 * some(count=200)
    made = changed("colour", samples)
    grey = (made == made[:, :1]).flatten(1).all(1)
    assert 0.1 < float(grey.float().mean()) < 0.3
    for before, after in zip(samples[~grey][:20], made[~grey][:20], strict=True):
        inside = (after > 0) & (after < 1)
        for channel in range(3):
            seen = inside[channel]
            if int(seen.sum()) > 100:
                # No value overtakes another of its channel; equal ones may arise by rounding.
                assert spearmanr(before[channel][seen], after[channel][seen]).statistic > 0.999
    assert float((made.mean((1, 2, 3)) - samples.mean((1, 2, 3))).std()) > 0.05


def test_erase_fills_one_rectangle_in_about_half_of_the_samples() -> None:
    samples = some((3, 40, 40), 400)
    made = changed("erase", samples)
    touched = (made != samples).any(1)
    assert 0.35 < float(touched.flatten(1).any(1).float().mean()) < 0.6
    for number in torch.nonzero(touched.flatten(1).any(1))[:, 0].tolist():
        rows, columns = (
            torch.nonzero(touched[number].any(1))[:, 0],
            torch.nonzero(touched[number].any(0))[:, 0],
        )
        inside = made[number, :, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert max(inside.shape[1:]) <= 12
        torch.testing.assert_close(inside, samples[number].mean().expand_as(inside))


def test_shift_moves_frames_and_repeats_the_nearest() -> None:
    samples = some((1, 20, 45), 300)
    made = changed("shift", samples).numpy()
    found = set()
    for before, after in zip(samples.numpy(), made, strict=True):
        offsets = [
            offset
            for offset in range(-4, 5)
            if np.array_equal(
                np.pad(before, ((0, 0), (0, 0), (4, 4)), mode="edge")[..., 4 + offset :][..., :45], after
            )
        ]
        assert len(offsets) == 1
        found.add(offsets[0])
    assert found == set(range(-4, 5))


def test_mask_sets_a_band_of_frames_and_one_of_coefficients_to_their_mean() -> None:
    samples = some((1, 20, 45), 300)
    made = changed("mask", samples)
    mean = samples.mean(3, keepdim=True).expand_as(samples)
    masked = made != samples
    torch.testing.assert_close(made[masked], mean[masked])
    for one in masked[:, 0]:
        rows, columns = torch.nonzero(one.all(1))[:, 0], torch.nonzero(one.all(0))[:, 0]
        assert len(rows) <= 3
        assert len(columns) <= 7
        for band in (rows, columns):
            assert torch.equal(band, torch.arange(len(band)) + (band[0] if len(band) else 0))
        rest = one.clone()
        rest[rows], rest[:, columns] = False, False
        assert not bool(rest.any())


def test_a_delay_moves_a_waveform_and_lets_silence_in() -> None:
    samples = torch.full((200, 1, 1, 160), 0.75)
    samples[:, :, :, 80] = 1.0
    made = changed("delay", samples)[:, 0, 0]
    peaks = made.argmax(1) - 80
    assert set(peaks.tolist()) == set(range(-10, 11))
    for row, moved in zip(made, peaks.tolist(), strict=True):
        quiet = row[:moved] if moved > 0 else row[len(row) + moved :]
        assert bool((quiet == 0.5).all())
        assert int((row == 0.5).sum()) == abs(moved)


def test_loudness_scales_around_silence() -> None:
    samples = torch.full((500, 1, 1, 4), 0.5) + torch.tensor([0.0, 0.1, -0.1, 0.4])
    made = changed("loudness", samples)[:, 0, 0] - 0.5
    factors = made[:, 1] / 0.1
    assert 0.5 <= float(factors.min()) < 0.55
    assert 1.9 < float(factors.max()) <= 2.0
    torch.testing.assert_close(made[:, 2], -made[:, 1])
    torch.testing.assert_close(made[:, 3], (0.4 * factors).clamp_max(0.5))
    assert bool((made[:, 0] == 0).all())
