"""Photographs that nobody took: still samples, the same by seed, and other than any that was given."""

from collections.abc import Iterator

import pytest
import torch

from obfnet.training.varied import varied


@pytest.fixture(autouse=True)
def _own_random_state() -> Iterator[None]:
    state = torch.get_rng_state()
    yield
    torch.set_rng_state(state)


def made(samples: torch.Tensor, seed: int = 0) -> torch.Tensor:
    torch.manual_seed(seed)
    return varied(samples)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 40, 24), (3, 112, 112), (4, 7, 9)], ids=str)
@pytest.mark.parametrize("count", [1, 16])
def test_they_are_samples_and_the_seed_decides(shape: tuple[int, ...], count: int) -> None:
    samples = torch.rand(count, *shape, generator=torch.Generator().manual_seed(0))
    before = samples.clone()
    found = made(samples)
    assert (found.shape, found.dtype) == (samples.shape, torch.float32)
    assert 0 <= float(found.min()) <= float(found.max()) <= 1
    assert torch.equal(found, made(samples))
    assert not torch.equal(found, made(samples, seed=1))
    assert torch.equal(samples, before)


def test_some_stay_some_are_recoloured_and_some_have_another_on_a_part() -> None:
    # A red picture among blue ones: what is of another colour than red comes from elsewhere.
    samples = torch.zeros(600, 3, 16, 16)
    samples[:, 2] = 0.8
    samples[::2, 2], samples[::2, 0] = 0.0, 0.8
    found = made(samples)
    same = (found - samples).abs().amax((1, 2, 3)) < 1e-6
    # 35 of 100 have no second one, and half of these their colours.
    assert 0.12 < float(same.float().mean()) < 0.24
    flat = (found.amax((2, 3)) - found.amin((2, 3))).amax(1) < 1e-3
    assert 0.4 < float(flat.float().mean()) < 0.9
    # Masks leave a part of the first as it was, and of the second.
    parts = (~flat).nonzero().flatten()
    kept = (found - samples).abs().amax(1)[parts]
    assert float(((kept.amin((1, 2)) < 0.1) & (kept.amax((1, 2)) > 0.3)).float().mean()) > 0.2
