import copy
import json
import resource
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from obfnet import InputSpec, load_case, load_pool, protect, verify
from obfnet.core.errors import DataError, ModelError, OutputError, UsageError
from obfnet.core.spec import as_unit
from obfnet.edge import ObfuscationSession
from obfnet.models.source import open_model, state_hash
from obfnet.models.view import ModelView
from obfnet.models.wishes import Wishes
from obfnet.protecting.run import Protected
from obfnet.protecting.settings import ProtectSettings

QUICK = ProtectSettings(bits=8, count=1, epochs=12, attacks=("ridge", "code-lookup"))


@pytest.fixture(scope="module")
def somebodys(digits_model: nn.Module) -> nn.Module:
    """A model in training mode, of which one bias is not trained."""
    model = copy.deepcopy(digits_model).train()
    model[6].bias.requires_grad_(False)
    return model


@pytest.fixture(scope="module")
def made(somebodys: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Protected:
    return protect(somebodys, "digits", out=tmp_path_factory.mktemp("protect") / "pool", settings=QUICK)


def test_it_works_out_the_range_and_keeps_most_of_the_accuracy(made: Protected) -> None:
    right = made.figures["accuracy"]
    assert right["raw"] > 0.95
    # Eight bits and a short training: 0.88 to 0.95 by machine; ten classes, so chance is 0.1.
    assert right["obfuscated"] > right["raw"] - 0.2
    # The rival on the device trains as long; with the case's own four passes it stays below 0.8.
    assert right["device_only"] > 0.85
    assert any("range -1,1" in note for note in made.figures["model"]["worked_out"])


def test_the_result_has_the_keys_of_the_contract(made: Protected) -> None:
    written = json.loads((made.folder / "result.json").read_text())
    assert written == made.figures
    assert written["budget_bits"] == 8.0
    assert written["model"]["classes"] == [str(digit) for digit in range(10)]
    for path in (
        *(
            "accuracy.raw",
            "accuracy.obfuscated",
            "accuracy.device_only",
            "leakage.ssim",
            "leakage.floor_ssim",
            "leakage.closest_attack",
            "leakage.closest_ssim",
            "leakage.closest_leakage",
        ),
        *("leakage.attack", "obfuscation.parameters", "obfuscation.macs", "obfuscation.latency_us"),
        *("request_bytes.raw", "request_bytes.obfuscated", "seconds.total", "versions", "seed"),
    ):
        value = written
        for key in path.split("."):
            value = value[key]
        assert value is not None
    assert (made.folder / "audit.json").exists()
    assert "Whether labels survive" in (made.folder / "report.html").read_text()


def test_memory_is_measured(made: Protected) -> None:
    # The network alone is a tenth of a megabyte; with the session of ONNX Runtime some more.
    assert 2**16 < made.figures["obfuscation"]["resident_bytes"] < 30 * 2**20
    # Of this very process, until then: what the system itself counts is as much by now.
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    assert 0.2 * most < made.figures["training_peak_bytes"] <= 1.01 * most


@pytest.mark.parametrize(
    ("left", "peak"), [('{"training_peak_bytes": 123}', 123), ("{}", None), ("[]", None), ("", None)]
)
def test_a_pool_that_is_there_keeps_what_its_training_took(
    somebodys: nn.Module, made: Protected, tmp_path: Path, left: str, peak: int | None
) -> None:
    folder = Path(shutil.copytree(made.folder, tmp_path / "pool"))
    (folder / "result.json").write_text(left)
    again = protect(somebodys, "digits", out=folder, settings=QUICK)
    assert again.figures["training_peak_bytes"] == peak
    assert [one.figures["pool_reused"] for one in (made, again)] == [False, True]
    assert again.figures["accuracy"] == made.figures["accuracy"]


def test_its_budget_is_proved_and_its_requests_are_the_models_own(made: Protected) -> None:
    steps = {check.step: check.made for check in verify(made.folder).checks}
    assert steps["budget-cut"]
    assert steps["budget-exact"]
    bundle = load_pool(made.folder).bundles[0]
    assert (bundle.input.low, bundle.input.high, bundle.input.dtype) == (-1.0, 1.0, "float32")
    raw = bundle.input.to_wire(as_unit(load_case("digits").test.samples[:50]))
    sent = ObfuscationSession(bundle).obfuscate(raw)
    bundle.input.check(sent)
    assert len(np.unique(sent.reshape(50, -1), axis=0)) <= 2**8


def test_the_model_is_given_back_as_it_came(
    made: Protected, somebodys: nn.Module, digits_model: nn.Module
) -> None:
    assert state_hash(somebodys) == state_hash(digits_model)
    assert somebodys.training
    assert [parameter.requires_grad for parameter in somebodys.parameters()] == [True] * 5 + [False]
    assert all(parameter.grad is None for parameter in somebodys.parameters())


def test_without_labels_the_figure_is_agreement(digits_model: nn.Module, tmp_path: Path) -> None:
    settings = replace(QUICK, labels=False, attacks=("ridge",))
    out, wishes = tmp_path / "pool", Wishes(range="-1,1")
    made = protect(digits_model, "digits", out=out, settings=settings, wishes=wishes)
    assert made.figures["measured_as"] == "agreement with the model"
    assert made.figures["accuracy"]["raw"] == 1.0
    assert made.figures["accuracy"]["obfuscated"] > 0.85
    assert "agreement with the model" in made.report
    # Which output is which class nobody checked.
    assert made.figures["model"]["classes"] is None


def test_arrays_need_labels_or_to_do_without(digits_model: nn.Module, tmp_path: Path) -> None:
    samples = as_unit(load_case("digits").train.samples[:])
    with pytest.raises(UsageError, match="labels=False"):
        protect(digits_model, samples, out=tmp_path / "pool")
    with pytest.raises(DataError, match="at least 40 samples"):
        protect(digits_model, (samples[:9], np.arange(9)), out=tmp_path / "pool")
    assert not (tmp_path / "pool").exists()


def test_agreement_is_that_of_its_own_answers(made: Protected, digits_model: nn.Module) -> None:
    raw = load_case("digits").test.samples
    pool, asked, model = load_pool(made.folder), as_unit(raw) * 2 - 1, copy.deepcopy(digits_model).eval()
    with torch.no_grad():
        of_raw = model(torch.from_numpy(asked)).argmax(dim=1).numpy()
        of_sent = [
            model(torch.from_numpy(ObfuscationSession(bundle).obfuscate(asked))).argmax(dim=1).numpy()
            for bundle in pool.bundles
        ]
    same = np.mean([(answer == of_raw).mean() for answer in of_sent])
    assert made.figures["accuracy"]["agreement"] == pytest.approx(same, abs=1e-9)


def test_a_pool_is_saved_once(made: Protected, tmp_path: Path) -> None:
    made.save(tmp_path / "copy")
    assert verify(tmp_path / "copy").bundles[0].budget_bits == 8.0
    with pytest.raises(OutputError, match="not there yet"):
        made.save(tmp_path / "copy")


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_one_model_from_three_sources_has_the_same_scores_and_gradients(
    digits_model: nn.Module, tmp_path: Path
) -> None:
    model = copy.deepcopy(digits_model).eval()
    example, free = torch.zeros(2, 1, 8, 8), ({0: torch.export.Dim("N", min=1)},)
    torch.export.save(torch.export.export(model, (example,), dynamic_shapes=free), tmp_path / "model.pt2")
    torch.onnx.export(
        model, (example,), tmp_path / "model.onnx", dynamo=True, dynamic_shapes=free, verbose=False
    )
    spec = InputSpec(
        shape=(1, 8, 8), dtype="float32", low=-1.0, high=1.0, layout="CHW", preprocessing="scaled"
    )
    raw = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    found = []
    for source in (model, tmp_path / "model.pt2", tmp_path / "model.onnx"):
        opened, given = open_model(source), raw.clone().requires_grad_()
        scores = ModelView(opened.module, spec)(given)
        scores.logsumexp(1).sum().backward()
        found.append((scores.detach(), given.grad))
    for scores, gradient in found[1:]:
        assert torch.allclose(scores, found[0][0], atol=1e-4)
        assert torch.allclose(gradient, found[0][1], atol=1e-4)


def test_classes_that_leave_one_out_are_refused(digits_model: nn.Module, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="every class of the samples in --classes"):
        protect(digits_model, "digits", out=tmp_path / "pool", settings=ProtectSettings(classes=("0", "1")))
    assert not (tmp_path / "pool").exists()


def test_arrays_of_another_size_are_refused(digits_model: nn.Module, tmp_path: Path) -> None:
    arrays = (np.zeros((60, 8, 8), np.uint8), np.arange(60) % 10)
    with pytest.raises(ModelError, match="samples of 1x9x9"):
        protect(digits_model, arrays, out=tmp_path / "pool", settings=QUICK, wishes=Wishes(shape=(1, 9, 9)))


def test_a_cases_pictures_are_brought_to_the_models_size(digits_model: nn.Module, tmp_path: Path) -> None:
    larger = nn.Sequential(nn.AvgPool2d(2), digits_model)
    made = protect(larger, "digits", out=tmp_path / "pool", settings=QUICK, wishes=Wishes(shape=(1, 16, 16)))
    assert made.figures["accuracy"]["raw"] > 0.9
    assert load_pool(tmp_path / "pool").bundles[0].input.unit_shape == (1, 16, 16)


def test_what_is_refused_leaves_no_folder(
    digits_model: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    for settings in (replace(QUICK, protection="prayer"), replace(QUICK, attacks=("nobody",))):
        with pytest.raises(UsageError):
            protect(digits_model, "digits", settings=settings)
    assert list(tmp_path.iterdir()) == []
