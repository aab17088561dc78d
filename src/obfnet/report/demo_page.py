"""The report of `obfnet demo`: one HTML file that says what the backend could see.

It takes the figures as they are in `result.json` and the pictures beside them, and computes nothing
new but differences and places on a scale. The template holds the order and the plain words.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from obfnet.core.errors import ShapeError
from obfnet.report.histogram import draw_histogram
from obfnet.report.page import render_page
from obfnet.report.png_uri import png_data_uri
from obfnet.report.sound import sound_data_uri, sound_from_coefficients
from obfnet.report.verdict import compare_with_device_only, judge
from obfnet.report.wording import percent, similarity

Floats = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]

_TEMPLATE: Final = "demo.html.j2"
_ROWS: Final = {
    "raw": ("Raw", "raw sample"),
    "obfuscated": ("What the backend receives", "what the backend receives of it"),
    "reconstructed": ("What the attacker rebuilds", "what the attacker rebuilds of it"),
    "reconstructed_raw": ("Control: rebuilt from raw", "what the same attacker rebuilds from raw data"),
    "floor": ("Floor: class mean", "mean of its class, which the label alone tells"),
}
_VIEWS: Final = {
    "worst": ("The samples that leaked most", "Ordered by SSIM; these are the worst cases of this attack."),
    "spread": (
        "From the most to the least leaked",
        "Evenly spread over all scored samples, so that nobody picked them by eye.",
    ),
    "limited": (
        "The same samples, with a ceiling",
        "The columns above, through the network with a budget; its attacker was trained on it.",
    ),
}
_SERIES: Final = {
    "floor": "Floor: class mean",
    "obfuscated": "Rebuilt from obfuscated",
    "raw": "Control: rebuilt from raw",
}
_STEPS: Final = {
    "data": "Get and check the data",
    "train_inference": "Train the inference network",
    "train_pool": "Train the pool",
    "train_limited": "Train the network with a budget",
    "train_device_only": "Train the device-only classifier",
    "remote_inference": "Ask the backend",
    "attack": "Attack, with its controls",
    "limited": "Ask and attack through the network with a budget",
    "total": "Total",
}
_PROTOCOLS: Final = {
    "binary": "REST with binary tensors",
    "json": "REST with JSON",
    "grpc": "gRPC",
}


@dataclass(frozen=True, kw_only=True, eq=False)
class Clip:
    """One sample of sound, to be listened to.

    Args:
        captured: The clip as it was captured, `(T,)` float32 in [-1, 1]; None where it is not at hand.
        captured_hz: Its sampling rate.
        raw: Raw MFCCs, `(20, F)` in their own unit.
        reconstructed: The attacker's guess at them.
        score: SSIM of the guess.
    """

    captured: Floats | None
    captured_hz: int
    raw: Floats
    reconstructed: Floats
    score: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Pictures:
    """The pictures of a demo report and the score of every sample.

    Args:
        views: View (`worst`, `spread`) to its rows: `raw`, `obfuscated`, `reconstructed`,
            `reconstructed_raw` and `floor`, each `(N, C, H, W)` float32 in [0, 1], C 1 or 3, same N.
        scores: View to the SSIM of each of its reconstructions, `(N,)` float64.
        histogram: `obfuscated`, `raw` and `floor` to the SSIM of every scored sample, `(M,)` float64.
        one_sample: `raw`, `(1, C, H, W)`, and `obfuscated`, `(K, C, H, W)`: through each network of the pool.
        clips: Samples of sound to listen to; none where the samples are pictures.

    Raises:
        ShapeError: a row or a series is missing, or shapes do not fit each other.
    """

    views: Mapping[str, Mapping[str, Floats]]
    scores: Mapping[str, Scores]
    histogram: Mapping[str, Scores]
    one_sample: Mapping[str, Floats]
    clips: tuple[Clip, ...] = ()

    def __post_init__(self) -> None:
        for name, rows in self.views.items():
            shapes = {rows[row].shape if row in rows else None for row in _ROWS}
            if len(shapes) != 1 or None in shapes or self.scores[name].shape != rows["raw"].shape[:1]:
                wanted = f"rows {', '.join(_ROWS)} of one shape and a score a sample in view {name!r}"
                raise ShapeError(
                    wanted, f"shapes {sorted(map(str, shapes))}", "picture the same samples in each"
                )
        if missing := set(_SERIES) - set(self.histogram):
            raise ShapeError(
                f"the series {', '.join(_SERIES)}", f"none for {sorted(missing)}", "score all three"
            )
        if len(self.one_sample["raw"]) != 1:
            raise ShapeError(
                "one raw sample", f"{len(self.one_sample['raw'])}", "give one sample, with its batch axis"
            )


def render_demo(figures: dict[str, Any], pictures: Pictures) -> str:
    """The report page as HTML text, self-contained: no script, no font and no image from elsewhere.

    Args:
        figures: The content of `result.json` of `obfnet demo`.
        pictures: What the page shows of the samples.

    Raises:
        MissingExtraError: Jinja2 is not installed.
        ShapeError: a sample is no picture.

    Does not guarantee: anything about leakage that was not measured; the page says which attack did.
    """
    bundles = list(figures["accuracy"]["obfuscated_each"])
    return render_page(
        _TEMPLATE,
        {
            "figures": figures,
            "verdict": judge(figures),
            "device_only_says": compare_with_device_only(figures["accuracy"]),
            "networks": list(_networks(figures)),
            "views": [_view(name, rows, pictures.scores[name]) for name, rows in pictures.views.items()],
            "limited_says": _limited_sentence(figures),
            "one_sample": {
                "raw": png_data_uri(pictures.one_sample["raw"][0]),
                "each": [
                    {"name": name, "uri": png_data_uri(sample)}
                    for name, sample in zip(bundles, pictures.one_sample["obfuscated"], strict=True)
                ],
            },
            "sounds": [_players(clip) for clip in pictures.clips],
            "histogram": draw_histogram({name: pictures.histogram[name] for name in _SERIES}),
            "series": _SERIES,
            "steps": [(_STEPS.get(step, _plain(step)), spent) for step, spent in figures["seconds"].items()],
            "settings": [(_plain(name), _setting(value)) for name, value in figures["settings"].items()],
            "protocol": _PROTOCOLS.get(figures["wire"]["protocol"], figures["wire"]["protocol"]),
            "sources": _sources(figures["data"]),
        },
    )


def _limited_sentence(figures: dict[str, Any]) -> str:
    limited = figures.get("limited")
    if limited is None:
        return ""
    leakage, published = limited["leakage"], figures["leakage"]
    bits = f"{limited['budget_bits']:g}"
    return (
        f"With protection {limited['protection']} and a budget of {bits} bits the answers are right for "
        f"{percent(limited['accuracy'])} of samples, and the same attack ({leakage['attack']}, threat level "
        f"{leakage['threat_level']}) rebuilds SSIM\u00a0{similarity(leakage['ssim'])} instead of "
        f"{similarity(published['ssim'])} (from the label alone: {similarity(leakage['label_ssim'])}). "
        f"No attack gets more than {bits} bits from a request."
    )


def _networks(figures: dict[str, Any]) -> Iterator[dict[str, Any]]:
    accuracy = figures["accuracy"]
    validation = accuracy["validation"]["obfuscated_each"]
    picked = figures["wire"]["picked"]
    for (name, test), chosen_on in zip(accuracy["obfuscated_each"].items(), validation, strict=True):
        yield {"name": name, "test": test, "validation": chosen_on, "picked": picked.get(name, 0)}


def _view(name: str, rows: Mapping[str, Floats], scores: Scores) -> dict[str, Any]:
    title, note = _VIEWS.get(name, (_plain(name), ""))
    return {
        "name": name,
        "title": title,
        "note": note,
        "scores": [similarity(float(score)) for score in scores],
        "rows": [
            {
                "key": key,
                "title": row_title,
                "pictures": [
                    {"uri": png_data_uri(sample), "alt": f"Sample {number}: {alt}"}
                    for number, sample in enumerate(rows[key], start=1)
                ],
            }
            for key, (row_title, alt) in _ROWS.items()
        ],
    }


def _players(clip: Clip) -> dict[str, Any]:
    captured = "" if clip.captured is None else sound_data_uri(clip.captured, clip.captured_hz)
    return {
        "score": similarity(clip.score),
        "players": [
            (captured, "the clip as captured"),
            (sound_data_uri(*sound_from_coefficients(clip.raw)), "rebuilt from raw MFCCs"),
            (
                sound_data_uri(*sound_from_coefficients(clip.reconstructed)),
                "rebuilt from the attacker's guess",
            ),
        ],
    }


def _sources(data: list[dict[str, str]]) -> list[tuple[str, list[str]]]:
    # Files of one source are named together: four equal paths tell no more than one.
    files: dict[str, list[str]] = {}
    for origin in data:
        files.setdefault(origin["source"], []).append(origin["file"])
    return list(files.items())


def _plain(key: str) -> str:
    return key.replace("_", " ").capitalize()


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key.replace('_', ' ')} {_setting(part)}" for key, part in value.items())
    return f"{value:g}" if isinstance(value, float) else str(value)
