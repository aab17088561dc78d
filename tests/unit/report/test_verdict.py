from typing import Any

import pytest

from obfnet.report.verdict import compare_with_device_only, judge


@pytest.mark.parametrize(
    ("normalised", "grade", "words"),
    [
        (0.86, "high", "As published, the obfuscation hides almost nothing"),
        (0.51, "high", "As published, the obfuscation hides little"),
        (0.49, "middle", "hides a part"),
        (0.16, "middle", "hides a part"),
        (0.1, "low", "little beyond the label"),
        (-0.05, "low", "little beyond the label"),
    ],
)
def test_words_follow_the_normalised_leakage(
    figures: dict[str, Any], normalised: float, grade: str, words: str
) -> None:
    figures["leakage"]["normalised"] = normalised
    verdict = judge(figures)
    assert verdict.grade == grade
    assert words in verdict.conclusion
    assert "decoder attack, threat level T2" in verdict.sentence
    assert "97.4\u00a0%" in verdict.sentence
    assert verdict.place == max(0, normalised)


def test_other_protections_are_named(figures: dict[str, Any]) -> None:
    figures["obfuscation"]["protection"] = "coded"
    assert "coded" in judge(figures).conclusion
    assert "published" not in judge(figures).conclusion


@pytest.mark.parametrize("normalised", [None, float("nan"), 0.9])
def test_an_attack_that_cannot_rebuild_raw_samples_judges_nothing(
    figures: dict[str, Any], normalised: float | None
) -> None:
    figures["leakage"] |= {"normalised": normalised, "raw_ssim": 0.3}
    verdict = judge(figures)
    assert (verdict.grade, verdict.place) == ("unknown", None)
    assert "too weak to judge by" in verdict.sentence


@pytest.mark.parametrize(
    ("device_only", "words"),
    [
        (0.98, "at least as accurate"),
        (0.9740, "as accurate as 9,876 samples can tell"),
        (0.9, "7.4 points less"),
    ],
)
def test_device_only_baseline_is_weighed_against_the_obfuscated(
    figures: dict[str, Any], device_only: float, words: str
) -> None:
    figures["accuracy"]["device_only"] = device_only
    said = compare_with_device_only(figures["accuracy"])
    assert words in said
    assert ("only the confidentiality" in said) == (device_only > 0.95)
