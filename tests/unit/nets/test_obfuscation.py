"""Obfuscation networks: dropout in training alone, replayed from the network's own state; how they start."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn

from obfnet.nets import ObfuscationArchitecture
from obfnet.nets.convolutional_obfuscation import ConvolutionalObfuscation
from obfnet.nets.cost import count_macs
from obfnet.nets.obfuscation import ObfuscationCNN, ObfuscationMLP, ReplayableDropout
from obfnet.nets.signs import SIGN_OBFUSCATION_CNN, SIGN_OBFUSCATION_MLP
from obfnet.nets.speech import SpeechObfuscationCNN

SHAPE = (3, 12, 12)


def built(seed: int, rate: float = 0.4) -> ReplayableDropout:
    torch.manual_seed(seed)
    return ReplayableDropout(rate)


def test_dropout_keeps_the_mean_and_drops_its_share() -> None:
    dropped = built(0)(torch.ones(1000, 100))
    assert (dropped == 0).float().mean() == pytest.approx(0.4, abs=0.01)
    assert dropped.mean() == pytest.approx(1, abs=0.01)
    torch.testing.assert_close(dropped[dropped > 0], torch.full_like(dropped[dropped > 0], 1 / 0.6))


def test_dropout_draws_anew_at_every_call_and_for_every_network() -> None:
    ones, dropout, other = torch.ones(8, 100), built(0), built(1)
    first, second = dropout(ones), dropout(ones)
    assert not torch.equal(first, second)
    assert not torch.equal(first, other(ones))
    # Nor is one network's sequence another's, shifted.
    shares = ((first == 0) == (second == 0)).float().mean()
    assert shares == pytest.approx(0.52, abs=0.08)


def test_dropout_goes_on_where_a_saved_state_was() -> None:
    ones, dropout = torch.ones(8, 100), built(0)
    dropout(ones)
    saved = {name: value.clone() for name, value in dropout.state_dict().items()}
    expected = dropout(ones)
    resumed = built(5)
    resumed.load_state_dict(saved)
    assert torch.equal(resumed(ones), expected)


def test_dropout_leaves_torchs_random_state_to_others() -> None:
    dropout = built(0)
    before = torch.get_rng_state()
    dropout(torch.ones(8, 100))
    assert torch.equal(torch.get_rng_state(), before)


def test_networks_side_by_side_in_threads_draw_as_if_alone() -> None:
    def outputs(workers: int) -> list[Tensor]:
        torch.manual_seed(3)
        networks = [SIGN_OBFUSCATION_CNN(SHAPE, 8) for _ in range(4)]
        raw = torch.rand(16, *SHAPE)
        with ThreadPoolExecutor(workers) as pool, torch.no_grad():
            for _ in range(3):
                answers = list(pool.map(lambda network: network(raw), networks))
        return answers

    for alone, together in zip(outputs(1), outputs(4), strict=True):
        torch.testing.assert_close(alone, together, rtol=0, atol=1e-6)


@pytest.mark.parametrize("network", [ObfuscationMLP, ObfuscationCNN])
def test_networks_for_digits_drop_nothing_and_keep_no_state_of_it(
    network: type[ObfuscationMLP | ObfuscationCNN],
) -> None:
    obfuscation = network(SHAPE, 8)
    raw = torch.rand(4, *SHAPE)
    assert torch.equal(obfuscation.train()(raw), obfuscation.eval()(raw))
    assert not list(obfuscation.buffers())


@pytest.mark.parametrize("build", [SIGN_OBFUSCATION_MLP, SIGN_OBFUSCATION_CNN, SpeechObfuscationCNN])
def test_dropout_is_for_training_only(build: ObfuscationArchitecture) -> None:
    network = build(SHAPE, 8)
    raw = torch.rand(4, *SHAPE)
    assert not torch.equal(network.train()(raw), network(raw))
    assert torch.equal(network.eval()(raw), network(raw))


def test_the_rates_of_dropout_are_the_papers() -> None:
    def rates(network: nn.Module) -> list[float]:
        return [part.rate for part in network.modules() if isinstance(part, ReplayableDropout) and part.rate]

    assert rates(SIGN_OBFUSCATION_MLP(SHAPE, 8)) == [0.4]
    assert rates(SIGN_OBFUSCATION_CNN(SHAPE, 8)) == [0.25, 0.4]
    assert rates(SpeechObfuscationCNN(SHAPE, 8)) == [0.25, 0.15]


@pytest.mark.parametrize(("side", "smooth"), [(192, True), (191, False), (64, False)])
def test_camera_pictures_start_without_a_checkerboard(side: int, smooth: bool) -> None:
    torch.manual_seed(0)
    network = ConvolutionalObfuscation((3, side, side), 4).eval()
    # A camera's picture, averaged already, gives what is made before it is stretched.
    made = network(torch.rand(1, 3, 64, 64))
    # The four pixels of the last shuffle are one.
    blocks = made.unfold(2, 2, 2).unfold(3, 2, 2)
    assert bool((blocks == blocks[..., :1, :1]).all()) == smooth


def test_at_camera_size_half_the_resolution_is_enough() -> None:
    network = ConvolutionalObfuscation((3, 224, 224), 4).eval()
    raw = torch.rand(2, 3, 224, 224)
    averaged = torch.nn.functional.avg_pool2d(raw, 2)
    sent, made = network(raw), network(averaged)
    assert (sent.shape, made.shape) == (raw.shape, averaged.shape)
    assert torch.equal(sent, torch.nn.functional.interpolate(made, size=(224, 224), mode="bilinear"))
    with torch.device("meta"):
        macs = [
            count_macs(ConvolutionalObfuscation((3, side, side), 4), (3, side, side)) for side in (224, 112)
        ]
    assert macs[0] == macs[1]


def test_odd_sides_of_a_camera_are_kept() -> None:
    raw = torch.rand(1, 3, 193, 255)
    assert ConvolutionalObfuscation((3, 193, 255), 4).eval()(raw).shape == raw.shape
