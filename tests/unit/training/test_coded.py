"""The protection `coded`: words, exact generation, a pool that proves its budget, and what it refuses."""

import itertools
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from obfnet.bundle.chance_cut import check_budget
from obfnet.bundle.exact import check_exact
from obfnet.core.errors import UsageError
from obfnet.core.spec import InputSpec
from obfnet.export import obfuscation_onnx
from obfnet.nets.coded import CodedObfuscation, ExactGenerator
from obfnet.nets.coded_encoders import WordEncoder, coded_encoder
from obfnet.nets.convolutional_obfuscation import ConvolutionalObfuscation
from obfnet.nets.cost import count_macs, count_parameters
from obfnet.nets.obfuscation import ObfuscationMLP
from obfnet.training.coded import Coded, class_words
from obfnet.training.protections import Purpose


def spec_of(shape: tuple[int, int, int], dtype: str = "float32") -> InputSpec:
    high = 255 if dtype == "uint8" else 1.0
    return InputSpec(shape=shape, dtype=dtype, low=0, high=high, layout="CHW", preprocessing="none")


def network_of(shape: tuple[int, int, int], bits: int, architecture: str = "mlp") -> CodedObfuscation:
    torch.manual_seed(0)
    network = Coded(bits).build(Purpose(shape=shape, architecture=architecture, hidden=32, classes=10))
    assert isinstance(network, CodedObfuscation)
    # Trained weights are larger than fresh ones.
    for layer in (network.generator.hidden, network.generator.values):
        nn.init.normal_(layer.weight, std=0.5)
    return network.eval()


def test_words_differ_and_are_as_far_apart_as_the_length_allows() -> None:
    torch.manual_seed(0)
    for bits, least in ((4, 1), (8, 3), (16, 6), (64, 26)):
        words = class_words(10, bits)
        assert words.shape == (10, bits)
        assert set(words.unique().tolist()) <= {0.0, 1.0}
        distances = [int((a != b).sum()) for a, b in itertools.combinations(words, 2)]
        assert min(distances) >= least


def test_too_few_bits_for_the_classes_still_give_words() -> None:
    assert class_words(10, 2).shape == (10, 2)


@pytest.mark.parametrize("dtype", ["float32", "uint8"])
@pytest.mark.parametrize(
    ("shape", "bits", "architecture"),
    [
        ((1, 8, 8), 1, "mlp"),
        ((1, 28, 28), 16, "mlp"),
        ((1, 28, 28), 12, "cnn"),
        ((3, 64, 64), 64, "conv"),
        ((1, 20, 45), 8, "mlp"),
        ((3, 33, 47), 20, "mlp"),
        # Laid out: 8x8 cells of 4 bits, 16x16 of 2.
        ((3, 32, 32), 256, "conv"),
        ((3, 64, 64), 512, "conv"),
    ],
)
def test_the_exported_graph_proves_its_budget(
    shape: tuple[int, int, int], bits: int, architecture: str, dtype: str
) -> None:
    spec = spec_of(shape, dtype)
    graph = obfuscation_onnx(network_of(shape, bits, architecture), spec)
    cut = check_budget(graph, spec, bits)
    assert cut.bits == bits
    check_exact(graph, cut)


def test_every_code_gives_the_same_bytes_in_any_batch_and_by_any_engine() -> None:
    bits = 12
    network = network_of((1, 8, 8), bits)
    codes = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=bits)))
    with torch.no_grad():
        whole = network.generator(network.code(codes)).numpy()
        assert whole.min() >= 0
        assert whole.max() <= 1
        for size in (1, 7, 64, 1000):
            parts = [network.generator(network.code(some)).numpy() for some in codes[:2000].split(size)]
            assert np.concatenate(parts).tobytes() == whole[:2000].tobytes()
        shuffled = torch.randperm(len(codes))
        assert (
            network.generator(network.code(codes[shuffled])).numpy().tobytes()
            == whole[shuffled.numpy()].tobytes()
        )
    # In double precision nothing is rounded for certain.
    with torch.no_grad():
        exact = network.generator.double()(codes.double()).numpy()
    assert (exact == whole).all()


def test_the_engine_of_a_device_gives_as_many_outputs_as_codes_and_no_more() -> None:
    network, spec = network_of((1, 8, 8), 3), spec_of((1, 8, 8))
    session = onnxruntime.InferenceSession(obfuscation_onnx(network, spec))
    raw = np.random.default_rng(0).random((3_000, 1, 8, 8), dtype=np.float32)
    sent = {session.run(None, {"input": raw[at : at + 1]})[0].tobytes() for at in range(200)}
    for size in (7, 3_000):
        whole = np.concatenate(
            [session.run(None, {"input": raw[at : at + size]})[0] for at in range(0, len(raw), size)]
        )
        sent |= {one.tobytes() for one in whole}
    assert 1 < len(sent) <= 2**3


def test_a_code_that_is_laid_out_gives_the_same_bytes_in_any_batch_and_by_any_engine() -> None:
    shape, bits = (3, 32, 32), 256
    network = network_of(shape, bits, "conv")
    codes = torch.randint(2, (300, bits), generator=torch.Generator().manual_seed(0)).float() * 2 - 1
    with torch.no_grad():
        whole = network.generator(codes).numpy()
        for size in (1, 7, 100):
            parts = [network.generator(some).numpy() for some in codes.split(size)]
            assert np.concatenate(parts).tobytes() == whole.tobytes()
        exact = network.generator.double()(codes.double()).numpy()
    assert (exact == whole).all()
    assert 0 <= whole.min() < whole.max() <= 1


@pytest.mark.parametrize(("shape", "bits"), [((3, 32, 32), 256), ((3, 32, 32), 1_024), ((3, 64, 64), 2_048)])
def test_a_code_that_is_laid_out_costs_no_more_than_the_published_network(
    shape: tuple[int, int, int], bits: int
) -> None:
    torch.manual_seed(0)
    coded = Coded(bits).build(Purpose(shape=shape, architecture="conv", hidden=24, classes=10))
    published = ConvolutionalObfuscation(shape, 24)
    assert count_macs(coded, shape) <= count_macs(published, shape)
    with pytest.raises(UsageError, match="choose architecture conv, or fewer bits"):
        Coded(bits).build(Purpose(shape=shape, architecture="conv", hidden=1, classes=10))


def test_at_camera_size_a_code_may_cost_what_the_published_network_would_at_full_resolution() -> None:
    shape = (3, 192, 192)
    published = count_macs(ConvolutionalObfuscation(shape, 12), shape)
    for bits in (64, 2_304):
        coded = Coded(bits).build(Purpose(shape=shape, architecture="conv", hidden=12, classes=10))
        assert published < count_macs(coded, shape) <= 4 * published


def test_each_bit_of_a_code_that_is_laid_out_shows_near_its_place() -> None:
    shape, bits = (3, 32, 32), 256
    network = network_of(shape, bits, "conv")
    codes = -torch.ones(2, bits)
    codes[1, 8 * 3 + 5] = 1.0
    with torch.no_grad():
        first, other = network.generator(codes)
    rows, columns = torch.where((first != other).any(0))
    assert len(rows) > 0
    assert 8 <= rows.min() <= rows.max() < 20
    assert 16 <= columns.min() <= columns.max() < 28


@pytest.mark.parametrize(
    ("shape", "bits", "words"),
    [
        ((3, 32, 32), 300, "a multiple of 64 bits.*--bits 256 or 320"),
        ((1, 28, 28), 1_024, "at most 256 bits for protection coded.*not 1x28x28"),
        ((3, 30, 30), 1_024, "at most 256 bits for protection coded.*not 3x30x30"),
    ],
)
def test_codes_that_cannot_be_laid_out_are_refused(
    shape: tuple[int, int, int], bits: int, words: str
) -> None:
    with pytest.raises(UsageError, match=f"(?s){words}"):
        Coded(bits).build(Purpose(shape=shape, architecture="conv", hidden=24, classes=10))


def test_a_coded_network_costs_no_more_than_the_published_one() -> None:
    shape = (1, 28, 28)
    published = ObfuscationMLP(shape, 100)
    for bits in (4, 8, 16):
        coded = Coded(bits).build(Purpose(shape=shape, architecture="mlp", hidden=100, classes=10))
        assert count_macs(coded, shape) <= count_macs(published, shape)
        assert count_parameters(coded) <= count_parameters(published)


def test_gradients_go_straight_through_the_sign_and_the_rounding() -> None:
    network = network_of((1, 8, 8), 6).train()
    raw = torch.rand(16, 1, 8, 8)
    network(raw).square().mean().backward()
    for part in (network.encoder, network.generator):
        assert all(value.grad is not None and value.grad.abs().max() > 0 for value in part.parameters())


@pytest.mark.parametrize("bits", [None, 0, -1, 4_097])
def test_impossible_budgets_are_refused(bits: int | None) -> None:
    with pytest.raises(UsageError, match="a code of 1 to 4096 bits for protection coded"):
        Coded(bits)


def test_a_published_network_too_cheap_for_any_encoder_is_refused() -> None:
    with pytest.raises(UsageError, match="raise --hidden"):
        coded_encoder("conv", (3, 32, 32), 1, class_words(10, 8), generator=ExactGenerator((3, 32, 32), 8))


def test_a_pool_is_trained_proved_and_read_back(tmp_path: Path) -> None:
    from obfnet.bundle import Trust, load_or_create_coordinator_key, public_key_text, read_pool
    from obfnet.data.cases import load_case
    from obfnet.fitting import Schedule
    from obfnet.training.inference import train_inference
    from obfnet.training.obfuscation import PoolSettings, train_obfuscation

    dataset, key = load_case("digits"), load_or_create_coordinator_key(tmp_path / "key")
    inference = train_inference(
        dataset, out=tmp_path / "inference", architecture="mlp", schedule=Schedule(epochs=20), place="cpu"
    )
    settings = PoolSettings(
        architecture="mlp", protection="coded", bits=8, count=2, schedule=Schedule(epochs=15)
    )
    pool = train_obfuscation(
        dataset, inference, out=tmp_path / "pool", key=key, settings=settings, place="cpu"
    )
    assert min(pool.validation_accuracy) > 0.7
    read = read_pool(pool.folder, trust=Trust(explicit=(public_key_text(key),)))
    assert [bundle.manifest.budget_bits for bundle in read.bundles] == [8.0, 8.0]
    assert [bundle.manifest.protection for bundle in read.bundles] == ["coded", "coded"]


def test_too_few_bits_are_said_with_the_best_accuracy_there_can_be() -> None:
    labels = np.array([0] * 50 + [1] * 30 + [2] * 15 + [3] * 5)
    warning = Coded(1).warning(4, labels)
    assert warning is not None
    assert "1 bits name 2 of 4 classes" in warning
    assert "80.0%" in warning
    assert "2 bits name them all" in warning
    assert Coded(2).warning(4, labels) is None


def test_a_code_that_collapsed_is_a_fault() -> None:
    network, protection = network_of((1, 28, 28), 8), Coded(8)
    raw = torch.rand(500, 1, 28, 28)
    last = [part for part in network.encoder.modules() if isinstance(part, nn.Linear)][-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(1.0)
    fault = protection.fault(network, raw, 10)
    assert fault is not None
    assert "1 in use for 10 classes" in fault
    with torch.no_grad():
        nn.init.normal_(last.weight, std=10.0)
        last.bias.zero_()
    assert protection.fault(network, torch.rand(500, 1, 28, 28) ** 4 * torch.rand(500, 1, 1, 1), 2) is None


def test_a_collapsed_network_is_trained_anew_and_never_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from obfnet.bundle import load_or_create_coordinator_key
    from obfnet.core.errors import TrainingError
    from obfnet.data.cases import load_case
    from obfnet.fitting import Schedule
    from obfnet.training.inference import train_inference
    from obfnet.training.obfuscation import PoolSettings, train_obfuscation

    dataset, key = load_case("digits"), load_or_create_coordinator_key(tmp_path / "key")
    inference = train_inference(
        dataset, out=tmp_path / "inference", architecture="mlp", schedule=Schedule(epochs=2), place="cpu"
    )
    settings = PoolSettings(
        architecture="mlp", protection="coded", bits=8, count=2, schedule=Schedule(epochs=2)
    )
    seen: list[nn.Module] = []

    def fault(self: Coded, network: nn.Module, raw: torch.Tensor, classes: int) -> str | None:
        seen.append(network)
        return "a code that collapsed" if len(seen) in wrong else None

    monkeypatch.setattr(Coded, "fault", fault)
    wrong = {1}
    pool = train_obfuscation(
        dataset, inference, out=tmp_path / "pool", key=key, settings=settings, place="cpu"
    )
    # The second network is kept; the first is trained once more, from other weights.
    assert len(seen) == 3
    assert len(pool.validation_accuracy) == 2
    first, again = (next(network.parameters()) for network in (seen[0], seen[2]))
    assert not torch.equal(first, again)
    wrong, seen[:] = set(range(1, 100)), []
    with pytest.raises(TrainingError, match="a code that collapsed, 3 times"):
        train_obfuscation(dataset, inference, out=tmp_path / "other", key=key, settings=settings, place="cpu")
    assert not list((tmp_path / "other").glob("*.obf*"))
    assert not (tmp_path / "other" / "pool.json").exists()


def test_a_code_is_a_word_wherever_one_class_outweighs_the_others() -> None:
    torch.manual_seed(0)
    words = class_words(10, 16)
    encoder = WordEncoder(nn.Flatten(), words)
    scores = torch.randn(200, 10, 1, 1) * 3
    sure = scores.flatten(1).softmax(1).max(1)
    codes = (encoder(scores) > 0).float()
    assert 20 < int((sure.values > 0.5).sum()) < 180
    assert torch.equal(codes[sure.values > 0.5], words[sure.indices[sure.values > 0.5]])
