"""Every classifier of the table goes through `protect`: a pool, or a refusal that names the operator."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch

from obfnet import load_case, protect, verify
from obfnet.core.errors import ModelError
from obfnet.models.onnx_network import OnnxNetwork
from obfnet.models.source import open_model
from obfnet.models.view import are_probabilities
from obfnet.protecting.settings import ProtectSettings
from tests.classifiers.make_torch import convolutional, trained
from tests.classifiers.table import CLASSIFIERS, FOLDER, Classifier
from tests.classifiers.three_forms import forms_of, greatest_difference, input_gradient

QUICK = ProtectSettings(bits=16, count=1, epochs=8, attacks=("ridge",))
# Of ten classes chance is 0.1; a longer training gets to what `results/protect-onnx.json` says.
CLEARLY_MORE_THAN_CHANCE = 0.4
PROTECTED = [row for row in CLASSIFIERS if not row.refused]
REFUSED = [row for row in CLASSIFIERS if row.refused]


def test_the_table_has_every_file_and_what_the_files_are() -> None:
    assert {row.path for row in CLASSIFIERS} == set(FOLDER.glob("*.onnx"))
    assert len(PROTECTED) >= 8
    assert len({row.exporter for row in CLASSIFIERS}) >= 8
    assert sum(row.path.stat().st_size for row in CLASSIFIERS) < 1_500_000


@pytest.mark.parametrize("row", CLASSIFIERS, ids=str)
def test_each_is_a_classifier_of_digits(row: Classifier) -> None:
    test = load_case("digits").test
    assert (row.outside_scores(test.samples[:]).argmax(1) == test.labels).mean() > 0.9


@pytest.mark.parametrize("row", PROTECTED, ids=str)
def test_its_scores_are_those_of_onnx_runtime_and_have_a_gradient(row: Classifier) -> None:
    raw = load_case("digits").test.samples[:]
    network = open_model(row.path).module
    given = torch.from_numpy(np.ascontiguousarray(row.wire(raw))).requires_grad_()
    scores = network(given)
    np.testing.assert_allclose(scores.detach().numpy(), row.outside_scores(raw), rtol=1e-4, atol=5e-5)
    chosen = scores.clamp_min(1e-12).log() if are_probabilities(scores) else scores.log_softmax(1)
    chosen.amax(1).sum().backward()
    assert given.grad is not None
    assert bool(torch.isfinite(given.grad).all())
    assert float((given.grad.flatten(1).abs().amax(1) > 0).float().mean()) > 0.5


@pytest.mark.parametrize("row", PROTECTED, ids=str)
def test_it_is_protected_from_the_file_to_the_pool(row: Classifier, tmp_path: Path) -> None:
    made = protect(row.path, "digits", out=tmp_path / "pool", settings=QUICK)
    accuracy = made.figures["accuracy"]
    assert made.figures["model"]["source"] == "onnx"
    assert f"range {row.low:g},{row.high:g}" in made.figures["model"]["worked_out"][0]
    assert accuracy["raw"] > 0.9
    assert accuracy["obfuscated"] > CLEARLY_MORE_THAN_CHANCE
    steps = {check.step: check.made for check in verify(made.folder).checks}
    assert steps["budget-exact"]


@pytest.mark.parametrize("row", REFUSED, ids=str)
def test_the_refusal_names_the_operator_and_its_node(row: Classifier, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=re.escape(row.refused)):
        protect(row.path, "digits", out=tmp_path / "pool", settings=QUICK)
    assert not (tmp_path / "pool").exists()


def test_the_quantised_one_runs_all_the_same() -> None:
    (row,) = (one for one in REFUSED if one.name.startswith("quantised"))
    raw = load_case("digits").test.samples[:]
    scores = OnnxNetwork(row.path.read_bytes())(torch.from_numpy(row.wire(raw)))
    np.testing.assert_allclose(scores.numpy(), row.outside_scores(raw), rtol=1e-4, atol=5e-5)


def test_gradients_of_three_forms_are_those_of_torch(tmp_path: Path) -> None:
    test = load_case("digits").test
    torch.manual_seed(0)
    forms = forms_of(trained(convolutional(), epochs=2), tmp_path)
    torchs = input_gradient(forms["nn.Module"], test.samples[:], test.labels)
    for name in ("torch.export", "ONNX"):
        found = input_gradient(forms[name], test.samples[:], test.labels)
        assert greatest_difference(found, torchs) < 1e-4
