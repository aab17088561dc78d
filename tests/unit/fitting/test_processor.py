"""In which arithmetic a forward pass computes, and that it makes no difference that matters."""

import pytest
import torch

from obfnet.fitting import arithmetic
from obfnet.training.recipes import precision_of

CPU = torch.device("cpu")
HAS_IT = bool(torch.cpu.get_capabilities().get("avx512_bf16"))


def product() -> torch.Tensor:
    return torch.full((4, 8), 1 / 3) @ torch.full((8, 2), 1 / 3)


def test_float32_is_float32() -> None:
    with arithmetic("float32", CPU):
        assert product().dtype == torch.float32


@pytest.mark.parametrize("present", [True, False])
def test_bfloat16_is_taken_only_where_the_processor_has_it(
    present: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": present})
    with arithmetic("bfloat16", CPU):
        made = product()
    assert made.dtype == (torch.bfloat16 if present else torch.float32)
    torch.testing.assert_close(made.float(), torch.full((4, 2), 8 / 9), rtol=1e-2, atol=0)


def test_outside_the_block_nothing_changes() -> None:
    with arithmetic("bfloat16", CPU):
        pass
    assert product().dtype == torch.float32


@pytest.mark.skipif(not HAS_IT, reason="this processor has no bfloat16")
def test_gradients_stay_float32_and_point_the_same_way() -> None:
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 36, 4))
    samples = torch.rand(16, 3, 8, 8)
    found = {}
    for precision in ("float32", "bfloat16"):
        network.zero_grad()
        with arithmetic(precision, CPU):
            scores = network(samples)
        scores.float().square().sum().backward()
        found[precision] = torch.cat([parameter.grad.flatten() for parameter in network.parameters()])
        assert found[precision].dtype == torch.float32
    alike = torch.nn.functional.cosine_similarity(found["float32"], found["bfloat16"], dim=0)
    assert float(alike) > 0.999
    assert not torch.equal(found["float32"], found["bfloat16"])


def test_only_the_large_networks_compute_in_bfloat16() -> None:
    assert precision_of("residual") == precision_of("compact") == "bfloat16"
    assert precision_of("cnn") == precision_of("mlp") == precision_of("asl-cnn") == "float32"
