"""The audit's page: the verdict first, every figure beside its controls, and guarantees apart."""

import base64
import copy
import re
from dataclasses import replace
from functools import cache
from io import BytesIO

import numpy as np
import png
import pytest
from scipy.fft import idct

from obfnet.core.errors import RangeError, ShapeError
from obfnet.data.mfcc import coefficients, speech_features
from obfnet.data.wav import Sound
from obfnet.report.audit_page import AuditPictures, choose_samples, render_audit, verdict
from obfnet.report.audit_verdict import conclusion, who
from obfnet.report.learning_curve import draw_learning_curve
from obfnet.report.sample_picture import any_picture, spectrogram_picture, speech_picture
from obfnet.report.sound import sound_data_uri
from tests.unit.data.sounds import voiced
from tests.unit.report.audit_result import (
    attack,
    audit_pictures,
    audit_result,
    headline_of,
    subject_of,
)
from tests.unit.report.test_demo_page import Page

DIGITS = audit_pictures(1, 8, 8)


def page_of(result=None, pictures=DIGITS):
    if result is None and pictures is DIGITS:
        return ordinary_page()
    page = Page(render_audit(result or audit_result(), pictures))
    assert page.open == []
    return page


@cache
def ordinary_page():
    return page_of(audit_result())


def said(headline, **subject):
    return verdict(headline, subject_of(**subject)).replace("\xa0", " ")


def test_where_accuracy_was_measured_it_stands_beside_the_classifier_on_the_device():
    useful = {
        "measured_as": "agreement with the model",
        "accuracy": {
            "raw": 1.0,
            "obfuscated": 0.953,
            "obfuscated_worst": 0.941,
            "device_only": 0.912,
            "device_only_parameters": 1_234,
            "device_only_macs": 56_789,
            "samples": 870,
        },
        "obfuscation": {"count": 4, "parameters": 2_345, "macs": 67_890},
    }
    shown = render_audit(audit_result(), DIGITS, useful=useful).replace("\u00a0", " ").replace("\u202f", " ")
    assert Page(shown).open == []
    for text in ("Agreement with the model", "95.3 %", "the worst 94.1 %", "91.2 %", "4 networks", "870"):
        assert text in shown
    assert "A classifier on the device is as good here" not in shown
    useful["accuracy"]["device_only"] = 0.96
    assert "A classifier on the device is as good here" in render_audit(audit_result(), DIGITS, useful=useful)
    assert "Whether labels survive" not in render_audit(audit_result(), DIGITS)


def test_the_verdict_says_how_much_with_its_interval_attack_and_threat_level():
    assert said(headline_of(0.8312)).startswith(
        "A backend that knows the obfuscation network rebuilds 83 % of what it could rebuild from the raw "
        "sample, beyond what the label alone gives away (95 % interval 81 % to 86 %; decoder attack, threat "
        "level T2)."
    )


@pytest.mark.parametrize(
    ("mean", "says"),
    [
        (0.01, "rebuilds no more than the label alone gives away"),
        (-0.4, "rebuilds no more than the label alone gives away, as far as these attacks can tell (−40 %"),
        (0.03, "rebuilds 3 % of what"),
        (1.01, "rebuilds as much as it could rebuild from the raw sample (101 %"),
    ],
)
def test_the_ends_of_the_scale_have_words_of_their_own(mean, says):
    assert says in said(headline_of(mean))


def test_another_attack_that_rebuilds_more_is_named():
    assert "came closest" not in said(headline_of(0.8))
    headline = headline_of(0.8, closest_attack="large-decoder", closest_ssim=0.8311, closest_leakage=0.7449)
    assert said(headline).endswith(
        "The large-decoder attack came closest: SSIM 0.83, 74 % of the way from the label alone to what the "
        "raw sample gives it."
    )


def test_no_attack_that_passed_is_no_verdict():
    assert said(headline_of(None, ssim=None)) == "No attack passed its controls: no verdict."


def test_a_few_samples_given_away_are_said_although_the_mean_is_low():
    headline = headline_of(0.1, share_over_half=0.1, normalised_leakage_p95=0.99)
    assert "One sample in twenty leaks 99 % or more. 10 % of samples leak more than half." in said(headline)
    grade, words = conclusion(headline)
    assert (grade, words.replace("\xa0", " ")) == (
        "middle",
        "Most samples are hidden, but 10 % of them leak more than half",
    )
    assert conclusion(headline_of(0.1, share_over_half=0.0))[0] == "low"
    assert "Less than 1 % of samples" in said(headline_of(0.1, share_over_half=0.0004))


@pytest.mark.parametrize(
    ("level", "source", "says"),
    [
        ("T0", "pool", "nothing but obfuscated samples"),
        ("T1", "pool", "not which obfuscation network"),
        ("T2", "bundle", "knows the obfuscation network"),
        ("T2", "pairs", "holds pairs"),
        ("T3", "pairs", "holds pairs"),
        ("T0", "pairs", "nothing but obfuscated samples"),
        ("T9", "pool", "threat level T9"),
    ],
)
def test_the_attacker_is_worded_by_what_it_knows(level, source, says):
    assert says in who(level, source)


def test_where_ssim_was_not_measured_no_word_of_it():
    headline = headline_of(0.4, ssim=None, floor_ssim=None, raw_ssim=None)
    assert "SSIM" not in said(headline)
    page = page_of({**audit_result(), "headline": headline, "attacks": [], "learning_curve": []})
    assert "SSIM" not in page.text
    assert "None" not in page.text


def test_page_is_one_document_that_refers_to_nothing_outside():
    html = render_audit(audit_result(), DIGITS)
    page = Page(html)
    assert html.lstrip().startswith("<!DOCTYPE html>")
    assert page.open == []
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("title")) == 1
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [found["aria-labelledby"] for _, found in page.elements if "aria-labelledby" in found]
    assert set(named) <= set(ids)
    assert not {"script", "link", "iframe", "object", "embed", "base", "a"} & {
        tag for tag, _ in page.elements
    }
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        assert (attributes.get("src") or "data:").startswith("data:")
    assert "url(" not in html
    assert "http" not in html.replace("http-equiv", "")
    (policy,) = (found["content"] for found in page.all("meta") if "http-equiv" in found)
    assert policy.startswith("default-src 'none'")


def test_everything_can_be_read_aloud_and_reached_by_keyboard():
    page = page_of()
    assert len(page.all("img")) == 4 * 5
    assert all(image["alt"] for image in page.all("img"))
    assert all(header.get("scope") in {"row", "col"} for header in page.all("th"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.all("svg"))
    scrolled = [found for tag, found in page.elements if found.get("class") in {"scroll", "commands"}]
    assert scrolled
    assert all(found["tabindex"] == "0" and found["role"] == "region" for found in scrolled)


def test_parts_come_in_the_order_in_which_a_reader_needs_them():
    page = page_of()
    headings = [
        "This obfuscation hides almost nothing.",
        "A backend that knows the obfuscation network rebuilds 83 %",
        "The samples that leaked most",
        "Average samples",
        "Attacks, and how near each came",
        "Attacks that were not counted",
        "What else shows: the speaker",
        "Leakage against the number of pairs known",
        "Which of N raw samples is it?",
        "Do two requests belong together?",
        "The other side",
        "Guarantees",
        "How to reproduce it",
    ]
    body = page.text.split("budget standard", 1)[1]
    places = [body.index(heading) for heading in headings]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "shown",
    [
        "95.7 %",  # the worst twentieth
        "98.7 %",  # over half
        "Shown: 3 of 2,345 that leak most, and 2 nearest to the mean.",
        "2,345",
        "60,123",
        "81.1 % to 86.1 %",
        "0.746 to 0.786",
        "21.2 to 21.5",
        "floor 12.8, raw 24.2",
        "worst 0.0004",
        "higher leaks more",
        "lower leaks more",
        "no better than the mean sample on the identity",
        "its time limit of 60 s was over",
        "Somebody et al. 2019, A paper about ridge.",
        "Assumes: That ridge works. 3 seeds, 61.2 s.",
        "−0.002 to 0.0033",  # gain of the control that failed
        "98.8 %",  # speaker
        "17.2 %",
        "99.3 %",
        "86.0 % to 90.0 %",
        "the best reconstruction",
        "0.745 to 0.760",
        "49.2 %",
        "99.1 %",
        "0.993",
        "0.990 to 0.996",
        "94.1 %",
        "49.0 % to 55.0 %",
        "agreement +0.2 points, within the intervals; transfer +11.0 points.",
        "AUC of 0.512 (95 % interval 0.480 to 0.540)",
        "obfnet audit pool --case mnist --seed 4711 --out audit",
        "4711",
        "numpy 2.4.6",
        "processor AMD EPYC, cores 2",
    ],
)
def test_page_shows_the_figures(shown):
    assert shown in page_of().text


def test_the_worst_attack_comes_first_and_uncounted_ones_only_with_their_reasons():
    text = page_of().text
    table = text[text.index("Over half") : text.index("Every metric")]
    places = [table.index(name) for name in ("decoder", "ridge", "few-pair", "unpaired")]
    assert places == sorted(places)
    assert "brittle" not in table
    assert "late" not in table


def test_all_counted_is_said():
    result = audit_result()
    result["attacks"] = [attack("decoder", 0.8312)]
    assert "There is none: every attack that was run passed its controls." in page_of(result).text


def test_no_counted_attack_gives_no_verdict_and_no_scale():
    result = audit_result()
    result["headline"] = headline_of(None, ssim=None)
    result["learning_curve"] = []
    for one in result["attacks"]:
        one |= {"counted": False, "reason": one["reason"] or "failed", "normalised": None}
    page = page_of(result, replace(DIGITS, reconstructed=None, normalised=None))
    assert page.text.count("No attack passed its controls: no verdict.") == 1
    assert "nothing can be said about leakage" in page.text
    assert "leaked most" not in page.text
    assert "None" not in page.text
    assert len(page.all("img")) == 3 * 5
    assert not [found for _, found in page.elements if found.get("class") in {"scale", "tiles"}]


def test_a_partial_report_says_so_in_its_first_line():
    result = audit_result()
    assert "partial" not in page_of(result).text
    html = render_audit({**result, "complete": False}, DIGITS)
    assert Page(html[html.index("<main") :].replace("</body>", "").replace("</html>", "")).text.startswith(
        "This report is partial."
    )
    assert "<title>Partial: " in html


def test_warnings_and_duplicates_stand_beside_the_verdict():
    result = audit_result()
    assert "About the samples" not in page_of(result).text
    result["subject"] |= {"warnings": ["raw and obfuscated do not correlate"], "duplicates_removed": 12}
    text = page_of(result).text
    assert text.index("raw and obfuscated do not correlate") < text.index("Attacks, and how near")
    assert "12 samples removed" in text
    assert "Quick audit." in page_of({**result, "budget": "quick"}).text


def test_guarantees_stand_in_a_place_of_their_own():
    result = audit_result()
    assert "No bound in bits" in page_of(result).text
    result["guarantee"] |= {
        "budget_bits": 4.0,
        "statement": "Only 16 outputs.",
        "assumptions": ["The device runs this bundle."],
    }
    html = render_audit(result, DIGITS)
    (box,) = re.findall(r'<section class="apart".*?</section>', html, re.DOTALL)
    words = Page(box).text
    for part in ("4 bits a request", "Only 16 outputs.", "The device runs this bundle.", "It does not cover"):
        assert part in words
        assert part not in Page(html.replace(box, "")).text
    assert not re.search(r"SSIM|%|T2", words)


@pytest.mark.parametrize(
    ("part", "heading"),
    [
        ("attribute", "What else shows"),
        ("reidentification", "Which of N raw samples"),
        ("linkability", "Do two requests"),
        ("model_confidentiality", "The other side"),
    ],
)
def test_what_was_not_measured_has_no_section(part, heading):
    assert heading in page_of().text
    text = page_of({**audit_result(), part: None}).text
    assert heading not in text
    assert "None" not in text


def test_an_audit_of_the_model_side_alone():
    result = {**audit_result(), "attacks": [], "learning_curve": [], "headline": headline_of(None, ssim=None)}
    page = page_of(result | {"attribute": None, "reidentification": None, "linkability": None}, None)
    assert "No attack on samples was run." in page.text
    assert "94.1 %" in page.text
    assert page.all("img") == []


def test_hostile_strings_stay_text():
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"

    def spoiled(value, key=""):
        if isinstance(value, dict):
            return {name: spoiled(part, name) for name, part in value.items()} | (
                {hostile: "1"} if key in {"versions", "machine"} else {}
            )
        if isinstance(value, list):
            return [spoiled(part) for part in value]
        return hostile if isinstance(value, str) else value

    result = spoiled(audit_result())
    for one in result["attacks"]:
        one["figures"] = {hostile: {"mean": 1.0, "interval": [0.0, 2.0], "worst": 3.0, "p95": 2.0}}
    page = page_of(result, replace(DIGITS, order=hostile))
    assert not page.all("script")
    assert all(
        (image["src"] or "").startswith("data:") and "onerror" not in image for image in page.all("img")
    )
    assert hostile in page.text


def test_page_promises_nothing_without_a_number():
    text = page_of().text.lower()
    for word in ("private", "secure", "irreversible", "anonym"):
        assert word not in text


def test_rendering_changes_nothing_in_the_result():
    result = audit_result()
    before = copy.deepcopy(result)
    first = render_audit(result, DIGITS)
    assert result == before
    assert render_audit(result, DIGITS) == first


def pixels(uri):
    width, height, rows, facts = png.Reader(
        file=BytesIO(base64.b64decode(uri.removeprefix("data:image/png;base64,")))
    ).asDirect()
    levels = np.vstack([np.frombuffer(bytes(row), np.uint8) for row in rows])
    return levels.reshape(height, width, facts["planes"]).transpose(2, 0, 1)


def test_rows_show_the_samples_worst_first_with_their_leakage():
    pictures = audit_pictures(3, 8, 8)
    page = page_of(None, pictures)
    uris = [image["src"] for image in page.all("img")]
    rows = ("raw", "obfuscated", "reconstructed", "floor")
    expected = [getattr(pictures, row)[k] for part in (range(3), range(3, 5)) for row in rows for k in part]
    for uri, sample in zip(uris, expected, strict=True):
        np.testing.assert_array_equal(pixels(uri), np.rint(sample * 255))
    header = page.text[page.text.index("The samples that leaked most") :].replace(" %", "% ")
    assert re.findall(r"\d+(?=%)", header)[:5] == ["97", "88", "79", "70", "61"]
    assert page.all("img")[0]["alt"] == "Worst sample 1, raw"


def test_what_the_backend_receives_may_have_any_shape():
    for received in ((64,), (5,), (2, 4, 4), (4, 16), (1, 1, 300), (3, 3, 3, 2)):
        assert len(page_of(None, audit_pictures(1, 8, 8, received=received)).all("img")) == 20
    assert len(page_of(None, audit_pictures(30)).all("img")) == 20


def test_any_picture_keeps_values_and_order():
    vector = np.arange(10, dtype=np.uint8)
    np.testing.assert_allclose(any_picture(vector).reshape(-1)[:10] * 255, vector, atol=1e-4)
    channels = np.random.default_rng(0).random((2, 4, 5), dtype=np.float32)
    np.testing.assert_array_equal(any_picture(channels)[0], np.hstack(list(channels)))
    colour = np.random.default_rng(0).random((3, 400, 300), dtype=np.float32)
    np.testing.assert_array_equal(any_picture(colour), colour[:, ::3, ::3])
    assert max(any_picture(np.zeros(10**6, np.float32)).shape) <= 160
    with pytest.raises(ShapeError, match="at least one value"):
        any_picture(np.zeros((0,), np.float32))


def test_a_spectrogram_is_the_inverse_cosine_transform_of_the_coefficients():
    mfcc = np.random.default_rng(0).normal(0, 30, (20, 7))
    mfcc[:, 5:] = 0
    bands_db = idct(np.pad(mfcc[:, :5], ((0, 108), (0, 0))), axis=0, norm="ortho")
    expected = np.clip(1 + (bands_db - bands_db.max()) / 80, 0, 1)[::-2]
    shown = spectrogram_picture(mfcc)
    assert shown.shape == (1, 64, 7)
    np.testing.assert_allclose(shown[0, :, :5], expected, atol=1e-4)
    assert not shown[..., 5:].any()
    assert not spectrogram_picture(np.zeros((20, 3))).any()
    with pytest.raises(ShapeError, match=r"\(20, T\)"):
        spectrogram_picture(np.zeros((19, 3)))


def test_speech_is_pictured_as_its_spectrogram():
    spoken = speech_features(Sound(samples=voiced(0.4, 8000), rate_hz=8000))
    shown = speech_picture(spoken)
    np.testing.assert_array_equal(shown, spectrogram_picture(coefficients(spoken)))
    assert shown.max() == 1
    # The clip fills 0.4 of 1.04 s; the frames after it are silent.
    assert not shown[..., 22:].any()


def test_sounds_are_heard_and_pictured_by_the_functions_given():
    def sound(sample):
        return sample.reshape(-1) * 2 - 1, 8_000

    captured = (np.zeros(9, np.float32), 16_000)
    pictures = replace(
        audit_pictures(1, 4, 4, received=(7,)),
        sound=sound,
        picture=lambda sample: 1 - sample,
        captured=(captured, None, None, None, None),
    )
    page = page_of(None, pictures)
    players = page.all("audio")
    # Of each sample raw, reconstruction and class mean; what is received cannot be heard here.
    assert len(players) == 1 + 5 * 3
    assert all("controls" in player and player["aria-label"] for player in players)
    assert [player["src"] for player in players[:3]] == [
        sound_data_uri(*captured),
        sound_data_uri(*sound(pictures.raw[0])),
        sound_data_uri(*sound(pictures.reconstructed[0])),
    ]
    np.testing.assert_array_equal(pixels(page.all("img")[0]["src"]), np.rint((1 - pictures.raw[0]) * 255))
    assert "not at hand" in page.text
    assert page_of().all("audio") == []


def test_sounds_without_a_reconstruction_keep_their_columns():
    pictures = replace(
        audit_pictures(1, 4, 4), sound=lambda sample: (sample.reshape(-1), 8_000), reconstructed=None
    )
    page = page_of(None, pictures)
    assert len(page.all("audio")) == 5 * 3
    assert page.text.count("not at hand") == 5 * 2


@pytest.mark.parametrize(
    "change",
    [
        {"obfuscated": np.zeros((4, 3))},
        {"reconstructed": np.zeros((5, 1, 8, 7))},
        {"floor": np.zeros((4, 1, 8, 8))},
        {"normalised": np.zeros(4)},
        {"captured": (None,)},
        {"worst": 6},
    ],
)
def test_pictures_refuse_what_does_not_fit(change):
    with pytest.raises(ShapeError, match="same 5 samples"):
        replace(DIGITS, **change)


def test_samples_for_show_are_the_worst_and_the_average():
    values = np.random.default_rng(0).permutation(np.linspace(0, 1, 101))
    values[7] = np.nan
    rows = choose_samples(values, worst=3, average=4)
    others = np.delete(values, rows)
    assert list(values[rows[:3]]) == sorted(values[rows[:3]], reverse=True)
    assert values[rows[:3]].min() > np.nanmax(others)
    mean = np.nanmean(values)
    assert np.abs(values[rows[3:]] - mean).max() <= np.nanmin(np.abs(others - mean))
    assert 7 not in rows
    assert len(choose_samples(values[:4], worst=3, average=4)) == 4
    assert len(choose_samples(np.full(5, np.nan))) == 0


def test_the_learning_curve_is_drawn_to_scale():
    points = [
        {"pairs": 100, "value": 0.5, "interval": [0.25, 0.75]},
        {"pairs": 1, "value": 0.0, "interval": [0.0, 0.0]},
        {"pairs": 10_000, "value": 1.0, "interval": [1.0, 1.0]},
    ]
    curve = draw_learning_curve(points, {"floor": 0.25})
    assert curve.points == ((0.0, 100.0), (50.0, 50.0), (100.0, 0.0))
    assert curve.line == "M0.00 100.00L50.00 50.00L100.00 0.00"
    assert curve.band.endswith("Z")
    assert curve.ticks == ((1, 0.0), (100, 50.0), (10_000, 100.0))
    assert curve.marks["floor"] == (0.25, 75.0)
    assert draw_learning_curve(points[:1], {}).points == ((50.0, 50.0),)
    below = draw_learning_curve([{"pairs": 1, "value": -0.1, "interval": [-0.25, 0.0]}], {})
    assert below.points[0][1] == pytest.approx(100 * 1.1 / 1.3)
    many = [{**points[0], "pairs": 2**power} for power in range(20)]
    ticks = draw_learning_curve(many, {}).ticks
    assert len(ticks) <= 7
    assert ticks[-1] == (2**19, 100.0)
    for wrong in ([], [{**points[0], "pairs": 0}]):
        with pytest.raises(RangeError, match="at least 1 pair"):
            draw_learning_curve(wrong, {})


def test_a_curve_of_another_metric_is_scaled_to_what_there_is():
    result = audit_result()
    result["learning_curve"] = [
        {"pairs": pairs, "negative_mse": value, "interval": [value - 0.002, value], "normalised": None}
        for pairs, value in ((1, -0.05), (10, -0.01))
    ]
    text = page_of(result).text
    assert "upwards: Minus squared error" in text
    assert "Raw control" not in text
    assert "not defined" in text
    curve = draw_learning_curve(
        [{"pairs": 1, "value": -5.0, "interval": [-5.0, -5.0]}], {"Raw control": 5.0}, unit=False
    )
    assert curve.points[0][1] == pytest.approx(100 * 11 / 12)
    flat = draw_learning_curve([{"pairs": 1, "value": 3.0, "interval": [3.0, 3.0]}], {}, unit=False)
    assert flat.points == ((50.0, 50.0),)


def test_unknown_metrics_get_a_plain_name_and_missing_ones_a_dash():
    result = audit_result()
    result["attacks"][0]["figures"]["colour_distance"] = {
        "mean": 123.4,
        "interval": [120.2, 126.4],
        "worst": 300.0,
        "p95": 250.0,
    }
    text = page_of(result).text
    assert "Colour distance" in text
    assert "123 120 to 126" in re.sub(r"(123)(120)", r"\1 \2", text)
    assert "floor –, raw –" in text


def test_pictures_are_optional_in_every_part():
    assert isinstance(replace(DIGITS, floor=None), AuditPictures)
    page = page_of(None, replace(DIGITS, floor=None, worst=0))
    assert len(page.all("img")) == 3 * 5
    assert "leaked most" not in page.text
    unknown = replace(DIGITS, normalised=np.full(5, np.nan))
    assert "nan" not in page_of(None, unknown).text


def test_a_ceiling_is_never_shown_lower_than_it_is():
    result = audit_result()
    result["guarantee"] |= {"budget_bits": 13.0701, "epsilon": 6.5917, "statement": "S."}
    assert "13.08 bits a request, epsilon 6.6" in page_of(result).text
