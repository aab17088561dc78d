"""The benchmark of the audit: known obfuscations, audited as recorded pairs, judged by what they keep."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.signal import wiener

from obfnet.auditing.settings import AuditSettings
from obfnet.bench.audit import AuditBenchmark, bench_audit, known_obfuscations
from obfnet.bench.known import KNOWN, NOISE, noisy, wiener_mse
from obfnet.core.errors import OutputError, UnknownNameError
from obfnet.core.progress import Silent
from obfnet.data.cases import load_case

CHEAP = ("ridge", "pca-neighbour")


def measured(folder: Path, *names: str, **settings: Any) -> dict[str, Any]:
    known = tuple(replace(one, seeds=min(one.seeds, 2)) for one in known_obfuscations(names))
    audit = AuditSettings(budget="quick", attacks=CHEAP, metrics=("mse",), **settings)
    return bench_audit(
        AuditBenchmark(known=known, case="digits", audit=audit),
        work=folder / "work",
        out=folder / "audit.json",
        data_dir=None,
        progress=Silent(),
        command="obfnet bench audit",
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audit")
    measured(folder, "label", "identity", "tenth", "permutation", "noise")
    return folder


def test_what_is_known_comes_out(finished: Path) -> None:
    rows = {row["name"]: row for row in json.loads((finished / "audit.json").read_text())["rows"]}
    assert list(rows) == ["label", "identity", "tenth", "permutation", "noise"]
    assert all(row["met"] for row in rows.values()), rows
    assert [one["seed"] for one in rows["label"]["each"]] == [0, 1]
    assert rows["identity"]["each"][0]["normalised"] == pytest.approx(1, abs=0.02)
    assert set(rows["permutation"]["each"][0]["attacks"]) == set(CHEAP)


def test_an_audit_that_says_otherwise_is_not_as_expected(finished: Path) -> None:
    label, identity = known_obfuscations(["label", "identity"])
    figures = json.loads((finished / "audit.json").read_text())["rows"]
    leaks, hides = figures[1]["each"][0], figures[0]["each"][0]
    assert label.met(hides)
    assert identity.met(leaks)
    assert not label.met(leaks)
    assert not identity.met(hides)


def test_other_rows_stay_and_other_settings_are_refused(finished: Path, tmp_path: Path) -> None:
    (tmp_path / "audit.json").write_text((finished / "audit.json").read_text())
    before = json.loads((tmp_path / "audit.json").read_text())
    after = measured(tmp_path, "shrunk")
    assert [row["name"] for row in after["rows"]] == [*(row["name"] for row in before["rows"]), "shrunk"]
    assert after["rows"][:5] == before["rows"]
    with pytest.raises(OutputError, match="one of seed 0"):
        measured(tmp_path, "shrunk", seed=1)
    (tmp_path / "audit.json").write_text("[]")
    with pytest.raises(OutputError, match="another file"):
        measured(tmp_path, "shrunk")


def test_unknown_names_are_refused_with_the_known_ones() -> None:
    assert known_obfuscations([]) == KNOWN
    with pytest.raises(UnknownNameError, match=r"known: label, constant, identity"):
        known_obfuscations(["moon"])


def test_every_obfuscation_keeps_to_the_range_and_tells_nothing_but_what_it_says() -> None:
    case = load_case("digits")
    raw, labels = np.asarray(case.train.samples[:200], np.float32), case.train.labels[:200]
    for known in KNOWN:
        sent = known.rewrite(raw, labels, np.random.default_rng(0))
        assert sent.min() >= 0, known.name
        assert sent.max() <= 1, known.name
        assert len(sent) == len(raw), known.name
    (label,) = known_obfuscations(["label"])
    one = label.rewrite(raw, labels, np.random.default_rng(0))
    other = label.rewrite(raw[::-1], labels, np.random.default_rng(1))
    np.testing.assert_array_equal(one, other)


def test_the_filter_beats_that_of_scipy_which_knows_no_covariance() -> None:
    case = load_case("digits")
    known, raw = (np.asarray(part.samples[:], np.float32) for part in (case.train, case.test))
    drowned = noisy(raw, case.test.labels, np.random.default_rng(0))
    back = drowned * (1 + 8 * NOISE) - 4 * NOISE
    local = np.stack([wiener(picture[0], (3, 3), noise=NOISE**2) for picture in back])[:, None]
    ours = wiener_mse(raw, drowned, known)
    assert ours < float(((np.clip(local, 0, 1) - raw) ** 2).mean())
    # No estimator gets below nothing, and the mean sample is the worst that it may be.
    assert 0 < ours < float(((known.mean(axis=0) - raw) ** 2).mean())
