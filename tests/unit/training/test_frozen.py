"""What training sees of the frozen inference network."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from obfnet.core.errors import UsageError
from obfnet.core.spec import InputSpec
from obfnet.export import inference_onnx
from obfnet.models.onnx_network import OnnxNetwork
from obfnet.nets.residual import ResidualNetwork
from obfnet.training.coded import Coded
from obfnet.training.frozen import FrozenNetwork
from obfnet.training.protections import Batch, Purpose

SHAPE = (3, 32, 32)


def network() -> nn.Module:
    torch.manual_seed(0)
    built = ResidualNetwork(SHAPE, 5, widths=(4, 8, 8)).eval()
    for value in built.parameters():
        value.requires_grad_(False)
    return built


def frozen_of(asked: nn.Module, *, integer: bool = False) -> FrozenNetwork:
    return FrozenNetwork(asked, SHAPE, integer=integer, precision="float32", place=torch.device("cpu"))


def test_features_are_layers_of_three_depths_with_gradients() -> None:
    asked, raw = network(), torch.rand(6, *SHAPE, requires_grad=True)
    with frozen_of(asked) as frozen:
        scores, features = frozen.seen(raw)
        assert torch.equal(scores, frozen(raw))
    assert [feature.shape[1] for feature in features] == [4, 8, 8]
    assert features[0].shape[2] > features[1].shape[2] > features[2].shape[2]
    sum(feature.square().mean() for feature in features).backward()
    assert raw.grad is not None
    assert raw.grad.abs().max() > 0
    assert not any(layer._forward_hooks for layer in asked.modules())


def test_the_first_layer_is_a_feature_where_it_is_asked_for() -> None:
    asked, raw, place = network(), torch.rand(2, *SHAPE), torch.device("cpu")
    with frozen_of(asked) as frozen:
        others = frozen.seen(raw)[1]
    with FrozenNetwork(asked, SHAPE, integer=False, precision="float32", place=place, first=True) as frozen:
        features = frozen.seen(raw)[1]
    first = next(layer for layer in asked.modules() if layer is not asked and not list(layer.children()))
    torch.testing.assert_close(features[0], first(raw.contiguous(memory_format=torch.channels_last)))
    assert len(features) == 4
    for have, want in zip(features[1:], others, strict=True):
        torch.testing.assert_close(have, want)


def test_a_layer_that_works_in_place_does_not_change_what_was_seen() -> None:
    layers = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(4, 2),
    )
    raw, place = torch.rand(2, 3, 96, 96, requires_grad=True), torch.device("cpu")
    with FrozenNetwork(
        layers.eval(), (3, 96, 96), integer=False, precision="float32", place=place, first=True
    ) as frozen:
        features = frozen.seen(raw)[1]
    torch.testing.assert_close(features[0], functional.avg_pool2d(layers[0](raw), 2, ceil_mode=True))
    sum(feature.square().mean() for feature in features).backward()
    assert raw.grad is not None


def test_large_maps_are_held_at_a_fraction_of_their_size() -> None:
    large = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    )
    raw = torch.rand(2, 3, 150, 200)
    place = torch.device("cpu")
    with FrozenNetwork(
        large.eval(), (3, 150, 200), integer=False, precision="float32", place=place
    ) as frozen:
        first, *_ = frozen.seen(raw)[1]
    torch.testing.assert_close(first, functional.avg_pool2d(large[0](raw), 4, ceil_mode=True))


def test_threads_do_not_see_each_others_features() -> None:
    with frozen_of(network()) as frozen:
        samples = [torch.full((2, *SHAPE), value / 8) for value in range(8)]
        alone = [frozen.seen(sample)[1] for sample in samples]
        with ThreadPoolExecutor(4) as threads:
            together = list(threads.map(lambda sample: frozen.seen(sample)[1], samples * 3))
    for place, features in enumerate(together):
        assert len(features) == 3
        for have, want in zip(features, alone[place % 8], strict=True):
            torch.testing.assert_close(have, want)


def test_a_large_batch_is_asked_in_parts_and_gives_the_same_gradients() -> None:
    asked, raw = network(), torch.rand(7, *SHAPE)
    whole, parted = raw.clone().requires_grad_(), raw.clone().requires_grad_()
    with frozen_of(asked) as frozen:
        assert frozen.at_once > 1_000
        scores, features = frozen.seen(whole)
        (scores.square().sum() + sum(feature.square().sum() for feature in features)).backward()
        room = 3 * frozen.sample_bytes
    place = torch.device("cpu")
    with FrozenNetwork(
        asked, SHAPE, integer=False, precision="float32", place=place, room_bytes=room
    ) as frozen:
        assert frozen.at_once == 3
        again, found = frozen.seen(parted)
        (again.square().sum() + sum(feature.square().sum() for feature in found)).backward()
        with torch.no_grad():
            torch.testing.assert_close(frozen(raw), scores)
    torch.testing.assert_close(again, scores)
    for have, want in zip(found, features, strict=True):
        torch.testing.assert_close(have, want)
    torch.testing.assert_close(parted.grad, whole.grad)


def test_what_a_pass_keeps_is_counted() -> None:
    # By hand: what each convolution gets, 4 bytes a value; a ReLU's output is what the next one gets.
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 1), nn.Flatten())
    with frozen_of(layers.eval().requires_grad_(False)) as frozen:
        assert frozen.sample_bytes == 4 * (3 + 8) * 32 * 32


def test_an_onnx_file_shows_its_layers_too() -> None:
    asked = network()
    spec = InputSpec(shape=SHAPE, dtype="float32", low=0, high=1.0, layout="CHW", preprocessing="none")
    exported, raw = OnnxNetwork(inference_onnx(asked, spec)), torch.rand(2, *SHAPE)
    with frozen_of(exported) as frozen:
        scores, features = frozen.seen(raw)
    torch.testing.assert_close(scores, asked(raw).softmax(1))
    assert len(features) == 3
    assert features[0].shape[2] > features[2].shape[2]


def test_a_function_without_layers_has_scores_alone() -> None:
    class Sums(nn.Module):
        def forward(self, samples: Tensor) -> Tensor:
            return functional.relu(samples.mean((2, 3)))

    with frozen_of(Sums()) as frozen:
        scores, features = frozen.seen(torch.rand(4, *SHAPE))
    assert scores.shape == (4, 3)
    assert features == []
    protection = Coded(256)
    built = protection.build(Purpose(shape=SHAPE, architecture="conv", hidden=24, classes=3))
    batch = Batch(raw=torch.rand(4, *SHAPE), labels=torch.zeros(4).long())
    with frozen_of(Sums()) as frozen, pytest.raises(UsageError, match="made of layers"):
        protection.outcome(built, frozen, batch)


def test_integers_are_rounded_as_on_the_wire_with_a_gradient() -> None:
    class Whole(nn.Module):
        def forward(self, samples: Tensor) -> Tensor:
            return samples.flatten(1)

    raw = torch.full((1, *SHAPE), 0.5, requires_grad=True)
    with frozen_of(Whole(), integer=True) as frozen:
        sent = frozen(raw)
    assert sent.detach().unique().tolist() == pytest.approx([128 / 255])
    sent.sum().backward()
    assert raw.grad is not None
    assert (raw.grad == 1).all()


def test_a_code_that_is_laid_out_learns_what_the_network_sees_without_labels() -> None:
    asked = network()
    torch.manual_seed(1)
    protection = Coded(256)
    built = protection.build(Purpose(shape=SHAPE, architecture="conv", hidden=24, classes=5)).train()
    optimiser = torch.optim.Adam(built.parameters(), lr=5e-3)
    batch = Batch(
        raw=torch.rand(16, 3, 4, 4).repeat_interleave(8, 2).repeat_interleave(8, 3),
        labels=torch.zeros(16).long(),
    )
    losses = []
    with frozen_of(asked) as frozen:
        for _ in range(60):
            outcome = protection.outcome(built, frozen, batch)
            optimiser.zero_grad()
            outcome.loss.backward()
            optimiser.step()
            losses.append(outcome.loss.item())
    assert outcome.seen.shape == (16, 256)
    assert losses[-1] < 0.7 * losses[0]
    assert all(value.grad is None for value in asked.parameters())
